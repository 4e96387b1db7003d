"""Runs a campaign on a node: keeps the link, recovers, launches, drains; APScheduler is its clock."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from dialer.calls.disposition import Disposition
from dialer.clock import Clock
from dialer.contacts.contact import Totals
from dialer.engine.campaign_loop import CampaignLoop, RunningCampaign
from dialer.engine.ports import Store, Telephony
from dialer.engine.recovery import Recovery
from dialer.engine.tracker import Ended, Tracker
from dialer.errors import AsteriskAway, DatabaseAway, DialerError
from dialer.pacing.decide import Binding

log = logging.getLogger(__name__)

BUSY_TURN_S = 0.1
SWEEP_EVERY_S = 10
WORKERS_EVERY_S = 2
CALENDAR_EVERY_S = 3600


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the campaign stands at this moment."""

    at: datetime
    campaign: str
    calls_now: int
    max_concurrent: int
    calls_per_second: float
    max_calls_per_second: float
    launched: int
    wave: int
    contacts: int
    closed: int
    held: int
    due: int
    next_due_at: datetime | None
    dispositions: dict[str, int]
    binding: Binding


class Supervisor:
    """One engine process with one campaign."""

    def __init__(
        self,
        campaign: RunningCampaign,
        store: Store,
        telephony: Telephony,
        clock: Clock,
        workers_answer: Callable[[], Awaitable[bool]],
        refresh_calendar: Callable[[], Awaitable[None]],
    ) -> None:
        """`workers_answer` says whether FastAGI workers of ours listen; `refresh_calendar` writes the days ahead."""
        self.campaign = campaign
        self.tracker = Tracker(store, clock)
        self._store, self._telephony, self._clock = store, telephony, clock
        self._recovery = Recovery(store, telephony, self.tracker, clock)
        self._workers_answer, self._refresh_calendar = workers_answer, refresh_calendar
        self._loop: CampaignLoop | None = None
        self._totals: Totals | None = None
        self._dispositions: Counter[Disposition] = Counter()
        self._wake = asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self._recovered = self._workers = self._draining = False
        self._is_ours = True
        self.tracker.ended.append(self._count)

    # -- what the terminal asks ------------------------------------------------------------------------------------

    def progress(self) -> Progress | None:
        """Where the campaign stands; None before the first look at the database."""
        loop, totals = self._loop, self._totals
        if loop is None or totals is None:
            return None
        return Progress(
            at=self._clock.now(),
            campaign=self.campaign.name,
            calls_now=self.tracker.calls_now,
            max_concurrent=self.campaign.max_concurrent,
            calls_per_second=loop.calls_per_second(),
            max_calls_per_second=self.campaign.calls_per_second,
            launched=loop.launched,
            wave=totals.wave,
            contacts=totals.contacts,
            closed=totals.closed,
            held=totals.held,
            due=totals.due,
            next_due_at=totals.next_due_at,
            dispositions={one.value: number for one, number in self._dispositions.most_common()},
            binding=loop.binding,
        )

    def drain(self) -> None:
        """Starts no more calls; `run` returns when the last has its verdict."""
        self._draining = True
        self._wake.set()

    # -- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> Progress:
        """Runs the campaign until every contact is closed or held, or it is drained."""
        if not await self._store.hold_node():
            raise DialerError("another engine dials through this node already. Stop it first, or wait until it ends.")
        await self._store.ensure_partitions(self._clock.now())
        now, monotonic = self._clock.now(), self._clock.monotonic()
        sent_at = [monotonic - (now - at).total_seconds() for at in await self._store.sent_lately()]
        self._loop = CampaignLoop(
            self.campaign, self._store, self._telephony, self.tracker, self._clock, self._blocked, sent_at
        )
        await self._look_at_totals()
        self._dispositions.update(self._totals.dispositions if self._totals else {})
        await self._check_workers()
        self._schedule()
        tasks = [
            asyncio.create_task(self.tracker.run(), name="tracker"),
            asyncio.create_task(self._telephony.keep_up(self._on_up, self._on_down), name="link"),
            asyncio.create_task(self._pump(), name="events"),
            asyncio.create_task(self._launch_until_done(self._loop), name="launch"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._telephony.refusal:
                raise AsteriskAway(self._telephony.refusal)
        finally:
            self._scheduler.shutdown(wait=False)
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._look_at_totals()
        progress = self.progress()
        assert progress is not None
        return progress

    def _schedule(self) -> None:
        for job, seconds in (
            (self._look_at_totals, 1),
            (self._check_workers, WORKERS_EVERY_S),
            (self._check_lock, WORKERS_EVERY_S),
            (self._recovery.sweep, SWEEP_EVERY_S),
            (self._daily_room, CALENDAR_EVERY_S),
        ):
            self._scheduler.add_job(_guarded(job), "interval", seconds=seconds)
        self._scheduler.start()

    async def _launch_until_done(self, loop: CampaignLoop) -> None:
        while True:
            launched = await loop.turn()
            if self._is_done() and self.tracker.is_settled:
                await self._look_at_totals()
                if self._is_done():
                    return
            idle = launched == 0 and not self.tracker.open_attempts
            await self._pause(idle)

    async def _pause(self, idle: bool) -> None:
        """Between turns: a moment while calls are under way, else until the planner or a signal wakes us."""
        if not idle:
            await self._clock.sleep(BUSY_TURN_S)
            return
        self._wake.clear()
        due = self._totals.next_due_at if self._totals else None
        if due is not None and due > self._clock.now():
            self._scheduler.add_job(self._wake.set, "date", run_date=due, id="due", replace_existing=True)
        try:
            await asyncio.wait_for(self._wake.wait(), 1.0)
        except TimeoutError:
            return

    def _is_done(self) -> bool:
        return self._draining or (self._recovered and self._totals is not None and self._totals.due == 0)

    async def _pump(self) -> None:
        while True:
            for attempt_id, event in await self._telephony.next_events():
                self.tracker.apply(attempt_id, event)

    # -- what may keep calls from starting ---------------------------------------------------------------------------

    def _blocked(self) -> Binding | None:
        if self._draining:
            return Binding.DRAINING
        if not self._telephony.is_up:
            return Binding.NODE_AWAY
        if self.tracker.store_away or not self._is_ours:
            return Binding.DATABASE_AWAY
        if not self._workers:
            return Binding.WORKERS_AWAY
        return None if self._recovered else Binding.RECOVERING

    async def _on_up(self) -> None:
        while not self._recovered:
            try:
                await self._recovery.after_connect()
                self._recovered = True
            except DatabaseAway as error:
                log.error("recovery waits for the database: %s", error, extra={"event": "store.away"})
                await self._clock.sleep(1.0)
        self._wake.set()

    def _on_down(self) -> None:
        self._recovered = False

    async def _check_workers(self) -> None:
        self._workers = await self._workers_answer()

    async def _check_lock(self) -> None:
        self._is_ours = False
        self._is_ours = await self._store.hold_node()

    async def _daily_room(self) -> None:
        await self._store.ensure_partitions(self._clock.now())
        await self._refresh_calendar()

    async def _look_at_totals(self) -> None:
        self._totals = await self._store.totals(self.campaign.id)

    def _count(self, ended: Ended) -> None:
        self._dispositions[ended.disposition] += 1


def _guarded(job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A job whose failure is logged once and tried again at its next turn."""

    async def run() -> None:
        try:
            await job()
        except DialerError as error:
            log.error("%s: %s", getattr(job, "__name__", "job"), error, extra={"event": "job.failed"})

    return run
