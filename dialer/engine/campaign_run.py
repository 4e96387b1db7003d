"""One campaign on this engine, from the order to run it to its last verdict."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.events import Cancelled
from dialer.campaign.running import RunningCampaign, Wanted, WantedRun
from dialer.contacts.contact import Totals
from dialer.engine.campaign_loop import CampaignLoop
from dialer.engine.capacity import Capacity
from dialer.engine.ports import Parts
from dialer.engine.progress import Progress
from dialer.engine.tracker import Ended, Tracker
from dialer.errors import DialerError, Fenced
from dialer.pacing.decide import Binding
from dialer.pacing.limits import window_s

log = logging.getLogger(__name__)

BUSY_TURN_S = 0.25
"""Each claim is a transaction, so slots that come free within that time are claimed together."""
PLAN_EVERY_S = 1
LOOK_SHARE, LOOK_WITHIN_S = 100, 30.0
"""Counting contacts may take a hundredth of the time; what took long because the database stood still is no reason to
look away for minutes."""
HANG_UP_AGAIN_S = 2.0
SHARE_HOLDS_S = 3.0
"""How long a share of the rate may be used after it was asked for; less than the others wait for it (pacing.shares)."""
JUDGED_ANSWERED = 100
FEWEST_ANSWERED = 20
"""Silent calls are judged over the last answered ones, and not before there are so many."""
_OF_WANTED = {Wanted.PAUSED: Binding.PAUSED, Wanted.DRAINING: Binding.DRAINING, Wanted.STOPPING: Binding.DRAINING}


class CampaignRun:
    """Launches a campaign's calls while it is wanted, and knows when it is done."""

    def __init__(
        self,
        order: WantedRun,
        parts: Parts,
        tracker: Tracker,
        capacity: Capacity,
        blocked: Callable[[], Binding | None],
        on_doubt: Callable[[], None],
        may_have_more: Callable[[], bool],
    ) -> None:
        """`blocked` says what keeps the whole engine from calling; `on_doubt` is told of claims perhaps made;
        `may_have_more` says whether there may be open attempts that the tracker does not know yet.
        """
        self._may_have_more = may_have_more
        self.campaign, self.wanted = order.campaign, order.wanted
        self._store, self._telephony, self._clock = parts.store, parts.telephony, parts.clock
        self._tracker, self._capacity, self._engine_blocked = tracker, capacity, blocked
        self._loop = CampaignLoop(self.campaign, parts, tracker, capacity, self._blocked, on_doubt)
        self._dialled_for_s = order.running_for_s
        self._silent: deque[bool] = deque(maxlen=JUDGED_ANSWERED)
        self._answered = self._were_silent = 0
        self._paused_because = ""
        """It has paused itself, and the database may not know yet."""
        self._totals: Totals | None = None
        self._dispositions: Counter[Disposition] = Counter()
        self._wake = asyncio.Event()
        self._drained_here = False
        self._look_again_at = self._sure_again_at = self._hang_up_again_at = 0.0

    @property
    def is_draining(self) -> bool:
        """Whether it ends with its live calls, whoever is left to call."""
        return self._blocked() is Binding.DRAINING

    def progress(self) -> Progress | None:
        """Where the campaign stands; None before the first look at the database."""
        loop, totals = self._loop, self._totals
        if totals is None:
            return None
        unclear = sum(one.state is State.UNCLEAR for one in self._tracker.calls_of(self.campaign.id))
        return Progress(
            at=self._clock.now(),
            campaign=self.campaign.name,
            calls_now=self._tracker.calls[self.campaign.id],
            unclear=unclear,
            answered=self._answered,
            silent=self._were_silent,
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
            binding=self._binding(totals),
            refusal=loop.refusal,
            drained=self.is_draining,
            judged=len(self._silent),
            judged_silent=sum(self._silent),
        )

    async def run(self) -> None:
        """Returns when everybody who may be called is closed or held, or when it is drained. Raises Fenced."""
        campaign = self.campaign
        self._tracker.changed.append(self._loop.note)
        self._capacity.join(campaign.id, self._loop.want)
        try:
            # What an engine before us sent lately counts as if it left now: a restart does not start the rate anew.
            sent = await self._store.sent_lately(window_s(campaign.calls_per_second), campaign.id)
            self._loop.assume(sum(sent.values()))
            if sent:
                self._loop.runs_for(self._dialled_for_s)
            asked_at = self._clock.monotonic()
            shares = await self._store.rate_shares([campaign.id], able=True)
            self.may_use(shares.get(campaign.id, 0.0), asked_at)
            await self._look_at_totals()
            self._dispositions = Counter(await self._store.dispositions(campaign.id))
            while not await self._is_over():
                await self._turn()
        finally:
            self._capacity.leave(campaign.id)
            self._tracker.changed.remove(self._loop.note)

    async def _turn(self) -> None:
        launched = 0
        if self.is_draining or self._somebody_may_be_due():
            launched = await self._loop.turn()
        else:
            self._loop.is_hungry = False
            self._loop.binding = self._blocked() or Binding.NOTHING_DUE
        await self._hang_up()
        await self._pause_if_silent()
        if launched == 0 and self._loop.binding is Binding.NOTHING_DUE:
            await self._until_planned()
        else:
            await self._clock.sleep(BUSY_TURN_S)

    def want(self, order: WantedRun) -> None:
        """What the operator wants of it now, by which revision and within which limits."""
        if order.campaign.revision_id != self.campaign.revision_id:
            self._take_on(order.campaign)
        limits = ("max_concurrent", "calls_per_second", "priority", "share")
        changed = {name: getattr(order.campaign, name) for name in limits}
        if any(getattr(self.campaign, name) != value for name, value in changed.items()):
            log.info("limits changed", extra={"event": "campaign.set", "campaign": self.campaign.name, **changed})
            self.campaign = self._loop.campaign = replace(self.campaign, **changed)
        if order.wanted is Wanted.PAUSED:
            self._paused_because = ""
        self.order(order.wanted)

    def _take_on(self, campaign: RunningCampaign) -> None:
        """Another revision: the next claim is made by it; calls under way end by the terms of their own."""
        log.info("revision taken", extra={"event": "campaign.revised", "campaign": campaign.name,
                                          "revision": campaign.revision_id})  # fmt: skip
        self.campaign = campaign
        self._loop.take_on(campaign)
        # Its window, its trunks: somebody else may be due now, or nobody.
        self._look_again_at = 0.0

    def order(self, wanted: Wanted) -> None:
        """What is wanted of it now."""
        if wanted is not self.wanted:
            log.info("campaign ordered", extra={"event": "campaign.ordered", "campaign": self.campaign.name,
                                                "wanted": wanted.value})  # fmt: skip
            self.wanted = wanted
            # Whoever lets it go on has seen to it that people hear something.
            self._silent.clear()
        self._wake.set()

    def may_use(self, share: float, asked_at: float) -> None:
        """This node's part of the campaign's calls a second, as it was asked for at a moment (monotonic)."""
        self._loop.may_use(share, asked_at + SHARE_HOLDS_S)

    def drain(self) -> None:
        """Its operator here wants it to end, also while nobody can be told."""
        self._drained_here = True
        self._wake.set()

    def wake(self) -> None:
        """Something has changed that may let calls start."""
        self._wake.set()

    async def plan(self) -> None:
        """Looks who is due and wakes the launch. A long list takes long to look through, and is then looked at less."""
        if self._clock.monotonic() >= self._look_again_at:
            await self._look_at_totals()
        self._wake.set()

    def count(self, ended: Ended) -> None:
        """Counts one of its verdicts."""
        self._dispositions[ended.disposition] += 1
        if ended.attempt.answered_at is not None:
            self._answered += 1
            self._were_silent += ended.attempt.was_silent
            self._silent.append(ended.attempt.was_silent)

    # -- its turn ----------------------------------------------------------------------------------------------------

    async def _until_planned(self) -> None:
        """The planner wakes us each second, an order at once."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * PLAN_EVERY_S):
                await self._wake.wait()

    def _somebody_may_be_due(self) -> bool:
        totals = self._totals
        return totals is None or (totals.next_call_at is not None and totals.next_call_at <= self._clock.now())

    def _blocked(self) -> Binding | None:
        of_engine = self._engine_blocked()
        if self._drained_here or of_engine is Binding.DRAINING:
            return Binding.DRAINING
        return _OF_WANTED.get(self.wanted) or (Binding.PAUSED if self._paused_because else of_engine)

    async def _is_over(self) -> bool:
        may_be = self._may_be_over() and self._tracker.is_settled(self.campaign.id)
        return may_be and self._clock.monotonic() >= self._sure_again_at and await self._is_over_indeed()

    def _may_be_over(self) -> bool:
        """By what was last seen, which may be old."""
        if self._may_have_more():
            return False
        if self.is_draining:
            return True
        return self.wanted is Wanted.RUNNING and self._totals is not None and self._totals.due == self._totals.never

    async def _is_over_indeed(self) -> bool:
        """Looks once more: the last verdict may have made somebody due again."""
        try:
            totals = await self._look_at_totals()
            self._dispositions = Counter(await self._store.dispositions(self.campaign.id))
        except Fenced:
            raise
        except DialerError as error:
            log.error("the end waits for the database: %s", error, extra={"event": "store.away"})
            self._sure_again_at = self._clock.monotonic() + PLAN_EVERY_S
            return False
        # Somebody in a call through another node may be due again after it.
        if self._may_be_over() and (self.is_draining or not totals.in_call):
            return True
        self._sure_again_at = self._look_again_at
        return False

    async def _pause_if_silent(self) -> None:
        """People who pick up and hear nothing are harmed: too many of them, and an operator must look first."""
        silent, answered, most = sum(self._silent), len(self._silent), self.campaign.capacity.max_silent
        if self.wanted is not Wanted.RUNNING:
            return
        if not self._paused_because:
            if answered < FEWEST_ANSWERED or silent <= most * answered:
                return
            self._paused_because = (
                f"{silent} of the last {answered} answered calls were silent, at most {most:.0%} may be"
            )
            log.critical("%s pauses itself: %s", self.campaign.name, self._paused_because,
                         extra={"event": "campaign.silent"})  # fmt: skip
        try:
            await self._store.pause(self.campaign.id, self.campaign.tenant_id, self._paused_because)
        except Fenced:
            raise
        except DialerError as error:
            # No call starts meanwhile, and it is tried again.
            log.error("the pause cannot be stored: %s", error, extra={"event": "store.away"})

    async def _hang_up(self) -> None:
        """Ends live calls when the campaign is to stop at once; again and again, because a call may just begin."""
        if self.wanted is not Wanted.STOPPING or self._clock.monotonic() < self._hang_up_again_at:
            return
        self._hang_up_again_at = self._clock.monotonic() + HANG_UP_AGAIN_S
        for attempt in self._tracker.calls_of(self.campaign.id):
            if attempt.channel_seen and await self._telephony.hang_up(attempt.id):
                # Only what Asterisk has accepted is our doing; else the call ends by itself, as it would.
                self._tracker.apply(attempt.id, Cancelled(at=self._clock.now()))

    def _binding(self, totals: Totals) -> Binding:
        binding = self._loop.binding
        if binding is Binding.NOTHING_DUE and totals.due_now > totals.never and not self._somebody_may_be_due():
            return Binding.WINDOW_CLOSED
        return binding

    async def _look_at_totals(self) -> Totals:
        of_trunks = (self._capacity.plan.prefixes.get(name) for name in self.campaign.terms.trunks)
        prefixes = {prefix for known in of_trunks if known is not None for prefix in known or ("",)}
        began = self._clock.monotonic()
        self._totals = await self._store.totals(self.campaign.id, self.campaign.revision_id, sorted(prefixes))
        took_s = self._clock.monotonic() - began
        self._look_again_at = began + min(LOOK_SHARE * took_s, LOOK_WITHIN_S)
        return self._totals
