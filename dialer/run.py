"""How a campaign is run, and an engine served: the composition behind `dialer run` and `dialer engine`.

`dialer run` is the node's engine when no other is; else it watches its campaign there, and takes over when that dies.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from dialer.campaign.model import Campaign
from dialer.campaign.running import RunningCampaign, Wanted
from dialer.engine.progress import Progress, from_data, merged
from dialer.engine_process import EngineProcess, Machine
from dialer.errors import DialerError
from dialer.fleet import Fleet
from dialer.monitoring.terminal import View
from dialer.pacing.decide import Binding
from dialer.settings import NodeSettings, Settings
from dialer.storage.runs import StoredRun

log = logging.getLogger(__name__)

SHOW_EVERY_S = 0.25
WATCH_EVERY_S = 0.5
LEAVE_S = 3.0


class Left(Exception):
    """The operator left a run while calls were live."""


class Desk(Protocol):
    """What `dialer run` does in the database besides dialling. Every method blocks, and may raise DialerError."""

    def check(self) -> None:
        """Whether an engine may start here at all. Raises RestoredDatabase."""
        ...

    def prepare(self, *, elsewhere: bool) -> RunningCampaign:
        """Registers the file, imports its people, makes its prompts.

        A changed file of a campaign that another engine runs now is refused: RefusedBySafety.
        """
        ...

    def begin(self, *, elsewhere: bool) -> None:
        """Wants it to run; one that another engine (`elsewhere`) runs already is left as it is."""
        ...

    def drain(self) -> None:
        """Wants it to end."""
        ...

    def find(self) -> StoredRun | None:
        """What is wanted of it and how far it is."""
        ...


def nodes_of(settings: Settings, campaign: Campaign) -> dict[str, int]:
    """The nodes of a campaign's trunks, each with the trunks' weights in sum."""
    found: dict[str, int] = {}
    for use in campaign.capacity.trunks:
        trunk = settings.trunk(use.name)
        assert trunk is not None, "load.check_against has found it"
        found[trunk.node] = found.get(trunk.node, 0) + use.weight
    return found


async def run_campaign(
    machine: Machine, nodes: Sequence[NodeSettings], view: View, desk: Desk
) -> tuple[Progress, bool]:  # fmt: skip
    """Runs a campaign to its end, or until it is drained; the last progress and whether it was drained.

    The first Ctrl-C or TERM drains it: no new calls, live ones end as they would. The second raises Left: live calls go
    on in the workers, and the next engine resolves them; a campaign on another process's engine just goes on draining.
    """
    view = _Patient(view)
    campaign: RunningCampaign | None = None
    draining = False
    async with Fleet.opened(machine, nodes, view.note) as fleet:
        while True:
            ours = await fleet.take()
            if ours:
                # What is not there at the start is a mistake; what goes away later is waited for.
                async with fleet.ready(ours, patient=campaign is not None):
                    await asyncio.to_thread(desk.check)
                    # After another engine's death what was wanted still is: to run, to stay paused, to end.
                    campaign = campaign or await _ordered(desk, elsewhere=fleet.has_others(ours))
                return await _dial(fleet, ours, campaign, view, desk, draining=draining)
            if campaign is None:
                campaign = await _ordered(desk, elsewhere=True)
                names = " and ".join(repr(node.name) for node in nodes)
                view.note(f"Another engine dials through {names}; {campaign.name} runs on that one.")
            last, draining = await _watch_elsewhere(desk, view)
            if last is not None:
                return last, last.drained or draining
            view.note("The engine is gone; taking over.")


async def _ordered(desk: Desk, *, elsewhere: bool) -> RunningCampaign:
    """The campaign, wanted to run. The order comes last and by itself: who interrupts the import orders nothing."""
    campaign = await asyncio.to_thread(desk.prepare, elsewhere=elsewhere)
    await asyncio.to_thread(desk.begin, elsewhere=elsewhere)
    return campaign


async def serve(machine: Machine, nodes: Sequence[NodeSettings], view: View, check: Callable[[], None]) -> None:
    """Runs every campaign that is wanted on the nodes, now or later, until told to stop; waits for their turn first.

    The first TERM or Ctrl-C drains and leaves the orders standing for the next engine; the second raises Left.
    """
    view = _Patient(view)
    async with Fleet.opened(machine, nodes, view.note) as fleet:
        waited = not await fleet.take()
        ours = await fleet.first()
        async with fleet.ready(ours, patient=waited):
            await asyncio.to_thread(check)
        work = asyncio.create_task(fleet.run(ours, None, check))
        _listen_to_signals(view, fleet.drain, lambda: _leave(view, work))
        await _show(work, lambda: [fleet.progress(one) for one in fleet.campaigns], view)


async def _dial(
    fleet: Fleet, ours: Sequence[EngineProcess], campaign: RunningCampaign, view: View, desk: Desk, *, draining: bool
) -> tuple[Progress, bool]:
    """Is the engine of the nodes that are ours until nothing is left to do; `draining`: it was told to end before."""
    telling: list[asyncio.Task[None]] = []

    def drain() -> None:
        if fleet.has_ended(campaign.id):
            fleet.drain()
        else:
            fleet.drain_campaign(campaign.id)
            # Whoever takes over when this process dies must not begin again.
            telling.append(asyncio.create_task(_told(desk, view)))

    if draining:
        drain()
    work = asyncio.create_task(fleet.run(ours, [campaign.id], desk.check))
    elsewhere: list[Progress] = []
    looking = asyncio.create_task(_look_elsewhere(desk, elsewhere)) if fleet.has_others(ours) else None
    said: list[str] = []
    _listen_to_signals(view, drain, lambda: _leave(view, work))
    try:
        await _show(work, lambda: _own_or_others(fleet, campaign, view, said, elsewhere), view)
    except Left:
        with suppress(DialerError, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await ours[0].store.finish(campaign.id, campaign.tenant_id, "left", "its operator left")
        raise
    finally:
        running = [*telling, *([looking] if looking is not None else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    progress = await _last_of(desk) if looking is not None else fleet.progress(campaign.id) or await _last_of(desk)
    return progress, progress.drained


async def _look_elsewhere(desk: Desk, found: list[Progress]) -> None:
    """Keeps up with what other processes' engines say of the campaign."""
    while True:
        with suppress(DialerError):
            run = await asyncio.to_thread(desk.find)
            found[:] = [_merged(run)] if run is not None and run.progress else []
        await asyncio.sleep(WATCH_EVERY_S)


