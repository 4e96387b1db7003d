"""After a verdict: when to call again and at which number, or the contact is closed, or a person must decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.campaign.model import Retry, RetryPolicy
from dialer.contacts.contact import Contact

D = Disposition


def _again(after: str, times: int) -> Retry:
    return Retry.model_validate({"after": after, "times": times})


DEFAULTS: Mapping[Disposition, Retry | Literal["stop", "hold"]] = {
    D.COMPLETED: "stop",
    D.PARTIAL: _again("1h", 2),
    D.REFUSED: "stop",
    D.NO_INPUT: _again("1h", 1),
    D.HUNG_UP: _again("1h", 1),
    D.DIALOGUE_ERROR: _again("10m", 1),
    D.BUSY: _again("5m", 3),
    D.NO_ANSWER: _again("2h", 3),
    D.UNREACHABLE: _again("1h", 3),
    D.REJECTED: _again("1d", 1),
    D.BLOCKED: "stop",
    D.INVALID_NUMBER: "stop",
    D.NUMBER_CHANGED: "stop",
    D.TRUNK_REFUSED: _again("5m", 3),
    D.CONGESTION: _again("2m", 3),
    D.OUT_OF_ORDER: _again("4h", 2),
    D.MEDIA_ERROR: "stop",
    D.RTP_LOST: _again("10m", 1),
    D.NOT_PLACED: _again("1m", 3),
    D.CANCELLED: _again("10m", 1),
    D.UNKNOWN: "hold",
}  # fmt: skip

DEAD_NUMBER = frozenset({D.INVALID_NUMBER, D.NUMBER_CHANGED})
"""The number is of no use; the person's next one is tried, as a try of its own."""
NEXT_NUMBER_AFTER = timedelta(minutes=1)
RETURNED_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Next:
    """The contact is due again."""

    at: datetime
    number: str


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Nobody calls this contact again; `reason` is the disposition that closed it."""

    reason: Disposition


@dataclass(frozen=True, kw_only=True)
class Held:
    """An operator must decide: the call may have been made, and calling twice is harm."""


def counts(disposition: Disposition) -> bool:
    """Whether an attempt with this verdict uses up one of the person's attempts."""
    return disposition not in UNCOUNTED


def rule(policy: RetryPolicy, disposition: Disposition) -> Retry | Literal["stop", "hold"]:
    """What a campaign does after a disposition: its own rule, else the default."""
    own: Retry | Literal["stop", "hold"] | None = getattr(policy, disposition.value, None)
    return own if own is not None else DEFAULTS[disposition]


def after(
    policy: RetryPolicy, contact: Contact, number: str, disposition: Disposition, ended_at: datetime
) -> Next | Closed | Held:
    """What follows an attempt at `number` that ended as `disposition`.

    `contact` is as it was before the attempt. Every disposition has a bounded number of retries, counted or not, so
    nobody is dialled without end.
    """
    if disposition is D.RETURNED:
        # Nothing was sent, so nothing happened; however often that is, nobody's telephone rings.
        return Next(at=ended_at + RETURNED_AFTER, number=number)
    history = (*contact.history, (number, disposition))
    counted = contact.attempts + counts(disposition)
    chosen = rule(policy, disposition)
    if chosen == "hold":
        return Held()
    live = [one for one in contact.numbers if not any(n == one and d in DEAD_NUMBER for n, d in history)]
    if disposition in DEAD_NUMBER and chosen == "stop" and live and counted < policy.attempts:
        return Next(at=ended_at + NEXT_NUMBER_AFTER, number=live[0])
    repeats = sum(1 for _, d in history if d is disposition)
    if chosen == "stop" or counted >= policy.attempts or repeats > chosen.times:
        return Closed(reason=disposition)
    return Next(at=ended_at + timedelta(seconds=chosen.after), number=_following(live or [number], number))


def _following(live: list[str], number: str) -> str:
    """The number to try next: the one after the last, in the order of the list, around."""
    return live[(live.index(number) + 1) % len(live)] if number in live else live[0]
