"""Holds the carrier's truth against our tables: every way in which a promise of the design could be broken.

Pure: it reads a `History` and returns violations. The rules are its own, not the product's code: both must agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from dialer.lab.truth import Key, TruthRow
from faults import workload
from faults.record import AttemptRow, FaultRecord, Harm, History, Violation

CLOCKS = timedelta(milliseconds=100)
"""Between the carrier's packet and the transaction that it is compared with, on one machine."""
NEXT_NUMBER_AFTER = timedelta(seconds=60)
"""After a number that does not exist (docs/dispositions.md)."""
IN_TIME = timedelta(seconds=workload.RING_S + workload.LONGEST_S + 60)
"""Promise 4: an attempt ends within this after the last failed part is back."""
BUSY_MACHINE = timedelta(seconds=5)
UNHEARD = timedelta(seconds=2.5)
"""After a key, the next prompt takes some moments; a call that ended before had none."""
CROSSING = timedelta(seconds=1.5)
"""A 200 that crosses our CANCEL is ended at once."""
SILENT = timedelta(seconds=8)
"""A worker that freezes at the answer is noticed after 3 s; then another one speaks."""
HARM_BEFORE, HARM_AFTER = timedelta(seconds=0.5), timedelta(seconds=4)
"""A process that is killed takes with it what it read just before; its successor needs a moment."""
RATE_WINDOW = timedelta(seconds=10)

