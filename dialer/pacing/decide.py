"""How many calls to launch now, and why not more: one pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Binding(Enum):
    """What keeps the engine from launching more at this moment."""

    NOTHING_DUE = "nothing_due"
    CEILING = "ceiling"
    RATE = "rate"
    UNANSWERED_ORDERS = "unanswered_orders"
    NODE_AWAY = "node_away"
    WORKERS_AWAY = "workers_away"
    DATABASE_AWAY = "database_away"
    DRAINING = "draining"
    RECOVERING = "recovering"


UNANSWERED_MOST = 100
"""Originates that Asterisk has not acknowledged: bounds what a lost link leaves unclear."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that the decision looks at."""

    max_concurrent: int
    in_use: int
    """Slots taken: open calls, and those that ended less than a settle time ago."""
    rate_allowance: int
    unanswered: int
    blocked: Binding | None
    """A reason outside pacing why nothing may start."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many to launch, and what binds."""

    launch: int
    binding: Binding


def decide(situation: Situation) -> Decision:
    """The smallest of what ceiling, rate and unanswered orders leave; nothing when anything outside forbids it."""
    if situation.blocked is not None:
        return Decision(launch=0, binding=situation.blocked)
    room = {
        Binding.CEILING: situation.max_concurrent - situation.in_use,
        Binding.RATE: situation.rate_allowance,
        Binding.UNANSWERED_ORDERS: UNANSWERED_MOST - situation.unanswered,
    }
    binding = min(room, key=lambda key: room[key])
    return Decision(launch=max(0, room[binding]), binding=binding)
