"""The retry policy as a table: what was tried through which trunk, how it ended, what follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer import waves
from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.campaign import moments
from dialer.campaign.retry import RETRYABLE, Retry, RetryPolicy
from dialer.contacts.contact import Contact, Tried

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
"""Eleven in the morning, in Warsaw."""
NUMBERS = {"A": "+48501000001", "B": "+48501000002", "C": "+48501000003"}
LETTERS = {number: letter for letter, number in NUMBERS.items()}
POLICY = RetryPolicy.model_validate(
    {"attempts": 4, "busy": {"after": "5m", "times": 2}, "refused": "stop", "unknown": "hold"}
)
LONG = RetryPolicy.model_validate({"attempts": 9, "congestion": {"after": "2m", "times": 9}})


def contact(numbers: str, tries: tuple[Tried, ...] = (), zones: str = "Europe/Warsaw@PL-14") -> Contact:
    counted = sum(waves.counts(one, tries[:index]) for index, one in enumerate(tries))
    return Contact(id=1, numbers=tuple(NUMBERS[one] for one in numbers), attempts=counted, history=tries, zones=zones)


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


def follows(policy: RetryPolicy, trunks: str, numbers: str, words: str, dialogue: DialogueEnd | None = None) -> str:
    """What follows the last of the tries."""
    *earlier, last = tried(words)
    person = contact(numbers, tuple(earlier))
    counted = "" if waves.counts(last, earlier) else ", uncounted"
    match waves.after(policy, person, last, T0, carriers(trunks), dialogue):
        case waves.Next(at=at, number=number, avoid=avoid, waits_for=waits_for):
            besides = f", not through {' '.join(avoid)}" if avoid else ""
            besides += f", {waits_for.value}" if waits_for else ""
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


GROWING = {"after": ["5m", "1h", "4h"]}
SCHOOL = {"after": "1h", "at": ["09:00", "17:00"], "times": 3}
WAVES = ["09:00", "17:00"]
RETRIES = [
    # what the file says under `retry`                       numbers  tries                       what follows
    ({"busy": GROWING},                                      "A",  "A:busy",                      "A in 300 s"),
    ({"busy": GROWING},                                      "A",  "A:busy A:busy",               "A in 3600 s"),
    ({"busy": GROWING},                                      "A",  "A:busy A:no_answer A:busy",   "A in 3600 s"),
    ({"busy": GROWING},                                      "A",  "A:busy A:busy A:busy",        "A in 14400 s"),
    ({"busy": GROWING},                                      "A",  "A:busy A:busy A:busy A:busy", "closed busy"),
    ({"busy": GROWING | {"times": 4}},                       "A",  "A:busy A:busy A:busy A:busy", "A in 14400 s"),
    ({"busy": GROWING | {"times": 1}},                       "A",  "A:busy A:busy",               "closed busy"),
    # Times by the callee's clock, where it is eleven now.
    ({"busy": SCHOOL},                                       "A",  "A:busy",                      "A in 21600 s"),
    ({"busy": SCHOOL | {"after": "6h"}},                     "A",  "A:busy",                      "A in 21600 s"),
    ({"busy": SCHOOL | {"after": "7h"}},                     "A",  "A:busy",                      "A in 79200 s"),
    ({"busy": SCHOOL | {"at": "10:30"}},                     "A",  "A:busy",                      "A in 84600 s"),
    ({"busy": {"after": "5m", "at": "another-time-of-day"}}, "A",  "A:busy",                      "A in 3600 s"),
    ({"busy": {"after": "2h", "at": "another-time-of-day"}}, "A",  "A:busy",                      "A in 7200 s"),
    ({"busy": {"after": "1d", "at": "another-time-of-day"}}, "A",  "A:busy",                      "A in 90000 s"),
    # Waves by the clock: for what counts, unless a rule has its own time.
    ({"waves": WAVES},                                       "A",  "A:busy",                      "A in 21600 s"),
    ({"waves": WAVES, "busy": SCHOOL | {"at": "12:00"}},     "A",  "A:busy",                      "A in 3600 s"),
    ({"waves": WAVES, "busy": {"after": "5m", "at": "any-time"}}, "A", "A:busy",                  "A in 300 s"),
    ({"waves": WAVES},                                       "A",  "A:congestion",      "A in 120 s, uncounted"),
    ({"waves": WAVES},                                       "A",  "A:not_placed",      "A in 60 s, uncounted"),
    ({"waves": WAVES},                                       "AB", "A:invalid_number",            "B in 60 s"),
    # The number that is next.
    ({"busy": {"after": "5m", "number": "next"}},            "AB", "A:busy",                      "B in 300 s"),
    ({"busy": {"after": "5m", "number": "same"}},            "AB", "A:busy",                      "A in 300 s"),
    ({"busy": {"after": "5m", "number": "first", "times": 9}}, "ABC", "A:busy B:busy",            "A in 300 s"),
    ({"busy": {"after": "5m", "number": "first", "times": 9}}, "ABC", "A:invalid_number B:busy",  "B in 300 s"),
    ({"busy": {"after": "5m", "number": "others-first"}},    "A",  "A:busy",                      "A in 300 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC", "A:busy",            "B in 60 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC", "A:busy B:busy",     "C in 60 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC", "A:busy B:busy C:busy", "A in 300 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC",
     "A:busy B:busy C:busy A:busy",                                                               "B in 60 s"),
    ({"busy": {"after": ["5m", "1h"], "number": "others-first"}}, "AB", "A:busy B:busy A:busy B:busy", "A in 3600 s"),
    ({"busy": {"after": "5m", "number": "others-first"}},    "AB", "A:busy B:busy A:busy",        "B in 60 s"),
    ({"busy": {"after": "5m", "number": "others-first"}},    "AB", "A:busy B:busy A:busy B:busy", "closed busy"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC", "B:busy",            "C in 60 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "ABC", "B:busy C:busy",     "A in 60 s"),
    ({"busy": {"after": "5m", "number": "others-first", "times": 9}}, "AB", "B:invalid_number A:busy", "A in 300 s"),
    # Until when.
    ({"busy": {"after": "1h", "until": "12:00"}},            "A",  "A:busy",                      "A in 3600 s"),
    ({"busy": {"after": "1h", "until": "11:59"}},            "A",  "A:busy",                      "closed busy"),
    ({"busy": {"after": "1h", "until": "10:00"}},            "A",  "A:busy",                      "closed busy"),
    ({"busy": {"after": "3d", "until": "2026-05-07 11:00"}}, "A",  "A:busy",                      "A in 259200 s"),
    ({"busy": {"after": "3d", "until": "2026-05-07 10:59"}}, "A",  "A:busy",                      "closed busy"),
    ({"busy": {"after": "1h", "at": "12:30", "until": "12:00"}}, "A", "A:busy",                   "closed busy"),
    ({"busy": {"after": "5m", "until": "completed"}, "attempts": 4}, "A", "A:busy A:busy A:busy", "A in 300 s"),
    ({"busy": {"after": "5m", "until": "completed"}, "attempts": 3}, "A", "A:busy A:busy A:busy", "closed busy"),
    ({"congestion": {"after": "5m", "until": "completed"}}, "A", "A:congestion A:congestion",
     "closed congestion, uncounted"),
    # What was closed by itself may be told to go on.
    ({},                                                     "A",  "A:completed",                 "closed completed"),
    ({"completed": {"after": "7d"}},                         "A",  "A:completed",                 "A in 604800 s"),
    ({"completed": {"after": "7d"}},                         "A",  "A:completed A:completed",     "closed completed"),
]  # fmt: skip


@pytest.mark.parametrize(("retry", "numbers", "tries", "expected"), RETRIES)
def test_what_the_file_says_of_retries(retry: dict[str, Any], numbers: str, tries: str, expected: str) -> None:
    policy = RetryPolicy.model_validate({"attempts": 9, **retry})
    assert follows(policy, "a", numbers, tries) == expected


def ended(*, in_s: int | None = None, opted_out: bool = False, **given: str) -> DialogueEnd:
    return DialogueEnd(
        attempt_id=UUID(int=7), result=FlowResult.PARTIAL, step="bye", answers=len(given), at=T0, given=given,
        callback_at=T0 + timedelta(seconds=in_s) if in_s is not None else None, opted_out=opted_out,
    )  # fmt: skip


ANSWERS = {"again": {"later": {"after": "3h", "times": 2}, "never": "stop"}, "mood": {"bad": {"after": "1d"}}}
WISHES = [
    # tries                     the dialogue                             what follows
    ("A:partial",               ended(),                                 "A in 3600 s"),
    # Asked for: at that moment, at that number, and not beyond the attempts.
    ("A:partial",               ended(in_s=5000),                        "A in 5000 s, callback"),
    ("A:hung_up",               ended(in_s=5000),                        "A in 5000 s, callback"),
    ("A:completed",             ended(in_s=5000),                        "A in 5000 s, callback"),
    ("A:partial",               ended(in_s=-60),                         "A in 0 s, callback"),
    ("A:partial A:partial A:partial", ended(in_s=5000),                  "A in 5000 s, callback"),
    ("A:partial A:partial A:partial A:partial", ended(in_s=5000),        "closed partial"),
    # Who wants no more calls gets none, whatever else was said.
    ("A:refused",               ended(opted_out=True),                   "closed refused"),
    ("A:hung_up",               ended(opted_out=True),                   "closed hung_up"),
    ("A:dialogue_error",        ended(opted_out=True, again="later"),    "closed dialogue_error"),
    ("A:completed",             ended(opted_out=True, in_s=5000),        "closed completed"),
    # By the answer, before the disposition's own rule.
    ("A:completed",             ended(again="later"),                    "A in 10800 s"),
    ("A:partial",               ended(again="later"),                    "A in 10800 s"),
    ("A:partial",               ended(again="never"),                    "closed partial"),
    ("A:partial",               ended(again="perhaps"),                  "A in 3600 s"),
    ("A:completed",             ended(mood="bad"),                       "A in 86400 s"),
    ("A:completed",             ended(mood="bad", again="later"),        "A in 10800 s"),
    ("A:completed A:completed A:completed", ended(again="later"),        "closed completed"),
    ("A:partial",               ended(again="later", in_s=5000),         "A in 5000 s, callback"),
    # Our own failure is not what the person said.
    ("A:dialogue_error",        ended(again="never"),                    "A in 600 s"),
]  # fmt: skip


@pytest.mark.parametrize(("tries", "dialogue", "expected"), WISHES)
def test_what_the_person_said_decides(tries: str, dialogue: DialogueEnd, expected: str) -> None:
    policy = RetryPolicy.model_validate({"attempts": 4, "answers": ANSWERS})
    assert follows(policy, "a", "A", tries, dialogue) == expected


waits = st.sampled_from(["1s", "5m", "2h", "1d", "30d"])
clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
timed_rules = st.fixed_dictionaries(
    {"after": waits | st.lists(waits, min_size=1, max_size=4)},
    optional={
        "times": st.integers(1, 4),
        "at": st.sampled_from(["another-time-of-day", "any-time"])
        | clock_times
        | st.lists(clock_times, min_size=1, max_size=3),
        "number": st.sampled_from(["next", "same", "first", "others-first"]),
        "until": clock_times | st.just("2026-05-20 12:00"),
    },
)
endless_rules = st.fixed_dictionaries({"after": waits, "until": st.just("completed")})
rules = st.just("stop") | endless_rules | timed_rules
policies = st.fixed_dictionaries(
    {"attempts": st.integers(1, 9)},
    optional={"waves": st.lists(clock_times, min_size=1, max_size=3), **dict.fromkeys(RETRYABLE, rules)},
).map(RetryPolicy.model_validate)


@settings(max_examples=500, deadline=None)
@given(
    said=timed_rules | endless_rules,
    zone=st.sampled_from(
        ["Europe/Warsaw", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
    ),
    ended_at=st.integers(1_700_000_000, 1_800_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    repeats=st.integers(1, 5),
)
def test_no_retry_comes_earlier_or_at_another_time_than_its_rule_says(
    said: dict[str, Any], zone: str, ended_at: datetime, repeats: int
) -> None:
    policy = RetryPolicy.model_validate({"attempts": 50, "busy": said})
    chosen = policy.busy
    assert isinstance(chosen, Retry)
    *earlier, last = tried("A:busy " * repeats)
    following = waves.after(policy, contact("A", tuple(earlier), zone), last, ended_at, carriers("a"))
    if isinstance(following, waves.Closed):
        assert repeats > chosen.retries or chosen.until is not None
        return
    assert isinstance(following, waves.Next)
    earliest = ended_at + timedelta(seconds=chosen.wait_s(repeats))
    zones = moments.zones_of(zone)
    match chosen.at:
        case None | "any-time":
            assert following.at == earliest
        case "another-time-of-day":
            assert following.at == moments.another_part_of_day(ended_at, earliest, zones[0])
        case str() | list() as at:
            assert following.at == moments.next_shown([at] if isinstance(at, str) else at, zones, earliest)
    assert following.at >= earliest
    assert chosen.is_endless or repeats <= chosen.retries


EAGER = RetryPolicy.model_validate(
    {"attempts": 3, **{name: {"after": "1m", "times": 50} for name in RETRYABLE if name != "unknown"}}
)


@settings(max_examples=600, deadline=None)
@given(
    policy=st.sampled_from([POLICY, LONG, EAGER]) | policies,
    numbers=st.sampled_from(["A", "AB", "ABC"]),
    trunks=st.sampled_from(["a", "ab", "abc", "A:a B:bc C:b"]),
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
    most = unplaced.retries if isinstance(unplaced, Retry) else 0
    assert sum(one.disposition is Disposition.NOT_PLACED for one in person.history) <= 1 + most


def test_every_verdict_has_a_default_and_every_retryable_word_is_a_verdict():
    assert set(waves.DEFAULTS) == set(Disposition) - {Disposition.RETURNED}
    assert set(RETRYABLE) <= {d.value for d in Disposition}
    assert set(RETRYABLE) == set(RetryPolicy.model_fields) - {"attempts", "waves", "answers"}


@pytest.mark.parametrize("disposition", Disposition)
def test_what_rang_counts_whatever_it_was(disposition):
    one = Tried(number=NUMBERS["A"], disposition=disposition, trunk="a", wave=1, rang=True)
    assert waves.counts(one)
    assert waves.counts(Tried(**{**vars(one), "rang": False})) is (disposition not in UNCOUNTED)
