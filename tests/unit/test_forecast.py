"""The forecast of a campaign's end, as a table of situations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.campaign.calendar import Interval
from dialer.pacing.forecast import FEWEST_DONE, Work, calls_each, forecast

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def at(text: str, day: int = 4) -> datetime:
    return datetime.fromisoformat(f"2026-05-{day:02d}T{text}:00+00:00")


def hours(*spans: str) -> list[Interval]:
    """`4 09:00-12:00`: the day of May and the hours."""
    made = []
    for span in spans:
        day, _, times = span.partition(" ")
        begin, _, end = times.partition("-")
        made.append(Interval(opens_at=at(begin, int(day)), closes_at=at(end, int(day))))
    return made


TODAY = hours("4 08:00-12:00")
TWO_DAYS = hours("4 08:00-12:00", "5 08:00-12:00")
TOMORROW = hours("5 08:00-12:00")


@pytest.mark.parametrize(
    ("works", "done_at", "closes_at", "left_then"),
    [
        # one call a second: 3600 an hour
        ([(3600, "09:00", TODAY)], at("10:00"), at("12:00"), 0),
        ([(3600, "10:30", TODAY)], at("11:30"), at("12:00"), 0),
        ([(4 * 3600, "09:00", TODAY)], None, at("12:00"), 3600),
        ([(4 * 3600, "09:00", TWO_DAYS)], at("09:00", 5), at("12:00"), 3600),
        ([(3600, "09:00", TOMORROW)], at("09:00", 5), at("12:00", 5), 0),
        ([(3600, "11:30", TODAY)], None, at("12:00"), 1800),
        # Two windows share the pace while both are open; what the shorter one leaves is never called.
        ([(3600, "09:00", TODAY), (3600, "09:00", hours("4 09:00-10:00"))], None, at("12:00"), 1800),
        ([(3600, "09:00", TODAY), (1800, "11:00", TODAY)], at("11:30"), at("12:00"), 0),
        ([(10, "09:00", [])], None, None, 0),
        ([], NOW, None, 0),
    ],
)  # fmt: skip
def test_the_work_is_poured_into_the_open_hours(works, done_at, closes_at, left_then):
    found = forecast(
        [Work(calls=calls, from_at=at(begin), windows=windows) for calls, begin, windows in works], 1.0, NOW
    )
    assert (found.done_at, found.closes_at) == (done_at, closes_at)
    assert found.left_then == pytest.approx(left_then)


def test_too_little_seen_says_nothing_of_calls_a_person():
    assert calls_each(100, FEWEST_DONE - 1) is None
    assert calls_each(30, FEWEST_DONE) == 1.5
    assert calls_each(0, FEWEST_DONE) == 1.0, "closed without a call: the rest needs one each"


@given(
    calls=st.lists(st.integers(0, 50_000), min_size=1, max_size=5),
    begins=st.lists(st.integers(0, 20_000), min_size=5, max_size=5),
    pace=st.floats(0.1, 50),
)
def test_no_call_is_lost_and_none_is_faster_than_the_pace(calls, begins, pace):
    works = [
        Work(calls=count, from_at=NOW + timedelta(seconds=begin), windows=(TODAY, TWO_DAYS, TOMORROW)[place % 3])
        for place, (count, begin) in enumerate(zip(calls, begins, strict=False))
    ]
    found = forecast(works, pace, NOW)
    assert -1e-6 <= found.calls_left <= sum(calls) + 1e-6
    if found.done_at is not None and sum(calls):
        assert (found.done_at - NOW).total_seconds() >= sum(calls) / pace - 1e-3
