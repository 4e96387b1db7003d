"""The one door for transitions: events in, attempts advanced, states, contacts and events stored together.

Changes gather for a moment and are stored in one transaction, in the order they happened. Nothing waits for a store
that is away: changes stay here until it is back, and no new call starts meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from dialer import waves
from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.calls.events import CallEvent, FlowEnded, GaveUp, Unwatched
from dialer.calls.log import event_row
from dialer.calls.states import advance, waits_for
from dialer.clock import Clock
from dialer.contacts.contact import Claim, Contact, ContactChange, Terms, Tried
from dialer.engine.ports import Store
from dialer.errors import DialerError, Fenced

log = logging.getLogger(__name__)

GATHER_S = 0.2
"""How long changes gather before they are stored. Nobody waits for them (a slot needs longer to settle), and what
happens to a call within that time becomes one update of its row."""
FLOW_RESULT_S = 5.0
"""How long the verdict on an answered call waits for its dialogue's result (promise 4)."""
REASON_S = 2.0
"""How long the verdict on an unanswered call waits for OriginateResponse, or for a channel after one that failed."""
HANGUP_S = 10.0
"""How long an order that failed waits for the Hangup of the channel that it had."""
LAST_FLUSH_S = 5.0
LOOK_EVERY_S = 0.1
UNCLEAR_MARGIN_S = 60
REMEMBERED = 20_000
"""Ended attempts that are not taken up again: more than can end while a list of open ones is read."""


