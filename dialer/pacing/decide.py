"""How many calls to launch now, and why not more: one pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Binding(Enum):
    """What keeps the engine from launching more at this moment."""

    NOTHING_DUE = "nothing_due"
    CEILING = "ceiling"
    RATE = "rate"
    WINDOW_CLOSED = "window_closed"
    ORDERS_WAITING = "orders_waiting"
    NODE_REFUSES = "node_refuses"
    NODE_AWAY = "node_away"
    WORKERS_AWAY = "workers_away"
    DATABASE_AWAY = "database_away"
    DISK_FULL = "disk_full"
    PAUSED = "paused"
    DRAINING = "draining"
    RECOVERING = "recovering"


MOST_WAITING = 100
"""Orders without a channel: bounds what a lost link leaves unclear."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Everything that the decision looks at."""

    max_concurrent: int
    in_use: int
    """Calls open now; the claim counts again, with the slots that still settle."""
    rate_allowance: int
    orders_waiting: int
    """Orders sent whose channel Asterisk has not made yet."""
    blocked: Binding | None
    """A reason outside pacing why nothing may start."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many to launch, and what binds."""

    launch: int
    binding: Binding


def decide(situation: Situation) -> Decision:
    """The smallest of what ceiling, rate and waiting orders leave; nothing when anything outside forbids it."""
    if situation.blocked is not None:
        return Decision(launch=0, binding=situation.blocked)
    room = {
        Binding.CEILING: situation.max_concurrent - situation.in_use,
        Binding.RATE: situation.rate_allowance,
        Binding.ORDERS_WAITING: MOST_WAITING - situation.orders_waiting,
    }
    binding = min(room, key=lambda key: room[key])
    return Decision(launch=max(0, room[binding]), binding=binding)
