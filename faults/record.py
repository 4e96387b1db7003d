"""What a fault run leaves for the checker: the faults, the attempts, the violations; values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from dialer.lab.truth import TruthRow


class Harm(Enum):
    """What a fault takes away while it lasts: the checker excuses nothing else, and only for that time."""

    WORKERS = "workers"
    """A key that was read and not stored may be asked for again."""
    NODE = "node"
    """Asterisk says and hears nothing."""
    CALLS = "calls"
    """Calls under way end without a word."""
    CEL = "cel"
    """The node's own record has a gap."""


@dataclass(frozen=True, kw_only=True)
class FaultRecord:
    """One fault that happened."""

    name: str
    detail: str
    harms: frozenset[Harm]
    began_at: datetime
    healed_at: datetime


@dataclass(frozen=True, kw_only=True)
class TryRow:
    """One stored try: the keys (none for silence), oldest first in an attempt."""

    step: str
    keys: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class CelRow:
    """One line of the node's own record."""

    kind: str
    at: datetime
    digit: str | None = None
    cause: int | None = None


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """What our tables say of one attempt; the two times are PostgreSQL's own, taken when the events were stored."""

    id: str
    campaign: str
    person: str
    number: str
    disposition: str | None
    """None while it is open."""
    opened_at: datetime
    closed_at: datetime | None
    tech_cause: int | None = None
    """The SIP status, where an event told it."""
    flow_result: str | None = None
    flow_ended_at: datetime | None = None
    flow_answers: int = 0
    tries: tuple[TryRow, ...] = ()
    answers: tuple[str, ...] = ()
    """The steps that have an answer."""
    cel: tuple[CelRow, ...] = ()
    story: tuple[str, ...] = ()
    """Its events, in words, as evidence."""


@dataclass(frozen=True, kw_only=True)
class History:
    """A whole run, after the last part is back and the last call is over."""

    truth: tuple[TruthRow, ...]
    attempts: tuple[AttemptRow, ...]
    faults: tuple[FaultRecord, ...]
    people: dict[str, str]
    """Number to person."""
    ended_at: datetime
    leaks: tuple[str, ...] = ()
    """What processes, sockets, files and transactions were left, in words."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One broken promise, with what proves it."""

    kind: str
    what: str
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join([f"{self.kind}: {self.what}", *self.evidence])
