"""Moments on the callee's clock: when it next shows a time, and which part of the day it is.

`zoneinfo` knows how clocks change. A time that a clock skips is the moment after the gap; of a time that it shows
twice, the first that is not past.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import count
from zoneinfo import ZoneInfo

from dialer.campaign.calendar import is_zone

PARTS_OF_DAY = (time(0), time(12), time(17))
"""Where morning, afternoon and evening begin."""


def zones_of(calendar_key: str) -> tuple[tzinfo, ...]:
    """The time zones in a contact's calendar key, as `Europe/Warsaw@PL-14`; UTC without one: only a lab calls there."""
    names = calendar_key.partition("@")[0].split(",")
    return tuple(ZoneInfo(name) for name in names if is_zone(name)) or (UTC,)


def clock_time(digits: str) -> str | None:
    """What three or four typed digits are on a clock: `1730` is 17:30, `930` is 09:30; None when no clock shows it."""
    hour, minute = int(digits[:-2]), int(digits[-2:])
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None


def next_shown(times: Iterable[str], zones: Sequence[tzinfo], earliest: datetime, *, in_days: int = 0) -> datetime:
    """The first moment, not before `earliest`, at which the callee's clock shows one of some times of day (`17:00`).

    `in_days` 1 begins with the callee's tomorrow. Of several zones the last to show it decides: nobody is called before
    the time that was meant.
    """
    wanted = [time.fromisoformat(one) for one in times]
    return max(min(_next_in_zone(one, zone, earliest, in_days) for one in wanted) for zone in zones)


def another_part_of_day(last: datetime, earliest: datetime, zone: tzinfo) -> datetime:
    """The first moment, not before `earliest`, that lies in another part of the callee's day than `last` does."""
    part = _part_of_day(earliest, zone)
    if part != _part_of_day(last, zone):
        return earliest
    return _next_in_zone(PARTS_OF_DAY[(part + 1) % len(PARTS_OF_DAY)], zone, earliest, 0)


def named(text: str, zones: Sequence[tzinfo], today: datetime) -> datetime:
    """The moment of `2026-12-24 20:00`, or of `20:00` on the callee's day of `today`; of several zones the first."""
    day, _, clock = text.rpartition(" ")

    def in_zone(zone: tzinfo) -> datetime:
        on = date.fromisoformat(day) if day else today.astimezone(zone).date()
        return datetime.combine(on, time.fromisoformat(clock), tzinfo=zone).astimezone(UTC)

    return min(map(in_zone, zones))


def _next_in_zone(at: time, zone: tzinfo, earliest: datetime, in_days: int) -> datetime:
    first = earliest.astimezone(zone).date()
    shown = (
        datetime.combine(first + timedelta(days=day), at, tzinfo=zone).replace(fold=fold).astimezone(UTC)
        for day in count(in_days)
        for fold in (0, 1)
    )
    return next(moment for moment in shown if moment >= earliest)


def _part_of_day(moment: datetime, zone: tzinfo) -> int:
    return bisect_right(PARTS_OF_DAY, moment.astimezone(zone).time()) - 1
