"""`dialer etl`: the nightly run by hand, how it stands, and what the stores forget."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dialer import log
from dialer import settings as settings_module
from dialer.errors import DialerError, InvalidInput
from dialer.settings import Settings
from dialer.storage import migrate
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from etl import lanes, status
from etl.engines.port import Engine
from etl.lake import Lake
from etl.pipeline import Lane, Night
from etl.progress import Bars

CONNECTIONS = 8
"""Two lanes and the extract, each with its turn's lock and its work."""
QUICK_SHARE = 4
SHOWN = 10

_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_TENANT = click.option("--tenant", help="Of this tenant alone.")
_DAY = click.DateTime(["%Y-%m-%d"])


@click.group("etl")
def etl_group() -> None:
    """Events become facts: the nightly run, by hand."""


@etl_group.command()
@click.option("--day", "days", type=_DAY, multiple=True, help="Compute what began on this UTC day anew, news or not.")
@click.option("--tenant", "names", multiple=True, help="Only this tenant; again for more. Default: all.")
@click.option("--engine", type=click.Choice(["duckdb", "spark"]), help="Instead of the settings' engine.")
@_SETTINGS
def run(days: tuple[datetime, ...], names: tuple[str, ...], engine: str | None, settings_path: Path | None) -> None:
    """Take new events into the lake, and compute anew the facts of every day that they touch.

    It may be run at any time, killed, and run again. A tenant that another run is at is left to that one; one that
    fails does not stop the others, and is read by reports as it was.

    \b
    Examples:
      dialer etl run
      dialer etl run --day 2026-11-21 --tenant acme
    """
    with _night(settings_path, engine) as night:
        found = lanes.tenants(night)
        if unknown := [name for name in names if name not in found]:
            raise InvalidInput(
                f"there are no events of a tenant {unknown[0]!r}; there are: {', '.join(found) or 'none'}."
            )
        wanted = list(dict.fromkeys(names or found))
        with Bars(len(wanted)) as bars:
            results = lanes.run_night(night, wanted, sorted({one.date() for one in days}), bars)
    if any(result.error for result in results):
        sys.exit(1)


@etl_group.command("status")
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
      dialer etl status --run 6f9c…
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
    if run_id:
        console.print(_ledger(stages))
        return
    console.print(_standings(standings))
    console.print(_runs(runs))


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
        yield make_night(settings, database)
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
    etl, cores = settings.etl, os.cpu_count() or 1
    if etl.engine == "spark":
        try:
            from etl.engines import spark
        except ImportError as error:
            raise DialerError("Spark is not installed. Run `pip install 'dialer[spark]'`, or use DuckDB.") from error
        return spark.open(etl.spark_master)
    from etl.engines import duckdb

    if lane == "quick":
        return duckdb.open(etl.memory_mb // QUICK_SHARE, 1, spill)
    return duckdb.open(etl.memory_mb, etl.threads or cores, spill)
