"""`dialer run`: from a campaign file to its last verdict."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from sqlalchemy import Engine

from dialer import event_loop, log
from dialer import settings as settings_module
from dialer.campaign.calendar import closed_because
from dialer.campaign.caller_identity import in_words
from dialer.campaign.calling import rules_of
from dialer.campaign.capacity import CallerId, TrunkUse
from dialer.campaign.load import LoadedCampaign, check_against, load_campaign
from dialer.campaign.running import Overrides, RunningCampaign, Wanted, running
from dialer.clock import monotonic, utc_now
from dialer.contacts.ingest import Accepted
from dialer.control_command import operator
from dialer.delivery_watch import DeliveryWatch
from dialer.engine.ports import WorkersLook
from dialer.engine.progress import as_data
from dialer.engine_process import Machine, Staff
from dialer.errors import InvalidInput, RefusedBySafety, RestoredDatabase
from dialer.monitoring import terminal
from dialer.pacing.routes import Route, carries
from dialer.run import Left, nodes_of, run_campaign
from dialer.settings import NodeSettings, Settings, TrunkSettings
from dialer.storage import campaigns, event_log, migrate, restore, runs
from dialer.storage.deliveries import Deliveries
from dialer.storage.prepare import prepare, read_people
from dialer.storage.reading import reading
from dialer.storage.session import plain_errors, sync_engine

SAY_EVERY_S = 2.0
STOPPED = 130
"""Exit code of a run that was stopped with people left to call, as shells say it for Ctrl-C."""


@dataclass(frozen=True, kw_only=True)
class Siblings:
    """What a run needs of the packages that dialer does not import."""

    build_prompts: Callable[[LoadedCampaign, Settings, Callable[[int, int], None]], object]
    workers: Callable[[Settings, Path], AbstractContextManager[Staff]]
    look_at_workers: Callable[[Settings], WorkersLook | None]
    nightly: Callable[[Settings, Path], Callable[[], None]]
    """What begins the nightly ETL of a machine."""


def run_command(siblings: Siblings) -> click.Command:
    """The command, with its siblings wired in."""

    @click.command()
    @click.argument("file", type=click.Path(path_type=Path))
    @click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
    @click.option(
        "--max-concurrent", type=click.IntRange(1, 10_000), help="The most calls at once, instead of the file's."
    )
    @click.option(
        "--calls-per-second", type=click.FloatRange(0, 500, min_open=True), help="The rate, instead of the file's."
    )
    @click.option("--dry-run", is_flag=True, help="Check everything and say what would be done; call nobody.")
    @click.option("--json", "as_json", is_flag=True, help="Progress on stderr and the summary on stdout as JSON.")
    def run(
        file: Path,
        settings_path: Path | None,
        max_concurrent: int | None,
        calls_per_second: float | None,
        dry_run: bool,
        as_json: bool,
    ) -> None:
        """Run a campaign: import its contacts, call them, retry in waves until nobody is left.

        Running it again goes on where it stopped; nobody is called twice for it. When another engine dials through the
        same node already, the campaign runs there and is shown here. Ctrl-C drains it: no new calls, live ones end as
        they would; the exit code is then 130. A second Ctrl-C leaves at once.

        \b
        Examples:
          dialer run campaign.yaml --dry-run
          dialer run campaign.yaml --max-concurrent 50 --calls-per-second 5
        """
        settings_file = settings_module.find_file(settings_path)
        settings = settings_module.load(settings_file)
        loaded = load_campaign(file)
        problems = check_against(loaded, settings)
        if problems:
            raise InvalidInput(f"{file} does not fit this machine's settings; nothing was started", problems)
        nodes_of(settings, loaded.campaign)
        overrides = Overrides(max_concurrent=max_concurrent, calls_per_second=calls_per_second)
        if dry_run:
            _say_what_would_be_done(loaded, overrides, settings)
            return
        log.to_file(settings.state_dir / "logs" / "dialer.log")
        sys.exit(_run(siblings, settings, settings_file, loaded, overrides, as_json=as_json))

    return run


def _run(
    siblings: Siblings,
    settings: Settings,
    settings_file: Path,
    loaded: LoadedCampaign,
    overrides: Overrides,
    *,
    as_json: bool,
) -> int:
    view = terminal.open_view(sys.stderr, as_json=as_json, monotonic=monotonic)
    engine = sync_engine(settings)
    try:
        progress, drained = event_loop.run(
            run_campaign(
                machine(siblings, settings, settings_file, engine),
                [settings.node(name) for name in nodes_of(settings, loaded.campaign)],
                view,
                _Desk(siblings, settings, loaded, overrides, engine, view),
            )
        )
    except Left:
        return STOPPED
    finally:
        view.close()
        engine.dispose()
    if as_json:
        click.echo(json.dumps({"summary": as_data(progress)}))
    else:
        Console(file=sys.stdout).print(terminal.summary(progress, drained=drained))
    return STOPPED if drained and progress.due > progress.never else 0


def machine(siblings: Siblings, settings: Settings, settings_file: Path, engine: Engine) -> Machine:
    """What an engine needs of this machine, from the settings."""

    async def look_at_workers() -> WorkersLook | None:
        return await asyncio.to_thread(siblings.look_at_workers, settings)

    async def refresh_calendar(revision_id: int) -> None:
        def refresh() -> None:
            with plain_errors(), engine.begin() as connection:
                campaigns.refresh_calendar(connection, revision_id, utc_now())

        await asyncio.to_thread(refresh)

    return Machine(
        settings=settings,
        workers=lambda: siblings.workers(settings, settings_file),
        look_at_workers=look_at_workers,
        refresh_calendar=refresh_calendar,
        nightly=siblings.nightly(settings, settings_file),
        deliveries=DeliveryWatch(Deliveries(engine, settings.state_dir / "rejects", operator())),
    )


def check_database(engine: Engine, settings: Settings) -> None:
    """Makes sure that an engine may start on this database. Raises DatabaseAway, RestoredDatabase."""
    migrate.require_current(engine)
    with plain_errors(), engine.begin() as connection:
        event_log.ensure_partitions(connection, utc_now())
    with reading(engine) as connection:
        ahead = restore.ahead(connection, settings.journal_dir)
    if ahead is not None:
        raise RestoredDatabase(str(ahead))


class _Desk:
    """What `dialer run` does in the database besides dialling (dialer.run.Desk)."""

    def __init__(
        self,
        siblings: Siblings,
        settings: Settings,
        loaded: LoadedCampaign,
        overrides: Overrides,
        engine: Engine,
        view: terminal.View,
    ) -> None:
        self._siblings, self._settings, self._loaded, self._overrides = siblings, settings, loaded, overrides
        self._engine, self._view = engine, view
        self._campaign: RunningCampaign | None = None

    def check(self) -> None:
        check_database(self._engine, self._settings)

    def prepare(self, *, elsewhere: bool) -> RunningCampaign:
        loaded, settings = self._loaded, self._settings
        migrate.require_current(self._engine)
        self._refuse_change_under_way(elsewhere=elsewhere)
        rejects_dir = settings.state_dir / "rejects"
        made = prepare(self._engine, loaded, utc_now(), self._view.note, rejects_dir, by=operator())
        self._view.note(made.in_words)
        self._siblings.build_prompts(loaded, settings, _prompt_progress(self._view))
        self._campaign = running(loaded.campaign, made.campaign_id, made.revision_id, self._overrides)
        return self._campaign

    def begin(self, *, elsewhere: bool) -> None:
        campaign = self._campaign
        assert campaign is not None, "prepare comes first"
        found = self.find() if elsewhere else None
        if found is not None and found.followed and found.wanted is not Wanted.IDLE:
            if self._overrides != Overrides():
                self._view.note(f"{campaign.name} runs already, with the limits that it was started with.")
            return
        nodes = nodes_of(self._settings, self._loaded.campaign)
        with plain_errors(), self._engine.begin() as connection:
            runs.begin(connection, campaign, nodes, operator())

    def drain(self) -> None:
        campaign = self._campaign
        assert campaign is not None, "prepare comes first"
        order = runs.Order(verb="drain", wanted=Wanted.DRAINING, by=operator(), why="Ctrl-C")
        with plain_errors(), self._engine.begin() as connection:
            runs.change(connection, campaign.id, campaign.tenant_id, order, (Wanted.RUNNING, Wanted.PAUSED))

    def find(self) -> runs.StoredRun | None:
        campaign = self._campaign
        assert campaign is not None, "prepare comes first"
        with reading(self._engine) as connection:
            return runs.find(connection, campaign.id)

    def _refuse_change_under_way(self, *, elsewhere: bool) -> None:
        """Only what an engine dials now may not be changed: one elsewhere on this node, or one of another node."""
        name = self._loaded.campaign.campaign
        with reading(self._engine) as connection:
            stored = campaigns.by_name(connection, name)
            run = runs.find(connection, stored.campaign_id) if stored is not None else None
        if stored is None or run is None or run.wanted is Wanted.IDLE or not run.followed:
            return
        nodes = nodes_of(self._settings, self._loaded.campaign)
        strange = [one.node for one in run.nodes if one.followed and one.node not in nodes]
        if strange:
            raise RefusedBySafety(
                f"{name} runs now on {', '.join(strange)} too, and its trunks here are on {', '.join(nodes)}. "
                f"Wait for its end, or drain it (`dialer drain {name}`) and run it here then."
            )
        if not elsewhere:
            return
        if stored.sha256 != self._loaded.sha256:
            raise RefusedBySafety(
                f"{name} runs now with another version of its file. `dialer plan {self._loaded.path}` says what this "
                "one would change, and `dialer apply` accepts it under live calls."
            )


def _prompt_progress(view: terminal.View) -> Callable[[int, int], None]:
    said_at = [monotonic()]

    def made(done: int, of: int) -> None:
        if done == of or monotonic() - said_at[0] >= SAY_EVERY_S:
            said_at[0] = monotonic()
            view.note(f"prompts: {done} of {of} made")

    return made


def _say_what_would_be_done(loaded: LoadedCampaign, overrides: Overrides, settings: Settings) -> None:
    capacity = loaded.campaign.capacity
    max_concurrent = overrides.max_concurrent or capacity.max_concurrent
    calls_per_second = overrides.calls_per_second or capacity.calls_per_second
    trunks = [(use, trunk) for use in capacity.trunks if (trunk := settings.trunk(use.name)) is not None]
    routes = [
        Route(trunk=use.name, prefixes=trunk.prefixes, priority=use.priority, weight=use.weight)
        for use, trunk in trunks
    ]
    people = numbers = rejected = uncarried = callable_now = 0
    now, rules = utc_now(), rules_of(loaded.campaign)
    open_by_zones: dict[str, bool] = {}
    for row in read_people(loaded, now):
        if not isinstance(row, Accepted):
            rejected += 1
            continue
        people += 1
        numbers += len(row.numbers)
        uncarried += sum(not any(carries(route, number) for route in routes) for number in row.numbers)
        if row.zones not in open_by_zones:
            open_by_zones[row.zones] = not closed_because(rules, row.zones, now)
        callable_now += open_by_zones[row.zones]
    click.echo(
        f"{loaded.campaign.campaign}: would call {people} people at {numbers} numbers\n"
        f"  rejected rows: {rejected}\n"
        f"  numbers that no trunk carries: {uncarried}\n"
        f"  inside their window now: {callable_now}\n"
        f"  at most {max_concurrent} calls at once and {calls_per_second:g} new ones a second; "
        f"the first wave takes at least {people / calls_per_second:.0f} s"
    )
    for use, trunk in trunks:
        click.echo(_trunk_line(use, trunk, settings.node(trunk.node), use.caller_id or capacity.caller_id))
    click.echo(f"  flow: {', '.join(loaded.campaign.flow)}\nNothing was stored and nobody was called.")


def _trunk_line(use: TrunkUse, trunk: TrunkSettings, node: NodeSettings, caller_id: CallerId) -> str:
    """How a trunk is used, with the tighter of its own and its node's limits."""
    at_once = min(trunk.max_concurrent or node.max_concurrent, node.max_concurrent)
    a_second = min(trunk.calls_per_second or node.calls_per_second, node.calls_per_second)
    return (
        f"  through {trunk.name} (node {node.name}, priority {use.priority}, weight {use.weight}): "
        f"carries {', '.join(trunk.prefixes) or 'all numbers'}, at most {at_once} calls at once and {a_second:g} new "
        f"ones a second; shows {in_words(caller_id)}"
    )
