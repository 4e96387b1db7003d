"""Appends rows to the event log, many in one statement."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# One statement with arrays: a row a statement would cost a round trip each, and executemany builds a new text.
_INSERT = text("""
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload)
select event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload::jsonb
from unnest(cast(:event_id as uuid[]), cast(:tenant_id as text[]), cast(:occurred_at as timestamptz[]),
            cast(:type as text[]), cast(:subject_type as text[]), cast(:subject_id as text[]),
            cast(:seq as int[]), cast(:schema_v as int[]), cast(:payload as text[]))
  as e(event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload)
on conflict do nothing
""")
_COLUMNS = ("event_id", "tenant_id", "occurred_at", "type", "subject_type", "subject_id", "seq", "schema_v")


async def insert_events(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows made by `event_log.event_row`, in the caller's transaction; a doubled event_id changes nothing."""
    if not rows:
        return
    columns = {name: [row[name] for row in rows] for name in _COLUMNS}
    await connection.execute(_INSERT, {**columns, "payload": [json.dumps(row["payload"]) for row in rows]})
