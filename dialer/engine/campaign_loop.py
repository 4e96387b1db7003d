"""One campaign's turn on a node: decide how many, claim them, order them, once each."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from math import ceil
from typing import Any

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.calls.events import Refused, Returned
from dialer.calls.order import Order
from dialer.campaign.caller_identity import Identities
from dialer.campaign.running import RunningCampaign
from dialer.contacts.contact import Claim, ClaimOrder
from dialer.contacts.suppress import strictest
from dialer.crash_points import reach
from dialer.engine.capacity import FENCE_S, Capacity
from dialer.engine.ports import Parts
from dialer.engine.tracker import Tracker
from dialer.errors import DialerError, Fenced
from dialer.pacing.decide import Binding, decide
from dialer.pacing.limits import RateLimit
from dialer.pacing.ramp import ramped
from dialer.pacing.routes import Route
from dialer.pacing.shares import Want

log = logging.getLogger(__name__)

SEND_WITHIN_S = 2.0
"""A claim that is not sent by then is given back: its window and lists were checked when it was made (promise 6)."""
SPREAD_S, SLICE_S = 0.2, 0.05
"""What was claimed together leaves over this time, in slices: a burst makes Asterisk late for every call."""
REFUSALS = 5
REFUSED_PAUSE_S = 30.0
"""After so many refusals in a row the node is asked again only now and then, with one call: each refusal costs a person
one of few retries, and a list would be used up in minutes."""

NOTE_AGAIN_S = 5.0
"""Until the journal is tried again: each try claims people and gives them back."""
RESTED_S = 1800.0
"""A campaign that called nobody for so long ramps up again."""
FULL_AGAIN_S = 0.2
"""Until the next claim after one that a limit left without a single call: other engines hold the slots."""


class CampaignLoop:
    """Launches one campaign's calls through one node."""

    def __init__(
        self,
        campaign: RunningCampaign,
        parts: Parts,
        tracker: Tracker,
        capacity: Capacity,
        blocked: Callable[[], Binding | None],
        on_doubt: Callable[[], None],
    ) -> None:
        """`blocked` says why nothing may start now; `on_doubt` is told when a claim may or may not have been made."""
        self.binding = Binding.NOTHING_DUE
        self.launched = 0
        self.refusal = ""
        """What the node last said when it refused a call."""
        self.is_hungry = False
        """There may be somebody to call now."""
        self._store, self._telephony, self._journal, self._clock = (
            parts.store, parts.telephony, parts.journal, parts.clock
        )  # fmt: skip
        self._tracker, self._capacity = tracker, capacity
        self._blocked, self._on_doubt = blocked, on_doubt
        self._trunks = {trunk.name: trunk for trunk in capacity.plan.trunks}
        self.take_on(campaign)
        self._running_since, self._goes_on = self._clock.monotonic(), False
        self._gate = RateLimit(0.0)
        self._share = self._share_until = 0.0
        self._ordering: set[asyncio.Task[None]] = set()
        self._launched_at: deque[float] = deque(maxlen=10_000)
        self._refusals = 0
        self._ask_again_at = self._note_again_at = self._claim_again_at = 0.0

    def take_on(self, campaign: RunningCampaign) -> None:
        """From the next claim on it calls by this revision."""
        self.campaign = campaign
        self._routes = tuple(
            Route(trunk=use.name, prefixes=self._trunks[use.name].prefixes, priority=use.priority, weight=use.weight)
            for use in campaign.capacity.trunks
            if use.name in self._trunks
        )
        self._identities = Identities(campaign.capacity.caller_id, campaign.capacity.trunks)

    # -- what it may use -----------------------------------------------------------------------------------------------

    def runs_for(self, seconds: float) -> None:
        """It was dialled before, for so long: its ramp-up goes on."""
        self._running_since, self._goes_on = self._clock.monotonic() - seconds, True

    def may_use(self, share: float, until: float) -> None:
        """This node's part of the campaign's calls a second, until a moment (monotonic): then others may have it."""
        self._share, self._share_until = share, until

    def assume(self, sent: int) -> None:
        """Counts what an engine before this one sent lately."""
        self._gate.assume(sent, self._clock.monotonic() + FENCE_S)

    def note(self, before: Attempt | None, after: Attempt) -> None:
        """An attempt of the node has changed."""
        if before is None or after.campaign_id != self.campaign.id:
            return
        now = self._clock.monotonic()
        if after.channel_seen and not before.channel_seen:
            self._gate.made(after.id, now)
        if after.state is State.ENDED:
            unsent = after.disposition in (Disposition.NOT_PLACED, Disposition.RETURNED)
            self._gate.gone(after.id, now, placed=not unsent)

    def want(self) -> Want | None:
        """What it could launch now, by its own limits and its trunks'; None: nothing."""
        now = self._clock.monotonic()
        if not self.is_hungry or now < self._claim_again_at or self._forbidden(now) is not None:
            return None
        campaign = self.campaign
        through_trunks = sum(calls for calls, _ in self._of_trunks(now).values())
        return Want(
            campaign_id=campaign.id,
            priority=campaign.priority,
            share=campaign.share,
            most=max(0, min(through_trunks, *self._own(now).values())),
            served=self._capacity.served(campaign.id),
        )

    def _own(self, now: float) -> dict[Binding, int]:
        """What its own limits leave."""
        campaign = self.campaign
        ramps = self._dialled_for(now) < campaign.capacity.ramp_up
        share = self._share if now < self._share_until else 0.0
        self._gate.per_second = self._ramped(min(campaign.calls_per_second, share), now)
        whole = share >= campaign.calls_per_second
        rate = Binding.RAMP_UP if ramps else Binding.RATE if whole else Binding.RATE_SHARE
        ceiling = Binding.RAMP_UP if ramps else Binding.CEILING
        used = self._tracker.calls[campaign.id]
        allowed = self._gate.allowance(now)
        room = {ceiling: self._ceiling(now) - used}
        room[rate] = min(allowed, room.get(rate, allowed))
        return room

    def _ceiling(self, now: float) -> int:
        return max(1, int(self._ramped(self.campaign.max_concurrent, now)))

    def _ramped(self, limit: float, now: float) -> float:
        return ramped(limit, self._dialled_for(now), self.campaign.capacity.ramp_up)

    def _dialled_for(self, now: float) -> float:
        """Since its first call, or the first after a long rest: a ramp that passes without calls helps nobody."""
        rested = now - self._launched_at[-1] > RESTED_S if self._launched_at else not self._goes_on
        return 0.0 if rested else now - self._running_since

    def _of_trunks(self, now: float) -> dict[str, tuple[int, Binding]]:
        return self._capacity.of_trunks([route.trunk for route in self._routes], now)

    def _room(self, now: float, trunks: Mapping[str, tuple[int, Binding]]) -> dict[Binding, int]:
        """What every limit leaves, its own first."""
        own, shared = self._own(now), self._capacity.of_node(now)
        found = sum(calls for calls, _ in trunks.values())
        widest = max(trunks.values(), key=lambda one: one[0])[1]
        shared[widest] = min(found, shared.get(widest, found))
        free = max(0, min(shared.values()))
        part = self._capacity.part_of(self.campaign.id, free) if free else 0
        return own | shared | ({Binding.OTHER_CAMPAIGNS: part} if part < free else {})

    # -- its turn ------------------------------------------------------------------------------------------------------

    async def turn(self) -> int:
        """Launches what may be launched now; how many that was. `binding` then says what kept it from more."""
        self.is_hungry = True
        async with self._capacity.turn:
            return await self._claim_and_launch()

    async def _claim_and_launch(self) -> int:
        now = self._clock.monotonic()
        trunks = self._of_trunks(now)
        decision = decide(self._room(now, trunks), self._forbidden(now))
        if decision.launch > 0 and now < self._claim_again_at:
            return 0  # what kept the last claim from more still binds
        self.binding = decision.binding
        if decision.launch == 0:
            return 0
        most = 1 if self._refusals >= REFUSALS else decision.launch
        # Another revision may be taken on while the claim is made: what it brings belongs to this one.
        campaign = self.campaign
        order = ClaimOrder(
            campaign_id=campaign.id,
            revision_id=campaign.revision_id,
            boot=self._telephony.boot,
            ceiling=self._ceiling(now),
            most=most,
            routes=self._routes,
            room={name: calls for name, (calls, _) in trunks.items()},
            placed=self._capacity.placed,
            identity=self._identities.choose,
            rules=strictest(campaign.rules, self._capacity.plan.site_caps),
        )
        try:
            result = await self._store.claim(order)
        except Fenced:
            raise
        except DialerError as error:
            # The claim may have committed. Its attempts are not sent; recovery finds them and settles them.
            log.error("no call can be claimed: %s", error, extra={"event": "store.away"})
            self.binding = Binding.DATABASE_AWAY
            self._on_doubt()
            return 0
        if len(result.claims) < most:
            self.binding = result.bound or Binding.NOTHING_DUE
            if result.bound is Binding.TRUNK_CEILING:
                # The claim sees that a trunk takes no more calls; here it is known why.
                self.binding = next((why for calls, why in trunks.values() if calls == 0), result.bound)
            self.is_hungry = result.bound is not None
            self._claim_again_at = now + FULL_AGAIN_S if result.bound and not result.claims else 0.0
        await self._launch(result.claims, campaign, claimed_at=now)
        return len(result.claims)

    def _forbidden(self, now: float) -> Binding | None:
        if (blocked := self._blocked()) is not None:
            return blocked
        if now < self._note_again_at:
            return Binding.DISK_FULL
        return Binding.NODE_REFUSES if self._refusals >= REFUSALS and now < self._ask_again_at else None

    async def _launch(self, claims: list[Claim], campaign: RunningCampaign, claimed_at: float) -> None:
        # What recovery found first, it settles.
        ours = [claim for claim in claims if self._tracker.adopt(claim, campaign.terms)]
        reach("claimed")
        if not await self._noted(ours):
            for claim in ours:
                self._tracker.apply(claim.attempt.id, Returned(at=self._clock.now()))
            return
        reach("journaled")
        now = self._clock.monotonic()
        for claim in ours:
            self._gate.take(claim.attempt.id, now)
            self._capacity.take(claim.attempt)
            if self._dialled_for(now) == 0.0:
                self._running_since, self._goes_on = now, True
            self._launched_at.append(now)
            self.launched += 1
        self._begin(self._send(ours, campaign, claimed_at))

    async def _send(self, claims: list[Claim], campaign: RunningCampaign, claimed_at: float) -> None:
        in_slice = ceil(len(claims) * SLICE_S / SPREAD_S)
        for first in range(0, len(claims), max(1, in_slice)):
            if first:
                await self._clock.sleep(SLICE_S)
            for claim in claims[first : first + in_slice]:
                self._begin(self._place(claim, campaign, claimed_at))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._ordering.add(task)
        task.add_done_callback(self._ordering.discard)

    async def _noted(self, claims: list[Claim]) -> bool:
        """Whether this host will still know of the calls when the database is restored from an old backup."""
        if not claims:
            return True
        try:
            await asyncio.to_thread(self._journal.claimed, self.campaign.name, claims)
        except OSError as error:
            log.error("the journal cannot be written, nothing is sent: %s", error, extra={"event": "journal.failed"})
            self._note_again_at = self._clock.monotonic() + NOTE_AGAIN_S
            self.binding = Binding.DISK_FULL
            return False
        return True

    async def _place(self, claim: Claim, campaign: RunningCampaign, claimed_at: float) -> None:
        attempt = claim.attempt
        if self._blocked() is not None or self._clock.monotonic() - claimed_at > SEND_WITHIN_S:
            self._tracker.apply(attempt.id, Returned(at=self._clock.now()))
            return
        if not self._tracker.may_send(attempt.id):
            return
        if self._telephony.boot != attempt.boot:
            # Its node was started anew since the claim; what the attempt says of its boot must stay true.
            self._tracker.apply(attempt.id, Returned(at=self._clock.now()))
            return
        trunk = self._trunks[attempt.trunk]
        self._capacity.send(attempt.id)
        outcome = await self._telephony.originate(
            Order(
                attempt_id=attempt.id,
                number=attempt.number,
                trunk=attempt.trunk,
                caller_id=attempt.caller_id,
                ring_s=campaign.capacity.ring,
                dial=trunk.dial_string(attempt.number),
                show=trunk.shown(attempt.caller_id),
            )
        )
        reach("acknowledged")
        self._note_refusal(outcome.message if isinstance(outcome, Refused) else None)
        self._tracker.apply(attempt.id, outcome)

    def _note_refusal(self, message: str | None) -> None:
        if message is None:
            self._refusals = 0
            return
        self._refusals += 1
        self.refusal = message
        self._ask_again_at = self._clock.monotonic() + REFUSED_PAUSE_S
        log.error("the node refuses calls: %s", message, extra={"event": "node.refuses"})

    def calls_per_second(self) -> float:
        """New calls a second over the last ten seconds."""
        now = self._clock.monotonic()
        return sum(1 for at in self._launched_at if at > now - 10.0) / 10.0
