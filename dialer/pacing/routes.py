"""Which trunk each call takes: by prefix, priority, room and weight."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Route:
    """One trunk that a campaign may use."""

    trunk: str
    prefixes: tuple[str, ...]
    """E.164 prefixes that it carries; none: all numbers."""
    priority: int
    """The lowest number is used first; the next only by what finds no room there."""
    weight: int
    """The share among trunks of equal priority; at least 1."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One number that is due."""

    contact_id: int
    number: str
    """E.164."""
    avoid: Collection[str] = ()
    """The trunks that failed this number before. A contact whose only trunk is avoided stays out: not avoiding it any
    more is the retry policy's decision."""


def carries(route: Route, number: str) -> bool:
    """Whether the trunk takes that E.164 number."""
    return not route.prefixes or number.startswith(route.prefixes)


def assign(
    candidates: Sequence[Candidate],
    routes: Sequence[Route],
    room: Mapping[str, int],
    placed: Mapping[str, int],
) -> dict[int, str]:
    """A trunk for each contact that gets one, in the order of `candidates`: whoever comes first chooses first.

    `room`: calls that each trunk may still take (a trunk it does not name has none); `placed`: calls that each took
    lately. Among trunks of equal priority the one with the fewest `placed` for its weight is next, the earlier route
    when equal. `placed` must forget: a trunk that was away for an hour would otherwise get every call until it had
    caught up.
    """
    left, taken = dict(room), dict(placed)
    assigned: dict[int, str] = {}
    for candidate in candidates:
        usable = [
            route
            for route in routes
            if left.get(route.trunk, 0) > 0 and route.trunk not in candidate.avoid and carries(route, candidate.number)
        ]
        if not usable:
            continue
        chosen = min(usable, key=lambda route: (route.priority, taken.get(route.trunk, 0) / route.weight)).trunk
        left[chosen] -= 1
        taken[chosen] = taken.get(chosen, 0) + 1
        assigned[candidate.contact_id] = chosen
    return assigned