ANSWERED = frozenset({"completed", "partial", "refused", "no_input", "hung_up", "rtp_lost", "dialogue_error"})
OF_DIALOGUE = {
    "completed": frozenset({"completed"}),
    "partial": frozenset({"partial"}),
    "refused": frozenset({"refused"}),
    "no_input": frozenset({"no_input"}),
    "hung_up": frozenset({"hung_up", "partial", "rtp_lost"}),
    "error": frozenset({"dialogue_error"}),
}
"""What a stored result of the dialogue may be judged as, whatever happened to whom."""
NO_CALL = frozenset({"not_placed", "returned"})
CODES: dict[str, frozenset[int | None]] = {
    "busy": frozenset({486}),
    "rejected": frozenset({603}),
    "invalid_number": frozenset({404}),
    "trunk_refused": frozenset({403}),
    "congestion": frozenset({503, 487, None}),
    "no_answer": frozenset({487, 480, 200, None}),
}
"""What the carrier must have said for a verdict; a 200 with no_answer must be a crossing."""
ALIKE: dict[str, frozenset[int | None]] = {"rejected": frozenset({403})}
"""Who has only the node's record knows the Q.850 cause and no SIP status; 21 may be both, and the verdict must be the
one that calls nobody again who has declined."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """An attempt and the INVITE that belongs to it."""

    attempt: AttemptRow
    invite: TruthRow | None


def check(history: History) -> list[Violation]:
    """Every violation, the worst first."""
    calls, extra = match(history)
    found = [_extra(row, history) for row in extra]
    found += _retries(calls)
    found += _two_at_once(history)
    found += _ceilings(history)
    for call in calls:
        found += _verdict(call, history)
        found += _answers(call, history)
        found += _in_time(call.attempt, history)
    found += _silent(history)
    found += [Violation(kind="leak", what=leak) for leak in history.leaks]
    return found


def tally(history: History) -> dict[str, int]:
    """How much was there to be found: a run in which little was pressed, or much excused, shows little."""
    counts = Counter[str](invites=len(history.truth), attempts=len(history.attempts))
    for call in match(history)[0]:
        counts["unknown"] += call.attempt.disposition == "unknown"
        if call.invite is not None:
            stored = {key for one in call.attempt.tries for key in one.keys}
            missing = [place for place, key in enumerate(call.invite.keys) if key.key not in stored]
            excused = sum(_excused(place, call.invite.keys[place], call, history) for place in missing)
            counts += Counter(keys=len(call.invite.keys), keys_excused=excused, keys_lost=len(missing) - excused)
    return dict(counts)


def match(history: History) -> tuple[list[Call], list[TruthRow]]:
    """Each attempt with the INVITE that came while it was open, and the INVITEs that no attempt accounts for."""
    waiting: dict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in sorted(history.attempts, key=lambda one: one.opened_at):
        waiting[attempt.number].append(attempt)
    invites: dict[str, TruthRow] = {}
    extra = []
    for row in sorted(history.truth, key=lambda one: one.invited_at):
        mine = [one for one in waiting[row.number] if one.id not in invites and _open_at(one, row.invited_at)]
        if mine:
            # At the edge of two attempts the times of both may fit: then it is the one that had just begun.
            invites[mine[-1].id] = row
        else:
            extra.append(row)
    return [Call(attempt=one, invite=invites.get(one.id)) for one in history.attempts], extra


def _open_at(attempt: AttemptRow, at: datetime) -> bool:
    return attempt.opened_at - CLOCKS <= at and (attempt.closed_at is None or at <= attempt.closed_at + CLOCKS)


def _extra(row: TruthRow, history: History) -> Violation:
    known = [_say(one) for one in history.attempts if one.number == row.number]
    others = [_say_row(one) for one in history.truth if one.number == row.number]
    return Violation(
        kind="extra_invite",
        what=f"{row.number} was called at {row.invited_at:%T.%f} and no open attempt accounts for it",
        evidence=(*others, *known),
    )


# -- promise 1: no call that the retry policy does not allow, and none before its time --------------------------------


def _retries(calls: Iterable[Call]) -> Iterator[Violation]:
    by_contact: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda one: one.attempt.opened_at):
        if call.attempt.disposition != "returned" or call.invite is not None:
            by_contact[call.attempt.campaign, call.attempt.person].append(call)
    for made in by_contact.values():
        for place in range(1, len(made)):
            if made[place].invite is not None:
                yield from _retry(made[:place], made[place])


def _retry(before: Sequence[Call], again: Call) -> Iterator[Violation]:
    assert again.invite is not None
    last = before[-1]
    earliest = _allowed_from(before, again.attempt.number)
    evidence = tuple(_say(one.attempt) for one in (*before, again)) + last.attempt.story
    if earliest is None:
        verdict = last.attempt.disposition or "an open attempt"
        yield Violation(
            kind="not_allowed", what=f"{again.attempt.number} was called again after {verdict}", evidence=evidence
        )
    elif again.invite.invited_at < earliest - CLOCKS:
        early = earliest - again.invite.invited_at
        yield Violation(
            kind="too_early", what=f"{again.attempt.number} was called again {early} before its time", evidence=evidence
        )


def _allowed_from(before: Sequence[Call], number: str) -> datetime | None:
    """When the policy allows a further call at the earliest; None when it allows none."""
    last = before[-1]
    verdicts = [call.attempt.disposition or "" for call in before]
    ended_at = (last.invite and last.invite.ended_at) or last.attempt.opened_at
    if sum(verdict not in workload.UNCOUNTED for verdict in verdicts) >= workload.ATTEMPTS:
        return None
    if verdicts[-1] == "invalid_number" and number not in {call.attempt.number for call in before}:
        return ended_at + NEXT_NUMBER_AFTER
    rule = workload.POLICY.get(verdicts[-1])
    if rule is None or verdicts.count(verdicts[-1]) > rule.times:
        return None
    return ended_at + timedelta(seconds=rule.after_s)


# -- promises 2 and 5: one open call a number and a person; the ceiling and the rate ----------------------------------


def _end(row: TruthRow, history: History) -> datetime:
    """When the person was free again: a call whose node died is over for us, whenever the carrier sees it."""
    ends = [fault.began_at for fault in _harms(history, Harm.CALLS) if fault.began_at >= row.invited_at]
    return min([row.ended_at or history.ended_at, *ends])


def _two_at_once(history: History) -> Iterator[Violation]:
    by_person: dict[str, list[TruthRow]] = defaultdict(list)
    for row in sorted(history.truth, key=lambda one: one.invited_at):
        by_person[history.people.get(row.number, row.number)].append(row)
    for person, rows in by_person.items():
        for first, second in pairwise(rows):
            if second.invited_at < _end(first, history):
                yield Violation(
                    kind="two_at_once",
                    what=f"{person} had two calls at once",
                    evidence=(_say_row(first), _say_row(second)),
                )


def _ceilings(history: History) -> Iterator[Violation]:
    by_trunk: dict[str, list[TruthRow]] = defaultdict(list)
    for row in sorted(history.truth, key=lambda one: one.invited_at):
        by_trunk[row.trunk].append(row)
    for trunk, rows in by_trunk.items():
        changes = sorted([(row.invited_at, 1) for row in rows] + [(_end(row, history), -1) for row in rows])
        open_now = most = 0
        for _, change in changes:
            open_now += change
            most = max(most, open_now)
        if most > workload.CEILING:
            yield Violation(kind="ceiling", what=f"{trunk} carried {most} calls at once of {workload.CEILING}")
        first, allowed = 0, workload.RATE * RATE_WINDOW.seconds
        for place, row in enumerate(rows):
            while rows[first].invited_at <= row.invited_at - RATE_WINDOW:
                first += 1
            if place - first + 1 > allowed:
                what = f"{trunk} got {place - first + 1} calls in 10 s up to {row.invited_at:%T.%f}, {allowed} allowed"
                yield Violation(kind="rate", what=what)
                break


# -- verdicts ---------------------------------------------------------------------------------------------------------


def _verdict(call: Call, history: History) -> Iterator[Violation]:
    attempt, row = call.attempt, call.invite
    verdict = attempt.disposition
    evidence = (_say(attempt), *([_say_row(row)] if row else []), f"CEL: {_say_cel(attempt)}", *attempt.story)
    if verdict is None:
        return
    if verdict in NO_CALL and row is not None:
        yield Violation(
            kind="called_but_unplaced", what=f"{row.number} was called: {verdict} it says", evidence=evidence
        )
    elif verdict == "unknown":
        if has_evidence(attempt):
            yield Violation(kind="unknown_with_evidence", what=f"attempt {attempt.id}", evidence=evidence)
    elif verdict not in NO_CALL and row is None:
        yield Violation(kind="verdict_without_call", what=f"attempt {attempt.id}: {verdict}", evidence=evidence)
    elif verdict in ANSWERED and verdict not in OF_DIALOGUE.get(attempt.flow_result or "", ANSWERED):
        what = f"attempt {attempt.id}: {verdict}, and its dialogue {attempt.flow_result}"
        yield Violation(kind="wrong_verdict", what=what, evidence=evidence)
    elif row is not None and not _agrees(attempt, verdict, row, history):
        yield Violation(kind="wrong_verdict", what=f"attempt {attempt.id}: {verdict}", evidence=evidence)


def has_evidence(attempt: AttemptRow) -> bool:
    """Whether the dialogue or the node's own record says how the call went."""
    kinds = {row.kind for row in attempt.cel}
    return attempt.flow_result is not None or "ANSWER" in kinds or any(row.cause for row in attempt.cel)


