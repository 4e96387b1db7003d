"""A window is open when the callee's own clock says so, on every day of the year."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.campaign.calendar import is_zone, open_intervals
from dialer.campaign.values import parse_days, parse_slots

WARSAW, NEW_YORK = "Europe/Warsaw", "America/New_York"


def spans(window, zones, start: str, days: int) -> list[str]:
    """Open intervals as `month-dayThour:minute/…` in UTC."""
    begin = datetime.fromisoformat(start).replace(tzinfo=UTC)
    return [
        f"{interval.opens_at:%m-%dT%H:%M}/{interval.closes_at:%m-%dT%H:%M}"
        for interval in open_intervals(window, zones, begin, days)
    ]


PL, NY, BOTH = (WARSAW,), (NEW_YORK,), (NEW_YORK, WARSAW)
DAILY = "mon-sun"
TABLE = [
    # what                    window                        zones from          days  open, in UTC
    ("winter in Warsaw",      {DAILY: "09:00-17:00"},       PL,   "2026-01-12", 1, ["01-12T08:00/01-12T16:00"]),
    ("summer in Warsaw",      {DAILY: "09:00-17:00"},       PL,   "2026-07-13", 1, ["07-13T07:00/07-13T15:00"]),
    ("winter in New York",    {DAILY: "09:00-17:00"},       NY,   "2026-01-12", 1, ["01-12T14:00/01-12T22:00"]),
    ("a pause at noon",       {"mon": "09:00-13:00, 14:00-20:00"}, PL,   "2026-01-12", 1,
     ["01-12T08:00/01-12T12:00", "01-12T13:00/01-12T19:00"]),
    ("not on Sundays",        {"mon-sat": "09:00-10:00"},   PL,   "2026-01-17", 3,
     ["01-17T08:00/01-17T09:00", "01-19T08:00/01-19T09:00"]),
    ("already open",          {DAILY: "09:00-17:00"},       PL,   "2026-01-12T10:30", 1,
     ["01-12T10:30/01-12T16:00", "01-13T08:00/01-13T10:30"]),
    ("past midnight is one",  {DAILY: "00:00-02:00, 22:00-24:00"}, PL,   "2026-01-12", 1,
     ["01-12T00:00/01-12T01:00", "01-12T21:00/01-13T00:00"]),
    ("always",                {DAILY: "00:00-24:00"},       PL,   "2026-03-28", 3, ["03-28T00:00/03-31T00:00"]),
    # 29 March 2026: Warsaw's clock goes from 02:00 to 03:00 at 01:00 UTC.
    ("the day after the gap", {DAILY: "09:00-17:00"},       PL,   "2026-03-28", 2,
     ["03-28T08:00/03-28T16:00", "03-29T07:00/03-29T15:00"]),
    ("opens inside the gap",  {"sun": "02:30-04:00"},       PL,   "2026-03-29", 1, ["03-29T01:00/03-29T02:00"]),
    ("closes inside the gap", {"sun": "01:00-02:30"},       PL,   "2026-03-29", 1, ["03-29T00:00/03-29T01:00"]),
    ("all in the gap",        {"sun": "02:10-02:50"},       PL,   "2026-03-29", 1, []),
    # 25 October 2026: Warsaw's clock goes from 03:00 back to 02:00 at 01:00 UTC.
    ("all in the fold",       {"sun": "02:10-02:50"},       PL,   "2026-10-25", 1,
     ["10-25T00:10/10-25T00:50", "10-25T01:10/10-25T01:50"]),
    ("across the fold",       {"sun": "01:00-04:00"},       PL,   "2026-10-24T12:00", 1, ["10-24T23:00/10-25T03:00"]),
    ("the day after the fold", {DAILY: "09:00-17:00"},      PL,   "2026-10-24", 2,
     ["10-24T07:00/10-24T15:00", "10-25T08:00/10-25T16:00"]),
    ("open in both",          {DAILY: "09:00-17:00"},       BOTH, "2026-01-12", 1, ["01-12T14:00/01-12T16:00"]),
    # Between 8 and 29 March 2026 New York is on summer time and Warsaw is not.
    ("open in both, in March", {DAILY: "09:00-17:00"},      BOTH, "2026-03-16", 1, ["03-16T13:00/03-16T16:00"]),
    ("never open in both",    {DAILY: "09:00-12:00"},       ("Asia/Tokyo", NEW_YORK), "2026-01-12", 7, []),
    ("a half-hour zone",      {DAILY: "09:00-17:00"}, ("Asia/Kolkata",), "2026-01-12", 1, ["01-12T03:30/01-12T11:30"]),
    ("a day that was skipped", {"fri": "09:00-17:00"},      ("Pacific/Apia",),  "2011-12-29", 3, []),
    ("no zone",               {DAILY: "00:00-24:00"},       (),                 "2026-01-12", 7, []),
    ("unknown zone",          {DAILY: "00:00-24:00"},       ("Etc/Unknown",),   "2026-01-12", 7, []),
    ("no such zone",          {DAILY: "00:00-24:00"},       ("Mars/Olympus",),  "2026-01-12", 7, []),
    ("one of two unknown",    {DAILY: "00:00-24:00"},       ("Etc/Unknown", WARSAW), "2026-01-12", 7, []),
    ("a lab",                 "any",                  ("Etc/Unknown",), "2026-01-12", 14, ["01-12T00:00/01-26T00:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "window", "zones", "start", "days", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_open_intervals(what, window, zones, start, days, expected):
    assert spans(window, zones, start, days) == expected


ZONES = st.sampled_from((WARSAW, NEW_YORK, "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca", "Etc/UTC"))
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@settings(max_examples=60, deadline=None)
@given(start=MOMENTS, zones=st.sets(ZONES, min_size=1, max_size=2), seconds=st.integers(0, 14 * 86400 - 1))
def test_every_moment_agrees_with_the_clock_on_the_wall(start, zones, seconds):
    window = {"mon-fri": "02:15-09:00, 22:00-24:00", "sun": "00:00-02:45"}
    intervals = open_intervals(window, tuple(sorted(zones)), start)
    at = start + timedelta(seconds=seconds)
    assert any(one.opens_at <= at < one.closes_at for one in intervals) == all(
        shows_open(window, at.astimezone(ZoneInfo(zone))) for zone in zones
    )
    assert all(one.closes_at < following.opens_at for one, following in pairwise(intervals))


def shows_open(window, local: datetime) -> bool:
    minutes = local.hour * 60 + local.minute
    return any(
        local.weekday() in parse_days(days) and any(begin <= minutes < end for begin, end in parse_slots(slots))
        for days, slots in window.items()
    )


@pytest.mark.parametrize("name", ["Etc/Unknown", "", "../../etc/passwd", "Europe", "localtime", "PL ", "europe/warsaw"])
def test_what_is_no_zone(name):
    assert not is_zone(name)
