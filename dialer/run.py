"""Puts an engine's parts together: the composition behind `dialer run` and `dialer engine`, without the command line.

`dialer run` is the node's engine when no other is; else it watches its campaign there, and takes over when that dies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialer import names
from dialer.ami import cel
from dialer.ami.console import Console
from dialer.ami.link import AmiLink
from dialer.ami.telephony import AmiTelephony
from dialer.campaign.model import Campaign
from dialer.campaign.running import RunningCampaign, Wanted
from dialer.clock import DatabaseClock
from dialer.engine.ports import Parts
from dialer.engine.progress import Progress, from_data
from dialer.engine.supervisor import Supervisor
from dialer.engine.witness import ReadCel
from dialer.errors import DatabaseAway, DialerError, Fenced, RefusedBySafety
from dialer.monitoring.terminal import View
from dialer.settings import NodeSettings, Settings, TrunkSettings, read_secret
from dialer.storage.journal import Journal
from dialer.storage.runs import StoredRun
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore

log = logging.getLogger(__name__)

SHOW_EVERY_S = 0.25
WATCH_EVERY_S = 0.5
LEAVE_S = 3.0
ROOM_BYTES = 8 << 20
"""Below so much free space a disk is full: what is under way still needs some."""


class Left(Exception):
    """The operator left a run while calls were live."""


class Staff(Protocol):
    """The FastAGI workers beside a run."""

    def stay(self) -> None:
        """They outlive the run, because calls are live."""
        ...


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What an engine needs of this machine beside the database and the node."""

    settings: Settings
    node: NodeSettings
    workers: Callable[[], AbstractContextManager[Staff]]
    workers_answer: Callable[[], Awaitable[bool]]
    refresh_calendar: Callable[[int], Awaitable[None]]


class Desk(Protocol):
    """What `dialer run` does in the database besides dialling. Every method blocks, and may raise DialerError."""

    def check(self) -> None:
        """Whether an engine may start here at all. Raises RestoredDatabase."""
        ...

    def prepare(self, *, elsewhere: bool) -> RunningCampaign:
        """Registers the file, imports its people, makes its prompts, and wants it to run.

        One that another engine (`elsewhere`) runs already is left as it is, and a changed file of it is refused with
        RefusedBySafety.
        """
        ...

    def drain(self) -> None:
        """Wants it to end."""
        ...

    def find(self) -> StoredRun | None:
        """What is wanted of it and how far it is."""
        ...


def check_trunk(settings: Settings, campaign: Campaign) -> TrunkSettings:
    """The campaign's trunk. Raises RefusedBySafety for one that leaves this machine.

    Calling rules (do-not-call lists, holidays, caps) are not built yet; until they are, nobody outside a lab is called.
    """
    trunk = settings.trunk(campaign.capacity.trunks[0])
    assert trunk is not None, "load.check_against has found it"
    if not may_call_through(trunk):
        raise RefusedBySafety(
            f"trunk {trunk.name!r} leads to {trunk.host}, outside this machine. This release calls only through trunks "
            "on a loopback address such as 127.0.0.1, because it does not check do-not-call lists yet."
        )
    return trunk


def may_call_through(trunk: TrunkSettings | None) -> bool:
    """Whether this release calls through a trunk at all: only one that does not leave the machine."""
    return trunk is not None and trunk.on_loopback


async def run_campaign(machine: Machine, view: View, desk: Desk) -> tuple[Progress, bool]:
    """Runs a campaign to its end, or until it is drained; the last progress and whether it was drained.

    The first Ctrl-C or TERM drains it: no new calls, live ones end as they would. The second raises Left: live calls go
    on in the workers, and the next engine resolves them; a campaign on another process's engine just goes on draining.
    """
    view = _Patient(view)
    campaign: RunningCampaign | None = None
    with _Engine.of(machine) as engine:
        try:
            while True:
                if await engine.store.hold_node():
                    # What is not there at the start is a mistake; what goes away later is waited for.
                    await engine.link.connect()
                    await asyncio.to_thread(desk.check)
                    # After another engine's death what was wanted still is: to run, to stay paused, to end.
                    if campaign is None:
                        campaign = await asyncio.to_thread(desk.prepare, elsewhere=False)
                    return await _dial(engine, campaign, view, desk)
                if campaign is None:
                    campaign = await asyncio.to_thread(desk.prepare, elsewhere=True)
                    view.note(f"Another engine dials through {machine.node.name!r}; {campaign.name} runs on that one.")
                watched = await _watch_elsewhere(desk, view)
                if watched is not None:
                    return watched
                view.note("The engine is gone; taking over.")
        finally:
            await engine.store.close()


