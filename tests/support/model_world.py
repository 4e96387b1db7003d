"""A whole world around the engine in virtual time: a store of rows, a node with calls, a link, and their faults.

Nothing here is random: every fault is asked for, so that hypothesis can shrink what it found.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from dialer.calls.attempt import Attempt, State
from dialer.calls.events import (
    Accepted,
    Answered,
    CallEvent,
    Created,
    HungUp,
    Refused,
    Responded,
    Returned,
    Ringing,
    Unclear,
)
from dialer.calls.order import Order
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.witness import CelPosition, CelReading, CelRecord
from dialer.contacts.contact import Claim, ClaimOrder, ClaimResult, Contact, ContactChange, Leftover, Terms, Tried
from dialer.errors import DatabaseAway
from dialer.pacing.routes import Candidate, assign

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
SETTLE_S = 0.5
UNWRITTEN = 2
_IDS = UUID(int=7)


class Delivery(Enum):
    """What becomes of an order on its way to the node."""

    TAKEN = "taken"
    REFUSED = "refused"
    UNSENT = "unsent"
    """The link is lost before it is written."""
    CUT = "cut"
    """Written, then the link is lost; the node executes it at once."""
    LATE = "late"
    """Written, then the link is lost; the node executes it two seconds later."""
    LOST = "lost"
    """Written, then the link is lost; the node never reads it."""


class Ending(Enum):
    """How a call goes that the node makes."""

    BUSY = "busy"
    BUSY_TOLD_LATE = "busy_told_late"
    """OriginateResponse comes before Hangup."""
    RINGS_OUT = "rings_out"
    NOTHING_ANSWERS = "nothing_answers"
    COMPLETED = "completed"
    HANGS_UP = "hangs_up"
    CONGESTED = "congested"
    """503 at once: the trunk's fault."""
    NO_CHANNEL = "no_channel"
    """The order fails before there is a channel: no INVITE."""


Fate = tuple[Delivery, Ending]


class World:
    """Time, and what is to happen in it."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    async def sleep(self, seconds: float) -> None:
        """The engine's sleep: the world goes on meanwhile."""
        await asyncio.sleep(0)
        self.go_on(seconds)

    def go_on(self, seconds: float) -> None:
        """Lets time pass, and what is due in it happen."""
        until = self.passed_s + seconds
        while self._agenda and self._agenda[0][0] <= until:
            at, _, happen = heappop(self._agenda)
            self.passed_s = max(self.passed_s, at)
            happen()
        self.passed_s = until

    def later(self, seconds: float, happen: Callable[[], None]) -> None:
        """Something that will happen by itself."""
        heappush(self._agenda, (self.passed_s + seconds, next(self._order), happen))


@dataclass
class Person:
    """A row of the contact table."""

    id: int
    number: str
    attempts: int = 0
    wave: int = 1
    due_at: datetime | None = T0
    avoid: tuple[str, ...] = ()
    settled: bool = False
    history: tuple[Tried, ...] = ()


