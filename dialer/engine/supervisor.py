"""One node's engine: keeps the lease and the link, recovers, runs the wanted campaigns; APScheduler is its clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from dialer.campaign.capacity import numbers_of
from dialer.campaign.running import NOBODY_LEFT, RunningCampaign, Wanted, WantedRun
from dialer.engine.campaign_run import PLAN_EVERY_S, CampaignRun
from dialer.engine.capacity import Capacity, NodePlan
from dialer.engine.ports import Nightly, Parts, WorkersLook
from dialer.engine.progress import Progress, as_data
from dialer.engine.recovery import Recovery
from dialer.engine.tracker import Ended, Tracker
from dialer.engine.witness import ReadCel, Witness
from dialer.errors import AsteriskAway, DialerError, Fenced, RestoredDatabase
from dialer.pacing.decide import Binding
from dialer.pacing.limits import WINDOW_S
from dialer.pacing.strain import Signs
from dialer.settings import KEPT_ON_HOST

log = logging.getLogger(__name__)

FOLLOW_EVERY_S = 0.5
RENEW_EVERY_S = 3
LEASE_MARGIN_S = 2.0
"""Nothing is sent so shortly before the lease ends: another engine may take over then."""
SWEEP_EVERY_S = 15
"""Sparse: Asterisk holds a lock over all channels while it lists them."""
STRAIN_EVERY_S = 1
QUEUE_EVERY_S = 2
CEL_EVERY_S = 2
LOOK_EVERY_S = 1
HIRE_AFTER = 5
"""Looks without an answer; the workers' own parent starts a dead one again sooner."""
CALENDAR_EVERY_S = 3600
DELIVERIES_EVERY_S = 60


