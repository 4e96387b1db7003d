"""What the node's own record (CEL) says of calls: the independent witness when an event was missed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dialer.calls.disposition import Disposition
from dialer.calls.events import Answered, CallEvent, Created, HungUp


@dataclass(frozen=True, kw_only=True)
class CelRecord:
    """One thing that Asterisk saw of a call of ours; `offset` is where its line begins in the file `inode`."""

    inode: int
    offset: int
    attempt_id: UUID
    kind: str
    """CHAN_START, ANSWER, DTMF, HANGUP or CHAN_END."""
    at: datetime
    digit: str | None
    cause: int | None


@dataclass(frozen=True, kw_only=True)
class CelPosition:
    """How far a file was read: everything before `offset` in the file with that inode."""

    inode: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class CelReading:
    """What was read of a record at once, how far it reaches, and the marks of ours that were passed on the way.

    Asterisk writes the record in order: with a mark in it, everything that Asterisk did before that mark is in it.
    """

    records: tuple[CelRecord, ...]
    position: CelPosition
    marks: frozenset[UUID]
    unbroken: bool = True
    """False when the file that was being read is gone or was emptied: what stood in it behind the position is lost."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What our tables say of one attempt that has ended."""

    disposition: Disposition
    answered: bool
    keys: str
    """Every key of every try, in their order."""


UNPLACED = frozenset({Disposition.NOT_PLACED, Disposition.RETURNED})


def disagreements(told: Told, records: Sequence[CelRecord]) -> list[str]:
    """Where our tables and the node's own record of a call differ, in words; nothing when they agree.

    More keys in the record than in the tries is no difference: people press keys that nobody asked for.
    """
    kinds = [record.kind for record in records]
    found = []
    if told.disposition in UNPLACED:
        return ["judged as not placed, but the node made a channel"] if "CHAN_START" in kinds else []
    if "CHAN_START" not in kinds:
        return [f"judged as {told.disposition.value}, but the node never made a channel"]
    if ("ANSWER" in kinds) != told.answered:
        found.append(
            "the node saw an answer that we did not" if "ANSWER" in kinds else "we saw an answer, the node none"
        )
    if told.disposition is not Disposition.UNKNOWN and "HANGUP" not in kinds:
        found.append("the node saw no hangup")
    pressed = iter(record.digit for record in records if record.kind == "DTMF")
    if not all(key in pressed for key in told.keys):
        found.append(f"keys {told.keys!r} are stored, the node heard {_digits(records)!r}")
    return found


def _digits(records: Iterable[CelRecord]) -> str:
    return "".join(record.digit or "" for record in records if record.kind == "DTMF")


def testimony(records: Iterable[CelRecord]) -> list[CallEvent]:
    """The records of one call, oldest first, as what happened to its attempt."""
    events: list[CallEvent] = []
    for record in records:
        match record.kind:
            case "CHAN_START":
                events.append(Created(at=record.at))
            case "ANSWER":
                events.append(Answered(at=record.at))
            case "HANGUP":
                events.append(HungUp(at=record.at, cause=record.cause or 0, tech_cause=None))
    return events
