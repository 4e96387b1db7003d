"""After a start, a lost link, a doubtful claim, or a missed event: the node is compared with what we think is open."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from uuid import UUID

from dialer.calls.attempt import Attempt, State
from dialer.calls.events import Answered, FlowEnded, Unplaced, Vanished
from dialer.calls.results import DialogueEnd
from dialer.calls.witness import CelRecord, testimony
from dialer.clock import Clock
from dialer.engine.capacity import FENCE_S
from dialer.engine.ports import Store, Telephony
from dialer.engine.tracker import Tracker
from dialer.engine.witness import Witness

log = logging.getLogger(__name__)

YOUNG_S = 10.0
"""An attempt this young may have no channel yet."""
STRAY_S = 60.0
RECORD_S = 5.0
"""How long a mark may take to appear in the node's record."""


class Recovery:
    """Resolves attempts that no event will resolve any more."""

    def __init__(self, store: Store, telephony: Telephony, tracker: Tracker, clock: Clock, witness: Witness) -> None:
        self._store, self._telephony, self._tracker, self._clock = store, telephony, tracker, clock
        self._witness = witness
        self._missed: set[UUID] = set()
        self._strange: Set[UUID] = set()
        self.strays: Set[UUID] = set()
        """Calls of ours on the node, seen twice in a row, that belong to no open attempt."""
        self._distrusted_until: datetime | None = None

    async def adopt(self, older_than_s: float = 0.0) -> None:
        """Takes over every open attempt of the node that this engine does not know. Raises DatabaseAway.

        `older_than_s` leaves out what may be on its way from the database to the tracker at this moment.
        """
        before = self._clock.now() - timedelta(seconds=older_than_s)
        for left in await self._store.open_attempts():
            if older_than_s and left.claim.attempt.submitting_at > before:
                continue
            if self._tracker.adopt(left.claim, left.terms):
                log.warning("an attempt is open from before",
                            extra={"event": "recovery.adopted", "attempt": str(left.claim.attempt.id)})  # fmt: skip

    async def compare(self) -> bool:
        """Waits until nothing sent before can still begin, then asks the node about each open attempt.

        False when the node could not be asked; it must then be done again. Raises DatabaseAway.
        """
        before = {attempt.id for attempt in self._tracker.open_attempts}
        if not before:
            return True
        await self._clock.sleep(FENCE_S)
        live = await self._telephony.live_calls()
        if live is None:
            log.error("the node does not list its calls", extra={"event": "recovery.unanswered"})
            return False
        open_now = self._tracker.open_attempts
        for attempt in open_now:
            for event in live.get(attempt.id, ()):
                self._tracker.apply(attempt.id, event)
        await self._settle([one for one in open_now if one.id in before and one.id not in live])
        return True

    async def sweep(self) -> None:
        """Finds attempts whose end was missed: twice in a row not young, not closing, and without a channel."""
        # A commit of ours whose answer was lost may have come to the database later than we looked for it.
        await self.adopt(older_than_s=STRAY_S)
        live = await self._telephony.live_calls()
        if live is None:
            log.error("the node does not list its calls", extra={"event": "recovery.unanswered"})
            return
        self._audit(live.keys())
        suspects = {
            attempt.id: attempt for attempt in self._tracker.open_for(YOUNG_S) if attempt.state is not State.CLOSING
        }
        missing = suspects.keys() - live.keys()
        again, self._missed = missing & self._missed, missing
        await self._settle([suspects[attempt_id] for attempt_id in again])

    def _audit(self, live: Set[UUID]) -> None:
        """Compares the slots: a call that goes on though its attempt has ended, or that nobody knows of, holds one too.

        The other way, attempts without a channel, is what the sweep settles.
        """
        strange = live - {attempt.id for attempt in self._tracker.open_attempts}
        again, self._strange = strange & self._strange, strange
        if again and again != self.strays:
            log.critical("%d calls go on that belong to no open attempt; their slots are kept", len(again),
                         extra={"event": "capacity.drift", "attempts": sorted(map(str, again))[:20]})  # fmt: skip
        self.strays = again

    async def _settle(self, absent: list[Attempt]) -> None:
        """Judges attempts that the node has no channel for, by what is known of them."""
        absent = [attempt for attempt in absent if attempt.state is not State.CLOSING]
        if not absent:
            return
        # The mark comes before the look: whatever the record holds by then is complete.
        complete = any(not attempt.channel_seen for attempt in absent) and await self._record_is_complete()
        await self._witness.catch_up()
        ids = [attempt.id for attempt in absent]
        seen = await self._store.cel_of(ids)
        # Asked before the results: what is shipped in between is then among these.
        in_spool = await self._store.awaiting_rows(ids)
        ended = {end.attempt_id: end for end in await self._store.flow_results(ids)}
        for attempt in absent:
            if attempt.id in ended or attempt.id in in_spool:
                # It has a dialogue, so it was answered, also where the record lacks the answer. Said first: a hangup
                # alone would be the end of a call that nobody took.
                self._tracker.apply(attempt.id, Answered(at=self._answered_at(attempt.id, seen, ended)))
            for event in testimony(seen.get(attempt.id, ())):
                self._tracker.apply(attempt.id, event)
            end = ended.get(attempt.id)
            if end is None and self._witness.is_away and self._tracker.is_in_time(attempt):
                continue  # the record may still tell how it went
            if end is None and attempt.id not in seen and not attempt.channel_seen:
                if complete and self._is_of_this_boot(attempt):
                    self._tracker.apply(attempt.id, Unplaced(at=self._clock.now()))
                    continue
                if not self._boot_is_over(attempt) and self._may_still_show(attempt):
                    continue
            self._tracker.apply(attempt.id, Vanished(at=self._clock.now()))
            if end is not None:
                self._tracker.apply(attempt.id, FlowEnded(end=end))
            log.warning("a call ended unseen", extra={"event": "recovery.vanished", "attempt": str(attempt.id)})

    def _answered_at(
        self, attempt_id: UUID, seen: Mapping[UUID, Sequence[CelRecord]], ended: Mapping[UUID, DialogueEnd]
    ) -> datetime:
        """As the record has it, else not later than the first prompt: how long it was silent hangs on it."""
        recorded = next((record.at for record in seen.get(attempt_id, ()) if record.kind == "ANSWER"), None)
        end = ended.get(attempt_id)
        return recorded or (end.audio_at or end.at if end is not None else self._clock.now())

    def distrust_record(self) -> None:
        """A disk was too full: the record may lack calls of until now, so silence in it proves nothing of them."""
        self._distrusted_until = self._clock.now()

    async def _record_is_complete(self) -> bool:
        mark = await self._telephony.leave_mark()
        return mark is not None and await self._witness.complete(mark, RECORD_S)

    def _may_still_show(self, attempt: Attempt) -> bool:
        """Its call may still begin, or stand in a record that is not complete yet; its number and slot are kept."""
        doubtful = self._witness.exists or attempt.state in (State.SUBMITTING, State.UNCLEAR)
        return doubtful and self._tracker.is_in_time(attempt)

    def _is_of_this_boot(self, attempt: Attempt) -> bool:
        trusted = self._distrusted_until is None or attempt.submitting_at > self._distrusted_until
        return trusted and attempt.boot != "" and attempt.boot == self._telephony.boot

    def _boot_is_over(self, attempt: Attempt) -> bool:
        """Its Asterisk is gone, and with it every call that it may have made."""
        return attempt.boot != "" and self._telephony.boot not in ("", attempt.boot)