class Supervisor:
    """One engine process."""

    def __init__(
        self,
        parts: Parts,
        plan: NodePlan,
        look_at_workers: Callable[[], Awaitable[WorkersLook | None]],
        refresh_calendar: Callable[[int], Awaitable[None]],
        disks: Callable[[], str] = lambda: "",
        read_cel: ReadCel | None = None,
        hire: Callable[[], None] = lambda: None,
        queue: Callable[[], Awaitable[int | None]] | None = None,
        nightly: Nightly | None = None,
        look_for_deliveries: Callable[[bool], Awaitable[None]] | None = None,
    ) -> None:
        """`plan` is the node with the trunks that may be called through; `look_at_workers` says how our FastAGI workers
        fare, None: none answer; `refresh_calendar` writes a revision's days ahead; `disks` says which disk is too full
        to go on calling, empty: none; `read_cel` reads the node's own record of calls, where this machine can; `hire`
        starts workers when none answer, and blocks; `queue` says how many tasks wait in the node, where that can be
        asked; `nightly` is begun every night; `look_for_deliveries` merges what has come into the folders of daily
        bases, and with True wakes campaigns that had ended.
        """
        self._parts, self._store, self._telephony, self._clock = parts, parts.store, parts.telephony, parts.clock
        self.tracker = Tracker(parts.store, parts.clock, plan.prefixes)
        self._capacity = Capacity(plan, parts.clock.monotonic)
        self.tracker.changed.append(self._capacity.note)
        self._witness = Witness(parts.store, read_cel, parts.clock)
        self._recovery = Recovery(parts.store, parts.telephony, self.tracker, parts.clock, self._witness)
        self._node_plan = plan
        self._look_at_workers, self._refresh_calendar, self._disks = look_at_workers, refresh_calendar, disks
        self._hire, self._queue = hire, queue
        self._nightly, self._look_for_deliveries = nightly, look_for_deliveries
        self._deepest: int | None = None
        self._looked_at = parts.clock.monotonic()
        self._runs: dict[int, CampaignRun] = {}
        self._drained_here: set[int] = set()
        self._last: dict[int, Progress] = {}
        self._doubt, self._compared, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._turning = asyncio.Lock()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1}
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._own: Sequence[int] | None = None
        self._workers: WorkersLook | None = None
        self._recovered = self._draining = False
        self._may_have_more = True
        """There may be attempts of ours in the database that the tracker does not know."""
        self._store_was_away = False
        self._full_disk = ""
        self._signs = Signs(channel_s=None, audio_s=None, unanswered=0.0, queue=None, lag_s=None)
        self._workers_missing = 0
        self._ours_until = 0.0
        self.tracker.ended.append(self._note_end)

    # -- what the terminal asks ------------------------------------------------------------------------------------

    def progress(self, campaign_id: int) -> Progress | None:
        """Where a campaign stands, or stood when it ended here; None when it was never seen here."""
        run = self._runs.get(campaign_id)
        return (run.progress() if run is not None else None) or self._last.get(campaign_id)

    @property
    def campaigns(self) -> dict[int, str]:
        """What runs now, by id."""
        return {run.campaign.id: run.campaign.name for run in self._runs.values()}

    @property
    def leaves_calls(self) -> bool:
        """Calls may be live that nobody here follows any more once `run` has returned."""
        return bool(self.tracker.open_attempts) or self._may_have_more

    def has_ended(self, campaign_id: int) -> bool:
        """Whether a campaign ran here and is done."""
        return campaign_id in self._last and campaign_id not in self._runs

    def drain_campaign(self, campaign_id: int) -> None:
        """One campaign starts no more calls, whatever the database says is wanted of it, and is idle afterwards."""
        self._drained_here.add(campaign_id)
        if campaign_id in self._runs:
            self._runs[campaign_id].drain()

    def drain(self) -> None:
        """The whole engine starts no more calls; `run` returns when the last has its verdict."""
        self._draining = True
        for run in self._runs.values():
            run.wake()

    # -- the run ---------------------------------------------------------------------------------------------------

    async def run(self, own: Sequence[int] | None) -> None:
        """Runs what is wanted of `own` and what is ordered meanwhile, until nothing is; None: all, until drained.

        Raises Fenced when another engine has taken the node, AsteriskAway when it will never let us in.
        """
        self._own = own
        await self._renew()
        unknown = await self._witness.unknown_calls()
        if unknown:
            raise RestoredDatabase(
                f"Asterisk's record holds {len(unknown)} calls that the database does not know: it was restored from "
                "an old backup, and people would be called again. Run `dialer restore-reconcile` first."
            )
        await self._store.ensure_partitions(self._clock.now())
        limits = {trunk.name: trunk.max_concurrent for trunk in self._node_plan.trunks}
        await self._store.set_limits(self._node_plan.site_max_concurrent, self._node_plan.node.max_concurrent, limits)
        self._capacity.assume(await self._store.sent_lately(WINDOW_S))
        await self._forget()
        await self._witness.begin()
        # What was left open belongs to its campaign before that may be taken for done.
        await self._recovery.adopt()
        self._may_have_more = False
        await self._look_around()
        await self._follow()
        self._doubt.set()
        self._schedule()
        for name, work in (
            ("tracker", self.tracker.run()),
            ("link", self._telephony.keep_up(self._on_up, self._on_down)),
            ("events", self._pump()),
            ("recovery", self._recover()),
            ("end", self._until_idle()),
        ):
            self._begin(name, work)
        try:
            await self._until_something_ends()
        finally:
            self._scheduler.shutdown(wait=False)
            # The tracker goes last: it stores what the others leave.
            tracking, *others = sorted(self._tasks, key=lambda task: task.get_name() != "tracker")
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            tracking.cancel()
            await asyncio.gather(tracking, return_exceptions=True)
        with suppress(DialerError):
            await self._witness.catch_up()
        log.info("run ended", extra={"event": "run.ended", "unexpected_events": self.tracker.unexpected})

    def _begin(self, name: str, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        self._tasks.add(asyncio.create_task(do(), name=name))

    async def _until_something_ends(self) -> None:
        """Campaigns end and others begin; the end of anything else is the end of all."""
        while True:
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED, timeout=FOLLOW_EVERY_S)
            for task in done:
                task.result()
                if task.get_name() != "campaign":
                    if self._telephony.refusal:
                        raise AsteriskAway(self._telephony.refusal)
                    return
                self._tasks.discard(task)

    def _schedule(self) -> None:
        for job, seconds in (
            (self._follow, FOLLOW_EVERY_S),
            (self._plan, PLAN_EVERY_S),
            (self._report, PLAN_EVERY_S),
            (self._share_rates, PLAN_EVERY_S),
            (self._watch_strain, STRAIN_EVERY_S),
            (self._ask_queue, QUEUE_EVERY_S),
            (self._renew, RENEW_EVERY_S),
            (self._look_around, LOOK_EVERY_S),
            (self._sweep, SWEEP_EVERY_S),
            (self._witness.catch_up, CEL_EVERY_S),
            (self._daily_room, CALENDAR_EVERY_S),
            (self._forget, CALENDAR_EVERY_S),
            (self._look_into_folders, DELIVERIES_EVERY_S),
        ):
            self._scheduler.add_job(self._guarded(job), "interval", seconds=seconds)
        if (nightly := self._nightly) is not None:
            hour, _, minute = nightly.at.partition(":")
            when = {"hour": int(hour), "minute": int(minute), "timezone": nightly.time_zone}
            self._scheduler.add_job(self._guarded(self._begin_night), "cron", **when)
        self._scheduler.start()

    def _guarded(self, job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """A job whose failure is logged and tried again at its next turn, unless the node is another engine's now."""

        async def run() -> None:
            try:
                await job()
            except Fenced as error:
                self._begin("fenced", _raise(error))
            except DialerError as error:
                log.error("%s: %s", getattr(job, "__name__", "job"), error, extra={"event": "job.failed"})
            except Exception:
                log.exception("%s failed", getattr(job, "__name__", "job"), extra={"event": "job.failed"})

        return run

    # -- campaigns -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Begins what is newly wanted, and tells the others what is wanted of them."""
        async with self._turning:
            orders = {order.campaign.id: order for order in await self._store.wanted_runs(self._own)}
            for campaign_id in self._runs.keys() - orders.keys():
                # Another engine finished it, or somebody who took us for dead; or its order cannot be read.
                self._runs[campaign_id].order(Wanted.DRAINING)
            for campaign_id, order in orders.items():
                run = self._runs.get(campaign_id)
                if run is not None and run.campaign.revision_id == order.campaign.revision_id:
                    run.want(order)
                elif why := self._unfit(order.campaign):
                    # Of a campaign under way it is a new revision that does not fit: it is drained at the next look.
                    await self._refuse(order, why)
                elif run is not None:
                    run.want(order)
                else:
                    self._start(order)
            self._idle.set() if not self._runs else self._idle.clear()

    def _unfit(self, campaign: RunningCampaign) -> str:
        """Why this node must not dial a campaign, by the settings; empty: it may."""
        plan, capacity = self._node_plan, campaign.capacity
        uses = [(use, trunk) for use in capacity.trunks for trunk in plan.trunks if trunk.name == use.name]
        if not uses:
            names = ", ".join(use.name for use in capacity.trunks)
            return f"the settings of {plan.node.name}'s engine let it call through none of its trunks: {names}"
        for use, trunk in uses:
            if campaign.at_any_hour and not trunk.on_loopback:
                return f"it would call people at any hour (window: any), and trunk {trunk.name} leaves this machine"
            for _, number in numbers_of(use.caller_id or capacity.caller_id):
                if not plan.may_show(number, trunk):
                    return f"the settings of {plan.node.name}'s engine do not own {number} on trunk {trunk.name}"
        return ""

    async def _refuse(self, order: WantedRun, why: str) -> None:
        campaign = order.campaign
        log.error("%s: %s", campaign.name, why, extra={"event": "campaign.refused"})
        await self._store.refuse(campaign.id, campaign.tenant_id, why)

    def _start(self, order: WantedRun) -> None:
        run = CampaignRun(
            order, self._parts, self.tracker, self._capacity, self._blocked, self._in_doubt, lambda: self._may_have_more
        )  # fmt: skip
        if order.campaign.id in self._drained_here:
            run.drain()
        self._runs[order.campaign.id] = run
        self._last.pop(order.campaign.id, None)
        self._tasks.add(asyncio.create_task(self._live(run), name="campaign"))

    async def _live(self, run: CampaignRun) -> None:
        """A campaign from its order to its end; while the database is away it waits."""
        has_calendar = False
        while True:
            try:
                if not has_calendar:
                    # Nobody may have written its days ahead since an engine ran here last.
                    await self._refresh_calendar(run.campaign.revision_id)
                    has_calendar = True
                await run.run()
                if await self._finish(run):
                    return
                # Calls of it go on through another node, and what follows them may be ours to call.
                await self._clock.sleep(FOLLOW_EVERY_S)
            except Fenced:
                raise
            except DialerError as error:
                log.error("%s waits: %s", run.campaign.name, error, extra={"event": "store.away"})
                await self._clock.sleep(1.0)

    async def _finish(self, run: CampaignRun) -> bool:
        campaign = run.campaign
        async with self._turning:
            progress = run.progress()
            assert progress is not None
            await self._store.report({campaign.id: as_data(progress)}, self._node_report())
            if not self._draining:
                # An engine that is drained leaves the order standing for the next one.
                verb, why = ("drained", "live calls have ended") if run.is_draining else ("finished", NOBODY_LEFT)
                if not await self._store.finish(campaign.id, campaign.tenant_id, verb, why):
                    return False
            self._last[campaign.id] = progress
            del self._runs[campaign.id]
            self._drained_here.discard(campaign.id)
            if not self._runs:
                self._idle.set()
            return True

    async def _until_idle(self) -> None:
        """Returns when there is nothing left to do."""
        while True:
            await self._idle.wait()
            if (self._own is not None or self._draining) and self.tracker.is_settled():
                return
            await self._clock.sleep(FOLLOW_EVERY_S)

    async def _plan(self) -> None:
        for run in list(self._runs.values()):
            await run.plan()

    async def _report(self) -> None:
        found = {campaign_id: run.progress() for campaign_id, run in self._runs.items()}
        told = {campaign_id: as_data(one) for campaign_id, one in found.items() if one is not None}
        await self._store.report(told, self._node_report())

    async def _share_rates(self) -> None:
        """Takes each campaign's part of its calls a second. Who cannot call leaves it to the other engines."""
        if not self._runs:
            return
        blocked = self._blocked() is not None
        asked_at, shares = self._clock.monotonic(), dict[int, float]()
        for able in (True, False):
            ways = {key: not blocked and self._capacity.has_way_out(run.campaign.terms.trunks)
                    for key, run in self._runs.items()}  # fmt: skip
            if of_these := [key for key, way in ways.items() if way is able]:
                shares |= await self._store.rate_shares(of_these, able=able)
        for campaign_id, run in self._runs.items():
            run.may_use(shares.get(campaign_id, 0.0), asked_at)

    def _node_report(self) -> dict[str, Any]:
        blocked = self._blocked()
        return self._capacity.report(self._signs) | {"blocked": blocked.value if blocked is not None else None}

    async def _watch_strain(self) -> None:
        now = self._clock.monotonic()
        # Our own turn comes each second; what it comes late by, AMI's messages are read late by as well.
        lag_s, self._looked_at = max(0.0, now - self._looked_at - STRAIN_EVERY_S), now
        workers = self._workers
        self._signs = self._capacity.look(
            queue=self._deepest,
            lag_s=max(lag_s, workers.lag_s) if workers is not None else lag_s,
            audio_s=workers.first_prompt_s if workers is not None else None,
        )

    async def _ask_queue(self) -> None:
        try:
            self._deepest = await self._queue() if self._queue is not None else None
        except DialerError as error:
            self._deepest = None
            log.warning("the node's queues are not known: %s", error, extra={"event": "strain.unknown"})

    async def _sweep(self) -> None:
        await self._recovery.sweep()
        self._capacity.strays = len(self._recovery.strays)

    def _note_end(self, ended: Ended) -> None:
        run = self._runs.get(ended.attempt.campaign_id)
        if run is not None:
            run.count(ended)
        try:
            self._parts.journal.ended([(ended.attempt, ended.change)])
        except OSError as error:
            log.error("the journal lacks a verdict: %s", error, extra={"event": "journal.failed"})

    # -- calls -----------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        # A call that was answered while nobody watched ends here with a hangup that says nothing of the answer. What
        # Asterisk says therefore waits in the queue until it was asked, or its record, what was missed.
        while True:
            events = await self._telephony.next_events()
            await self._compared.wait()
            for attempt_id, event in events:
                self.tracker.apply(attempt_id, event)

    async def _recover(self) -> None:
        """Adopts and compares whenever there is doubt; nothing is launched until it is resolved."""
        while True:
            await self._doubt.wait()
            self._doubt.clear()
            try:
                # A database that was away may be another one now: put back to what it was before some calls.
                if self._store_was_away and (forgotten := await self._store.forgotten()):
                    raise RestoredDatabase(forgotten)
                await self._recovery.adopt()
                self._may_have_more = self._store_was_away = False
                compared = self._telephony.is_up and await self._recovery.compare()
                # A link that was lost meanwhile is a new doubt, also before it is back.
                if compared and self._telephony.is_up and not self._doubt.is_set():
                    self._recovered = True
                    self._compared.set()
                    for run in self._runs.values():
                        run.wake()
                    continue
            except (Fenced, RestoredDatabase):
                raise
            except DialerError as error:
                log.error("recovery waits: %s", error, extra={"event": "store.away"})
            await self._clock.sleep(1.0)
            self._doubt.set()

    # -- what may keep calls from starting ---------------------------------------------------------------------------

    def _blocked(self) -> Binding | None:
        if self._draining:
            return Binding.DRAINING
        # A lease that runs out was not renewed: the database does not answer. Were it another engine's, we would end.
        if self.tracker.store_away or self._clock.monotonic() > self._ours_until - LEASE_MARGIN_S:
            return Binding.DATABASE_AWAY
        if not self._telephony.is_up:
            return Binding.NODE_AWAY
        if self._full_disk:
            return Binding.DISK_FULL
        if not self._workers:
            return Binding.WORKERS_AWAY
        return None if self._recovered else Binding.RECOVERING

    def _in_doubt(self) -> None:
        """The database did not answer: what was asked of it may have been done."""
        self._recovered, self._may_have_more, self._store_was_away = False, True, True
        self._doubt.set()

    async def _on_up(self) -> None:
        self._recovered = False
        self._doubt.set()

    def _on_down(self) -> None:
        self._recovered = False
        self._compared.clear()
        self.tracker.look_away()

    async def _renew(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            self._ours_until = asked_at + await self._store.hold_node()
        except Fenced:
            raise
        except DialerError:
            self._in_doubt()
            raise

    async def _look_around(self) -> None:
        self._workers = await self._look_at_workers()
        await self._hire_if_none()
        found = await asyncio.to_thread(self._disks)
        if found and not self._full_disk:
            log.critical("no new calls: %s", found, extra={"event": "disk.full"})
            self._recovery.distrust_record()
        self._full_disk = found

    async def _hire_if_none(self) -> None:
        self._workers_missing = 0 if self._workers else self._workers_missing + 1
        if self._workers_missing >= HIRE_AFTER:
            # Their parent died, or another engine's run ended and took them along.
            self._workers_missing = 0
            await asyncio.to_thread(self._hire)

    async def _daily_room(self) -> None:
        await self._store.ensure_partitions(self._clock.now())
        for run in list(self._runs.values()):
            try:
                await self._refresh_calendar(run.campaign.revision_id)
            except DialerError as error:
                # What keeps one calendar from being written must not let those of the others run out.
                log.error("calendar of %s is not written: %s", run.campaign.name, error, extra={"event": "job.failed"})

    async def _look_into_folders(self) -> None:
        if self._look_for_deliveries is not None and not self._draining:
            # Who runs one campaign and waits for its end has not asked for those of yesterday.
            await self._look_for_deliveries(self._own is None)

    async def _begin_night(self) -> None:
        assert self._nightly is not None
        await asyncio.to_thread(self._nightly.begin)

    async def _forget(self) -> None:
        try:
            await asyncio.to_thread(self._parts.journal.forget, self._clock.now() - KEPT_ON_HOST)
        except OSError as error:
            log.error("old lines of the journal stay: %s", error, extra={"event": "journal.failed"})


async def _raise(error: DialerError) -> None:
    raise error
