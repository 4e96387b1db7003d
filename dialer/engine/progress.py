"""Where a campaign stands at a moment, for terminals, programs and those who watch through the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from dialer.pacing.decide import Binding


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where the campaign stands at this moment."""

    at: datetime
    campaign: str
    calls_now: int
    unclear: int
    """Of these, orders that were perhaps sent."""
    answered: int
    """Answered calls that ended since this engine began."""
    silent: int
    """Of these, calls in which nothing was heard for two seconds."""
    max_concurrent: int
    calls_per_second: float
    max_calls_per_second: float
    launched: int
    wave: int
    contacts: int
    closed: int
    held: int
    due: int
    due_now: int
    never: int
    next_call_at: datetime | None
    dispositions: dict[str, int]
    binding: Binding
    refusal: str
    drained: bool
    """It was stopped, perhaps with people left to call."""
    judged: int = 0
    """The last answered calls, at most 100 on each node, by which the campaign pauses itself."""
    judged_silent: int = 0
    """Of these, silent ones."""


_OUTAGES = (
    Binding.NODE_AWAY, Binding.NODE_REFUSES, Binding.WORKERS_AWAY, Binding.DATABASE_AWAY, Binding.DISK_FULL,
    Binding.RECOVERING,
)  # fmt: skip


def merged(parts: Sequence[Progress]) -> Progress:
    """A campaign's progress over the nodes that it runs on: calls and verdicts add up, the contacts are the same."""
    newest = max(parts, key=lambda one: one.at)
    dispositions = Counter[str]()
    for one in parts:
        dispositions.update(one.dispositions)
    # A node that is away does not keep the others from calling.
    speaks = next((one for one in parts if one.binding not in _OUTAGES), newest)
    return replace(
        newest,
        calls_now=sum(one.calls_now for one in parts),
        unclear=sum(one.unclear for one in parts),
        answered=sum(one.answered for one in parts),
        silent=sum(one.silent for one in parts),
        calls_per_second=sum(one.calls_per_second for one in parts),
        launched=sum(one.launched for one in parts),
        dispositions=dict(dispositions.most_common()),
        binding=speaks.binding,
        refusal=speaks.refusal,
        drained=all(one.drained for one in parts),
        judged=sum(one.judged for one in parts),
        judged_silent=sum(one.judged_silent for one in parts),
    )


def as_data(progress: Progress) -> dict[str, Any]:
    """Progress as JSON-able data with the names of the glossary."""

    def value(item: object) -> object:
        if isinstance(item, datetime):
            return item.isoformat()
        return item.value if isinstance(item, Enum) else item

    return {name: value(item) for name, item in asdict(progress).items()}


def from_data(data: Mapping[str, Any]) -> Progress:
    """The progress that `as_data` made this of."""
    next_call_at = data["next_call_at"]
    return Progress(
        **{
            **data,
            "at": datetime.fromisoformat(data["at"]),
            # PostgreSQL keeps no order of keys.
            "dispositions": dict(sorted(data["dispositions"].items(), key=lambda item: -item[1])),
            "next_call_at": datetime.fromisoformat(next_call_at) if next_call_at else None,
            "binding": Binding(data["binding"]),
        }
    )
