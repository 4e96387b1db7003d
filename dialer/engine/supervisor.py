"""Runs a campaign on a node: keeps the link, recovers, launches, drains; APScheduler is its clock."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
from dialer.engine.witness import ReadCel, Witness
from dialer.errors import AsteriskAway, DialerError
from dialer.pacing.decide import Binding
from dialer.pacing.limits import window_s

log = logging.getLogger(__name__)

BUSY_TURN_S = 0.05
PLAN_EVERY_S = 1
LOOK_SHARE = 20
"""Counting contacts may take a twentieth of the time."""
SWEEP_EVERY_S = 10
CEL_EVERY_S = 2
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
    due_now: int
    never: int
    next_call_at: datetime | None
    dispositions: dict[str, int]
    binding: Binding
    refusal: str


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
        read_cel: ReadCel | None = None,
    ) -> None:
        """`workers_answer` says whether FastAGI workers of ours listen; `refresh_calendar` writes the days ahead;
        `read_cel` reads the node's own record of calls, where this machine can.
        """
        self.campaign = campaign
        self.tracker = Tracker(store, clock)
        self._store, self._telephony, self._clock = store, telephony, clock
        self._witness = Witness(store, read_cel)
        self._recovery = Recovery(store, telephony, self.tracker, clock, self._witness)
        self._workers_answer, self._refresh_calendar = workers_answer, refresh_calendar
        self._loop: CampaignLoop | None = None
        self._totals: Totals | None = None
        self._dispositions: Counter[Disposition] = Counter()
        self._wake, self._doubt, self._adopted = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self._recovered = self._workers = self._draining = False
        self._is_ours = True
        self._look_again_at = 0.0
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
            due_now=totals.due_now,
            never=totals.never,
            next_call_at=totals.next_call_at,
            dispositions={one.value: number for one, number in self._dispositions.most_common()},
            binding=self._binding(loop, totals),
            refusal=loop.refusal,
        )

    def drain(self) -> None:
        """Starts no more calls; `run` returns when the last has its verdict."""
        self._draining = True
        self._wake.set()

    # -- the run ---------------------------------------------------------------------------------------------------

    async def run(self) -> Progress:
        """Runs the campaign until every contact that may be called is closed or held, or it is drained."""
        await self._store.ensure_partitions(self._clock.now())
        await self._witness.begin()
        # What an engine before us sent lately counts as if it left now: a restart does not start the rate anew.
        sent = await self._store.sent_lately(window_s(self.campaign.calls_per_second))
        self.tracker.channels_made_at.extend([self._clock.monotonic()] * sent)
        loop = self._loop = CampaignLoop(
            self.campaign, self._store, self._telephony, self.tracker, self._clock, self._blocked, self._in_doubt
        )
        await self._look_at_totals()
        self._dispositions.update(await self._store.dispositions(self.campaign.id))
        await self._check_workers()
        self._doubt.set()
        self._schedule()
        tasks = [
            asyncio.create_task(self.tracker.run(), name="tracker"),
            asyncio.create_task(self._telephony.keep_up(self._on_up, self._on_down), name="link"),
            asyncio.create_task(self._pump(), name="events"),
            asyncio.create_task(self._recover(), name="recovery"),
            asyncio.create_task(self._launch_until_done(loop), name="launch"),
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
        with suppress(DialerError):
            await self._witness.catch_up()
        progress = self.progress()
        assert progress is not None
        log.info("run ended", extra={"event": "run.ended", "campaign": self.campaign.name,
                                     "unexpected_events": self.tracker.unexpected})  # fmt: skip
        return progress

    def _schedule(self) -> None:
        for job, seconds in (
            (self._plan, PLAN_EVERY_S),
            (self._check_workers, WORKERS_EVERY_S),
            (self._check_lock, WORKERS_EVERY_S),
            (self._recovery.sweep, SWEEP_EVERY_S),
            (self._witness.catch_up, CEL_EVERY_S),
            (self._daily_room, CALENDAR_EVERY_S),
        ):
            self._scheduler.add_job(_guarded(job), "interval", seconds=seconds)
        self._scheduler.start()

    async def _launch_until_done(self, loop: CampaignLoop) -> None:
        while True:
            launched = 0
            if self._draining or self._somebody_may_be_due():
                launched = await loop.turn()
            else:
                loop.binding = self._blocked() or Binding.NOTHING_DUE
            if self._is_done() and self.tracker.is_settled and await self._is_done_indeed():
                return
            if launched == 0 and loop.binding is Binding.NOTHING_DUE:
                await self._until_planned()
            else:
                await self._clock.sleep(BUSY_TURN_S)

    async def _until_planned(self) -> None:
        """The planner wakes us each second, a signal at once."""
        self._wake.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), 2 * PLAN_EVERY_S)

    def _somebody_may_be_due(self) -> bool:
        totals = self._totals
        return totals is None or (totals.next_call_at is not None and totals.next_call_at <= self._clock.now())

    def _is_done(self) -> bool:
        if self._draining:
            return True
        return self._recovered and self._totals is not None and self._totals.due == self._totals.never

    async def _is_done_indeed(self) -> bool:
        """Looks once more: the last verdict may have made somebody due again."""
        try:
            await self._look_at_totals()
        except DialerError as error:
            log.error("the end waits for the database: %s", error, extra={"event": "store.away"})
            return False
        return self._is_done()

    async def _pump(self) -> None:
        # What Asterisk says of calls from before us would mean nothing until they are adopted; it waits in the queue.
        await self._adopted.wait()
        while True:
            for attempt_id, event in await self._telephony.next_events():
                self.tracker.apply(attempt_id, event)

    async def _recover(self) -> None:
        """Adopts and compares whenever there is doubt; nothing is launched until it is resolved."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                await self._recovery.adopt()
                self._adopted.set()
                if self._telephony.is_up and await self._recovery.compare() and not self._doubt.is_set():
                    self._recovered = True
                    self._wake.set()
                    continue
            except DialerError as error:
                log.error("recovery waits: %s", error, extra={"event": "store.away"})
            await self._clock.sleep(1.0)
            self._doubt.set()

    # -- what may keep calls from starting ---------------------------------------------------------------------------

    def _blocked(self) -> Binding | None:
        if self._draining:
            return Binding.DRAINING
        if not self._telephony.is_up:
            return Binding.NODE_AWAY
        if not self._is_ours:
            return Binding.NODE_TAKEN
        if self.tracker.store_away:
            return Binding.DATABASE_AWAY
        if not self._workers:
            return Binding.WORKERS_AWAY
        return None if self._recovered else Binding.RECOVERING

    def _binding(self, loop: CampaignLoop, totals: Totals) -> Binding:
        if loop.binding is Binding.NOTHING_DUE and totals.due_now > totals.never and not self._somebody_may_be_due():
            return Binding.WINDOW_CLOSED
        return loop.binding

    def _in_doubt(self) -> None:
        self._recovered = False
        self._doubt.set()

    async def _on_up(self) -> None:
        self._in_doubt()

    def _on_down(self) -> None:
        self._recovered = False
        self.tracker.look_away()

    async def _check_workers(self) -> None:
        self._workers = await self._workers_answer()

    async def _check_lock(self) -> None:
        try:
            self._is_ours = await self._store.hold_node()
        except DialerError:
            self._is_ours = False
            raise

    async def _daily_room(self) -> None:
        await self._store.ensure_partitions(self._clock.now())
        await self._refresh_calendar()

    async def _plan(self) -> None:
        """Looks who is due and wakes the launch. A long list takes long to look through, and is then looked at less."""
        began = self._clock.monotonic()
        if began >= self._look_again_at:
            await self._look_at_totals()
            self._look_again_at = began + LOOK_SHARE * (self._clock.monotonic() - began)
        self._wake.set()

    async def _look_at_totals(self) -> None:
        self._totals = await self._store.totals(self.campaign.id, self.campaign.revision_id)

    def _count(self, ended: Ended) -> None:
        if ended.attempt.campaign_id == self.campaign.id:
            self._dispositions[ended.disposition] += 1


def _guarded(job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A job whose failure is logged once and tried again at its next turn."""

    async def run() -> None:
        try:
            await job()
        except DialerError as error:
            log.error("%s: %s", getattr(job, "__name__", "job"), error, extra={"event": "job.failed"})

    return run
