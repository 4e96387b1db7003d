"""`dialer etl`: the nightly run by hand, how it stands, and what the stores forget."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dialer import log
from dialer import settings as settings_module
from dialer.clock import utc_now
from dialer.errors import DialerError, InvalidInput
from dialer.settings import Settings
from dialer.storage import migrate
from dialer.storage.reading import reading
from dialer.storage.session import plain_errors, sync_engine
from etl import lanes, status
from etl.engines.port import Engine
from etl.erase import Whom, erase
from etl.lake import Lake
from etl.pipeline import QUICK_SHARE, Lane, Night
from etl.progress import Bars
from etl.retain import retain

CONNECTIONS = 8
"""Two lanes and the extract, each with its turn's lock and its work."""
SHOWN = 10
STOPPED = 130

_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_TENANT = click.option("--tenant", help="Of this tenant alone.")
_DAY = click.DateTime(["%Y-%m-%d"])


Operator = Callable[[], str]
"""Who gives the order, for the audit."""


def etl_group(operator: Operator) -> click.Group:
    """`dialer etl`, all of it."""

    @click.group("etl")
    def etl() -> None:
        """Events become facts: the nightly run, by hand."""

    for command in (run, status_command, retain_command, _erase_command(operator)):
        etl.add_command(command)
    return etl


@click.command()
@click.option("--day", "days", type=_DAY, multiple=True, help="Compute what began on this UTC day anew, news or not.")
@click.option("--since", type=_DAY, help="Compute every day from this one on anew: after a change of tariffs or hours.")
@click.option("--tenant", "names", multiple=True, help="Only this tenant; again for more. Default: all.")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), help="Instead of the settings' engine.")
@click.option(
    "--retain", "and_retain", is_flag=True, help="Forget what is old afterwards, as `dialer etl retain` does."
)
@_SETTINGS
def run(
    days: tuple[datetime, ...], since: datetime | None, names: tuple[str, ...], engine: str | None, and_retain: bool,
    settings_path: Path | None,
) -> None:  # fmt: skip
    """Take new events into the lake, and compute anew the facts of every day that they touch.

    An engine (`dialer engine`) does so every night. It may be run at any time, killed, and run again. A tenant that
    another run is at is left to that one; one that fails does not stop the others, and is read by reports as it was.

    \b
    Examples:
      dialer etl run
      dialer etl run --day 2026-11-21 --tenant acme
      dialer etl run --since 2026-11-01
    """
    with _night(settings_path, engine) as night:
        found = lanes.tenants(night)
        if unknown := [name for name in names if name not in found]:
            raise InvalidInput(f"there are no events of a tenant {unknown[0]!r}; there are: {_listed(found)}.")
        wanted = list(dict.fromkeys(names or found))
        try:
            with Bars(len(wanted)) as bars:
                results = lanes.run_night(night, wanted, _again(days, since), bars)
        except KeyboardInterrupt:
            click.echo("stopped: nothing of it is read, and the next run goes on from here", err=True)
            # As a kill: no transform can be asked to end, and the interpreter would wait for it.
            os._exit(STOPPED)
        if and_retain:
            _retain(night)
    if any(result.error and not result.elsewhere for result in results):
        sys.exit(1)


def _again(days: Sequence[datetime], since: datetime | None) -> list[date]:
    again = {one.date() for one in days}
    # Nothing begins later than tomorrow, whatever a producer's clock says.
    length = (utc_now().date() + timedelta(days=2) - since.date()).days if since is not None else 0
    return sorted(again | {since.date() + timedelta(days=number) for number in range(length) if since is not None})


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


@click.command("retain")
@_SETTINGS
def retain_command(settings_path: Path | None) -> None:
    """Remove what is older than the settings keep (etl.keep): days of the event log, dead letters, days of the lake,
    replaced files.

    A day of events leaves PostgreSQL only when all of them are found in the lake; else it stays, and you are told.

    Example: dialer etl retain
    """
    with _night(settings_path) as night:
        _retain(night)


def _retain(night: Night) -> None:
    done = retain(night, lanes.tenants(night), utc_now(), lambda what: click.echo(what, err=True))
    for why in (*done.left_alone, *done.kept_back):
        click.echo(why, err=True)
    click.echo(
        f"removed: {len(done.partitions)} days of events, {done.folders} runs of the lake, {done.letters} dead letters",
        err=True,
    )
    if done.kept_back:
        sys.exit(1)


