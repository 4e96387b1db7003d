"""The checker of the fault runs is itself checked: each kind of harm, planted in a healthy history, is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dialer.lab.truth import Key, TruthRow
from faults import workload
from faults.checker import check, tally
from faults.record import AttemptRow, CelRow, FaultRecord, Harm, History, TryRow

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def invite(number: str, begins: float, ends: float, code: int, **more: object) -> TruthRow:
    values: dict[str, object] = {
        "call_id": f"{number}-{begins}", "number": number, "trunk": "carrier-a", "invited_at": at(begins),
        "final_code": code, "answered_at": at(begins + 0.1) if code == 200 else None,
        "first_audio_at": at(begins + 0.2) if code == 200 else None, "keys": (), "ended_at": at(ends),
        "ended_by": "callee", "caller": "+48221234567",
    }  # fmt: skip
    return TruthRow(**(values | more))  # type: ignore[arg-type]


def attempt(
    name: str, number: str, begins: float, ends: float | None, verdict: str | None, **more: object
) -> AttemptRow:
    values: dict[str, object] = {
        "id": name, "campaign": "fault-a", "person": f"owner of {number}", "number": number, "disposition": verdict,
        "opened_at": at(begins), "closed_at": None if ends is None else at(ends),
    }  # fmt: skip
    return AttemptRow(**(values | more))  # type: ignore[arg-type]


def pressed(*keys: tuple[str, float]) -> tuple[Key, ...]:
    return tuple(Key(key=key, at=at(seconds)) for key, seconds in keys)


def fault(begins: float, ends: float, *harms: Harm) -> FaultRecord:
    return FaultRecord(name="f", detail="", harms=frozenset(harms), began_at=at(begins), healed_at=at(ends))


ANSWERED = attempt(
    "a1", "+1", 0, 10, "completed", flow_result="completed", flow_ended_at=at(9.5), flow_answers=3,
    tries=tuple(TryRow(step=step, keys=key, at=at(2 * n)) for n, (step, key) in
                enumerate(zip(workload.QUESTIONS, "357", strict=True), start=1)),
    answers=workload.QUESTIONS,
    cel=(CelRow(kind="CHAN_START", at=at(0.5)), CelRow(kind="ANSWER", at=at(0.6)),
         *(CelRow(kind="DTMF", at=at(2 * n), digit=key) for n, key in enumerate("357", start=1)),
         CelRow(kind="HANGUP", at=at(9), cause=16)),
)  # fmt: skip
ANSWERED_ROW = invite("+1", 0.5, 9, 200, keys=pressed(("3", 1.9), ("5", 3.9), ("7", 5.9)))
BUSY = attempt("b1", "+2", 0, 1, "busy")
BUSY_ROW = invite("+2", 0.2, 0.8, 486)
BUSY_AGAIN = attempt("b2", "+2", 5, 6, "busy")
BUSY_AGAIN_ROW = invite("+2", 5.1, 5.6, 486)
NOT_PLACED = attempt("c1", "+3", 0, 3, "not_placed")
LOST = attempt("d1", "+4", 0, 60, "unknown", cel=(CelRow(kind="CHAN_START", at=at(0.1)),))
LOST_ROW = invite("+4", 0.1, 2, 487)
GIVEN_BACK = attempt("e1", "+5", 0, 1, "returned")
GIVEN_AGAIN = attempt("e2", "+5", 2, 4, "no_answer")
GIVEN_AGAIN_ROW = invite("+5", 2.1, 3.9, 487)

HEALTHY = History(
    truth=(ANSWERED_ROW, BUSY_ROW, BUSY_AGAIN_ROW, LOST_ROW, GIVEN_AGAIN_ROW),
    attempts=(ANSWERED, BUSY, BUSY_AGAIN, NOT_PLACED, LOST, GIVEN_BACK, GIVEN_AGAIN),
    faults=(fault(3, 4),),
    people={},
    ended_at=at(300),
)


def kinds(history: History) -> set[str]:
    return {violation.kind for violation in check(history)}


def with_attempt(new: AttemptRow) -> History:
    """The healthy history with one attempt put in another's place."""
    return replace(HEALTHY, attempts=tuple(new if one.id == new.id else one for one in HEALTHY.attempts))


def with_row(new: TruthRow, instead_of: TruthRow) -> History:
    return replace(HEALTHY, truth=tuple(new if one is instead_of else one for one in HEALTHY.truth))


def also(*rows: TruthRow, attempts: tuple[AttemptRow, ...] = ()) -> History:
    return replace(HEALTHY, truth=HEALTHY.truth + rows, attempts=HEALTHY.attempts + attempts)


