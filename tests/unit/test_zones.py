"""Local time in integers agrees with zoneinfo at every instant, in SQL as in Python, also where clocks jump."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from dialer.clock import to_us
from dialer.errors import InvalidInput
from etl.zones import from_us, zone

FIRST, LAST = date(2024, 1, 1), date(2027, 12, 31)
ZONES = ("UTC", "Europe/Warsaw", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca",
         "Asia/Beirut", "America/Havana", "Pacific/Apia")  # fmt: skip
MADE = {name: zone(name, FIRST, LAST) for name in ZONES}
INSTANTS = some.integers(to_us(datetime(2024, 1, 1, tzinfo=UTC)), to_us(datetime(2027, 12, 31, tzinfo=UTC)))
NAMES = some.sampled_from(ZONES)


def clock_us(name: str, instant_us: int) -> int:
    """What the clock shows, by zoneinfo."""
    shown = from_us(instant_us).astimezone(ZoneInfo(name)).replace(tzinfo=UTC)
    return to_us(shown)


def computed(expression: str, value: int) -> object:
    with duckdb.connect() as connection:
        return connection.execute(f"select {expression} from (select cast({value} as bigint) as x)").fetchall()[0][0]


@given(NAMES, INSTANTS)
def test_the_clock_is_that_of_zoneinfo(name, instant_us):
    assert MADE[name].clock(instant_us) == clock_us(name, instant_us)


@settings(max_examples=60, deadline=None)
@given(NAMES, INSTANTS)
def test_sql_and_python_tell_the_same_time(name, instant_us):
    made = MADE[name]
    assert computed(made.local("x"), instant_us) == clock_us(name, instant_us)
    shown = from_us(instant_us).astimezone(ZoneInfo(name))
    assert computed(made.ahead("x"), instant_us) == shown.isoformat()[-6:].replace("Z", "+00:00")


@pytest.mark.parametrize("name", ZONES)
def test_every_day_begins_where_the_one_before_ends_and_has_its_date(name):
    made = MADE[name]
    days = list(made.days(FIRST, LAST))
    assert len(days) == (LAST - FIRST).days + 1
    for (_, ends_us), (begins_us, _) in pairwise(days):
        assert ends_us == begins_us
    for number, (begins_us, ends_us) in enumerate(days):
        day = FIRST + timedelta(days=number)
        assert made.date_of(begins_us) == day == made.date_of(ends_us - 1), day
        assert made.date_of(begins_us - 1) < day


@pytest.mark.parametrize("name", ZONES)
def test_sql_finds_the_same_midnights(name):
    made = MADE[name]
    days = [(date(2026, 3, 29), "spring"), (date(2026, 10, 25), "autumn"), (date(2025, 7, 1), "neither")]
    for day, _ in days:
        midnight = (day - date(1970, 1, 1)).days * 86_400_000_000
        assert computed(made.utc("x"), midnight) == made.day_us(day)


def test_an_hour_that_comes_twice_is_two():
    made = MADE["Europe/Warsaw"]
    steps = list(made.steps(made.day_us(date(2026, 10, 25)), made.day_us(date(2026, 10, 26)), 3_600_000_000))
    assert len(steps) == 25
    hours = [from_us(begin).astimezone(ZoneInfo("Europe/Warsaw")).isoformat() for begin, _ in steps]
    assert hours[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


def test_an_unknown_zone_is_said():
    with pytest.raises(InvalidInput, match="there is no time zone 'Mars/Base'"):
        zone("Mars/Base", FIRST, LAST)
