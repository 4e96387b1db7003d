"""One campaign's turn: decide how many, claim them, order them, once each."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dialer.calls.events import Refused, Returned
from dialer.calls.order import Order
from dialer.clock import Clock
from dialer.contacts.contact import Claim, Terms
from dialer.engine.ports import Store, Telephony
from dialer.engine.tracker import Tracker
from dialer.errors import DialerError
from dialer.pacing.decide import Binding, Situation, decide
from dialer.pacing.limits import RateLimit, window_s

log = logging.getLogger(__name__)

SEND_WITHIN_S = 2.0
"""A claim that is not sent by then is given back: its window and lists were checked when it was made (promise 6)."""
REFUSALS = 5
REFUSED_PAUSE_S = 30.0
"""After so many refusals in a row the node is asked again only now and then, with one call: each refusal costs a person
one of few retries, and a list would be used up in minutes."""


@dataclass(frozen=True, kw_only=True)
class RunningCampaign:
    """What the loop needs of an accepted revision, with what the command line overrode."""

    id: int
    revision_id: int
    name: str
    max_concurrent: int
    calls_per_second: float
    trunk: str
    caller_id: str
    ring_s: int
    terms: Terms


class CampaignLoop:
    """Launches one campaign's calls."""

    def __init__(
        self,
        campaign: RunningCampaign,
        store: Store,
        telephony: Telephony,
        tracker: Tracker,
        clock: Clock,
        blocked: Callable[[], Binding | None],
        on_doubt: Callable[[], None],
    ) -> None:
        """`blocked` says why nothing may start now; `on_doubt` is told when a claim may or may not have been made."""
        self.campaign = campaign
        self.binding = Binding.NOTHING_DUE
        self.launched = 0
        self.refusal = ""
        """What the node last said when it refused a call."""
        self._store, self._telephony, self._tracker, self._clock = store, telephony, tracker, clock
        self._blocked, self._on_doubt = blocked, on_doubt
        self._rate = RateLimit(campaign.calls_per_second)
        self._ordering: set[asyncio.Task[None]] = set()
        self._launched_at: deque[float] = deque(maxlen=10_000)
        self._refusals = 0
        self._ask_again_at = 0.0

    async def turn(self) -> int:
        """Launches what may be launched now; how many that was. `binding` then says what kept it from more."""
        now = self._clock.monotonic()
        decision = decide(
            Situation(
                max_concurrent=self.campaign.max_concurrent,
                in_use=self._tracker.calls_now,
                rate_allowance=self._rate.allowance(now, self._tracker.orders_waiting, self._made_at()),
                orders_waiting=self._tracker.orders_waiting,
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
                trunk=self.campaign.trunk,
                max_concurrent=self.campaign.max_concurrent,
                most=most,
            )
        except DialerError as error:
            # The claim may have committed. Its attempts are not sent; recovery finds them and settles them.
            log.error("no call can be claimed: %s", error, extra={"event": "store.away"})
            self.binding = Binding.DATABASE_AWAY
            self._on_doubt()
            return 0
        if len(result.claims) < most:
            full = result.in_use + len(result.claims) >= self.campaign.max_concurrent
            self.binding = Binding.CEILING if full else Binding.NOTHING_DUE
        self._launch(result.claims, claimed_at=now)
        return len(result.claims)

    def _made_at(self) -> Iterable[float]:
        made_at = self._tracker.channels_made_at
        since = self._clock.monotonic() - window_s(self.campaign.calls_per_second)
        while made_at and made_at[0] <= since:
            made_at.popleft()
        return made_at

    def _refused(self, now: float) -> Binding | None:
        return Binding.NODE_REFUSES if self._refusals >= REFUSALS and now < self._ask_again_at else None

    def _launch(self, claims: list[Claim], claimed_at: float) -> None:
        now = self._clock.monotonic()
        for claim in claims:
            if not self._tracker.adopt(claim, self.campaign.terms):
                continue  # recovery found the row first, and settles it
            self._rate.take()
            self._launched_at.append(now)
            self.launched += 1
            task = asyncio.create_task(self._place(claim, claimed_at))
            self._ordering.add(task)
            task.add_done_callback(self._ordering.discard)

    async def _place(self, claim: Claim, claimed_at: float) -> None:
        attempt = claim.attempt
        if self._blocked() is not None or self._clock.monotonic() - claimed_at > SEND_WITHIN_S:
            self._tracker.apply(attempt.id, Returned(at=self._clock.now()))
            return
        if not self._tracker.may_send(attempt.id):
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
