"""How a dialogue and one try at a question may end: the words that stand in tables, events and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

from dialer.contacts.suppress import DncScope

STARTED = "dialogue.started"
"""The event's type; its time is when the first prompt was begun."""


class FlowResult(Enum):
    """How a dialogue ended."""

    COMPLETED = "completed"
    """It reached its end, or a step marked `complete`."""
    PARTIAL = "partial"
    """It ended by itself after some answers, with a question left open, or with a call asked for at another time."""
    REFUSED = "refused"
    """The person chose a step that ends with `hangup: refused`, or wants no more calls (`opt_out`)."""
    NO_INPUT = "no_input"
    """It ended by itself without a single accepted key."""
    HUNG_UP = "hung_up"
    """The person hung up; `step` says where."""
    ERROR = "error"
    """Our own fault; `detail` says which."""


class TryOutcome(Enum):
    """What one try at a question brought; all but the first are reasons why it was refused."""

    ACCEPTED = "accepted"
    SILENCE = "silence"
    NOT_ALLOWED = "not_allowed"
    OUT_OF_RANGE = "out_of_range"
    TOO_SHORT = "too_short"


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try at a question: the keys pressed (may be none) and what they were worth."""

    attempt_id: UUID
    step: str
    visit: int
    try_no: int
    keys: str
    outcome: TryOutcome
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the person gave at a step; `value` is the campaign's word for the keys."""

    attempt_id: UUID
    step: str
    visit: int
    revision_id: int
    keys: str
    value: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class OptOut:
    """The person wants no more calls, of any of their numbers that we know."""

    attempt_id: UUID
    scope: DncScope
    at: datetime


@dataclass(frozen=True, kw_only=True)
class DialogueEnd:
    """The one result of a dialogue."""

    attempt_id: UUID
    result: FlowResult
    step: str | None
    answers: int
    at: datetime
    detail: str | None = None
    audio_at: datetime | None = None
    """When its first prompt was begun."""
    callback_at: datetime | None = None
    """When the person asked to be called again."""
    opted_out: bool = False
    given: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The answers by step, the last visit's: filled in where a stored dialogue is read; they have rows of their own."""


@dataclass(kw_only=True)
class Writes:
    """Rows of one dialogue that belong into one commit."""

    tries: list[Try] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    opt_outs: list[OptOut] = field(default_factory=list)
    ends: list[DialogueEnd] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """As dialer.calls.log.event_row makes them."""

    def __len__(self) -> int:
        return len(self.tries) + len(self.answers) + len(self.opt_outs) + len(self.ends) + len(self.events)

    def attempts(self) -> list[str]:
        """Whose rows these are, for the log."""
        rows: tuple[Try | Answer | OptOut | DialogueEnd, ...]
        rows = (*self.tries, *self.answers, *self.opt_outs, *self.ends)
        return sorted({str(row.attempt_id) for row in rows} | {str(event["subject_id"]) for event in self.events})

    def extend(self, other: Writes) -> None:
        """Adds the rows of another one behind these."""
        self.tries += other.tries
        self.answers += other.answers
        self.opt_outs += other.opt_outs
        self.ends += other.ends
        self.events += other.events


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What is stored of a dialogue whose worker died: it goes on behind the last of the tries."""

    tries: tuple[Try, ...]
    """Those accepted have their answer stored with them."""
    seq: int
    """Of the dialogue's last event."""
    started_at: datetime
    audio_at: datetime | None = None
    """When its first prompt was begun."""
