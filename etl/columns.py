"""The flat columns of events in the lake, which types there are, and in which order those of one instant come.

Instants are microseconds since 1970 in UTC (`_us`). What is missing is NULL. The lake holds no telephone numbers of
people, no text of messages and no requesters; it needs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
        "disposition", "sip_code", "cause", "refusal", "step", "visit", "try_no", "value", "keys", "outcome", "result", "language",
        "answers", "number_dial", "hung_up_us",
    ),
}  # fmt: skip
HISTORY: Mapping[Kind, Columns] = {
    kind: {name: SEGMENT[name] for name in (*_EVERY, *own)} | {"place": "BIGINT"} for kind, own in _OF_KIND.items()
}
"""The dataset `history_KIND`: cleaned events of whole subjects. Only columns that some type of the kind can fill.

`place` is the event's place in its subject's history, from 1: order by it, it stands for
(occurred_us, seq NULLS LAST, type_rank, event_id) and is unique in a subject."""

SUBJECT_INDEX: Columns = {"kind": "STRING", "subject": "STRING", "day": "BIGINT", "first_us": "BIGINT"}
"""The dataset `subject_index`: on which day (since 1970) each subject began, its cohort day."""


@dataclass(frozen=True)
class Known:
    """A type of event that a metric reads: what its subject is, and its rank among events of one instant."""

    kind: Kind
    rank: int


KNOWN: Mapping[str, Known] = {
    **{
        f"ticket.{verb}": Known("ticket", rank)
        for verb, rank in {
            "created": 0, "updated": 10, "queued": 15, "assigned": 20, "transferred": 30, "message": 40, "hold": 50,
            "work_started": 52, "work_ended": 54, "solved": 60, "closed": 70, "reopened": 80,
        }.items()
    },
    **{
        f"queue.{verb}": Known("queue_entry", rank)
        for verb, rank in {
            "entered": 0, "offered": 10, "declined": 20, "answered": 30, "held": 40, "resumed": 50, "transferred": 60,
            "ended": 70, "wrapped": 80,
        }.items()
    },
    **{
        f"agent.{verb}": Known("agent_session", rank)
        for verb, rank in {"logged_in": 0, "available": 10, "busy": 20, "paused": 30, "logged_out": 40}.items()
    },
    **{
        f"attempt.{verb}": Known("call", rank)
        for verb, rank in {
            "submitting": 0, "restored": 2, "unclear": 5, "accepted": 10, "ringing": 20, "answered": 30, "closing": 80,
            "ended": 90,
        }.items()
    },
    **{
        f"dialogue.{verb}": Known("call", rank)
        for verb, rank in {
            "started": 40, "resumed": 42, "step": 44, "tried": 46, "answered": 48, "ended": 70,
        }.items()
    },
}  # fmt: skip
SCHEMA_V = 1
"""The newest version of a payload that is understood here. Newer ones are kept aside and counted."""

STEP = "dialogue.step"
"""No event that anybody sends: the extract makes one of each entry of the `path` in `dialogue.ended`, with `step`,
`visit` (how often the dialogue had come to that step, from 1), the instant, `code` (the step's word) and `try_no` (its
place in the path, from 1)."""
