"""Puts a campaign's parts together and runs it: the composition behind `dialer run`, without the command line."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from dialer import names
from dialer.ami.link import AmiLink
from dialer.ami.telephony import AmiTelephony
from dialer.campaign.model import Campaign
from dialer.clock import SystemClock
from dialer.engine.campaign_loop import RunningCampaign
from dialer.engine.supervisor import Progress, Supervisor
from dialer.errors import RefusedBySafety
from dialer.monitoring.terminal import View
from dialer.settings import Settings, TrunkSettings, read_secret
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore

SHOW_EVERY_S = 0.25
CALENDAR_DAYS = timedelta(days=14)


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


def running(campaign: Campaign, campaign_id: int, overrides: Overrides) -> RunningCampaign:
    """A campaign file as the engine takes it, with the command line's overrides."""
    capacity = campaign.capacity
    return RunningCampaign(
        id=campaign_id,
        name=campaign.campaign,
        max_concurrent=overrides.max_concurrent or capacity.max_concurrent,
        calls_per_second=overrides.calls_per_second or capacity.calls_per_second,
        trunk=capacity.trunks[0],
        caller_id=capacity.caller_id,
        ring_s=capacity.ring,
        retry=campaign.retry,
    )


async def run_campaign(
    settings: Settings,
    campaign: RunningCampaign,
    view: View,
    workers_answer: Callable[[], Awaitable[bool]],
    refresh_calendar: Callable[[], Awaitable[None]],
) -> tuple[Progress, bool]:
    """Runs a prepared campaign to its end, or until it is drained; the last progress and whether it was drained.

    The first Ctrl-C or TERM drains: no new calls, live ones end as they would. The second leaves at once; live calls
    go on in the workers, and the next run resolves them.
    """
    trunk = settings.trunk(campaign.trunk)
    assert trunk is not None
    node = settings.node(trunk.node)
    clock = SystemClock()
    link = AmiLink(node.ami.host, node.ami.port, names.AMI_USER, read_secret(node.ami.secret_file), clock.now)
    telephony = AmiTelephony(link, settings.mac_key(), clock.now)
    # Once a run is under way a node that goes away is waited for; one that is not there at the start is a mistake.
    await link.connect()
    store = PostgresStore(async_engine(settings), node.name)
    supervisor = Supervisor(campaign, store, telephony, clock, workers_answer, refresh_calendar)
    work = asyncio.create_task(supervisor.run())
    interrupts = _listen_to_signals(supervisor, work, view)
    try:
        while not work.done():
            progress = supervisor.progress()
            if progress is not None:
                view.update(progress)
            await asyncio.wait([work], timeout=SHOW_EVERY_S)
        return work.result(), bool(interrupts)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await work
        link.close()
        await store.close()


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
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    return received