def test_a_healthy_history_has_no_violation():
    assert check(HEALTHY) == []


def test_a_200_that_a_frozen_node_did_not_hear_is_no_answer():
    late = with_row(invite("+5", 2.1, 6.9, 200), GIVEN_AGAIN_ROW)
    later = replace(late, attempts=tuple(
        replace(one, closed_at=at(7)) if one is GIVEN_AGAIN else one for one in late.attempts))  # fmt: skip
    assert kinds(later) == {"wrong_verdict"}
    assert kinds(replace(later, faults=(fault(3.5, 6.8, Harm.NODE),))) == set()


def test_at_the_edge_of_two_attempts_the_call_belongs_to_the_one_that_had_begun():
    """The number is in both campaigns: one attempt of it is proven not placed, and the other begins at once."""
    ended, begun = attempt("e", "+7", 0, 10, "not_placed"), attempt("f", "+7", 10.02, 11, "busy", campaign="fault-b")
    assert check(also(invite("+7", 10.05, 10.9, 486), attempts=(ended, begun))) == []


PLANTED: tuple[tuple[str, str, Callable[[], History]], ...] = (
    ("a second INVITE of an open attempt", "extra_invite", lambda: also(invite("+1", 9.2, 9.4, 200))),
    ("an INVITE after the verdict", "extra_invite", lambda: also(invite("+2", 2, 3, 486))),
    ("an INVITE that nobody ordered", "extra_invite", lambda: also(invite("+9", 2, 3, 486))),
    ("a second INVITE under a new attempt", "not_allowed",
     lambda: also(invite("+1", 20, 21, 486), attempts=(attempt("a2", "+1", 20, 21, "busy"),))),
    ("a call after a verdict that holds", "not_allowed",
     lambda: also(invite("+4", 70, 71, 486), attempts=(attempt("d2", "+4", 70, 71, "busy"),))),
    ("a third busy call", "not_allowed",
     lambda: also(invite("+2", 10, 11, 486), attempts=(attempt("b3", "+2", 10, 11, "busy"),))),
    ("a retry before its time", "too_early",
     lambda: replace(with_row(invite("+2", 3, 3.5, 486), BUSY_AGAIN_ROW),
                     attempts=(*with_attempt(replace(BUSY_AGAIN, opened_at=at(2.9))).attempts,))),
    ("a person's two numbers at once", "two_at_once", lambda: replace(HEALTHY, people={"+1": "p", "+4": "p"})),
    ("a number in two campaigns at once", "two_at_once",
     lambda: also(invite("+1", 3, 4, 486), attempts=(attempt("x", "+1", 3, 4, "busy", campaign="fault-b"),))),
    ("an attempt that stays open", "open_attempt",
     lambda: with_attempt(replace(ANSWERED, disposition=None, closed_at=None))),
    ("a verdict that comes too late", "late_verdict", lambda: with_attempt(replace(LOST, closed_at=at(120)))),
    ("a call for not_placed", "called_but_unplaced", lambda: also(invite("+3", 1, 2, 486))),
    ("a call for returned", "called_but_unplaced", lambda: also(invite("+5", 0.5, 0.8, 486))),
    ("unknown with a dialogue's result", "unknown_with_evidence",
     lambda: with_attempt(replace(LOST, flow_result="hung_up", flow_ended_at=at(1)))),
    ("unknown with an answer in the node's record", "unknown_with_evidence",
     lambda: with_attempt(replace(LOST, cel=(CelRow(kind="ANSWER", at=at(1)),)))),
    ("unknown with a cause in the node's record", "unknown_with_evidence",
     lambda: with_attempt(replace(LOST, cel=(CelRow(kind="HANGUP", at=at(1), cause=17),)))),
    ("completed without an answer", "wrong_verdict", lambda: with_row(invite("+1", 0.5, 9, 486), ANSWERED_ROW)),
    ("an error for a dialogue that was completed", "wrong_verdict",
     lambda: with_attempt(replace(ANSWERED, disposition="dialogue_error"))),
    ("a key under two questions", "invented_key",
     lambda: with_attempt(replace(ANSWERED, tries=(*ANSWERED.tries, replace(ANSWERED.tries[0], step="third"))))),
    ("keys under each other's questions", "wrong_question",
     lambda: with_attempt(replace(ANSWERED, tries=ANSWERED.tries[::-1]))),
    ("rejected for what the trunk is known to have refused", "wrong_verdict",
     lambda: replace(with_row(invite("+2", 5.1, 5.6, 403), BUSY_AGAIN_ROW),
                     attempts=with_attempt(replace(BUSY_AGAIN, disposition="rejected", tech_cause=403)).attempts)),
    ("busy for who was not", "wrong_verdict", lambda: with_row(invite("+2", 0.2, 0.8, 603), BUSY_ROW)),
    ("no answer for who spoke with us", "wrong_verdict",
     lambda: with_row(invite("+5", 2.1, 3.9, 200), GIVEN_AGAIN_ROW)),
    ("a verdict on a call that was never made", "verdict_without_call",
     lambda: replace(HEALTHY, truth=tuple(row for row in HEALTHY.truth if row is not GIVEN_AGAIN_ROW))),
    ("a dropped answer", "lost_answer",
     lambda: with_attempt(replace(ANSWERED, answers=("first", "third"), flow_answers=2))),
    ("a dropped answer that the result counts", "lost_answer",
     lambda: with_attempt(replace(ANSWERED, answers=("first", "third")))),
    ("a dropped key that was followed by a prompt", "lost_answer",
     lambda: with_attempt(replace(ANSWERED, flow_result="hung_up", tries=ANSWERED.tries[1:]))),
    ("a key that nobody pressed", "invented_key",
     lambda: with_attempt(replace(ANSWERED, tries=(*ANSWERED.tries, TryRow(step="third", keys="9", at=at(8)))))),
    ("silence for who picked up", "silence",
     lambda: with_row(replace(ANSWERED_ROW, first_audio_at=None), ANSWERED_ROW)),
    ("a socket that stays", "leak", lambda: replace(HEALTHY, leaks=("2 advisory locks",))),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "plant"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED])