async def serve(machine: Machine, view: View, check: Callable[[], None]) -> None:
    """Runs every campaign that is wanted on the node, now or later, until told to stop; waits for its turn first.

    The first TERM or Ctrl-C drains and leaves the orders standing for the next engine; the second raises Left.
    """
    view = _Patient(view)
    with _Engine.of(machine) as engine:
        try:
            waiting = False
            while not await engine.store.hold_node():
                if not waiting:
                    view.note(f"Another engine dials through {machine.node.name!r}; waiting for its end.")
                waiting = True
                await asyncio.sleep(WATCH_EVERY_S)
            await engine.link.connect()
            await asyncio.to_thread(check)
            supervisor = engine.supervisor()
            with engine.staffed(supervisor):
                work = asyncio.create_task(supervisor.run(None))
                _listen_to_signals(view, supervisor.drain, work)
                await _show(work, lambda: [supervisor.progress(one) for one in supervisor.campaigns], view)
        finally:
            await engine.store.close()


@dataclass(frozen=True, kw_only=True)
class _Engine:
    """The wires of one engine process."""

    machine: Machine
    store: PostgresStore
    link: AmiLink
    journal: Journal
    clock: DatabaseClock

    @classmethod
    @contextmanager
    def of(cls, machine: Machine) -> Iterator[_Engine]:
        settings, node, clock = machine.settings, machine.node, DatabaseClock()
        store = PostgresStore(async_engine(settings), node.name, settings.spool_dir, settings.journal_dir, clock)

        async def kick() -> bool:
            # Only who holds the node may end another's session with it; now, not some seconds ago.
            try:
                ours = await store.hold_node() > 0
            except DatabaseAway:
                return False
            if ours:
                await console.kick(names.AMI_USER)
            return ours

        console = Console(argv=node.console)

        journal = Journal(settings.journal_dir, node.name, clock.now)
        secret = read_secret(node.ami.secret_file)
        link = AmiLink(node.ami.host, node.ami.port, names.AMI_USER, secret, clock.now, kick if node.console else None)
        try:
            yield cls(machine=machine, store=store, link=link, journal=journal, clock=clock)
        finally:
            link.close()
            journal.close()

    def supervisor(self) -> Supervisor:
        machine, clock = self.machine, self.clock
        telephony = AmiTelephony(self.link, machine.settings.mac_key(), clock.now)
        parts = Parts(store=self.store, telephony=telephony, journal=self.journal, clock=clock)
        trunks = {trunk.name for trunk in machine.settings.trunks if trunk.node == machine.node.name}
        safe = {name for name in trunks if may_call_through(machine.settings.trunk(name))}
        return Supervisor(
            parts, safe, machine.workers_answer, machine.refresh_calendar, self._full_disk, _cel_reader(machine.node)
        )

    @contextmanager
    def staffed(self, supervisor: Supervisor) -> Iterator[None]:
        with self.machine.workers() as staff:
            try:
                yield
            except Fenced:
                staff.stay()
                raise
            finally:
                if supervisor.tracker.open_attempts:
                    # Whoever answers now must not meet silence.
                    staff.stay()

    def _full_disk(self) -> str:
        settings, cel_file = self.machine.settings, self.machine.node.cel_file
        for directory in (settings.journal_dir, settings.spool_dir, *([cel_file.parent] if cel_file else ())):
            if problem := _no_room(directory):
                return problem
        return ""


def _no_room(directory: Path) -> str:
    try:
        found = os.statvfs(directory)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{directory} cannot be looked at: {error.strerror}"
    free = found.f_bavail * found.f_frsize
    return "" if free >= ROOM_BYTES else f"the disk of {directory} is full: {free >> 10} KiB are free"


async def _dial(engine: _Engine, campaign: RunningCampaign, view: View, desk: Desk) -> tuple[Progress, bool]:
    """Is the node's engine until nothing is left to do."""
    supervisor = engine.supervisor()

    def drain() -> None:
        if campaign.id in supervisor.campaigns:
            supervisor.drain_campaign(campaign.id)
        else:
            supervisor.drain()

    with engine.staffed(supervisor):
        work = asyncio.create_task(supervisor.run([campaign.id]))
        signals = _listen_to_signals(view, drain, work)
        try:
            await _show(work, lambda: _own_or_others(supervisor, campaign, view, signals), view)
        except Left:
            with suppress(DialerError, TimeoutError):
                async with asyncio.timeout(LEAVE_S):
                    await engine.store.finish(campaign.id, campaign.tenant_id, "left", "its operator left")
            raise
    progress = supervisor.progress(campaign.id) or await _last_of(desk)
    return progress, progress.drained


