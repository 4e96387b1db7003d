"""One campaign's turn: decide how many, claim them, order them, once each."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable

from dialer.calls.events import Refused, Returned
from dialer.calls.order import Order
from dialer.campaign.running import RunningCampaign
from dialer.contacts.contact import Claim
from dialer.crash_points import reach
from dialer.engine.ports import Parts
from dialer.engine.tracker import Tracker
from dialer.errors import DialerError, Fenced
from dialer.pacing.decide import Binding, Situation, decide
from dialer.pacing.limits import RateLimit, window_s

log = logging.getLogger(__name__)

SEND_WITHIN_S = 2.0
"""A claim that is not sent by then is given back: its window and lists were checked when it was made (promise 6)."""
REFUSALS = 5
REFUSED_PAUSE_S = 30.0
"""After so many refusals in a row the node is asked again only now and then, with one call: each refusal costs a person
one of few retries, and a list would be used up in minutes."""

NOTE_AGAIN_S = 5.0
"""Until the journal is tried again: each try claims people and gives them back."""


class CampaignLoop:
    """Launches one campaign's calls."""

    def __init__(
        self,
        campaign: RunningCampaign,
        parts: Parts,
        tracker: Tracker,
        blocked: Callable[[], Binding | None],
        on_doubt: Callable[[], None],
    ) -> None:
        """`blocked` says why nothing may start now; `on_doubt` is told when a claim may or may not have been made."""
        self.campaign = campaign
        self.binding = Binding.NOTHING_DUE
        self.launched = 0
        self.refusal = ""
        """What the node last said when it refused a call."""
        self._store, self._telephony, self._journal, self._clock = (
            parts.store, parts.telephony, parts.journal, parts.clock
        )  # fmt: skip
        self._tracker = tracker
        self._blocked, self._on_doubt = blocked, on_doubt
        self._rate = RateLimit(campaign.calls_per_second)
        self._ordering: set[asyncio.Task[None]] = set()
        self._launched_at: deque[float] = deque(maxlen=10_000)
        self._refusals = 0
        self._ask_again_at = self._note_again_at = 0.0

    async def turn(self) -> int:
        """Launches what may be launched now; how many that was. `binding` then says what kept it from more."""
        now = self._clock.monotonic()
        calls = self._tracker.calls_of(self.campaign.id)
        waiting = sum(not attempt.channel_seen for attempt in calls)
        decision = decide(
            Situation(
                max_concurrent=self.campaign.max_concurrent,
                in_use=len(calls),
                rate_allowance=self._rate.allowance(now, waiting, self._made_at()),
                orders_waiting=waiting,
                blocked=self._blocked() or self._refused(now),
            )
        )
        self.binding = decision.binding
        if decision.launch == 0:
            return 0
        most = 1 if self._refusals >= REFUSALS else decision.launch
        try:
            result = await self._store.claim(
                campaign_id=self.campaign.id,
                revision_id=self.campaign.revision_id,
                boot=self._telephony.boot,
                trunk=self.campaign.trunk,
                max_concurrent=self.campaign.max_concurrent,
                most=most,
            )
        except Fenced:
            raise
        except DialerError as error:
            # The claim may have committed. Its attempts are not sent; recovery finds them and settles them.
            log.error("no call can be claimed: %s", error, extra={"event": "store.away"})
            self.binding = Binding.DATABASE_AWAY
            self._on_doubt()
            return 0
        if len(result.claims) < most:
            full = result.in_use + len(result.claims) >= self.campaign.max_concurrent
            self.binding = Binding.CEILING if full else Binding.NOTHING_DUE
        await self._launch(result.claims, claimed_at=now)
        return len(result.claims)

    def _made_at(self) -> Iterable[float]:
        made_at = self._tracker.channels_made_at[self.campaign.id]
        since = self._clock.monotonic() - window_s(self.campaign.calls_per_second)
        while made_at and made_at[0] <= since:
            made_at.popleft()
        return made_at

    def _refused(self, now: float) -> Binding | None:
        if now < self._note_again_at:
            return Binding.DISK_FULL
        return Binding.NODE_REFUSES if self._refusals >= REFUSALS and now < self._ask_again_at else None

    async def _launch(self, claims: list[Claim], claimed_at: float) -> None:
        # What recovery found first, it settles.
        ours = [claim for claim in claims if self._tracker.adopt(claim, self.campaign.terms)]
        reach("claimed")
        if not await self._noted(ours):
            for claim in ours:
                self._tracker.apply(claim.attempt.id, Returned(at=self._clock.now()))
            return
        reach("journaled")
        now = self._clock.monotonic()
        for claim in ours:
            self._rate.take()
            self._launched_at.append(now)
            self.launched += 1
            task = asyncio.create_task(self._place(claim, claimed_at))
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

    async def _place(self, claim: Claim, claimed_at: float) -> None:
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
        outcome = await self._telephony.originate(
            Order(
                attempt_id=attempt.id,
                number=attempt.number,
                trunk=attempt.trunk,
                caller_id=self.campaign.caller_id,
                ring_s=self.campaign.ring_s,
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