def _leave(view: View, work: asyncio.Task[None]) -> None:
    view.note("Leaving. Live calls go on; the next engine resolves them.")
    work.cancel()


async def _told(desk: Desk, view: View) -> None:
    """Stores the operator's order to drain, however long the database is away."""
    said = False
    while True:
        try:
            await asyncio.to_thread(desk.drain)
            return
        except DialerError as error:
            if not said:
                view.note(f"Not drained yet: {error}")
            said = True
        await asyncio.sleep(WATCH_EVERY_S)


async def _last_of(desk: Desk) -> Progress:
    """Of a campaign that had ended just when its engine died."""
    run = await asyncio.to_thread(desk.find)
    if run is None or not run.progress:
        why = f": {run.wanted_why}" if run is not None and run.wanted_why else ""
        raise DialerError(f"the campaign ended before anybody could look at it{why}. `dialer status NAME` says more.")
    return _merged(run)


def _merged(run: StoredRun) -> Progress:
    """What engines say of a campaign; one that says nothing any more has verdicts, and no calls that are known of."""
    parts = []
    for node in run.nodes:
        if node.progress is not None:
            part = from_data(node.progress)
            gone = replace(part, calls_now=0, unclear=0, calls_per_second=0.0, binding=Binding.NODE_AWAY)
            parts.append(part if node.followed or run.wanted is Wanted.IDLE else gone)
    return merged(parts)


def _own_or_others(
    fleet: Fleet, campaign: RunningCampaign, view: View, said: list[str], elsewhere: Sequence[Progress]
) -> list[Progress | None]:
    others = [one for one in fleet.campaigns if one != campaign.id]
    if not fleet.has_ended(campaign.id) or not others:
        # Those who write from other processes write our part, too.
        return [merged(elsewhere) if elsewhere else fleet.progress(campaign.id)]
    if not said:
        said.append(", ".join(fleet.campaigns.values()))
        view.note(f"{campaign.name} is done. This engine goes on for {said[0]}; Ctrl-C drains it.")
    return [fleet.progress(one) for one in others]


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


async def _watch_elsewhere(desk: Desk, view: View) -> tuple[Progress | None, bool]:
    """Shows what other processes' engines say of the campaign, until it is idle; None when one of them died.

    And whether its operator here wants it to end.
    """
    telling: list[asyncio.Task[None]] = []
    watching = asyncio.create_task(_watch(desk, view))

    def leave() -> None:
        if all(task.done() for task in telling):
            view.note("Leaving. The campaign drains on its engine; `dialer status` says how far it is.")
        else:
            view.note("Leaving, but it is NOT drained: the order could not be stored. Run `dialer drain NAME`.")
        watching.cancel()

    _listen_to_signals(view, lambda: telling.append(asyncio.create_task(_told(desk, view))), leave)
    try:
        await asyncio.wait([watching])
        if watching.cancelled():
            raise Left
        return watching.result(), bool(telling)
    finally:
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)


async def _watch(desk: Desk, view: View) -> Progress | None:
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
            if run.wanted is Wanted.IDLE:
                return await _last_of(desk)
            if run.progress:
                view.update(_merged(run))
            if not all(one.engine_live for one in run.nodes):
                return None
        await asyncio.sleep(WATCH_EVERY_S)


def _listen_to_signals(view: View, drain: Callable[[], None], leave: Callable[[], None]) -> None:
    """The first signal drains, the next ones leave."""
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            view.note("Draining: no new calls; the live ones end as they would. Once more to leave at once.")
            drain()
        else:
            leave()

    loop = asyncio.get_running_loop()
    # A terminal that goes away (SIGHUP) must not take live calls with it; under nohup it means nothing.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)


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
