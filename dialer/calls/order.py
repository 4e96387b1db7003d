"""What a node is told of an attempt: the checked numbers and an id, no contact data."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Order:
    """One call to place, once."""

    attempt_id: UUID
    number: str
    trunk: str
    caller_id: str
    ring_s: int
