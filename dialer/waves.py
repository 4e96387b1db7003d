"""After a verdict: when to call again and at which number, or the contact is closed, or a person must decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.calls.results import DialogueEnd
from dialer.campaign import moments
from dialer.campaign.retry import ANOTHER_TIME, ANY_TIME, Retry, RetryPolicy
from dialer.contacts.contact import Contact, Tried
from dialer.contacts.suppress import WaitsFor

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
OF_THE_DIALOGUE = frozenset({D.COMPLETED, D.PARTIAL, D.REFUSED, D.NO_INPUT, D.HUNG_UP})
"""The person or the flow ended it, so what was answered may decide; nothing of ours failed."""
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
    waits_for: WaitsFor | None = None
    """CALLBACK: the person asked for this moment."""


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


def rule(
    policy: RetryPolicy, disposition: Disposition, given: Mapping[str, str] | None = None
) -> Retry | Literal["stop", "hold"]:
    """What a campaign does after a disposition, given the answers by step: an answer's rule, its own, or the default.

    Of several answers with a rule the question that stands first in the policy decides.
    """
    if given and disposition in OF_THE_DIALOGUE:
        for question, rules in policy.answers.items():
            if question in given and given[question] in rules:
                return rules[given[question]]
    own: Retry | Literal["stop", "hold"] | None = getattr(policy, disposition.value, None)
    return own if own is not None else DEFAULTS[disposition]


def after(
    policy: RetryPolicy,
    contact: Contact,
    last: Tried,
    ended_at: datetime,
    carriers: Carriers,
    dialogue: DialogueEnd | None = None,
) -> Next | Closed | Held:
    """What follows an attempt of a contact, which is as it was before it; `dialogue` is how its dialogue ended.

    Every disposition has a bounded number of retries on each trunk, counted or not, so nobody is dialled without end.
    """
    return _Case(policy, contact, last, ended_at, carriers, dialogue).verdict()


class _Case:
    """An attempt that has ended, and what is known of the person."""

    def __init__(
        self, policy: RetryPolicy, contact: Contact, last: Tried, ended_at: datetime, carriers: Carriers,
        dialogue: DialogueEnd | None,
    ) -> None:  # fmt: skip
        self._policy, self._last, self._ended_at = policy, last, ended_at
        self._carriers, self._dialogue = carriers, dialogue
        self._history = (*contact.history, last)
        self._counts = counts(last, contact.history)
        self._wave = last.wave + self._counts
        self._used_up = contact.attempts + self._counts >= policy.attempts
        self._zones = moments.zones_of(contact.zones)
        self._live = [one for one in contact.numbers if not _is_dead(self._history, one, carriers(one))]

    def verdict(self) -> Next | Closed | Held:
        """The first of these that applies."""
        number, disposition = self._last.number, self._last.disposition
        if disposition is D.RETURNED:
            # Nothing was sent, so nothing happened; however often that is, nobody's telephone rings.
            return self._due(RETURNED_AFTER, number)
        untried = set(self._carriers(number)) - _deniers(self._history, number) - _failing(self._history, self._wave)
        if _failed(self._last) and untried and not self._counts:
            return self._due(FAILOVER_AFTER, number)
        dialogue = self._dialogue
        if dialogue is not None and dialogue.opted_out:
            return Closed(reason=disposition)
        if dialogue is not None and dialogue.callback_at is not None and not self._used_up:
            return self._next(max(dialogue.callback_at, self._ended_at), number, WaitsFor.CALLBACK)
        chosen = rule(self._policy, disposition, dialogue.given if dialogue is not None else None)
        if chosen == "hold":
            return Held()
        if disposition in DEAD_NUMBER and chosen == "stop" and self._live and not self._used_up:
            following = _following(self._live, number)
            return self._due(CONFIRM_AFTER if _deniers(self._history, following) else NEXT_NUMBER_AFTER, following)
        if chosen == "stop" or self._used_up:
            return Closed(reason=disposition)
        return self._retry(chosen)

    def _retry(self, chosen: Retry) -> Next | Closed:
        in_rounds = chosen.number == "others-first"
        repeats = sum(self._is_repeated_by(one) and (not in_rounds or one.number == self._last.number)
                      for one in self._history)  # fmt: skip
        spared = self._spared_number() if in_rounds and self._counts else None
        if spared is None and repeats > chosen.retries and not (chosen.is_endless and self._counts):
            return Closed(reason=self._last.disposition)
        if spared is not None:
            at = self._ended_at + NEXT_NUMBER_AFTER
        else:
            at = self._on_the_clock(chosen, self._ended_at + timedelta(seconds=chosen.wait_s(repeats)))
        timed = chosen.until is not None and not chosen.is_endless
        if timed and at > moments.named(str(chosen.until), self._zones, self._ended_at):
            return Closed(reason=self._last.disposition)
        return self._next(at, spared or self._number(chosen))

    def _is_repeated_by(self, one: Tried) -> bool:
        """Whether an attempt came to what the last one came to; of a trunk's fault, through the same trunk."""
        last = self._last
        return one.disposition is last.disposition and (one.disposition not in FAILS_OVER or one.trunk == last.trunk)

    def _on_the_clock(self, chosen: Retry, earliest: datetime) -> datetime:
        """The moment of a retry, never before the earliest; whether the window is open then, the claim asks."""
        at = chosen.at or (self._policy.waves if self._counts else None)
        if at is None or at == ANY_TIME:
            return earliest
        if at == ANOTHER_TIME:
            return moments.another_part_of_day(self._ended_at, earliest, self._zones[0])
        return moments.next_shown([at] if isinstance(at, str) else at, self._zones, earliest)

    def _number(self, chosen: Retry) -> str:
        live, number = self._live or [self._last.number], self._last.number
        if chosen.number == "first":
            return live[0]
        return number if chosen.number == "same" and number in live else _following(live, number)

    def _spared_number(self) -> str | None:
        """The next of the person's numbers that was dialled less often than the last one."""
        dialled, number = Counter(one.number for one in self._history if counts(one)), self._last.number
        turn = self._live.index(number) + 1 if number in self._live else 0
        in_turn = [*self._live[turn:], *self._live[:turn]]
        return next((one for one in in_turn if dialled[one] < dialled[number]), None)

    def _due(self, wait: timedelta, number: str) -> Next:
        return self._next(self._ended_at + wait, number)

    def _next(self, at: datetime, number: str, waits_for: WaitsFor | None = None) -> Next:
        avoid = _avoid(self._history, number, self._wave, self._carriers(number))
        return Next(at=at, number=number, avoid=avoid, waits_for=waits_for)


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