async def _last_of(desk: Desk) -> Progress:
    """Of a campaign that had ended just when its engine died."""
    run = await asyncio.to_thread(desk.find)
    if run is None or run.progress is None:
        raise DialerError(
            "the campaign ended before anybody could look at it. `dialer status NAME` says how it stands."
        )
    return from_data(run.progress)


def _own_or_others(
    supervisor: Supervisor, campaign: RunningCampaign, view: View, signals: list[int]
) -> list[Progress | None]:
    others = [one for one in supervisor.campaigns if one != campaign.id]
    own = supervisor.progress(campaign.id)
    if campaign.id in supervisor.campaigns or own is None or not others:
        return [own]
    if 0 not in signals:
        signals.append(0)
        names_ = ", ".join(supervisor.campaigns.values())
        view.note(f"{campaign.name} is done. This engine goes on for {names_}; Ctrl-C drains it.")
    return [supervisor.progress(one) for one in others]


async def _show(work: asyncio.Task[None], progress: Callable[[], list[Progress | None]], view: View) -> None:
    """Shows progress until the work ends. Raises what it raised; Left when it was cancelled."""
    try:
        while not work.done():
            for one in progress():
                if one is not None:
                    view.update(one)
            await asyncio.wait([work], timeout=SHOW_EVERY_S)
        if work.cancelled():
            raise Left
        work.result()
    finally:
        work.cancel()
        await asyncio.wait([work])


async def _watch_elsewhere(desk: Desk, view: View) -> tuple[Progress, bool] | None:
    """Shows what another process's engine says of the campaign, until it is idle; None when that engine died."""
    ordered: list[asyncio.Task[None]] = []
    watching = asyncio.create_task(_watch(desk, view))
    signals = _listen_to_signals(
        view, lambda: ordered.append(asyncio.create_task(asyncio.to_thread(desk.drain))), watching
    )  # fmt: skip
    try:
        await asyncio.wait([watching])
        if watching.cancelled():
            raise Left
        last = watching.result()
        return None if last is None else (last, last.drained or bool(signals))
    finally:
        await asyncio.gather(*ordered, return_exceptions=True)


async def _watch(desk: Desk, view: View) -> Progress | None:
    last: Progress | None = None
    away = False
    while True:
        try:
            run = await asyncio.to_thread(desk.find)
            away = False
        except DialerError as error:
            if not away:
                view.note(str(error))
            run, away = None, True
        if run is not None:
            if run.progress is not None:
                last = from_data(run.progress)
                view.update(last)
            if run.wanted is Wanted.IDLE and last is not None:
                return last
            if not run.engine_live:
                return None
        await asyncio.sleep(WATCH_EVERY_S)


def _cel_reader(node: NodeSettings) -> ReadCel | None:
    path = node.cel_file
    return None if path is None else lambda position: cel.read(path, position)


def _listen_to_signals(view: View, drain: Callable[[], None], work: asyncio.Task[object]) -> list[int]:
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if sum(one > 0 for one in received) == 1:
            view.note("Draining: no new calls; the live ones end as they would. Once more to leave at once.")
            drain()
        else:
            view.note("Leaving. Live calls go on; the next engine resolves them.")
            work.cancel()

    loop = asyncio.get_running_loop()
    # A terminal that goes away (SIGHUP) must not take live calls with it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal, number)
    return received


class _Patient:
    """A view whose terminal or file may fail: the calls matter more."""

    def __init__(self, view: View) -> None:
        self._view: View | None = view

    def update(self, progress: Progress) -> None:
        self._do(lambda view: view.update(progress))

    def note(self, text: str) -> None:
        self._do(lambda view: view.note(text))

    def close(self) -> None:
        self._do(lambda view: view.close())

    def _do(self, show: Callable[[View], None]) -> None:
        if self._view is None:
            return
        try:
            show(self._view)
        except OSError as error:
            self._view = None
            log.warning("nothing can be shown any more: %s", error, extra={"event": "view.failed"})
