"""What the collector answers, as JSON."""

from __future__ import annotations

from msgspec import Struct

from etl.event_types import Reason


class Rejected(Struct, frozen=True):
    """A line that is no event; it is kept as a dead letter."""

    line: int
    """From 1."""
    code: Reason
    detail: str


class Answer(Struct, frozen=True):
    """What became of a request's lines; those accepted are durable."""

    accepted: int
    duplicates: int | None
    """Of those accepted, the events that were stored before; null while they are on the collector's disk."""
    unknown: int
    """Of those accepted, the events of a type or version that this release does not know."""
    spooled: bool
    """On the collector's disk, because the database is away."""
    rejected: list[Rejected]


class Problem(Struct, frozen=True):
    """A request that was refused whole; nothing of it was kept."""

    error: str
    detail: str