def _erase_command(operator: Operator) -> click.Command:
    @click.command("erase")
    @click.option("--tenant", required=True, help="Whose events they are.")
    @click.option("--person", help="Their key in the number base.")
    @click.option("--number", help="One of their numbers, in E.164.")
    @click.option("--requester", help="As ticket events name them.")
    @click.option("--why", required=True, help="Kept in the audit.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @_SETTINGS
    def erase_command(
        tenant: str, person: str | None, number: str | None, requester: str | None, why: str, yes: bool,
        settings_path: Path | None,
    ) -> None:  # fmt: skip
        """Forget a person: their name, numbers, fields and answers leave PostgreSQL and the lake, for good.

        That calls were made and how they ended stays, without them. Lists of who must not be called stay as they are.

        Example: dialer etl erase --tenant acme --number +48501000001 --why "request of 2026-11-20"
        """
        whom = Whom(person=person, number=number, requester=requester)
        if sum(one is not None for one in (person, number, requester)) != 1:
            raise click.UsageError("say who: one of --person, --number and --requester")
        if not yes:
            click.confirm("This cannot be undone. Go on?", abort=True, err=True)
        with _night(settings_path) as night:
            done = erase(night, tenant, whom, operator(), why, lambda what: click.echo(what, err=True))
        click.echo(
            f"erased: {done.people} people, {done.calls} calls, {done.events} events, {done.letters} dead letters; "
            f"{len(done.days)} days of the lake written anew", err=True,
        )  # fmt: skip

    return erase_command


@click.command("status")
@_TENANT
@click.option("--runs", "most", type=click.IntRange(1, 1000), default=SHOWN, show_default=True, help="How many runs.")
@click.option("--run", "run_id", type=click.UUID, help="The ledger of this run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@_SETTINGS
def status_command(
    tenant: str | None, most: int, run_id: Any, as_json: bool, settings_path: Path | None
) -> None:  # fmt: skip
    """Show how far events are in the lake, the last runs, and a run's ledger.

    \b
    Examples:
      dialer etl status
      dialer etl status --run 6f9cd3e0-1f5c-4f4e-8a52-2f1c8f7a3b11
    """
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            standings = status.standings(connection, tenant)
            runs = status.runs(connection, tenant, most)
            stages = status.stages(connection, run_id) if run_id else []
    finally:
        engine.dispose()
    if as_json:
        told = {"tenants": [vars(one) for one in standings], "runs": runs, "stages": stages}
        click.echo(json.dumps(told, default=str, ensure_ascii=False))
        return
    console = Console()
    for table in [_ledger(stages)] if run_id else [_standings(standings), _runs(runs)]:
        console.print(table)


def _standings(found: Sequence[status.Standing]) -> Table:
    table = Table("tenant", "in the lake until", "last event came", "rows waiting", "days", "MB", title="Tenants")
    for one in found:
        days = f"{one.first_day} … {one.last_day}" if one.first_day else ""
        table.add_row(one.tenant, _at(one.taken_in_since), _at(_from_us(one.as_of_us)), f"{one.waiting:,}", days,
                      f"{one.bytes / 1e6:,.1f}")  # fmt: skip
    return table


def _runs(found: Sequence[dict[str, Any]]) -> Table:
    table = Table("began", "tenant", "state", "lane", "days", "late", "took s", "run", title="Runs")
    for one in found:
        took = (one["ended_at"] - one["began_at"]).total_seconds() if one["ended_at"] else None
        table.add_row(
            _at(one["began_at"]), one["tenant_id"], one["state"], one["lane"] or "", str(len(one["days"] or ())),
            str(one["late"] or 0), "" if took is None else f"{took:.1f}", str(one["run"]),
        )  # fmt: skip
        if one["error"]:
            table.add_row("", "", one["error"])
    return table


def _ledger(found: Sequence[dict[str, Any]]) -> Table:
    table = Table("stage", "what", "in", "made", "dropped", "out", "s", title="Ledger")
    for one in found:
        table.add_row(
            one["stage"], one["what"], f"{one['rows_in']:,}", _reasons(one["made"]), _reasons(one["dropped"]),
            f"{one['rows_out']:,}", f"{one['took_s']:.1f}",
        )  # fmt: skip
    return table


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {rows:,}" for reason, rows in counts.items() if rows)


def _at(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _from_us(us: int) -> datetime | None:
    return datetime.fromtimestamp(us / 1e6, UTC) if us else None


@contextmanager
def _night(settings_path: Path | None, engine_name: str | None = None) -> Iterator[Night]:
    settings = settings_module.load(settings_path)
    if engine_name:
        settings = settings.model_copy(update={"etl": settings.etl.model_copy(update={"engine": engine_name})})
    log.to_file(settings.state_dir / "logs" / "etl.log")
    database = sync_engine(settings, CONNECTIONS)
    try:
        migrate.require_current(database)
        night = make_night(settings, database)
        with plain_errors(), database.begin() as connection:
            night.lake.require(connection)
        # Events pass through there as they came, with the names of people.
        (settings.state_dir / "etl").mkdir(mode=0o700, parents=True, exist_ok=True)
        yield night
    finally:
        database.dispose()


def make_night(settings: Settings, database: Any) -> Night:
    """A night with the engine that the settings name."""
    return Night(
        settings=settings,
        database=database,
        lake=Lake.of(settings),
        open_engine=lambda lane, spill: open_engine(settings, lane, spill),
    )


def open_engine(settings: Settings, lane: Lane, spill: Path) -> Engine:
    """The engine of the settings, in a lane's size. Raises DialerError when it is not installed."""
    etl = settings.etl
    if etl.engine == "spark":
        try:
            from etl.engines import spark
        except ImportError as error:
            raise DialerError("Spark is not installed. Run `pip install 'dialer[spark]'`, or use DuckDB.") from error
        return spark.open(etl.spark_master)
    from etl.engines import duckdb

    if lane == "quick":
        return duckdb.open(etl.memory_mb // QUICK_SHARE, 1, spill)
    return duckdb.open(etl.memory_mb, etl.threads or os.cpu_count() or 1, spill)
