"""When the next call of somebody is, and why then: what the claim will make of lists, caps and the gap."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dialer.campaign.calendar import Interval
from dialer.campaign.retry import RetryPolicy
from dialer.contacts.suppress import DncScope, Hold, Verdict, WaitsFor
from dialer.monitoring.explain_facts import Subject
from dialer.monitoring.next_call import call_at, next_call
from dialer.storage.explain import AttemptFacts, ContactFacts
from tests.unit import test_explain_page

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
WARSAW = "Europe/Warsaw"
A, B = "+48501000001", "+48501000002"
RETRY = {
    "waves": ["09:00", "17:00"],
    "busy": {"after": "5m", "times": 3, "at": "any-time"},
    "answers": {"good_time": {"later": {"after": "3h"}}},
}


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def subject(*spans: tuple[float, float]) -> Subject:
    """A campaign that is open from so many hours after now to so many, with RETRY as its policy."""
    made = test_explain_page.subject(test_explain_page.status())
    windows = {WARSAW: [Interval(opens_at=at(begin), closes_at=at(end)) for begin, end in spans]}
    campaign = made.campaign.model_copy(update={"retry": RetryPolicy.model_validate(RETRY)})
    revision = replace(made.revision, document={"retry": RETRY})
    return replace(made, view=replace(made.view, at=NOW, windows=windows), revision=revision, campaign=campaign)


def contact(due_in_h: float | None, **changed: object) -> ContactFacts:
    """Of two numbers, the first is next."""
    made = ContactFacts(
        id=1, campaign_id=1, campaign="c", tenant_id="t", person_id=1, person="p", numbers=(A, B), zones=WARSAW,
        language=None, priority=5, attempts=0, dials=0, wave=1, next_number=A if due_in_h is not None else None,
        next_attempt_at=at(due_in_h) if due_in_h is not None else None, closed_as=None, on_hold=False, waits_for=None,
        file=None, line=None, imported_at=None,
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]


def attempt(disposition: str, *, rang: bool = True, **given: str) -> AttemptFacts:
    """It ended an hour ago."""
    return AttemptFacts(
        id=UUID(int=1), contact_id=1, at=at(-1.1), revision=1, number=A, wave=1, node="n", trunk="a", state="ended",
        ringing_at=at(-1.05) if rang else None, answered_at=None, ended_at=at(-1), disposition=disposition, cause=None,
        tech_cause=None, result=None, step=None, answers=None, callback_at=None, opted_out=None, given=given,
    )  # fmt: skip


def verdicts(*holds: tuple[str, WaitsFor, float | None], other: tuple[str, WaitsFor, float | None] | None = None):
    """What holds number A, and B: the rule, what is waited for, until how many hours from now; None: for good."""

    def verdict(number: str, found: tuple[tuple[str, WaitsFor, float | None], ...]) -> Verdict:
        made = tuple(Hold(rule=rule, waits_for=waits, until=None if h is None else at(h)) for rule, waits, h in found)
        is_listed = any(hold.waits_for is WaitsFor.DNC for hold in made)
        return Verdict(
            contact_id=1, number=number, dnc=DncScope.SITE if is_listed else None,
            waits_for=made[0].waits_for if made else None, until=made[0].until if made else None, holds=made,
        )  # fmt: skip

    return {A: verdict(A, holds), B: verdict(B, (other,) if other else ())}


LISTED = ("dnc.site", WaitsFor.DNC, None)
DAY, OPEN = ((-1.0, 7.0), (23.0, 31.0)), verdicts()


@pytest.mark.parametrize(
    ("who", "rules", "hours", "to", "why"),
    [
        (contact(-1), OPEN, 0, A, "never called: due since its import"),
        (contact(2), OPEN, 2, A, ""),
        (contact(8), OPEN, 23, A, "its window opens then"),
        (contact(-1), verdicts(("number.day", WaitsFor.CAP, 3)), 3, A, "a cap lets no call be made before"),
        (contact(-1), verdicts(("person.gap", WaitsFor.GAP, 9)), 23, A, "its window opens then"),
        # By the time it is due the cap is free again.
        (contact(4), verdicts(("number.day", WaitsFor.CAP, 3)), 4, A, ""),
        (contact(-1), verdicts(LISTED), 0, B, f"{A} gives way to {B}"),
        (contact(2), verdicts(("dnc.site", WaitsFor.DNC, 1)), 2, A, ""),
        (contact(-1), verdicts(LISTED, other=("number.day", WaitsFor.CAP, 5)), 5, B, "and a cap lets no call"),
        (contact(-1), verdicts(LISTED, other=LISTED), None, None, "none: every number that is left is on a do-not"),
        (contact(-1), verdicts(("number.ever", WaitsFor.CAP, None), other=("person.ever", WaitsFor.CAP, None)), None,
         None, "none: it was called as often as it ever may be"),
        (contact(3, waits_for="callback"), OPEN, 3, A, "the person asked for it"),
        (contact(None), OPEN, None, None, "none: in a call"),
        (contact(None, closed_as="busy"), OPEN, None, None, "none: it is closed"),
        (contact(None, on_hold=True), OPEN, None, None, "none: held"),
        (contact(40), OPEN, None, A, "no hour is open for it any more"),
    ],
)  # fmt: skip
def test_the_next_call(who, rules, hours, to, why):
    found = next_call(who, subject(*DAY), [], rules)
    assert (found.at, found.number) == (None if hours is None else at(hours), to)
    assert why in found.why


@pytest.mark.parametrize(
    ("last", "due_in_h", "why"),
    [
        (attempt("busy"), -11 / 12, '5 min after busy at 2026-05-04 08:00Z, by '
         '`retry.busy: {"after": "5m", "times": 3, "at": "any-time"}` in the file'),
        (attempt("no_answer"), 1, "2 h after no_answer at 2026-05-04 08:00Z, by the default of "
         "docs/dispositions.md, at the next of `retry.waves`"),
        (attempt("partial", good_time="later"), 2, '3 h after partial at 2026-05-04 08:00Z, by '
         '`retry.answers.good_time.later: {"after": "3h"}` in the file'),
        (attempt("partial", good_time="yes"), 0, "60 min after partial at 2026-05-04 08:00Z, by the default of "
         "docs/dispositions.md, at the next of `retry.waves`"),
        (attempt("returned", rang=False), -1, "0 s after returned at 2026-05-04 08:00Z, as nothing was sent"),
        (attempt("congestion", rang=False), -3599 / 3600, "1 s after congestion at 2026-05-04 08:00Z, through another "
         "trunk"),
        (attempt("invalid_number", rang=False), -59 / 60, "60 s after invalid_number at 2026-05-04 08:00Z, at the "
         "person's next number, or through another trunk"),
    ],
)  # fmt: skip
def test_it_names_what_made_somebody_due_again(last, due_in_h, why):
    assert next_call(contact(due_in_h), subject(*DAY), [last], OPEN).why == why


def test_who_is_due_behind_the_days_that_are_known_waits():
    """A retry in twenty days: nobody can say yet at which hour; only a calendar that ends before says never."""
    daily = [Interval(opens_at=at(24 * day - 1), closes_at=at(24 * day + 7)) for day in range(14)]
    assert call_at(daily, at(480), NOW) == at(480)
    assert call_at(daily[:10], at(480), NOW) is None
    assert call_at([], at(480), NOW) is None
    assert call_at(daily, at(24 * 13 + 3), NOW) == at(24 * 13 + 3)