@dataclass(kw_only=True)
class _Open:
    """An attempt under way; `waits_until` (monotonic) is when patience with what it waits for ends."""

    attempt: Attempt
    contact: Contact
    terms: Terms
    since: float
    """When this engine came to know it (monotonic): the wall clock may jump, and would end what still goes on."""
    waits_until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A verdict, for whoever counts them."""

    attempt: Attempt
    disposition: Disposition
    change: ContactChange


class Tracker:
    """Holds every open attempt of this engine."""

    def __init__(self, store: Store, clock: Clock, prefixes: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """`prefixes` are those of the numbers that each trunk carries, of all trunks that may be called through."""
        self._prefixes = prefixes or {}
        self._store = store
        self._clock = clock
        self._open: dict[UUID, _Open] = {}
        self._changed: dict[UUID, Attempt] = {}
        self._storing: dict[UUID, Attempt] = {}
        self._contacts: dict[int, ContactChange] = {}
        self._events: list[dict[str, Any]] = []
        self._lately_ended: dict[UUID, None] = {}
        self._wake = asyncio.Event()
        self.calls: Counter[int] = Counter()
        """How many attempts of each campaign may hold a channel."""
        self.changed: list[Callable[[Attempt | None, Attempt], None]] = []
        """Called at once with each attempt before and after a change; None before: it is new here."""
        self.ended: list[Callable[[Ended], None]] = []
        """Called with each verdict, after it is stored."""
        self.store_away = False
        """Changes wait because the store is away; no new call may start on top of them."""
        self.unexpected = 0
        """Events that meant nothing in their attempt's state: late, doubled, or of an attempt that has ended."""

    @property
    def open_attempts(self) -> list[Attempt]:
        """Every attempt without a verdict."""
        return [one.attempt for one in self._open.values()]

    def calls_of(self, campaign_id: int) -> list[Attempt]:
        """A campaign's attempts that may hold a channel."""
        return [one for one in self.open_attempts if one.campaign_id == campaign_id and one.holds_slot]

    def is_settled(self, campaign_id: int | None = None) -> bool:
        """Nothing is open, and everything is stored: of one campaign, or of all."""
        kept = [*self.open_attempts, *self._changed.values(), *self._storing.values()]
        return not any(campaign_id in (None, attempt.campaign_id) for attempt in kept)

    def adopt(self, claim: Claim, terms: Terms) -> bool:
        """Takes an attempt over whose row is committed; from now on its events count.

        False when it is known already: open, or ended; whoever read the row may have done so before its verdict was
        stored.
        """
        attempt_id = claim.attempt.id
        if (
            attempt_id in self._lately_ended
            or attempt_id in self._open
            or attempt_id in self._changed
            or attempt_id in self._storing
        ):
            return False
        opened = _Open(attempt=claim.attempt, contact=claim.contact, terms=terms, since=self._clock.monotonic())
        self._open[attempt_id] = opened
        self._tell(None, claim.attempt)
        self._set_patience(opened)
        self._wake.set()
        return True

    def may_send(self, attempt_id: UUID) -> bool:
        """Whether an adopted attempt still waits for its one order."""
        opened = self._open.get(attempt_id)
        return opened is not None and opened.attempt.state is State.SUBMITTING

    def look_away(self) -> None:
        """The link to the node is lost: what is open may change unseen."""
        for attempt_id in list(self._open):
            self.apply(attempt_id, Unwatched(at=self._clock.now()))

    def is_in_time(self, attempt: Attempt) -> bool:
        """Whether a call of it could still be going on, had it been ordered.

        Asterisk ends every call by ring limit and longest call; a minute more for what is slow (promise 1).
        """
        opened = self._open.get(attempt.id)
        if opened is None:
            return False
        return self._clock.monotonic() - opened.since < opened.terms.longest_s + UNCLEAR_MARGIN_S

    def open_for(self, seconds: float) -> list[Attempt]:
        """Attempts without a verdict that this engine has known for longer."""
        before = self._clock.monotonic() - seconds
        return [one.attempt for one in self._open.values() if one.since < before]

    def apply(self, attempt_id: UUID, event: CallEvent) -> None:
        """Advances an attempt; an event that means nothing there is counted."""
        opened = self._open.get(attempt_id)
        if opened is None:
            self.unexpected += 1
            return
        before = opened.attempt
        after = advance(before, event, self._clock.now())
        if after is before:
            self.unexpected += 1
            return
        if after.state is not before.state:
            after = replace(after, seq=before.seq + 1)
        opened.attempt = after
        self._tell(before, after)
        change = None
        if after.state is State.ENDED:
            del self._open[attempt_id]
            self._lately_ended[attempt_id] = None
            if len(self._lately_ended) > REMEMBERED:
                del self._lately_ended[next(iter(self._lately_ended))]
            change = self._close(opened)
            after = replace(after, counted=change.attempts > opened.contact.attempts)
        else:
            self._set_patience(opened)
        if after.state is not before.state:
            self._events.append(_event_of(after, change))
        self._changed[attempt_id] = after
        self._wake.set()

    def _tell(self, before: Attempt | None, after: Attempt) -> None:
        self.calls[after.campaign_id] += after.holds_slot - (before is not None and before.holds_slot)
        for listener in self.changed:
            listener(before, after)

    def _close(self, opened: _Open) -> ContactChange:
        attempt, contact = opened.attempt, opened.contact
        assert attempt.disposition is not None
        assert attempt.ended_at is not None
        last = Tried(
            number=attempt.number,
            disposition=attempt.disposition,
            trunk=attempt.trunk,
            wave=attempt.wave,
            rang=attempt.ringing_at is not None,
        )

        def carriers(number: str) -> list[str]:
            known = ((trunk, self._prefixes.get(trunk)) for trunk in opened.terms.trunks)
            return [trunk for trunk, prefixes in known if prefixes is not None and number.startswith(prefixes or "+")]

        following = waves.after(opened.terms.retry, contact, last, attempt.ended_at, carriers, attempt.flow)
        counted = waves.counts(last, contact.history)
        change = ContactChange(
            contact_id=contact.id, attempts=contact.attempts + counted, wave=attempt.wave + counted
        )  # fmt: skip
        match following:
            case waves.Next(at=at, number=number, avoid=avoid, waits_for=waits_for):
                change = replace(change, next_attempt_at=at, next_number=number, avoid_trunks=avoid,
                                 waits_for=waits_for.value if waits_for else None)  # fmt: skip
            case waves.Closed(reason=reason):
                change = replace(change, closed_as=reason.value)
            case waves.Held():
                change = replace(change, on_hold=True)
        self._contacts[contact.id] = change
        return change

    def _set_patience(self, opened: _Open) -> None:
        attempt = opened.attempt
        patience = None
        if attempt.state is State.CLOSING:
            patience = FLOW_RESULT_S if waits_for(attempt) == "flow_result" else REASON_S
        elif attempt.originate_reason is not None and attempt.answered_at is None and attempt.watched:
            # What was missed while nobody watched does not come any more: recovery asks the node and its record.
            patience = HANGUP_S if attempt.channel_seen else REASON_S
        if patience is None:
            opened.waits_until = None
        elif opened.waits_until is None:
            opened.waits_until = self._clock.monotonic() + patience

    async def run(self) -> None:
        """Stores changes and collects dialogue results until cancelled; then stores what is left."""
        try:
            while True:
                await self._next_work()
                await self._turn()
        finally:
            # With the database away the rows stay as they are, and the next run settles them.
            with suppress(TimeoutError, DialerError):
                async with asyncio.timeout(LAST_FLUSH_S):
                    await asyncio.shield(self.flush())

    async def _next_work(self) -> None:
        waiting = any(one.waits_until is not None for one in self._open.values())
        try:
            async with asyncio.timeout(LOOK_EVERY_S if waiting else None):
                await self._wake.wait()
        except TimeoutError:
            return
        await self._clock.sleep(GATHER_S)
        self._wake.clear()

    async def _turn(self) -> None:
        try:
            await self._collect_results()
            await self.flush()
            self.store_away = False
        except Fenced:
            raise
        except (DialerError, OSError) as error:
            self.store_away = True
            self._be_patient_again()
            log.error("nothing can be stored now: %s", error, extra={"event": "store.away"})
            self._wake.set()
            await self._clock.sleep(1.0)

    def _be_patient_again(self) -> None:
        """What was waited for could not come: the time that the store was away does not count."""
        until = self._clock.monotonic() + FLOW_RESULT_S
        for opened in self._open.values():
            if opened.waits_until is not None:
                opened.waits_until = max(opened.waits_until, until)

    async def _collect_results(self) -> None:
        now = self._clock.monotonic()
        waiting = [one.attempt for one in self._open.values() if one.waits_until is not None]
        wanted = [attempt.id for attempt in waiting if waits_for(attempt) == "flow_result"]
        # Asked before the results: what is shipped in between is then among these.
        kept_back = await self._store.awaiting_rows(wanted) if wanted else set()
        for end in await self._store.flow_results(wanted) if wanted else ():
            self.apply(end.attempt_id, FlowEnded(end=end))
        for attempt in waiting:
            opened = self._open.get(attempt.id)
            if opened is None or opened.waits_until is None:
                continue
            patience_s = opened.terms.longest_s + UNCLEAR_MARGIN_S if attempt.id in kept_back else 0
            if opened.waits_until + patience_s <= now:
                self.apply(attempt.id, GaveUp(at=self._clock.now()))

    async def flush(self) -> None:
        """Stores everything that has changed, in one transaction. Raises DatabaseAway and keeps it all."""
        changed, contacts, events = self._changed, self._contacts, self._events
        if not changed and not events:
            return
        assert not self._storing, "two stores at once could swap their order"
        self._changed, self._contacts, self._events, self._storing = {}, {}, [], changed
        try:
            await self._store.save(list(changed.values()), list(contacts.values()), events)
        except BaseException:
            # What changed meanwhile is newer and wins; events keep their order and their ids, so that a commit
            # whose answer was lost changes nothing when it is done again.
            self._changed = {**changed, **self._changed}
            self._contacts = {**contacts, **self._contacts}
            self._events = [*events, *self._events]
            raise
        finally:
            self._storing = {}
        for attempt in changed.values():
            if attempt.disposition is not None:
                change = contacts[attempt.contact_id]
                ended = Ended(attempt=attempt, disposition=attempt.disposition, change=change)
                for listener in self.ended:
                    listener(ended)


