"""Events as sources send them, straight into the event log, for tests of the nightly run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy import Engine, text

from dialer.storage import event_log
from etl import event_types

SPACE = UUID(int=6)
T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
"""A Monday."""

_INSERT = text("""
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload, source)
values (:event_id, :tenant_id, :occurred_at, :type, :subject_type, :subject_id, :seq, :schema_v,
        cast(:payload as jsonb), :source)
on conflict do nothing
""")
_OWN = {"attempt": "attempt", "dialogue": "dialogue", "campaign": "campaign", "contact": "contact"}


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of the log."""

    type: str
    subject: str
    at: datetime
    payload: Mapping[str, Any]
    tenant: str = "acme"
    seq: int | None = None
    schema_v: int = 1
    id: UUID | None = None


def event(type: str, subject: str, after_s: float = 0, *, start: datetime = T0, **more: Any) -> Event:
    """An event so long after a start; what is no field of an event is its payload."""
    known = {name: more.pop(name) for name in ("tenant", "seq", "schema_v", "id") if name in more}
    return Event(type=type, subject=subject, at=start + timedelta(seconds=after_s), payload=more, **known)


def insert(engine: Engine, events: Iterable[Event]) -> None:
    """Stores events in one transaction, and makes their days' partitions."""
    rows = [_row(one) for one in events]
    days: set[date] = {row["occurred_at"].date() for row in rows}
    with engine.begin() as connection:
        connection.execute(text(event_log.partitions(days)))
        if rows:
            connection.execute(_INSERT, rows)


def _row(one: Event) -> dict[str, Any]:
    family = one.type.partition(".")[0]
    known = event_types.TYPES.get(one.type)
    name = f"{one.tenant} {one.type} {one.subject} {one.at.isoformat()} {json.dumps(dict(one.payload), sort_keys=True)}"
    return {
        "event_id": one.id or uuid5(SPACE, name),
        "tenant_id": one.tenant,
        "occurred_at": one.at,
        "type": one.type,
        "subject_type": known.subject_type if known else _OWN.get(family, family),
        "subject_id": one.subject,
        "seq": one.seq,
        "schema_v": one.schema_v,
        "payload": json.dumps(dict(one.payload)),
        "source": "" if family in _OWN else "desk",
    }


def ticket(name: str, *, start: datetime = T0, tenant: str = "acme") -> list[Event]:
    """A ticket of nine events in an hour: created, queued, assigned, answered, held, solved and closed."""
    told: list[tuple[str, float, dict[str, Any]]] = [
        ("ticket.created", 0, {"channel": "email", "group": "first", "requester": "ann@example.com"}),
        ("ticket.queued", 1, {"group": "first"}),
        ("ticket.assigned", 60, {"agent": "joe", "group": "first"}),
        ("ticket.message", 120, {"author": "agent", "visibility": "public", "agent": "joe"}),
        ("ticket.hold", 180, {}),
        ("ticket.updated", 300, {"status": "open"}),
        ("ticket.transferred", 600, {"agent": "eve"}),
        ("ticket.solved", 3000, {"agent": "eve"}),
        ("ticket.closed", 3600, {}),
    ]
    return [event(type, name, after_s, start=start, tenant=tenant, **payload) for type, after_s, payload in told]


def call(name: str, *, start: datetime = T0, tenant: str = "acme", value: str = "yes") -> list[Event]:
    """An answered call with one question, its dialogue and the path through its flow."""
    who = {"campaign": 1, "contact": 7, "wave": 1}
    told: list[tuple[str, float, dict[str, Any]]] = [
        ("attempt.submitting", 0, who | {"revision": 1, "dial": 1, "number_dial": 1, "node": "node-1",
                                         "trunk": "carrier-a", "caller_id": "+48221234567"}),
        ("attempt.accepted", 0.1, who),
        ("attempt.ringing", 1, who),
        ("attempt.answered", 5, who),
        ("dialogue.started", 5.2, {"revision": 1, "language": "pl"}),
        ("dialogue.answered", 9, {"step": "feel", "visit": 1, "keys": "1", "value": value, "revision": 1}),
        ("dialogue.ended", 12.2, {"result": "completed", "step": "bye", "answers": 1, "callback_at": None,
                                  "opted_out": False, "lasted_ms": 7000,
                                  "path": [["hello", 0, 1, "say"], ["feel", 2000, 1, "ask"], ["bye", 4000, 1, "say"]]}),
        ("attempt.closing", 12.5, who),
        ("attempt.ended", 12.6, who | {"disposition": "completed", "tech_cause": 200, "cause": 16, "refusal": None}),
    ]  # fmt: skip
    return [
        event(type, name, after_s, start=start, tenant=tenant, seq=place, **payload)
        for place, (type, after_s, payload) in enumerate(told, 1)
    ]
