"""One campaign's turn: decide how many, claim them, order them, once each."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dialer.calls.events import Refused
from dialer.calls.order import Order
from dialer.campaign.model import RetryPolicy
from dialer.clock import Clock
from dialer.contacts.contact import Claim
from dialer.engine.ports import Store, Telephony
from dialer.engine.tracker import Tracker
from dialer.errors import DatabaseAway
from dialer.pacing.decide import Binding, Situation, decide
from dialer.pacing.limits import RateLimit

log = logging.getLogger(__name__)

SEND_WITHIN_S = 2.0
"""A claim that is not sent by then is given back: its window and lists were checked when it was made (promise 6)."""


@dataclass(frozen=True, kw_only=True)
class RunningCampaign:
    """What the loop needs of an accepted revision, with what the command line overrode."""

    id: int
    name: str
    max_concurrent: int
    calls_per_second: float
    trunk: str
    caller_id: str
    ring_s: int
    retry: RetryPolicy


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
        sent_at: Iterable[float] = (),
    ) -> None:
        """`blocked` says why nothing may start now; `sent_at`: sends before us, in monotonic seconds."""
        self.campaign = campaign
        self.binding = Binding.NOTHING_DUE
        self.launched = 0
        self._store, self._telephony, self._tracker, self._clock = store, telephony, tracker, clock
        self._blocked = blocked
        self._rate = RateLimit(campaign.calls_per_second, sent_at)
        self._ordering: set[asyncio.Task[None]] = set()
        self._launched_at: deque[float] = deque(maxlen=10_000)

    async def turn(self) -> int:
        """Launches what may be launched now; how many that was. `binding` then says what kept it from more."""
        decision = decide(
            Situation(
                max_concurrent=self.campaign.max_concurrent,
                in_use=self._tracker.calls_now,
                rate_allowance=self._rate.allowance(self._clock.monotonic()),
                unanswered=len(self._ordering),
                blocked=self._blocked(),
            )
        )
        self.binding = decision.binding
        if decision.launch == 0:
            return 0
        try:
            result = await self._store.claim(
                campaign_id=self.campaign.id,
                trunk=self.campaign.trunk,
                max_concurrent=self.campaign.max_concurrent,
                most=decision.launch,
            )
        except DatabaseAway as error:
            # The claim may have committed; its attempts are found as open and resolved, they are not sent.
            log.error("no call can be claimed: %s", error, extra={"event": "store.away"})
            self.binding = Binding.DATABASE_AWAY
            return 0
        if len(result.claims) < decision.launch:
            full = result.in_use + len(result.claims) >= self.campaign.max_concurrent
            self.binding = Binding.CEILING if full else Binding.NOTHING_DUE
        self._launch(result.claims)
        return len(result.claims)

    def _launch(self, claims: list[Claim]) -> None:
        claimed_at = self._clock.monotonic()
        for claim in claims:
            self._tracker.adopt(claim, self.campaign.retry)
            self._rate.take(claimed_at)
            self._launched_at.append(claimed_at)
            self.launched += 1
            task = asyncio.create_task(self._place(claim, claimed_at))
            self._ordering.add(task)
            task.add_done_callback(self._ordering.discard)

    async def _place(self, claim: Claim, claimed_at: float) -> None:
        attempt = claim.attempt
        if self._clock.monotonic() - claimed_at > SEND_WITHIN_S:
            self._tracker.apply(attempt.id, Refused(at=self._clock.now(), message="not sent in time"))
            return
        order = Order(
            attempt_id=attempt.id,
            number=attempt.number,
            trunk=attempt.trunk,
            caller_id=self.campaign.caller_id,
            ring_s=self.campaign.ring_s,
        )
        self._tracker.apply(attempt.id, await self._telephony.originate(order))

    def calls_per_second(self) -> float:
        """New calls a second over the last ten seconds."""
        now = self._clock.monotonic()
        return sum(1 for at in self._launched_at if at > now - 10.0) / 10.0
