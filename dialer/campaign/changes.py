"""What differs between two versions of a campaign file, key by key, and which limits an accepted change moves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dialer.campaign.capacity import Capacity
from dialer.campaign.running import Overrides
from dialer.campaign.yaml_file import Key, dotted

ABSENT = object()
"""Of a key that one version does not have."""
ORDER = "order of the steps"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One key with another value; `before` or `after` is ABSENT where it does not stand."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.before)} -> {shown(self.after)}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The keys that differ, in the order of the files. The order of steps counts: a step goes on at the next one."""
    return list(_compared((), before, after))


def _compared(key: Key, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if key == ("flow",):
            yield from _order(before, after)
        for name in dict.fromkeys([*after, *before]):
            yield from _compared((*key, name), before.get(name, ABSENT), after.get(name, ABSENT))
    elif before != after:
        yield Change(key=dotted(key), before=before, after=after)


def _order(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    old, new = ([name for name in steps if name in before and name in after] for steps in (before, after))
    if old != new:
        yield Change(key=f"flow ({ORDER})", before=old, after=new)


def limits_changed(before: Capacity, after: Capacity) -> Overrides:
    """The limits that the file itself changed; None leaves what an operator has set meanwhile."""
    names = [field.name for field in fields(Overrides)]
    return Overrides(
        **{name: getattr(after, name) for name in names if getattr(before, name) != getattr(after, name)}
    )  # fmt: skip


def shown(value: Any, longest: int = 60) -> str:
    """A value of the file on one line, cut to a readable length."""
    if value is ABSENT:
        return "(not there)"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."
