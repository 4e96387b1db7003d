"""Who gets how much: campaigns on the same trunks, and engines that share one campaign's rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from dialer.pacing.limits import MARGIN_S, WINDOW_S

HOLD_S = WINDOW_S + MARGIN_S + 4.0
"""How long a share that was given up still counts: calls sent under it may leave until then. The 4 s are for the
engine that has not heard of it yet (campaign_run.SHARE_HOLDS_S), and for calls that wait inside Asterisk."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """One campaign that has calls to make now."""

    campaign_id: int
    priority: int
    """The lowest number is served first, strictly."""
    share: int
    """The part among campaigns of equal priority; at least 1."""
    most: int
    """Calls that it could make now."""
    served: int
    """Calls that it got lately. It must forget: who waited for an hour has no claim on the next hour."""


def divide(available: int, wants: Sequence[Want]) -> dict[int, int]:
    """How many of `available` calls each campaign gets now, by its id; campaigns that get none are left out.

    Among equals nobody gets more than their share while another could use it (weighted max-min fairness). What cannot
    be split goes to whoever got least for their share, so that even one call at a time adds up to the shares.
    """
    left = max(0, available)
    given: dict[int, int] = {}
    for _, group in groupby(sorted(wants, key=lambda want: want.priority), key=lambda want: want.priority):
        for campaign_id, count in _divide_among_equals(left, list(group)).items():
            given[campaign_id] = count
            left -= count
    return {campaign_id: count for campaign_id, count in given.items() if count}


def _divide_among_equals(available: int, wants: Sequence[Want]) -> dict[int, int]:
    given: dict[int, int] = {}
    left, hungry = available, [want for want in wants if want.most > 0]
    while hungry:
        shares = sum(want.share for want in hungry)
        content = [want for want in hungry if want.most * shares <= left * want.share]
        if not content:
            return given | _split(left, hungry)
        given |= {want.campaign_id: want.most for want in content}
        left -= sum(want.most for want in content)
        hungry = [want for want in hungry if want.campaign_id not in given]
    return given


def _split(available: int, wants: Sequence[Want]) -> dict[int, int]:
    """By share alone: each could use more than that."""
    shares = sum(want.share for want in wants)
    given = {want.campaign_id: available * want.share // shares for want in wants}
    behind = sorted(wants, key=lambda want: ((want.served + given[want.campaign_id]) / want.share, want.campaign_id))
    for want in behind[: available - sum(given.values())]:
        given[want.campaign_id] += 1
    return given


@dataclass(frozen=True, kw_only=True)
class NodeShare:
    """A node's row: its engine's part of a campaign's calls a second. One that was never there has no share."""

    node: str
    weight: float
    """What the node can carry, in any unit; 0: nothing at this time."""
    share: float = 0.0
    """Calls a second that it may send."""
    high: float = 0.0
    """What it had before it gave some up."""
    high_until: float = 0.0
    """Until when `high` counts for the others (seconds on the one clock that all engines read)."""

    def held(self, now: float) -> float:
        """Calls a second that may still reach the carrier from here."""
        return max(self.share, self.high) if now < self.high_until else self.share


def next_share(now: float, total: float, mine: NodeShare, others: Sequence[NodeShare]) -> NodeShare:
    """This engine's next row, from the rows of all engines that live or lived until lately.

    Hard: at no instant may the shares, with what was given up but may still be on its way, exceed `total`. So an engine
    takes only what is free, gives up at once what is not its part, and a new one starts from nothing. That holds if
    every engine reads, computes and commits under one lock, sends by a larger share only after the commit and by a
    smaller one at once, and if the row of a node that left stays for HOLD_S after its last look. When `total` falls,
    nobody takes more until what is held has fallen below it.

    Shares are whole calls in ten seconds: parts of a call would each be rounded up to one, and exceed `total`.
    """
    units = max(1, int(WINDOW_S * total + 1e-9))
    unit = total / units
    target = _part(units, mine, others) * unit
    if now < mine.high_until:
        # Giving up again would renew the hold on all of `high`: small changes of the weights would keep it for ever.
        target = max(target, mine.share)
    free = max(0.0, total - sum(other.held(now) for other in others))
    share = min(target, int(free / unit + 1e-9) * unit) if unit > 0 else 0.0
    high, high_until = mine.high, mine.high_until
    if share < mine.share:
        high, high_until = mine.held(now), now + HOLD_S
    return NodeShare(node=mine.node, weight=mine.weight, share=share, high=high, high_until=high_until)


def _part(units: int, mine: NodeShare, others: Sequence[NodeShare]) -> int:
    """This engine's whole number of `units` by weight; what cannot be split goes to the largest remainders."""
    rows = sorted([mine, *others], key=lambda row: row.node)
    weights = sum(row.weight for row in rows)
    if weights <= 0:
        return 0
    parts = {row.node: int(units * row.weight / weights + 1e-9) for row in rows}
    closest = sorted(rows, key=lambda row: parts[row.node] - units * row.weight / weights)
    for row in closest[: max(0, units - sum(parts.values()))]:
        parts[row.node] += 1
    return parts[mine.node]
