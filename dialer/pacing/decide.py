"""How many calls to launch now, and why not more: one pure decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Binding(Enum):
    """What keeps the engine from launching more at this moment."""

    NOTHING_DUE = "nothing_due"
    CEILING = "ceiling"
    RATE = "rate"
    RATE_SHARE = "rate_share"
    """Other engines have their part of the campaign's calls a second."""
    RAMP_UP = "ramp_up"
    SITE_CEILING = "site_ceiling"
    NODE_CEILING = "node_ceiling"
    NODE_RATE = "node_rate"
    TRUNK_CEILING = "trunk_ceiling"
    TRUNK_RATE = "trunk_rate"
    BREAKER_OPEN = "breaker_open"
    STRAIN = "strain"
    """The node is strained, and is given fewer calls until it is not."""
    OTHER_CAMPAIGNS = "other_campaigns"
    """What is free goes to campaigns of a higher priority or with a greater share."""
    WINDOW_CLOSED = "window_closed"
    RULES = "rules"
    """Those whose turn it is are on a list, or were called often enough."""
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
"""Orders of a node without a channel: bounds what a lost link leaves unclear."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How many to launch, and what binds."""

    launch: int
    binding: Binding


def decide(room: Mapping[Binding, int], blocked: Binding | None = None) -> Decision:
    """The least that any limit leaves, the first of equal ones; nothing when anything outside pacing forbids it."""
    if blocked is not None:
        return Decision(launch=0, binding=blocked)
    binding = min(room, key=lambda key: room[key])
    return Decision(launch=max(0, room[binding]), binding=binding)