def test_planted_harm_is_found(kind, plant):
    assert kind in kinds(plant())


def crowd(many: int, every_s: float) -> History:
    """Calls of five seconds each, one after the other."""
    numbers = [(f"+7{index:04d}", index * every_s) for index in range(many)]
    return replace(
        HEALTHY,
        truth=tuple(invite(number, begins, begins + 5, 603) for number, begins in numbers),
        attempts=tuple(attempt(number, number, begins - 0.1, begins + 5.5, "rejected") for number, begins in numbers),
    )


@pytest.mark.parametrize(
    ("many", "every_s", "found"),
    [
        (10 * workload.RATE, 0.125, set()),
        (10 * workload.RATE + 1, 0.124, {"rate"}),
        (12 * workload.CEILING, 0.08, {"ceiling", "rate"}),
    ],
)
def test_ceiling_and_rate(many, every_s, found):
    assert kinds(crowd(many, every_s)) == found


# Nothing is excused but by a fault that takes just this away, at this time.
EXCUSED: tuple[tuple[str, Harm, float, bool], ...] = (
    ("a worker died between key and store", Harm.WORKERS, 2.0, True),
    ("a worker died long after", Harm.WORKERS, 30.0, False),
    ("the node died", Harm.NODE, 2.0, True),
    ("the node's record has a gap", Harm.CEL, 2.0, False),
)


@pytest.mark.parametrize(("harm", "when", "excused"), [case[1:] for case in EXCUSED], ids=[case[0] for case in EXCUSED])
def test_a_key_that_was_asked_for_again_is_no_loss(harm, when, excused):
    gone = with_attempt(replace(ANSWERED, flow_result="hung_up", tries=ANSWERED.tries[1:]))
    history = replace(gone, faults=(fault(when, when, harm),))
    assert ("lost_answer" in kinds(history)) != excused


def test_the_last_key_before_a_hangup_was_never_confirmed():
    shorter = replace(ANSWERED, disposition="partial", flow_result="hung_up", tries=ANSWERED.tries[:2])
    ends_soon = replace(ANSWERED_ROW, ended_at=at(7))
    both = replace(with_attempt(shorter), truth=(ends_soon, *HEALTHY.truth[1:]))
    assert kinds(both) == set()
    assert kinds(with_attempt(shorter)) == {"lost_answer"}


def test_the_tally_says_how_much_there_was_to_be_found():
    lost = with_attempt(replace(ANSWERED, flow_result="hung_up", tries=ANSWERED.tries[1:]))
    counts = tally(replace(lost, faults=()))
    assert {"invites": 5, "keys": 3, "keys_lost": 1, "unknown": 1}.items() <= counts.items()
    counts = tally(replace(lost, faults=(fault(2, 2, Harm.WORKERS),)))
    assert (counts.get("keys_lost", 0), counts["keys_excused"]) == (0, 1)
