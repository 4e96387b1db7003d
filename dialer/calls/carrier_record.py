"""A carrier's own record of calls against ours: which call is which, and where the two do not agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from statistics import median
from uuid import UUID

from dialer.calls.disposition import Disposition
from dialer.calls.witness import UNPLACED


@dataclass(frozen=True, kw_only=True, slots=True)
class CarrierCall:
    """One row of the carrier's; `line` is where it begins in the file."""

    line: int
    started_at: datetime
    answered: bool
    seconds: float | None
    """From answer to end, or as billed; None when the carrier does not say."""
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OurCall:
    """One attempt on the number; `counts` when it is one of those that are compared.

    The others (of another campaign, or through another trunk) only explain calls that the carrier has.
    """

    attempt_id: UUID
    submitted_at: datetime
    answered: bool
    seconds: float | None
    disposition: Disposition | None
    counts: bool


class Difference(Enum):
    """What does not agree, the gravest first."""

    UNKNOWN_CALL = "unknown_call"
    """The carrier has a call that we do not know of."""
    UNPLACED = "unplaced"
    """We say that no call was made, and call again; the carrier has it."""
    ANSWERED_THERE = "answered_there"
    ANSWERED_HERE = "answered_here"
    MISSING = "missing"
    """We say that a call was made; the carrier does not have it."""
    SECONDS = "seconds"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One difference; `line` and `attempt_id` name the call on each side that has it."""

    difference: Difference
    number: str
    at: datetime
    line: int | None
    attempt_id: UUID | None
    detail: str


@dataclass(kw_only=True)
class Side:
    """What one side counts."""

    calls: int = 0
    answered: int = 0
    seconds: float = 0.0

    def add(self, call: CarrierCall | OurCall) -> None:
        """Counts one call."""
        self.calls += 1
        self.answered += call.answered
        self.seconds += call.seconds or 0.0


Pairs = list[tuple[OurCall, CarrierCall]]


def pair(
    ours: Sequence[OurCall], theirs: Sequence[CarrierCall], tolerance_s: float
) -> tuple[Pairs, list[OurCall], list[CarrierCall]]:
    """The calls of one number, both in the order of time: those at most `tolerance_s` apart, and what is left."""
    pairs: Pairs = []
    our_rest: list[OurCall] = []
    their_rest: list[CarrierCall] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        apart_s = (theirs[j].started_at - ours[i].submitted_at).total_seconds()
        if abs(apart_s) <= tolerance_s:
            pairs.append((ours[i], theirs[j]))
            i, j = i + 1, j + 1
        elif apart_s > 0:
            our_rest.append(ours[i])
            i += 1
        else:
            their_rest.append(theirs[j])
            j += 1
    return pairs, [*our_rest, *ours[i:]], [*their_rest, *theirs[j:]]


MOST = 0.9
SPREAD_S = 2.0
ENOUGH = 5


def clock_offset_s(numbers: Iterable[tuple[Sequence[OurCall], Sequence[CarrierCall]]]) -> float | None:
    """How far the carrier's clock is ahead of ours, when nearly all calls agree on it; a wrong time zone shows here.

    Only numbers with as many calls on both sides are asked: theirs are taken as the same calls, in their order.
    """
    apart = [
        (their.started_at - our.submitted_at).total_seconds()
        for ours, theirs in numbers
        for placed in [[one for one in ours if one.disposition not in UNPLACED]]
        if len(placed) == len(theirs)
        for our, their in zip(placed, theirs, strict=True)
    ]
    if len(apart) < ENOUGH:
        return None
    middle = median(apart)
    near = sum(1 for one in apart if abs(one - middle) <= SPREAD_S)
    return middle if near >= MOST * len(apart) else None


@dataclass(kw_only=True)
class Comparison:
    """Number by number: what both sides count, and every difference."""

    tolerance_s: float
    seconds_apart_s: float
    answered_only: bool = False
    """The carrier lists no calls that nobody answered."""
    ours: Side = field(default_factory=Side)
    carrier: Side = field(default_factory=Side)
    elsewhere: int = 0
    """Calls of the carrier's that belong to attempts that are not compared."""
    found: list[Found] = field(default_factory=list)

    def take(self, number: str, ours: Sequence[OurCall], theirs: Sequence[CarrierCall]) -> None:
        """Compares the calls of one number, both sides in the order of time.

        What must be at the carrier is paired first, then what may be there, then what must not.
        """
        left = list(theirs)
        for rank in (_must_be_there, _may_be_there, _must_not_be_there):
            pairs, missing, left = pair([one for one in ours if rank(one)], left, self.tolerance_s)
            for our, their in pairs:
                self._both(number, our, their)
            if rank is _must_be_there:
                self._missing(number, missing)
        for their in left:
            self.carrier.add(their)
            self._note(Difference.UNKNOWN_CALL, number, None, their, "the carrier has a call that we do not know of")

    def _both(self, number: str, our: OurCall, their: CarrierCall) -> None:
        if not our.counts:
            self.elsewhere += 1
            return
        self.carrier.add(their)
        if our.disposition in UNPLACED:
            self._note(Difference.UNPLACED, number, our, their, "the carrier has a call that we judged as never made")
            return
        self.ours.add(our)
        if our.disposition is None:
            return
        if their.answered and not our.answered:
            self._note(Difference.ANSWERED_THERE, number, our, their, "answered at the carrier, not with us")
        elif our.answered and not their.answered:
            self._note(Difference.ANSWERED_HERE, number, our, their, "answered with us, not at the carrier")
        elif our.seconds is None or their.seconds is None:
            return
        elif abs(our.seconds - their.seconds) > self.seconds_apart_s:
            detail = f"{their.seconds:.1f} s at the carrier, {our.seconds:.1f} s with us"
            self._note(Difference.SECONDS, number, our, their, detail)

    def _missing(self, number: str, missing: Sequence[OurCall]) -> None:
        for our in missing:
            if our.counts:
                self.ours.add(our)
                if our.answered or not self.answered_only:
                    self._note(Difference.MISSING, number, our, None, "the carrier does not have our call")

    def _note(
        self, difference: Difference, number: str, our: OurCall | None, their: CarrierCall | None, detail: str
    ) -> None:
        at = their.started_at if their is not None else our.submitted_at if our is not None else None
        assert at is not None
        verdicts = []
        if our is not None and our.disposition is not None:
            verdicts.append(f"our verdict: {our.disposition.value}")
        if their is not None and their.status:
            verdicts.append(f"its status: {their.status}")
        self.found.append(
            Found(
                difference=difference,
                number=number,
                at=at,
                line=their.line if their is not None else None,
                attempt_id=our.attempt_id if our is not None else None,
                detail=detail + (f" ({', '.join(verdicts)})" if verdicts else ""),
            )
        )

    def gravest_first(self) -> list[Found]:
        """Every difference, by its kind, then by time."""
        order = list(Difference)
        return sorted(self.found, key=lambda one: (order.index(one.difference), one.at, one.number))


def _may_be_there(our: OurCall) -> bool:
    """An attempt without a verdict may be sent later; of `unknown`, nobody knows whether it was."""
    return our.disposition is None or our.disposition is Disposition.UNKNOWN


def _must_not_be_there(our: OurCall) -> bool:
    return our.disposition in UNPLACED


def _must_be_there(our: OurCall) -> bool:
    return not _may_be_there(our) and not _must_not_be_there(our)