def _agrees(attempt: AttemptRow, verdict: str, row: TruthRow, history: History) -> bool:
    if verdict in ANSWERED:
        return row.answered_at is not None
    if row.answered_at is not None:
        until = _end(row, history)
        # A node that stood still when the 200 came hangs up at its ring limit all the same.
        crossed = until - row.answered_at <= CROSSING or _harmed(history, row.answered_at, until, Harm.NODE)
        if not crossed:
            return False
    codes = CODES.get(verdict, frozenset())
    return row.final_code in (codes if attempt.tech_cause else codes | ALIKE.get(verdict, frozenset()))


# -- promise 3: answers -----------------------------------------------------------------------------------------------


def _answers(call: Call, history: History) -> Iterator[Violation]:
    attempt, row = call.attempt, call.invite
    if row is None:
        return
    evidence = (_say(attempt), _say_row(row), f"CEL: {_say_cel(attempt)}", *attempt.story)
    if attempt.flow_answers != len(attempt.answers) and attempt.flow_result is not None:
        what = f"attempt {attempt.id}: the result counts {attempt.flow_answers} answers, {len(attempt.answers)} stand"
        yield Violation(kind="lost_answer", what=what, evidence=evidence)
    if attempt.flow_result == "completed" and set(attempt.answers) != set(workload.QUESTIONS):
        what = f"attempt {attempt.id}: completed with answers to {', '.join(attempt.answers) or 'nothing'}"
        yield Violation(kind="lost_answer", what=what, evidence=evidence)
    stored = [key for one in attempt.tries for key in one.keys]
    pressed = [one.key for one in row.keys]
    for invented in sorted((Counter(stored) - Counter(pressed)).keys()):
        yield Violation(kind="invented_key", what=f"attempt {attempt.id}: {invented!r}", evidence=evidence)
    in_order = iter(pressed)
    if not set(stored) - set(pressed) and not all(key in in_order for key in stored):
        what = f"attempt {attempt.id}: {''.join(stored)} stands, in this order"
        yield Violation(kind="wrong_question", what=what, evidence=evidence)
    for place, key in enumerate(row.keys):
        if key.key not in stored and not _excused(place, key, call, history):
            what = f"attempt {attempt.id}: key {key.key!r} pressed at {key.at:%T.%f}"
            yield Violation(kind="lost_answer", what=what, evidence=evidence)


