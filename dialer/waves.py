"""After a verdict: when to call again and at which number, or the contact is closed, or a person must decide."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.campaign.retry import Retry, RetryPolicy
from dialer.contacts.contact import Contact, Tried

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
FAILS_OVER = frozenset({D.TRUNK_REFUSED, D.CONGESTION})
"""The trunk's fault: the same person is tried through another one at once. What is the callee's own choice never is."""
NOT_DIALLED = frozenset({D.RETURNED, D.NOT_PLACED})
"""Nothing left the node."""
FAILOVER_AFTER = timedelta(seconds=1)
UNCOUNTED_A_WAVE = 3
"""Dials of one wave that used up no attempt because nothing rang; a further one counts, so that it comes to an end."""
CONFIRM_AFTER = timedelta(hours=1)
"""When a number that one trunk did not know is tried once through another: trunks are wrong about numbers, too."""
NEXT_NUMBER_AFTER = timedelta(minutes=1)
RETURNED_AFTER = timedelta(seconds=1)

Carriers = Callable[[str], Collection[str]]
"""The campaign's trunks that carry a number."""


@dataclass(frozen=True, kw_only=True)
class Next:
    """The contact is due again, through any trunk but those in `avoid`."""

    at: datetime
    number: str
    avoid: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Closed:
    """Nobody calls this contact again; `reason` is the disposition that closed it."""

    reason: Disposition


@dataclass(frozen=True, kw_only=True)
class Held:
    """An operator must decide: the call may have been made, and calling twice is harm."""


def counts(last: Tried, earlier: Sequence[Tried] = ()) -> bool:
    """Whether an attempt uses up one of the person's attempts: not when nothing rang and it was not their doing."""
    if last.disposition not in UNCOUNTED or last.rang:
        return True
    if last.disposition in NOT_DIALLED:
        return False
    return sum(_dialled_in_vain(one) and one.wave == last.wave for one in earlier) >= UNCOUNTED_A_WAVE


def rule(policy: RetryPolicy, disposition: Disposition) -> Retry | Literal["stop", "hold"]:
    """What a campaign does after a disposition: its own rule, else the default."""
    own: Retry | Literal["stop", "hold"] | None = getattr(policy, disposition.value, None)
    return own if own is not None else DEFAULTS[disposition]


def after(
    policy: RetryPolicy, contact: Contact, last: Tried, ended_at: datetime, carriers: Carriers
) -> Next | Closed | Held:
    """What follows an attempt of a contact, which is as it was before it.

    Every disposition has a bounded number of retries on each trunk, counted or not, so nobody is dialled without end.
    """
    number, disposition = last.number, last.disposition
    history = (*contact.history, last)
    counted = contact.attempts + counts(last, contact.history)
    wave = last.wave + counted - contact.attempts

    def again(after: timedelta, number: str) -> Next:
        return Next(at=ended_at + after, number=number, avoid=_avoid(history, number, wave, carriers(number)))

    if disposition is D.RETURNED:
        # Nothing was sent, so nothing happened; however often that is, nobody's telephone rings.
        return again(RETURNED_AFTER, number)
    untried = set(carriers(number)) - _deniers(history, number) - _failing(history, wave)
    if _failed(last) and untried and counted == contact.attempts:
        return again(FAILOVER_AFTER, number)
    chosen = rule(policy, disposition)
    if chosen == "hold":
        return Held()
    live = [one for one in contact.numbers if not _is_dead(history, one, carriers(one))]
    if disposition in DEAD_NUMBER and chosen == "stop" and live and counted < policy.attempts:
        following = _following(live, number)
        return again(CONFIRM_AFTER if _deniers(history, following) else NEXT_NUMBER_AFTER, following)
    repeats = sum(
        one.disposition is disposition and (disposition not in FAILS_OVER or one.trunk == last.trunk)
        for one in history
    )  # fmt: skip
    if chosen == "stop" or counted >= policy.attempts or repeats > chosen.times:
        return Closed(reason=disposition)
    return again(timedelta(seconds=chosen.after), _following(live or [number], number))


def _failed(tried: Tried) -> bool:
    """Nothing rang, and it was the trunk's fault."""
    return tried.disposition in FAILS_OVER and not tried.rang


def _dialled_in_vain(tried: Tried) -> bool:
    """Something was sent, nothing rang, and it was not the person's doing."""
    return tried.disposition in UNCOUNTED - NOT_DIALLED and not tried.rang


def _is_dead(history: Sequence[Tried], number: str, carriers: Collection[str]) -> bool:
    """Two trunks knew no such number, or the only one that carries it; or somebody said that it has changed."""
    deniers = _deniers(history, number)
    changed = any(one.number == number and one.disposition is D.NUMBER_CHANGED for one in history)
    return changed or (bool(deniers) and (len(deniers) > 1 or not set(carriers) - deniers))


def _deniers(history: Sequence[Tried], number: str) -> set[str]:
    """The trunks that knew no such number."""
    return {one.trunk for one in history if one.number == number and one.disposition is D.INVALID_NUMBER}


def _failing(history: Sequence[Tried], wave: int) -> set[str]:
    """The trunks that failed in a wave."""
    return {one.trunk for one in history if one.wave == wave and _failed(one)}


def _avoid(history: Sequence[Tried], number: str, wave: int, carriers: Collection[str]) -> tuple[str, ...]:
    """Trunks that failed in this wave or did not know the number, as long as another one carries it."""
    deniers = _deniers(history, number)
    for avoided in (deniers | _failing(history, wave), deniers):
        if avoided and set(carriers) - avoided:
            return tuple(sorted(avoided))
    return ()


def _following(live: list[str], number: str) -> str:
    """The number to try next: the one after the last, in the order of the list, around."""
    return live[(live.index(number) + 1) % len(live)] if number in live else live[0]
