"""A row of the event log as a value; types and payloads stand in docs/events.md."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

SCHEMA_V = 1


def event_row(
    *,
    tenant_id: str,
    occurred_at: datetime,
    type: str,
    subject_type: str,
    subject_id: str,
    seq: int,
    payload: Mapping[str, Any],
) -> dict[str, Any]:
    """A row for the table `event`; `seq` orders the events of one subject, from 1."""
    return {
        "event_id": uuid4(),
        "tenant_id": tenant_id,
        "occurred_at": occurred_at,
        "type": type,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "seq": seq,
        "schema_v": SCHEMA_V,
        "payload": dict(payload),
    }
