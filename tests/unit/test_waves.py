"""The retry policy as a table: what was tried through which trunk, how it ended, what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer import waves
from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.campaign.retry import RETRYABLE, RetryPolicy
from dialer.contacts.contact import Contact, Tried

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
NUMBERS = {"A": "+48501000001", "B": "+48501000002"}
LETTERS = {number: letter for letter, number in NUMBERS.items()}
POLICY = RetryPolicy.model_validate(
    {"attempts": 4, "busy": {"after": "5m", "times": 2}, "refused": "stop", "unknown": "hold"}
)
LONG = RetryPolicy.model_validate({"attempts": 9, "congestion": {"after": "2m", "times": 9}})


def contact(numbers: str, tries: tuple[Tried, ...] = ()) -> Contact:
    counted = sum(waves.counts(one, tries[:index]) for index, one in enumerate(tries))
    return Contact(id=1, numbers=tuple(NUMBERS[one] for one in numbers), attempts=counted, history=tries)


def tried(words: str) -> tuple[Tried, ...]:
    """`A:busy` is number A through trunk a, `A/b:congestion!` through b, and it rang; waves go on as they count."""
    history: tuple[Tried, ...] = ()
    for word in words.split():
        where, _, verdict = word.partition(":")
        number, _, trunk = where.partition("/")
        one = Tried(
            number=NUMBERS[number], disposition=Disposition(verdict.rstrip("!")), trunk=trunk or "a",
            wave=1 + contact("A", history).attempts, rang=verdict.endswith("!"),
        )  # fmt: skip
        history = (*history, one)
    return history


def carriers(words: str) -> Callable[[str], Collection[str]]:
    """`ab`: both trunks carry every number; `A:ab B:b`: as it says."""
    each = dict(word.split(":") for word in words.split()) if ":" in words else dict.fromkeys(NUMBERS, words)
    return lambda number: each[LETTERS[number]]


def follows(policy: RetryPolicy, trunks: str, numbers: str, words: str) -> str:
    """What follows the last of the tries."""
    *earlier, last = tried(words)
    person = contact(numbers, tuple(earlier))
    counted = "" if waves.counts(last, earlier) else ", uncounted"
    match waves.after(policy, person, last, T0, carriers(trunks)):
        case waves.Next(at=at, number=number, avoid=avoid):
            besides = f", not through {' '.join(avoid)}" if avoid else ""
            return f"{LETTERS[number]} in {(at - T0) // timedelta(seconds=1)} s{besides}{counted}"
        case waves.Closed(reason=reason):
            return f"closed {reason.value}{counted}"
        case waves.Held():
            return f"held{counted}"


@pytest.mark.parametrize(
    ("numbers", "tries", "expected"),
    [
        ("A", "A:completed", "closed completed"),
        ("A", "A:busy", "A in 300 s"),
        ("A", "A:busy A:busy", "A in 300 s"),
        ("A", "A:busy A:busy A:busy", "closed busy"),
        ("A", "A:busy A:busy A:no_answer", "A in 7200 s"),
        ("A", "A:busy A:busy A:no_answer A:no_answer", "closed no_answer"),
        ("AB", "A:busy", "B in 300 s"),
        ("AB", "A:busy B:busy", "A in 300 s"),
        ("A", "A:refused", "closed refused"),
        ("A", "A:unknown", "held"),
        ("A", "A:blocked", "closed blocked"),
        ("A", "A:media_error", "closed media_error, uncounted"),
        ("A", "A:not_placed", "A in 60 s, uncounted"),
        ("A", "A:returned A:returned A:returned A:returned", "A in 1 s, uncounted"),
        ("A", "A:congestion", "A in 120 s, uncounted"),
        ("A", "A:congestion A:congestion A:congestion A:congestion", "closed congestion"),
        ("A", "A:congestion A:congestion A:congestion A:busy", "A in 300 s"),
        ("A", "A:invalid_number", "closed invalid_number"),
        ("A", "A:number_changed", "closed number_changed"),
        ("AB", "A:invalid_number", "B in 60 s"),
        ("AB", "A:number_changed", "B in 60 s"),
        ("AB", "A:invalid_number B:busy", "B in 300 s"),
        ("AB", "A:invalid_number B:invalid_number", "closed invalid_number"),
    ],
)
def test_what_follows_with_one_trunk(numbers, tries, expected):
    assert follows(POLICY, "a", numbers, tries) == expected


@pytest.mark.parametrize(
    ("trunks", "numbers", "tries", "expected"),
    [
        # The trunk's fault: another one at once, in the same wave, and nobody's attempt is used up.
        ("ab", "A", "A/a:congestion", "A in 1 s, not through a, uncounted"),
        ("ab", "A", "A/b:trunk_refused", "A in 1 s, not through b, uncounted"),
        ("abc", "A", "A/a:congestion A/b:congestion", "A in 1 s, not through a b, uncounted"),
        # The same number: a failure of a trunk says nothing of it.
        ("ab", "AB", "A/a:congestion", "A in 1 s, not through a, uncounted"),
        # All failed: later, through any.
        ("ab", "A", "A/a:congestion A/b:congestion", "A in 120 s, uncounted"),
        ("abc", "A", "A/a:congestion A/b:congestion A/c:trunk_refused", "A in 300 s, uncounted"),
        ("ab", "AB", "A/a:congestion A/b:congestion", "B in 120 s, uncounted"),
        # Three dials of a wave do not count; the fourth does, and begins the next wave.
        ("ab", "A", "A/a:congestion A/b:congestion A/a:congestion", "A in 120 s, uncounted"),
        ("ab", "A", "A/a:congestion A/b:congestion A/a:congestion A/b:congestion", "A in 120 s"),
        ("ab", "A", "A/a:congestion A/b:congestion A/a:congestion A/b:congestion A/a:congestion",
         "A in 1 s, not through a, uncounted"),
        # Another number of the person does not go through what has just failed.
        ("abc", "AB", "A/a:congestion A/b:busy B/b:congestion", "B in 1 s, not through b, uncounted"),
        # Somebody's telephone rang: it counts, and fails over to nobody.
        ("ab", "A", "A/a:congestion!", "A in 120 s"),
        ("ab", "A", "A/a:trunk_refused!", "A in 300 s"),
        # The callee's own choice, and what no other trunk mends.
        ("ab", "A", "A/a:busy", "A in 300 s"),
        ("ab", "A", "A/a:no_answer", "A in 7200 s"),
        ("ab", "A", "A/a:rejected", "A in 86400 s"),
        ("ab", "A", "A/a:out_of_order", "A in 14400 s"),
        ("ab", "A", "A/a:media_error", "closed media_error, uncounted"),
        ("ab", "A", "A/a:rtp_lost", "A in 600 s"),
        ("ab", "A", "A/a:unknown", "held"),
        ("ab", "A", "A/a:not_placed", "A in 60 s, uncounted"),
        # What failed is avoided until the wave is over, also after what says nothing of a trunk.
        ("ab", "A", "A/a:congestion A/b:not_placed", "A in 60 s, not through a, uncounted"),
        ("ab", "A", "A/a:congestion A/b:returned", "A in 1 s, not through a, uncounted"),
        ("ab", "A", "A/a:congestion A/b:busy", "A in 300 s"),
        # A trunk that does not carry the number is no alternative.
        ("A:a B:b", "A", "A/a:congestion", "A in 120 s, uncounted"),
        ("A:a B:ab", "AB", "A/a:congestion", "B in 120 s, not through a, uncounted"),
        ("A: B:b", "A", "A/a:congestion", "A in 120 s, uncounted"),
    ],
)  # fmt: skip
def test_a_fault_of_the_trunk_fails_over(trunks, numbers, tries, expected):
    assert follows(LONG, trunks, numbers, tries) == expected


@pytest.mark.parametrize(
    ("trunks", "numbers", "tries", "expected"),
    [
        ("ab", "A", "A/a:invalid_number", "A in 3600 s, not through a"),
        ("ab", "A", "A/a:invalid_number A/b:invalid_number", "closed invalid_number"),
        ("ab", "A", "A/a:invalid_number A/b:busy", "A in 300 s, not through a"),
        ("ab", "A", "A/a:invalid_number A/b:congestion", "A in 120 s, not through a, uncounted"),
        ("abc", "A", "A/a:invalid_number A/b:congestion", "A in 1 s, not through a b, uncounted"),
        ("abc", "A", "A/a:invalid_number A/c:invalid_number", "closed invalid_number"),
        ("A:a B:b", "A", "A/a:invalid_number", "closed invalid_number"),
        # No trunk is needed to believe who says that a number has changed.
        ("ab", "A", "A/a:number_changed", "closed number_changed"),
        ("ab", "AB", "A/a:number_changed", "B in 60 s"),
        # The person's other numbers first, then the doubtful one.
        ("ab", "AB", "A/a:invalid_number", "B in 60 s"),
        ("ab", "AB", "A/a:invalid_number B/a:busy", "A in 300 s, not through a"),
        ("ab", "AB", "A/a:invalid_number B/a:invalid_number", "A in 3600 s, not through a"),
        ("ab", "AB", "A/a:invalid_number B/a:busy A/b:invalid_number", "B in 60 s"),
        ("ab", "AB", "A/a:invalid_number B/a:invalid_number A/b:invalid_number", "B in 3600 s, not through a"),
        ("ab", "AB", "A/a:invalid_number B/b:invalid_number A/b:invalid_number B/a:invalid_number",
         "closed invalid_number"),
    ],
)  # fmt: skip
def test_a_number_that_a_trunk_does_not_know_is_confirmed_through_another(trunks, numbers, tries, expected):
    policy = RetryPolicy.model_validate({"busy": {"after": "5m", "times": 3}})
    assert follows(policy, trunks, numbers, tries) == expected


@pytest.mark.parametrize(
    ("attempts", "tries", "expected"),
    [
        (1, "A/a:invalid_number", "closed invalid_number"),
        (1, "A/a:congestion!", "closed congestion"),
        (1, "A/a:congestion", "A in 1 s, not through a, uncounted"),
        (2, "A/a:busy A/a:invalid_number", "closed invalid_number"),
        (2, "A/a:busy A/a:congestion", "A in 1 s, not through a, uncounted"),
    ],
)
def test_no_failover_and_no_confirmation_goes_past_the_attempts(attempts, tries, expected):
    assert follows(RetryPolicy(attempts=attempts), "ab", "A", tries) == expected


EAGER = RetryPolicy.model_validate(
    {"attempts": 3, **{name: {"after": "1m", "times": 50} for name in RETRYABLE if name != "unknown"}}
)


@settings(max_examples=300)
@given(
    policy=st.sampled_from([POLICY, LONG, EAGER]),
    numbers=st.sampled_from(["A", "AB"]),
    trunks=st.sampled_from(["a", "ab", "abc", "A:a B:bc"]),
    verdicts=st.sampled_from([waves.DEFAULTS.keys(), UNCOUNTED - {Disposition.RETURNED}]).flatmap(
        lambda some: st.sets(st.sampled_from(sorted(some, key=str)), min_size=1, max_size=4)
    ),
    chance=st.randoms(use_true_random=False),
)
def test_nobody_is_dialled_without_end(policy, numbers, trunks, verdicts, chance):
    """Whatever happens, and whichever trunk each call takes: an avoided one is taken again after a while."""
    person, number = contact(numbers), NUMBERS["A"]
    uncounted = Counter[int]()
    for _ in range(500):
        disposition = chance.choice(sorted(verdicts, key=str))
        last = Tried(
            number=number, disposition=disposition, trunk=chance.choice(carriers(trunks)(number)),
            wave=1 + person.attempts, rang=chance.random() < 0.1 and disposition not in waves.NOT_DIALLED,
        )  # fmt: skip
        counts = waves.counts(last, person.history)
        uncounted[last.wave] += not counts and disposition not in waves.NOT_DIALLED
        following = waves.after(policy, person, last, T0, carriers(trunks))
        person = contact(numbers, (*person.history, last))
        if not isinstance(following, waves.Next):
            break
        assert set(carriers(trunks)(following.number)) - set(following.avoid), "somebody must carry it"
        number = following.number
    else:
        pytest.fail("there is no end to it")
    assert max(uncounted.values()) <= 3
    assert person.attempts <= policy.attempts
    unplaced = waves.rule(policy, Disposition.NOT_PLACED)
    assert sum(one.disposition is Disposition.NOT_PLACED for one in person.history) <= 1 + unplaced.times


def test_every_verdict_has_a_default_and_every_retryable_word_is_a_verdict():
    assert set(waves.DEFAULTS) == set(Disposition) - {Disposition.RETURNED}
    assert set(RETRYABLE) <= {d.value for d in Disposition}
    assert set(RETRYABLE) == set(RetryPolicy.model_fields) - {"attempts"}


@pytest.mark.parametrize("disposition", Disposition)
def test_what_rang_counts_whatever_it_was(disposition):
    one = Tried(number=NUMBERS["A"], disposition=disposition, trunk="a", wave=1, rang=True)
    assert waves.counts(one)
    assert waves.counts(Tried(**{**vars(one), "rang": False})) is (disposition not in UNCOUNTED)
