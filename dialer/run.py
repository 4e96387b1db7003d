"""Puts a campaign's parts together and runs it: the composition behind `dialer run`, without the command line."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dialer import names
from dialer.ami import cel
from dialer.ami.link import AmiLink
from dialer.ami.telephony import AmiTelephony
from dialer.campaign.model import Campaign
from dialer.clock import SystemClock
from dialer.contacts.contact import Terms
from dialer.engine.campaign_loop import RunningCampaign
from dialer.engine.supervisor import Progress, Supervisor
from dialer.engine.witness import ReadCel
from dialer.errors import DialerError, RefusedBySafety
from dialer.monitoring.terminal import View
from dialer.settings import NodeSettings, Settings, TrunkSettings, read_secret
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore

log = logging.getLogger(__name__)

SHOW_EVERY_S = 0.25


class Left(Exception):
    """The operator left a run while calls were live."""


class Staff(Protocol):
    """The FastAGI workers beside a run."""

    def stay(self) -> None:
        """They outlive the run, because calls are live."""
        ...


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A campaign that can be run, and its workers."""

    campaign: RunningCampaign
    workers: Callable[[], AbstractContextManager[Staff]]


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line says instead of the file; None keeps the file's."""

    max_concurrent: int | None = None
    calls_per_second: float | None = None


def check_trunk(settings: Settings, campaign: Campaign) -> TrunkSettings:
    """The campaign's trunk. Raises RefusedBySafety for one that leaves this machine.

    Calling rules (do-not-call lists, holidays, caps) are not built yet; until they are, nobody outside a lab is called.
    """
    trunk = settings.trunk(campaign.capacity.trunks[0])
    assert trunk is not None, "load.check_against has found it"
    if not trunk.on_loopback:
        raise RefusedBySafety(
            f"trunk {trunk.name!r} leads to {trunk.host}, outside this machine. This release calls only through trunks "
            "on a loopback address such as 127.0.0.1, because it does not check do-not-call lists yet."
        )
    return trunk


def running(campaign: Campaign, campaign_id: int, revision_id: int, overrides: Overrides) -> RunningCampaign:
    """A campaign file as the engine takes it, with the command line's overrides."""
    capacity = campaign.capacity
    return RunningCampaign(
        id=campaign_id,
        revision_id=revision_id,
        name=campaign.campaign,
        max_concurrent=overrides.max_concurrent or capacity.max_concurrent,
        calls_per_second=overrides.calls_per_second or capacity.calls_per_second,
        trunk=capacity.trunks[0],
        caller_id=capacity.caller_id,
        ring_s=capacity.ring,
        terms=Terms(retry=campaign.retry, longest_s=capacity.ring + capacity.longest_call),
    )


async def run_campaign(
    settings: Settings,
    trunk: TrunkSettings,
    view: View,
    prepare: Callable[[], Prepared],
    workers_answer: Callable[[], Awaitable[bool]],
    refresh_calendar: Callable[[], Awaitable[None]],
) -> tuple[Progress, bool]:
    """Runs a campaign to its end, or until it is drained; the last progress and whether it was drained.

    `prepare` registers and imports; it runs once this process is the node's one engine, so that a second run changes
    nothing under the first. The first Ctrl-C or TERM drains: no new calls, live ones end as they would. The second
    raises Left; live calls go on in the workers, and the next run resolves them.
    """
    node = settings.node(trunk.node)
    clock = SystemClock()
    link = AmiLink(node.ami.host, node.ami.port, names.AMI_USER, read_secret(node.ami.secret_file), clock.now)
    telephony = AmiTelephony(link, settings.mac_key(), clock.now)
    store = PostgresStore(async_engine(settings), node.name)
    try:
        if not await store.hold_node():
            raise DialerError(
                f"another engine dials through {node.name!r} already. Stop it first, or wait for its end."
            )
        # Once a run is under way a node that goes away is waited for; one that is not there at the start is a mistake.
        await link.connect()
        prepared = await asyncio.to_thread(prepare)
        supervisor = Supervisor(
            prepared.campaign, store, telephony, clock, workers_answer, refresh_calendar, _cel_reader(node)
        )
        with prepared.workers() as staff:
            try:
                return await _watch(supervisor, _Patient(view))
            finally:
                if supervisor.tracker.open_attempts:
                    # Whoever answers now must not meet silence.
                    staff.stay()
    finally:
        link.close()
        await store.close()


async def _watch(supervisor: Supervisor, view: View) -> tuple[Progress, bool]:
    work = asyncio.create_task(supervisor.run())
    signals = _listen_to_signals(supervisor, work, view)
    try:
        while not work.done():
            progress = supervisor.progress()
            if progress is not None:
                view.update(progress)
            await asyncio.wait([work], timeout=SHOW_EVERY_S)
        if work.cancelled():
            raise Left
        return work.result(), bool(signals)
    finally:
        work.cancel()
        await asyncio.wait([work])


def _cel_reader(node: NodeSettings) -> ReadCel | None:
    path = node.cel_file
    return None if path is None else lambda position: cel.read(path, position)


def _listen_to_signals(supervisor: Supervisor, work: asyncio.Task[Progress], view: View) -> list[int]:
    received: list[int] = []

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) == 1:
            view.note("Draining: no new calls; the live ones end as they would. Once more to leave at once.")
            supervisor.drain()
        else:
            view.note("Leaving. Live calls go on; the next run of this campaign resolves them.")
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
