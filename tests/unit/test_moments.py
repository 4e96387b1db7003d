"""Moments on the callee's clock, in every time zone and across every change of a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.campaign import moments
from dialer.campaign.calendar import is_zone

WARSAW = (ZoneInfo("Europe/Warsaw"),)
ZONES = sorted(filter(is_zone, available_timezones()))
zones = st.sampled_from(ZONES).map(ZoneInfo)
instants = st.integers(946_684_800, 2_143_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
"""From 2000 to 2037."""
clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("digits", "shown"), [
    ("1730", "17:30"), ("0930", "09:30"), ("930", "09:30"), ("000", "00:00"), ("2359", "23:59"), ("2400", None),
    ("1260", None), ("999", None),
])  # fmt: skip
def test_what_digits_are_on_a_clock(digits: str, shown: str | None) -> None:
    assert moments.clock_time(digits) == shown


@pytest.mark.parametrize(("times", "earliest", "in_days", "expected"), [
    (["17:00"], "2026-05-04 09:00", 0, "2026-05-04 15:00"),
    (["17:00"], "2026-05-04 15:00", 0, "2026-05-04 15:00"),
    (["17:00"], "2026-05-04 15:00:01", 0, "2026-05-05 15:00"),
    (["17:00"], "2026-05-04 09:00", 1, "2026-05-05 15:00"),
    (["17:00", "09:00"], "2026-05-04 09:00", 0, "2026-05-04 15:00"),
    (["17:00", "09:00"], "2026-05-04 20:00", 0, "2026-05-05 07:00"),
    (["01:00"], "2026-05-04 22:30", 0, "2026-05-04 23:00"),
    # On 29 March the clock goes from 02:00 to 03:00, on 25 October 03:00 is followed by 02:00.
    (["02:30"], "2026-03-28 22:00", 0, "2026-03-29 01:30"),
    (["17:00"], "2026-03-28 17:00", 0, "2026-03-29 15:00"),
    (["02:30"], "2026-10-24 22:00", 0, "2026-10-25 00:30"),
    (["02:30"], "2026-10-25 00:31", 0, "2026-10-25 01:30"),
])  # fmt: skip
def test_the_next_time_that_a_clock_in_warsaw_shows(
    times: list[str], earliest: str, in_days: int, expected: str
) -> None:
    assert moments.next_shown(times, WARSAW, utc(earliest), in_days=in_days) == utc(expected)


def test_of_several_zones_the_last_to_show_it_decides() -> None:
    both = moments.zones_of("America/New_York,America/Los_Angeles@US")
    assert moments.next_shown(["17:00"], both, utc("2026-05-04 15:00")) == utc("2026-05-05 00:00")


@pytest.mark.parametrize(("last", "earliest", "expected"), [
    ("2026-05-04 08:00", "2026-05-04 08:05", "2026-05-04 10:00"),
    ("2026-05-04 08:00", "2026-05-04 12:00", "2026-05-04 12:00"),
    ("2026-05-04 12:00", "2026-05-04 14:59", "2026-05-04 15:00"),
    ("2026-05-04 16:00", "2026-05-04 18:00", "2026-05-04 22:00"),
    ("2026-05-04 16:00", "2026-05-05 06:00", "2026-05-05 06:00"),
])  # fmt: skip
def test_another_part_of_the_day_in_warsaw(last: str, earliest: str, expected: str) -> None:
    assert moments.another_part_of_day(utc(last), utc(earliest), WARSAW[0]) == utc(expected)


def test_a_midnight_that_comes_twice_ends_the_evening_twice() -> None:
    """In Goose Bay the clock went from 00:01 back to 23:01, at 03:01 UTC."""
    last = utc("2010-11-07 03:10")
    assert moments.another_part_of_day(last, last, ZoneInfo("America/Goose_Bay")) == utc("2010-11-07 04:00")


@pytest.mark.parametrize(("text", "expected"), [
    ("20:00", "2026-05-04 18:00"), ("06:00", "2026-05-04 04:00"), ("2026-12-24 20:00", "2026-12-24 19:00"),
])  # fmt: skip
def test_a_moment_that_is_named(text: str, expected: str) -> None:
    assert moments.named(text, WARSAW, utc("2026-05-04 09:00")) == utc(expected)


@pytest.mark.parametrize(("key", "names"), [
    ("Europe/Warsaw", ["Europe/Warsaw"]), ("Europe/Warsaw@PL-14", ["Europe/Warsaw"]), ("", ["UTC"]),
    ("Etc/Unknown", ["UTC"]), ("Asia/Tokyo,Europe/Warsaw@JP", ["Asia/Tokyo", "Europe/Warsaw"]),
])  # fmt: skip
def test_the_zones_of_a_calendar(key: str, names: list[str]) -> None:
    assert [str(zone) for zone in moments.zones_of(key)] == names


@settings(max_examples=2000, deadline=None)
@given(at=clock_times, zone=zones, earliest=instants)
def test_everywhere_the_clock_shows_it_then_and_within_two_days(at: str, zone: ZoneInfo, earliest: datetime) -> None:
    moment = moments.next_shown([at], (zone,), earliest)
    assert earliest <= moment < earliest + timedelta(days=2, hours=3)
    shown = moment.astimezone(zone)
    # A clock that jumps over it: just before the jump it showed less.
    skipped = (moment - timedelta(days=1)).astimezone(zone).utcoffset() != shown.utcoffset()
    assert f"{shown:%H:%M}" == at or skipped


@settings(max_examples=2000, deadline=None)
@given(zone=zones, last=instants, wait_s=st.integers(1, 30 * 86400))
def test_everywhere_another_part_of_the_day_comes_and_is_another(zone: ZoneInfo, last: datetime, wait_s: int) -> None:
    earliest = last + timedelta(seconds=wait_s)
    moment = moments.another_part_of_day(last, earliest, zone)
    assert earliest <= moment < earliest + timedelta(hours=15)
    assert _part(moment, zone) != _part(last, zone)


def _part(moment: datetime, zone: ZoneInfo) -> str:
    hour = moment.astimezone(zone).hour
    return "morning" if hour < 12 else "afternoon" if hour < 17 else "evening"