class ModelStore:
    """PostgreSQL as the engine sees it: rows, their constraints, and commits whose answers are lost."""

    def __init__(self, world: World, people: Sequence[Person], terms: Terms) -> None:
        self.world, self.terms = world, terms
        self.people = {person.id: person for person in people}
        self.rows: dict[UUID, Attempt] = {}
        self.slot_until: dict[UUID, datetime] = {}
        self.events: dict[UUID, dict[str, Any]] = {}
        self.results: dict[UUID, DialogueEnd] = {}
        self.cel: dict[int, CelRecord] = {}
        self.position: CelPosition | None = None
        self.faults: deque[str] = deque()
        """`before` and `after`: how the next transactions fail, before or after their commit."""
        self.away = False
        self.slow_s = 0.0
        """How long the answer to a claim takes that has committed."""
        self._ids = count(1)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        fault = "before" if self.away else self.faults.popleft() if self.faults else ""
        if fault == "before":
            raise DatabaseAway("cut before the commit")
        yield
        if fault == "after":
            raise DatabaseAway("cut behind the commit")

    async def claim(self, order: ClaimOrder) -> ClaimResult:
        await asyncio.sleep(0)
        with self._transaction():
            now = self.world.now()
            in_use = sum(1 for one in self.rows if one not in self.slot_until or self.slot_until[one] > now)
            due = [one for one in self.people.values() if one.due_at and one.due_at <= now]
            candidates = [Candidate(contact_id=one.id, number=one.number, avoid=one.avoid) for one in due]
            trunks = assign(candidates, order.routes, order.room, order.placed)
            claims: list[Claim] = []
            for person in due:
                taken = any(row.number == person.number for row in self.open_rows())
                if len(claims) < min(order.most, order.ceiling - in_use) and person.id in trunks and not taken:
                    claims.append(self._claim(person, order, trunks[person.id]))
        await self.world.sleep(self.slow_s)
        return ClaimResult(claims=claims, bound=None)

    def _claim(self, person: Person, order: ClaimOrder, trunk: str) -> Claim:
        attempt = Attempt(
            id=uuid5(_IDS, str(next(self._ids))), tenant_id="t", campaign_id=order.campaign_id,
            revision_id=order.revision_id, contact_id=person.id, number=person.number, wave=person.wave, node="n",
            trunk=trunk, caller_id=order.identity(trunk, person.number), boot=order.boot,
            submitting_at=self.world.now(), seq=1,
        )  # fmt: skip
        self.rows[attempt.id] = attempt
        person.due_at = None
        return Claim(attempt=attempt, contact=self._contact(person))

    @staticmethod
    def _contact(person: Person) -> Contact:
        return Contact(id=person.id, numbers=(person.number,), attempts=person.attempts, history=person.history)

    def open_rows(self) -> list[Attempt]:
        """Attempts without a verdict."""
        return [row for row in self.rows.values() if row.state is not State.ENDED]

    async def save(
        self, changed: Sequence[Attempt], contacts: Sequence[ContactChange], events: Sequence[dict[str, Any]]
    ) -> None:
        await asyncio.sleep(0)
        with self._transaction():
            ended = set()
            for attempt in changed:
                row = self.rows[attempt.id]
                if row.state is State.ENDED:
                    continue
                order = list(State)
                assert order.index(attempt.state) >= order.index(row.state), "an attempt went back"
                self.rows[attempt.id] = attempt
                if attempt.hung_up_at is not None:
                    self.slot_until.setdefault(attempt.id, self.world.now() + timedelta(seconds=SETTLE_S))
                if attempt.disposition is not None:
                    ended.add(attempt.contact_id)
                    person = self.people[attempt.contact_id]
                    last = Tried(
                        number=attempt.number, disposition=attempt.disposition, trunk=attempt.trunk, wave=attempt.wave,
                        rang=attempt.ringing_at is not None,
                    )  # fmt: skip
                    person.history = (*person.history, last)
            for change in contacts:
                if change.contact_id in ended:
                    person = self.people[change.contact_id]
                    person.attempts, person.wave, person.due_at = change.attempts, change.wave, change.next_attempt_at
                    person.avoid = change.avoid_trunks
                    person.settled = change.closed_as is not None or change.on_hold
            self.events |= {event["event_id"]: event for event in events}
        await asyncio.sleep(0)

    def sent_lately(self, within_s: float) -> dict[str, int]:
        """By trunk; read without a fault, since an engine that cannot read it does not begin."""
        since = self.world.now() - timedelta(seconds=within_s)
        return Counter(row.trunk for row in self.rows.values() if row.submitting_at > since)

    async def flow_results(self, attempt_ids: Sequence[UUID]) -> list[DialogueEnd]:
        await asyncio.sleep(0)
        with self._transaction():
            return [self.results[one] for one in attempt_ids if one in self.results]

    async def awaiting_rows(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        return set()

    async def open_attempts(self) -> list[Leftover]:
        await asyncio.sleep(0)
        with self._transaction():
            return [
                Leftover(claim=Claim(attempt=_as_read(row), contact=self._contact(self.people[row.contact_id])),
                         terms=self.terms)
                for row in self.open_rows()
            ]  # fmt: skip

    async def cel_position(self) -> CelPosition | None:
        return self.position

    async def store_cel(self, records: Sequence[CelRecord], position: CelPosition) -> None:
        await asyncio.sleep(0)
        with self._transaction():
            self.cel |= {record.offset: record for record in records}
            self.position = position

    async def cel_of(self, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
        found: dict[UUID, list[CelRecord]] = {}
        for record in self.cel.values():
            if record.attempt_id in attempt_ids:
                found.setdefault(record.attempt_id, []).append(record)
        return found


def _as_read(row: Attempt) -> Attempt:
    """What the table keeps of an attempt."""
    seen = row.ringing_at is not None or row.answered_at is not None or row.hung_up_at is not None
    return replace(row, watched=False, channel_seen=seen, flow=None, refusal=None, returned=False, unplaced=False)


@dataclass(kw_only=True)
class Call:
    """A channel of the node's; the INVITE left with it."""

    attempt_id: UUID
    number: str
    events: list[CallEvent] = field(default_factory=list)


class ModelNode:
    """Asterisk and the people behind it, with the session to it. The judge: it sees what really was sent."""

    def __init__(self, world: World, store: ModelStore, ceiling: int) -> None:
        self.world, self.store, self.ceiling = world, store, ceiling
        self.up = True
        self.boot = "boot-1"
        self.slow_s = 0.0
        """How long an acknowledgement takes."""
        self.fates: deque[Fate] = deque()
        self.written: Counter[UUID] = Counter()
        self.invited: Counter[UUID] = Counter()
        self.invited_at: list[tuple[float, str]] = []
        self.answered: dict[UUID, FlowResult] = {}
        self.live: dict[UUID, Call] = {}
        self.outbox: deque[tuple[float, UUID, CallEvent]] = deque()
        self.cel: list[CelRecord | UUID | None] = []
        """Records and marks, in order; None is a line that a crash took before it was on the disk."""
        self.cel_readable = self.makes_marks = True
        self.on_down: Callable[[], None] = lambda: None
        self._boots = count(2)
        self._session = 0
        self._marks = count(1)

    # -- what the engine asks of it ----------------------------------------------------------------------------------

    @property
    def is_up(self) -> bool:
        return self.up

    async def originate(self, order: Order) -> Accepted | Refused | Returned | Unclear:
        await asyncio.sleep(0)
        now = self.world.now()
        if not self.up:
            return Returned(at=now)
        delivery, ending = self.fates.popleft() if self.fates else (Delivery.TAKEN, Ending.BUSY)
        if delivery is Delivery.UNSENT:
            self.lose_link()
            return Returned(at=now)
        self.written[order.attempt_id] += 1
        if delivery in (Delivery.TAKEN, Delivery.CUT):
            self._execute(order, ending, self.boot)
        elif delivery is Delivery.LATE:
            boot = self.boot
            self.world.later(2.0, lambda: self._execute(order, ending, boot))
        if delivery in (Delivery.CUT, Delivery.LATE, Delivery.LOST):
            self.lose_link()
        session = self._session
        await self.world.sleep(self.slow_s)
        if delivery is Delivery.REFUSED:
            return Refused(at=now, message="no")
        return Accepted(at=now) if self.up and session == self._session else Unclear(at=now)

    async def live_calls(self) -> dict[UUID, list[CallEvent]] | None:
        await asyncio.sleep(0)
        return {call.attempt_id: list(call.events) for call in self.live.values()} if self.up else None

    async def leave_mark(self) -> UUID | None:
        await asyncio.sleep(0)
        if not self.up or not self.makes_marks:
            return None
        mark = uuid5(_IDS, f"mark {next(self._marks)}")
        self.cel.append(mark)
        return mark

    def read_cel(self, position: CelPosition | None) -> CelReading:
        """The record behind a position: its lines' places count as their offsets."""
        if not self.cel_readable:
            raise OSError("the disk is away")
        begin = position.offset if position is not None else 0
        new = self.cel[begin:]
        return CelReading(
            records=tuple(one for one in new if isinstance(one, CelRecord)),
            position=CelPosition(inode=1, offset=len(self.cel)),
            marks=frozenset(one for one in new if isinstance(one, UUID)),
        )

    # -- what happens to it ------------------------------------------------------------------------------------------

    def lose_link(self) -> None:
        """What stood in the session is lost with it."""
        if self.up:
            self.up = False
            self._session += 1
            self.outbox.clear()
            self.on_down()

    def crash(self) -> None:
        """kill -9 of Asterisk: its calls are gone, and what it said last of them was not written yet."""
        self.live.clear()
        read = self.store.position.offset if self.store.position is not None else 0
        unwritten = range(max(read, len(self.cel) - UNWRITTEN), len(self.cel))
        for place in unwritten:
            self.cel[place] = None
        self.lose_link()
        self.boot = f"boot-{next(self._boots)}"

    def _execute(self, order: Order, ending: Ending, boot: str) -> None:
        if boot != self.boot:
            return
        attempt_id = order.attempt_id
        if ending is Ending.NO_CHANNEL:
            self._send(attempt_id, Responded(at=self.world.now(), success=False, reason=0))
            return
        row = self.store.rows[attempt_id]
        assert row.state is not State.ENDED, "a call for an attempt that has ended"
        assert all(call.number != order.number for call in self.live.values()), "two calls to one number"
        assert len(self.live) < self.ceiling, "more calls than the ceiling"
        self.invited[attempt_id] += 1
        self.invited_at.append((self.world.passed_s, order.trunk))
        self.live[attempt_id] = Call(attempt_id=attempt_id, number=order.number)
        self._step(attempt_id, "CHAN_START", Created(at=self.world.now()))
        for after_s, happen in self._script(attempt_id, ending):
            self.world.later(after_s, self._unless_gone(attempt_id, boot, happen))

    def _script(self, attempt_id: UUID, ending: Ending) -> list[tuple[float, Callable[[], None]]]:
        def ring() -> None:
            self._step(attempt_id, "", Ringing(at=self.world.now()))

        def answer() -> None:
            self.answered[attempt_id] = FlowResult.COMPLETED if ending is Ending.COMPLETED else FlowResult.HUNG_UP
            self._step(attempt_id, "ANSWER", Answered(at=self.world.now()))
            self._send(attempt_id, Responded(at=self.world.now(), success=True, reason=4))

        def store_result() -> None:
            end = DialogueEnd(
                attempt_id=attempt_id, result=self.answered[attempt_id], step="s", answers=1, at=self.world.now()
            )  # fmt: skip
            self.store.results[attempt_id] = end

        def fail(reason: int) -> Callable[[], None]:
            return lambda: self._send(attempt_id, Responded(at=self.world.now(), success=False, reason=reason))

        def hang_up(cause: int, tech_cause: int | None) -> Callable[[], None]:
            def happen() -> None:
                self._step(attempt_id, "HANGUP", HungUp(at=self.world.now(), cause=cause, tech_cause=tech_cause))
                if not self.answered.get(attempt_id):
                    return
                self.world.later(0.3, store_result)

            return happen

        return {
            Ending.BUSY: [(1, ring), (3, hang_up(17, 486)), (3, fail(0))],
            Ending.BUSY_TOLD_LATE: [(1, ring), (3, fail(0)), (3, hang_up(17, 486))],
            Ending.RINGS_OUT: [(1, ring), (30, fail(3)), (30, hang_up(19, 480))],
            Ending.CONGESTED: [(0.1, hang_up(34, 503)), (0.1, fail(0))],
            Ending.NOTHING_ANSWERS: [(32, hang_up(18, 408)), (32, fail(0))],
            Ending.COMPLETED: [(1, ring), (4, answer), (20, store_result), (20, hang_up(16, None))],
            Ending.HANGS_UP: [(1, ring), (4, answer), (9, hang_up(16, None))],
            Ending.NO_CHANNEL: [],
        }[ending]

    def _unless_gone(self, attempt_id: UUID, boot: str, happen: Callable[[], None]) -> Callable[[], None]:
        def checked() -> None:
            if boot == self.boot:
                happen()

        return checked

    def _step(self, attempt_id: UUID, kind: str, event: CallEvent) -> None:
        if kind:
            cause = event.cause if isinstance(event, HungUp) else None
            self.cel.append(
                CelRecord(inode=1, offset=len(self.cel), attempt_id=attempt_id, kind=kind, at=self.world.now(),
                          digit=None, cause=cause)
            )  # fmt: skip
        self._send(attempt_id, event)
        if isinstance(event, HungUp):
            self.live.pop(attempt_id, None)
        elif attempt_id in self.live:
            self.live[attempt_id].events.append(event)

    def _send(self, attempt_id: UUID, event: CallEvent) -> None:
        if self.up:
            self.outbox.append((self.world.passed_s, attempt_id, event))
