"""After a start, a lost link, or a missed event: what the node has is compared with what we think is open."""

from __future__ import annotations

import logging
from uuid import UUID

from dialer.calls.events import Vanished
from dialer.calls.states import State
from dialer.clock import Clock
from dialer.engine.ports import Store, Telephony
from dialer.engine.tracker import Tracker

log = logging.getLogger(__name__)

FENCE_S = 3.0
"""Originates in Asterisk's socket buffer are still read, and their threads show no channel at once (manager.c)."""
YOUNG_S = 10.0
"""An attempt this young may have no channel yet."""


class Recovery:
    """Resolves attempts that no event will resolve any more."""

    def __init__(self, store: Store, telephony: Telephony, tracker: Tracker, clock: Clock) -> None:
        self._store, self._telephony, self._tracker, self._clock = store, telephony, tracker, clock
        self._missed: set[UUID] = set()

    async def after_connect(self) -> None:
        """Takes over what is open and asks the node about each; raises DatabaseAway, and is then done again."""
        known = {attempt.id for attempt in self._tracker.open_attempts}
        for left in await self._store.open_attempts():
            if left.claim.attempt.id not in known:
                self._tracker.adopt(left.claim, left.retry)
        before = {attempt.id for attempt in self._tracker.open_attempts}
        if not before:
            return
        log.warning("%d attempts are open from before; asking the node", len(before), extra={"event": "recovery"})
        await self._clock.sleep(FENCE_S)
        await self._compare(before)

    async def sweep(self) -> None:
        """Finds attempts whose end was missed: twice in a row not young, not closing, and without a channel."""
        now = self._clock.now()
        suspects = {
            attempt.id
            for attempt in self._tracker.open_attempts
            if attempt.state is not State.CLOSING and (now - attempt.submitting_at).total_seconds() > YOUNG_S
        }
        live = await self._telephony.live_calls() if suspects else None
        if live is None:
            return
        missing = suspects - set(live)
        for attempt_id in missing & self._missed:
            log.warning("a call ended unseen", extra={"event": "recovery.vanished", "attempt": str(attempt_id)})
            self._tracker.apply(attempt_id, Vanished(at=self._clock.now()))
        self._missed = missing

    async def _compare(self, before: set[UUID]) -> None:
        live = await self._telephony.live_calls()
        if live is None:
            return
        for attempt in self._tracker.open_attempts:
            if attempt.id in live:
                for event in live[attempt.id]:
                    self._tracker.apply(attempt.id, event)
            elif attempt.id in before and attempt.state is not State.CLOSING:
                self._tracker.apply(attempt.id, Vanished(at=self._clock.now()))
