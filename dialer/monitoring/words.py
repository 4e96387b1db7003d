"""What keeps a campaign from more calls, in words that name whose limit it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dialer.pacing.decide import Binding

LIMITS = {
    Binding.CEILING: "its ceiling",
    Binding.RATE: "its rate",
    Binding.RATE_SHARE: "its share of the rate on {node}",
    Binding.RAMP_UP: "its ramp-up",
    Binding.SITE_CEILING: "ceiling of the site",
    Binding.NODE_CEILING: "ceiling of {node}",
    Binding.NODE_RATE: "rate of {node}",
    Binding.TRUNK_CEILING: "ceiling of {trunks}",
    Binding.TRUNK_RATE: "rate of {trunks}",
    Binding.BREAKER_OPEN: "breaker of {trunks}",
    Binding.STRAIN: "pace of {node}",
    Binding.OTHER_CAMPAIGNS: "campaigns that come before it",
}
CONDITIONS = {
    Binding.NOTHING_DUE: "nobody is due",
    Binding.WINDOW_CLOSED: "the calling window is closed",
    Binding.RULES: "those who are due are on do-not-call lists or at a cap",
    Binding.ORDERS_WAITING: "{node} is slow to place calls",
    Binding.NODE_REFUSES: "{node} refuses calls",
    Binding.NODE_AWAY: "{node} cannot be reached",
    Binding.WORKERS_AWAY: "no FastAGI worker answers",
    Binding.DATABASE_AWAY: "PostgreSQL cannot be reached",
    Binding.DISK_FULL: "a disk is full",
    Binding.PAUSED: "paused",
    Binding.DRAINING: "draining: no new calls",
    Binding.RECOVERING: "asking {node} about open calls",
}
_OF_NODE = (Binding.RATE_SHARE, Binding.NODE_CEILING, Binding.NODE_RATE, Binding.STRAIN)
_OF_TRUNKS = (Binding.TRUNK_CEILING, Binding.TRUNK_RATE, Binding.BREAKER_OPEN)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What keeps a campaign from more calls on one node."""

    binding: Binding
    node: str = "the node"
    trunks: tuple[str, ...] = ("the trunks",)
    """The campaign's, on that node."""

    @property
    def of(self) -> str | None:
        """Whose limit it is: the node's name or the trunks'; None when it is the campaign's own, or no such limit."""
        if self.binding in _OF_NODE:
            return self.node
        return ", ".join(self.trunks) if self.binding in _OF_TRUNKS else None


def in_words(holds: Iterable[Hold]) -> str:
    """All of it in one phrase, each once: "held back by: rate of node-1; node-2 cannot be reached"."""
    limits, conditions = [], []
    for hold in holds:
        names = {"node": hold.node, "trunks": " and ".join(hold.trunks)}
        if hold.binding in LIMITS:
            limits.append(LIMITS[hold.binding].format(**names))
        else:
            conditions.append(CONDITIONS[hold.binding].format(**names))
    held = [f"held back by: {', '.join(dict.fromkeys(limits))}"] if limits else []
    return "; ".join([*held, *dict.fromkeys(conditions)])
