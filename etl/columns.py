"""The flat columns of events in the lake, which types there are, and in which order those of one instant come.

Instants are microseconds since 1970 in UTC (`_us`). What is missing is NULL. The lake holds no telephone numbers of
people, no text of messages and no requesters; it needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from etl import event_types

Type = Literal["BIGINT", "STRING", "BOOLEAN"]
"""All that a dataset may hold, by names that every engine knows. Money is micro-units, ratios belong to reports."""

Columns = Mapping[str, Type]
"""A dataset's columns in their order."""

Kind = Literal["ticket", "call", "queue_entry", "agent_session"]
KINDS: tuple[Kind, ...] = ("ticket", "call", "queue_entry", "agent_session")
"""What facts are computed for: a subject of a kind is one ticket, call, wait in a queue, or login of an agent."""

DAY_US = 86_400_000_000
"""Of a UTC day; leap seconds are smeared by every clock that we read."""

SEGMENT: Columns = {
    "tenant": "STRING", "event_id": "STRING", "occurred_us": "BIGINT", "ingested_us": "BIGINT", "type": "STRING",
    "kind": "STRING", "subject": "STRING", "seq": "BIGINT", "schema_v": "BIGINT", "source": "STRING",
    "type_rank": "BIGINT",
    # tickets, queues, agents
    "channel": "STRING", "group_name": "STRING", "agent": "STRING", "author": "STRING", "visibility": "STRING",
    "status": "STRING", "queue": "STRING", "reason": "STRING", "code": "STRING", "priority": "STRING",
    "ticket": "STRING",
    # calls
    "campaign": "BIGINT", "contact": "BIGINT", "revision": "BIGINT", "wave": "BIGINT", "dial": "BIGINT",
    "node": "STRING", "trunk": "STRING", "caller_id": "STRING", "disposition": "STRING", "sip_code": "BIGINT",
    "cause": "BIGINT", "refusal": "STRING", "step": "STRING", "visit": "BIGINT", "try_no": "BIGINT", "value": "STRING",
    "keys": "STRING", "outcome": "STRING", "result": "STRING", "language": "STRING", "answers": "BIGINT",
    "number_dial": "BIGINT", "hung_up_us": "BIGINT",
}  # fmt: skip
"""An event as the extract dumps it: the dataset `segment`. `kind` is NULL for what no metric reads."""

FROM_PAYLOAD: Mapping[str, str] = {
    name: {"group_name": "group", "sip_code": "tech_cause", "hung_up_us": "hung_up_at"}.get(name, name)
    for name in list(SEGMENT)[list(SEGMENT).index("channel") :]
}
"""Which key of an event's payload each column is."""

_EVERY = (
    "tenant", "event_id", "occurred_us", "ingested_us", "type", "subject", "seq", "schema_v", "source", "type_rank",
)  # fmt: skip
_OF_KIND: Mapping[Kind, tuple[str, ...]] = {
    "ticket": ("channel", "group_name", "agent", "author", "visibility", "status", "reason", "priority"),
    "queue_entry": ("channel", "agent", "queue", "reason", "ticket"),
    "agent_session": ("agent", "reason", "code"),
    "call": (
        "reason", "code", "campaign", "contact", "revision", "wave", "dial", "node", "trunk", "caller_id",
        "disposition", "sip_code", "cause", "refusal", "step", "visit", "try_no", "value", "keys", "outcome",
        "result", "language", "answers", "number_dial", "hung_up_us",
    ),
}  # fmt: skip
FILLED_BY: Mapping[Kind, frozenset[str]] = {kind: frozenset((*_EVERY, "kind", *own)) for kind, own in _OF_KIND.items()}
"""The columns of a segment that some type of a kind can fill."""

HISTORY: Mapping[Kind, Columns] = {
    kind: {name: SEGMENT[name] for name in (*_EVERY, *own)} | {"place": "BIGINT"} for kind, own in _OF_KIND.items()
}
"""The dataset `history_KIND`: cleaned events of whole subjects. Only columns that some type of the kind can fill.

`place` is the event's place in its subject's history, from 1: order by it, it stands for
(occurred_us, seq NULLS LAST, type_rank, event_id) and is unique in a subject."""

ERASED = ("value", "keys")
"""What people answered: the only columns whose content the erasure of a person takes away."""

SUBJECT_INDEX: Columns = {"kind": "STRING", "subject": "STRING", "day": "BIGINT", "first_us": "BIGINT"}
"""The dataset `subject_index`: on which day (since 1970) each subject began, its cohort day."""


@dataclass(frozen=True)
class Known:
    """A type of event that a metric reads: what its subject is, its rank among events of one instant, its version."""

    kind: Kind
    rank: int
    version: int = 1


_OWN: Mapping[str, int] = {
    "attempt.submitting": 0, "attempt.restored": 2, "attempt.unclear": 5, "attempt.accepted": 10, "attempt.ringing": 20,
    "attempt.answered": 30, "dialogue.started": 40, "dialogue.resumed": 42, "dialogue.step": 44, "dialogue.tried": 46,
    "dialogue.answered": 48, "dialogue.ended": 70, "attempt.closing": 80, "attempt.ended": 90,
}  # fmt: skip
_KIND_OF: Mapping[str, Kind] = {kind: kind for kind in KINDS if kind != "call"}
KNOWN: Mapping[str, Known] = {
    **{name: Known("call", rank) for name, rank in _OWN.items()},
    **{
        name: Known(_KIND_OF[one.subject_type], one.rank, one.version)
        for name, one in event_types.TYPES.items()
        if one.subject_type in _KIND_OF
    },
}
"""What is not among these, or newer, is dumped and counted, and read by no metric."""

STEP = "dialogue.step"
"""No event that anybody sends: the extract makes one of each entry of the `path` in `dialogue.ended`, with `step`,
`visit` (how often the dialogue had come to that step, from 1), the instant, `code` (the step's word) and `try_no` (its
place in the path, from 1)."""