def _excused(place: int, key: Key, call: Call, history: History) -> bool:
    """Whether nothing confirmed the key to the person, or the node never heard it."""
    attempt, row = call.attempt, call.invite
    assert row is not None
    last = place == len(row.keys) - 1
    until = _end(row, history) if last else row.keys[place + 1].at
    if last and until - key.at < UNHEARD:
        return True
    if _harmed(history, key.at, until, Harm.WORKERS) or _harmed(history, key.at, until, Harm.NODE):
        return True
    if attempt.flow_ended_at is not None and attempt.flow_result != "completed" and key.at > attempt.flow_ended_at:
        # Pressed into our apology, when the dialogue was over.
        return True
    return not any(one.digit == key.key for one in attempt.cel)


def _silent(history: History) -> Iterator[Violation]:
    for row in history.truth:
        if row.answered_at is None or row.first_audio_at is not None:
            continue
        until = _end(row, history)
        harmed = any(_harmed(history, row.answered_at, until, harm) for harm in (Harm.WORKERS, Harm.NODE))
        if until - row.answered_at > SILENT and not harmed:
            yield Violation(kind="silence", what=f"{row.number} answered and heard nothing", evidence=(_say_row(row),))


# -- promise 4: every attempt ends ------------------------------------------------------------------------------------


def _in_time(attempt: AttemptRow, history: History) -> Iterator[Violation]:
    if attempt.disposition is None:
        yield Violation(
            kind="open_attempt", what=f"attempt {attempt.id} never ended", evidence=(_say(attempt), *attempt.story)
        )
        return
    closed_at = attempt.closed_at or history.ended_at
    since = max([attempt.opened_at, *(one.healed_at for one in history.faults if one.healed_at <= closed_at)])
    if closed_at - since > IN_TIME + BUSY_MACHINE:
        what = f"attempt {attempt.id} ended {closed_at - since} after the last heal, {IN_TIME} allowed"
        yield Violation(kind="late_verdict", what=what, evidence=(_say(attempt), *attempt.story))


# -- small things -----------------------------------------------------------------------------------------------------


def _harms(history: History, harm: Harm) -> list[FaultRecord]:
    return [fault for fault in history.faults if harm in fault.harms]


def _harmed(history: History, since: datetime, until: datetime, harm: Harm) -> bool:
    return any(
        fault.began_at - HARM_BEFORE <= until and since <= fault.healed_at + HARM_AFTER
        for fault in _harms(history, harm)
    )


def _say(attempt: AttemptRow) -> str:
    closed = f"{attempt.closed_at:%T.%f}" if attempt.closed_at else "never"
    tries = " ".join(f"{one.step}={one.keys or '-'}" for one in attempt.tries)
    return (
        f"attempt {attempt.id} {attempt.campaign} {attempt.number} {attempt.opened_at:%T.%f} to {closed}: "
        f"{attempt.disposition}, dialogue {attempt.flow_result}, tries {tries or 'none'}"
    )


def _say_row(row: TruthRow) -> str:
    keys = " ".join(f"{key.key}@{key.at:%T.%f}" for key in row.keys)
    ended = f"{row.ended_at:%T.%f}" if row.ended_at else "never"
    return (
        f"carrier {row.number} {row.trunk} {row.invited_at:%T.%f} to {ended}: {row.final_code} "
        f"ended by {row.ended_by}, keys {keys or 'none'}"
    )


def _say_cel(attempt: AttemptRow) -> str:
    return " ".join(f"{one.kind}{one.digit or one.cause or ''}@{one.at:%T.%f}" for one in attempt.cel) or "nothing"