def _event_of(attempt: Attempt, change: ContactChange | None) -> dict[str, Any]:
    payload: dict[str, Any] = {"campaign": attempt.campaign_id, "contact": attempt.contact_id, "wave": attempt.wave}
    if attempt.disposition is not None and change is not None:
        payload |= {
            "disposition": attempt.disposition.value,
            "tech_cause": attempt.tech_cause,
            "cause": attempt.cause,
            "refusal": attempt.refusal,
            "reason": "ring_limit" if attempt.given_up else None,
            "hung_up_at": attempt.hung_up_at.isoformat() if attempt.hung_up_at else None,
            "next_attempt_at": change.next_attempt_at.isoformat() if change.next_attempt_at else None,
            "closed_as": change.closed_as,
            "on_hold": change.on_hold,
            "waits_for": change.waits_for,
        }
    return event_row(
        tenant_id=attempt.tenant_id,
        occurred_at=_moment(attempt),
        type=f"attempt.{attempt.state.value}",
        subject_type="attempt",
        subject_id=str(attempt.id),
        seq=attempt.seq,
        payload=payload,
    )


def _moment(attempt: Attempt) -> datetime:
    """When the state that an attempt is in began."""
    moments = {
        State.ACCEPTED: attempt.accepted_at,
        State.RINGING: attempt.ringing_at,
        State.ANSWERED: attempt.answered_at,
        State.CLOSING: attempt.hung_up_at,
        State.ENDED: attempt.ended_at,
    }
    return moments.get(attempt.state) or attempt.submitting_at
