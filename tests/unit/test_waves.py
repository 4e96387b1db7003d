"""The retry policy as a table: what was tried, how it ended, what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer import waves
from dialer.calls.disposition import Disposition
from dialer.campaign.model import RETRYABLE, RetryPolicy
from dialer.contacts.contact import Contact

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
A, B = "+48501000001", "+48501000002"
POLICY = RetryPolicy.model_validate(
    {"attempts": 4, "busy": {"after": "5m", "times": 2}, "refused": "stop", "unknown": "hold"}
)


def contact(numbers: str, earlier: str) -> Contact:
    tries = []
    for one in earlier.split():
        number, _, disposition = one.partition(":")
        tries.append(({"A": A, "B": B}[number], Disposition(disposition)))
    counted = sum(waves.counts(d) for _, d in tries)
    return Contact(id=1, numbers=tuple({"A": A, "B": B}[n] for n in numbers), attempts=counted, history=tuple(tries))


@pytest.mark.parametrize(
    ("numbers", "earlier", "dialled", "verdict", "expected"),
    [
        ("A", "", "A", "completed", "closed completed"),
        ("A", "", "A", "busy", "300 A"),
        ("A", "A:busy", "A", "busy", "300 A"),
        ("A", "A:busy A:busy", "A", "busy", "closed busy"),
        ("A", "A:busy A:busy", "A", "no_answer", "7200 A"),
        ("A", "A:busy A:busy A:no_answer", "A", "no_answer", "closed no_answer"),
        ("AB", "", "A", "busy", "300 B"),
        ("AB", "A:busy", "B", "busy", "300 A"),
        ("AB", "", "A", "invalid_number", "60 B"),
        ("AB", "A:invalid_number", "B", "busy", "300 B"),
        ("AB", "A:invalid_number", "B", "invalid_number", "closed invalid_number"),
        ("A", "", "A", "invalid_number", "closed invalid_number"),
        ("A", "", "A", "refused", "closed refused"),
        ("A", "", "A", "unknown", "held"),
        ("A", "A:congestion A:congestion A:congestion", "A", "congestion", "closed congestion"),
        ("A", "A:congestion A:congestion A:congestion", "A", "busy", "300 A"),
        ("A", "", "A", "blocked", "closed blocked"),
        ("A", "A:returned A:returned A:returned", "A", "returned", "1 A"),
    ],
)
def test_what_follows(numbers, earlier, dialled, verdict, expected):
    number = {"A": A, "B": B}[dialled]
    match waves.after(POLICY, contact(numbers, earlier), number, Disposition(verdict), T0):
        case waves.Next(at=at, number=found):
            got = f"{(at - T0) // timedelta(seconds=1)} {'A' if found == A else 'B'}"
        case waves.Closed(reason=reason):
            got = f"closed {reason.value}"
        case waves.Held():
            got = "held"
    assert got == expected


@given(st.lists(st.sampled_from(sorted(waves.DEFAULTS, key=str)), min_size=200, max_size=200))
def test_nobody_is_dialled_without_end(verdicts):
    """The policy bounds the dials, whatever happens: counted tries, and each uncounted verdict's own."""
    person = Contact(id=1, numbers=(A, B), attempts=0)
    number, dials = A, 0
    for verdict in verdicts:
        dials += 1
        following = waves.after(POLICY, person, number, verdict, T0)
        person = Contact(
            id=1, numbers=(A, B), attempts=person.attempts + waves.counts(verdict),
            history=(*person.history, (number, verdict)),
        )  # fmt: skip
        if not isinstance(following, waves.Next):
            break
        number = following.number
    rules = [waves.rule(POLICY, one) for one in waves.DEFAULTS if not waves.counts(one)]
    uncounted = sum(rule.times for rule in rules if not isinstance(rule, str))
    assert dials <= POLICY.attempts + uncounted + 1


def test_every_verdict_has_a_default_and_every_retryable_word_is_a_verdict():
    assert set(waves.DEFAULTS) == set(Disposition) - {Disposition.RETURNED}
    assert set(RETRYABLE) <= {d.value for d in Disposition}
    assert set(RETRYABLE) == set(RetryPolicy.model_fields) - {"attempts"}
