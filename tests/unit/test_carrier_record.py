"""A carrier's calls against ours: each case is what both sides have on one number, and what that comes to."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from dialer.calls.carrier_file import LAB_COLUMNS, Layout, read_carrier_calls
from dialer.calls.carrier_record import CarrierCall, Comparison, OurCall, clock_offset_s
from dialer.calls.disposition import Disposition
from dialer.errors import InvalidInput

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
NUMBER = "+48501100101"


def ours(text: str, *, counts: bool = True) -> list[OurCall]:
    """`at disposition [seconds]`, one call after a `|`; a dash is an attempt without a verdict."""
    calls = []
    for index, one in enumerate(filter(None, map(str.strip, text.split("|")))):
        at, disposition, *seconds = one.split()
        calls.append(
            OurCall(
                attempt_id=UUID(int=index),
                submitted_at=T0 + timedelta(seconds=float(at)),
                answered=bool(seconds),
                seconds=float(seconds[0]) if seconds else None,
                disposition=None if disposition == "-" else Disposition(disposition),
                counts=counts,
            )
        )
    return calls


def theirs(text: str) -> list[CarrierCall]:
    """`at [seconds]`; `?` seconds is a call that was answered, of unknown length."""
    return [
        CarrierCall(
            line=line, started_at=T0 + timedelta(seconds=float(one.split()[0])), answered=len(one.split()) > 1,
            seconds=None if one.split()[1:] in ([], ["?"]) else float(one.split()[1]), status="",
        )
        for line, one in enumerate(filter(None, map(str.strip, text.split("|"))), 2)
    ]  # fmt: skip


# Our calls, the carrier's, and what does not agree (a tolerance of 5 s, of 1 s for the length).
CASES = [
    ("0 busy", "0.4", ""),
    ("0 busy | 300 completed 42", "0.4 | 300.4 42.3", ""),
    ("0 completed 42", "0.4 43", ""),
    ("0 completed 42", "0.4 43.5", "seconds"),
    ("0 completed 42", "0.4 ?", ""),
    ("0 busy", "4.9", ""),
    ("0 busy", "-4.9", ""),
    ("0 busy", "5.1", "unknown_call missing"),
    ("", "0", "unknown_call"),
    ("0 busy", "", "missing"),
    # The promise of one INVITE an attempt, broken.
    ("0 busy", "0.4 | 0.9", "unknown_call"),
    ("0 busy | 300 busy", "0.4 | 150 | 300.4", "unknown_call"),
    ("0 completed 42", "0.4", "answered_here"),
    ("0 hung_up 2", "0.4", "answered_here"),
    ("0 no_answer", "0.4 7", "answered_there"),
    # Who was called although we say that nobody was, will be called again.
    ("0 not_placed", "0.4", "unplaced"),
    ("0 returned", "0.4 7", "unplaced"),
    ("0 not_placed", "", ""),
    ("0 returned | 1 completed 42", "1.3 42", ""),
    # Nobody knows whether it was placed: both may be.
    ("0 unknown", "", ""),
    ("0 unknown", "0.4", ""),
    ("0 unknown", "0.4 30", "answered_there"),
    ("0 -", "", ""),
    ("0 -", "0.4 30", ""),
]


@pytest.mark.parametrize(("own", "carrier", "expected"), CASES)
def test_what_does_not_agree(own, carrier, expected):
    comparison = Comparison(tolerance_s=5, seconds_apart_s=1)
    comparison.take(NUMBER, ours(own), theirs(carrier))
    assert " ".join(one.difference.value for one in comparison.gravest_first()) == expected


def test_calls_of_other_campaigns_explain_the_carriers_but_are_not_missed():
    comparison = Comparison(tolerance_s=5, seconds_apart_s=1)
    comparison.take(NUMBER, ours("0 busy | 60 completed 42", counts=False), theirs("0.4"))
    assert comparison.found == []
    assert (comparison.elsewhere, comparison.carrier.calls, comparison.ours.calls) == (1, 0, 0)


def test_a_carrier_that_lists_only_answered_calls_misses_no_others():
    comparison = Comparison(tolerance_s=5, seconds_apart_s=1, answered_only=True)
    comparison.take(NUMBER, ours("0 busy | 60 completed 42 | 120 completed 9"), theirs("60.2 42"))
    assert [(one.difference.value, one.attempt_id) for one in comparison.found] == [("missing", UUID(int=2))]


def test_both_sides_are_summed():
    comparison = Comparison(tolerance_s=5, seconds_apart_s=1)
    comparison.take(
        NUMBER, ours("0 busy | 60 completed 42 | 120 not_placed | 180 unknown"), theirs("0.4 | 60.4 42.5 | 90 3")
    )
    comparison.take("+48501100102", ours("0 completed 10"), theirs("0.4 10"))
    assert (comparison.ours.calls, comparison.ours.answered, comparison.ours.seconds) == (3, 2, 52)
    assert (comparison.carrier.calls, comparison.carrier.answered, comparison.carrier.seconds) == (4, 3, 55.5)


def test_whatever_is_planted_is_found():
    """Each call of a busy hour once left out and once doubled on either side: always one difference, never none."""
    chance = random.Random(7)
    starts = sorted(chance.sample(range(0, 36_000, 60), 40))
    own = ours("|".join(f"{at} completed {at % 50}" for at in starts))
    carrier = theirs("|".join(f"{at + chance.random()} {at % 50}" for at in starts))
    for index in range(len(starts)):
        for own_side, carrier_side, expected in (
            (own, carrier[:index] + carrier[index + 1 :], "missing"),
            (own[:index] + own[index + 1 :], carrier, "unknown_call"),
            (own, carrier[: index + 1] + carrier[index:], "unknown_call"),
        ):
            comparison = Comparison(tolerance_s=5, seconds_apart_s=1)
            comparison.take(NUMBER, own_side, carrier_side)
            assert [one.difference.value for one in comparison.found] == [expected]


@pytest.mark.parametrize(
    ("offset", "spread", "count", "seen"),
    [(3600, 1, 10, True), (-7.5, 1, 10, True), (0, 1, 10, True), (3600, 1, 4, False), (3600, 500, 10, False)],
)
def test_a_clock_that_is_off_by_the_same_everywhere_is_seen(offset, spread, count, seen):
    chance = random.Random(7)
    numbers = [
        (ours("0 busy | 50 not_placed | 900 busy"), theirs(f"{offset + chance.random() * spread} | {900 + offset}"))
        for _ in range(count // 2)
    ]
    found = clock_offset_s([*numbers, (ours("0 busy"), theirs("500 | 600"))])
    assert (found is not None) == seen
    assert found is None or abs(found - offset) <= spread


# -- the file ------------------------------------------------------------------------------------------------------

SHORT = {"number": "to", "started_at": "start", "seconds": "billed"}


def read(text: str, columns=SHORT, **layout) -> list[tuple[int, float, bool, float | None]]:
    """Calls on our number: line, seconds after T0, answered, length."""
    found = read_carrier_calls(text.splitlines(keepends=True), Layout(columns=columns, **layout), {NUMBER}, "cdr.csv")
    return [
        (call.line, (call.started_at - T0).total_seconds(), call.answered, call.seconds)
        for call in found.by_number.get(NUMBER, [])
    ]


@pytest.mark.parametrize(
    "number", ["+48501100101", "48501100101", "0048501100101", "+48 501 100 101", "+48-501-100-101"]
)
def test_numbers_are_read_as_carriers_write_them(number):
    assert read(f"to,start,billed\n{number},2026-05-04T09:00:00Z,7\n") == [(2, 0, True, 7)]


@pytest.mark.parametrize(
    ("number", "region", "rows"), [("501100101", "PL", 1), ("501100101", None, 0), ("501100101", "DE", 0)]
)
def test_numbers_without_a_country_code_need_a_region(number, region, rows):
    assert len(read(f"to,start,billed\n{number},2026-05-04T09:00:00Z,7\n", region=region)) == rows


@pytest.mark.parametrize(
    ("time", "zone"),
    [
        ("2026-05-04T09:00:00Z", UTC), ("2026-05-04 11:00:00+02:00", UTC), ("2026-05-04 09:00:00", UTC),
        ("2026-05-04 11:00:00", ZoneInfo("Europe/Warsaw")), ("1777885200", UTC), ("1777885200.000", UTC),
    ],
)  # fmt: skip
def test_times_are_read_as_carriers_write_them(time, zone):
    assert read(f"to,start,billed\n{NUMBER},{time},\n", zone=zone) == [(2, 0, False, None)]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_the_delimiter_is_found(delimiter):
    text = '\ufefffrom,to,"start",billed\n"a\nb",+48501100101,1777885200,7\n,+48501100101,1777885260,0\n'
    assert read(text.replace(",", delimiter)) == [(2, 0, True, 7), (4, 60, False, 0)]


def test_the_labs_own_file_is_read_by_default():
    header = "call_id,number,trunk,invited_at,final_code,answered_at,first_audio_at,keys,ended_at,ended_by"
    rows = [
        f"x,{NUMBER},carrier-a,2026-05-04T09:00:00.500000+00:00,200,2026-05-04T09:00:01+00:00,,,"
        "2026-05-04T09:00:11.250000+00:00,caller",
        f"y,{NUMBER},carrier-a,2026-05-04T09:05:00+00:00,486,,,,2026-05-04T09:05:01+00:00,callee",
    ]
    assert read("\n".join([header, *rows]), LAB_COLUMNS) == [(2, 0.5, True, 10.25), (3, 300, False, None)]


def test_other_traffic_is_only_counted_however_it_is_written():
    lines = ["to,start,billed\n", "anonymous,never,?\n", "112,,\n", "\n", f"{NUMBER},1777885200,1\n"]
    found = read_carrier_calls(iter(lines), Layout(columns=SHORT), {NUMBER}, "cdr.csv")
    assert (found.elsewhere, len(found.by_number[NUMBER])) == (2, 1)


WRONG = [
    (f"to,start,billed\n{NUMBER},soon,7\n", 2, "soon"),
    (f"to,start,billed\n{NUMBER},,7\n", 2, "no start"),
    (f"to,start,billed\n{NUMBER},1777885200,nan\n", 2, "nan"),
    (f'to,start,billed\n1,1,1\n{NUMBER},"1"7,7\n', 3, "expected"),
    ("to,begin,billed\n", 1, "'start'"),
    ("", 1, "'to'"),
]


@pytest.mark.parametrize(("text", "line", "said"), WRONG)
def test_what_cannot_be_read_is_located(text, line, said):
    with pytest.raises(InvalidInput) as error:
        read(text)
    assert error.value.problems[0].line == line
    assert said in error.value.problems[0].message


def test_a_mapping_needs_number_start_and_whether_it_was_answered():
    with pytest.raises(InvalidInput, match="answered_at, seconds"):
        read("to,start,billed\n", {"number": "to", "started_at": "start"})
