"""What a node is told of an attempt: the checked numbers and an id, no contact data."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Order:
    """One call to place, once. `number` and `caller_id` are E.164."""

    attempt_id: UUID
    number: str
    trunk: str
    caller_id: str
    ring_s: int
    dial: str | None = None
    """The number as the trunk's carrier wants it dialled; None: as it is."""
    show: str | None = None
    """The caller's number as the carrier wants it written; None: as it is."""
