"""When somebody is called next, as things stand, and why then: what the claim will make of the due time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dialer import waves
from dialer.calls.disposition import Disposition
from dialer.campaign.calendar import KNOWN_AHEAD, Interval
from dialer.campaign.changes import shown
from dialer.contacts.suppress import ClosedBy, Moved, Verdict, WaitsFor, moved
from dialer.monitoring.explain_facts import Subject
from dialer.monitoring.layout import duration
from dialer.storage.explain import AttemptFacts, ContactFacts

WAITS: Mapping[str, str] = {
    "cap": "a cap lets no call be made before",
    "gap": "the least time between two calls ends then",
    "callback": "the person asked for it",
    "dnc": "a number comes off a do-not-call list then",
}
_CLOSED_BY: Mapping[ClosedBy | None, str] = {
    ClosedBy.DNC: "every number that is left is on a do-not-call list",
    ClosedBy.CAP: "it was called as often as it ever may be",
}
_DEAD = frozenset(one.value for one in waves.DEAD_NUMBER)


@dataclass(frozen=True, kw_only=True)
class NextCall:
    """The next call of a contact, as things stand; `at` None: there is none."""

    at: datetime | None = None
    number: str | None = None
    why: str


def next_call(
    contact: ContactFacts, subject: Subject, attempts: Sequence[AttemptFacts], verdicts: Mapping[str, Verdict]
) -> NextCall:
    """When and at which number the contact is called next as things stand, and why then.

    It is what the claim will do: a list, a cap or the gap gives the contact another number, a later time, or its end.
    """
    due_at = contact.next_attempt_at
    if due_at is None or contact.next_number is None:
        stands = "it is closed" if contact.closed_as else "held" if contact.on_hold else "in a call"
        return NextCall(why=f"none: {stands}")
    turn_at = max(due_at, subject.view.at)
    then = {number: _standing(verdict, turn_at) for number, verdict in verdicts.items()}
    why = [_why_due(contact, subject, attempts)]
    earliest, number = turn_at, contact.next_number
    if not then[number].allowed:
        dead = [one.number for one in attempts if one.disposition in _DEAD]
        move = moved(contact.numbers, number, then, dead)
        if move.number is None or move.closed_by is not None:
            return NextCall(why=f"none: {_CLOSED_BY[move.closed_by]}, so it is closed when its turn comes")
        earliest, number = max(turn_at, move.at or turn_at), move.number
        why.append(_why_moved(contact.next_number, move))
    at = call_at(subject.view.windows.get(contact.zones, ()), earliest, subject.view.at)
    if at is None:
        why.append("but no hour is open for it any more")
    elif at > earliest:
        due = f"due at {earliest:%Y-%m-%d %H:%MZ}, and " if earliest > subject.view.at else ""
        why.append(f"{due}its window opens then")
    return NextCall(at=at, number=number, why="; ".join(why))


def _standing(verdict: Verdict, at: datetime) -> Verdict:
    """What will be left of a verdict at a moment to come."""
    holds = tuple(hold for hold in verdict.holds if hold.until is None or hold.until > at)
    longest = holds[0] if holds else None
    return replace(
        verdict,
        dnc=verdict.dnc if any(hold.waits_for is WaitsFor.DNC for hold in holds) else None,
        waits_for=longest.waits_for if longest else None,
        until=longest.until if longest else None,
        holds=holds,
    )


def _why_moved(number: str, move: Moved) -> str:
    other = f"{number} gives way to {move.number}" if move.number != number else ""
    waits = WAITS[move.waits_for.value] if move.waits_for is not None else ""
    return ", and ".join(one for one in (other, waits) if one)


def _why_due(contact: ContactFacts, subject: Subject, attempts: Sequence[AttemptFacts]) -> str:
    if contact.waits_for is not None:
        return WAITS.get(contact.waits_for, contact.waits_for)
    last = next((one for one in reversed(attempts) if one.ended_at is not None), None)
    if last is None or last.ended_at is None or contact.next_attempt_at is None:
        return "never called: due since its import"
    waited = duration((contact.next_attempt_at - last.ended_at).total_seconds())
    ago = f"{waited} after {last.disposition} at {last.ended_at:%Y-%m-%d %H:%MZ}"
    return f"{ago}, {_by_what(last, contact.next_attempt_at - last.ended_at, subject)}"


def _by_what(last: AttemptFacts, waited: timedelta, subject: Subject) -> str:
    """What of the policy made a contact due again after its last attempt."""
    disposition = Disposition(str(last.disposition))
    if disposition is Disposition.RETURNED:
        return "as nothing was sent"
    if disposition in waves.FAILS_OVER and last.ringing_at is None and waited <= waves.FAILOVER_AFTER:
        return "through another trunk"
    retry, written = subject.campaign.retry, subject.revision.document.get("retry", {})
    if disposition in waves.OF_THE_DIALOGUE:
        for question, rules in retry.answers.items():
            answer = last.given.get(question)
            if answer in rules:
                said = shown(written["answers"][question][answer])
                return f"by `retry.answers.{question}.{answer}: {said}` in the file"
    rule = getattr(retry, disposition.value, None)
    if disposition in waves.DEAD_NUMBER and rule in (None, "stop"):
        return "at the person's next number, or through another trunk"
    waves_too = ", at the next of `retry.waves`" if retry.waves and getattr(rule, "at", None) is None else ""
    if rule is None:
        return f"by the default of docs/dispositions.md{waves_too}"
    return f"by `retry.{disposition.value}: {shown(written[disposition.value])}` in the file{waves_too}"


def call_at(windows: Sequence[Interval], due_at: datetime, now: datetime) -> datetime | None:
    """The first open moment from then on, behind the days that are known the due time; None: nothing opens any more."""
    found = next((max(one.opens_at, due_at) for one in windows if one.closes_at > due_at), None)
    if found is None and windows and min(windows[-1].closes_at, due_at) > now + KNOWN_AHEAD:
        return due_at
    return found
