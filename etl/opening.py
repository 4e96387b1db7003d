"""The opening hours of the settings as the table `opening` that the transforms read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from dialer.campaign.calendar import Hours, Timetable, open_intervals
from dialer.campaign.holidays import is_place
from dialer.campaign.values import DAYS, parse_dates, parse_days, parse_slots
from dialer.clock import to_us
from dialer.errors import InvalidInput
from dialer.settings import OpeningHours
from etl.columns import DAY_US, Columns
from etl.engines import sql

COLUMNS: Columns = {
    "group_name": "STRING", "day": "BIGINT", "begin_us": "BIGINT", "end_us": "BIGINT", "opened_us": "BIGINT",
    "is_open": "BOOLEAN",
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Piece = tuple[int, int, int, int, bool]


def query(hours: Iterable[OpeningHours], tenant: str, first_day: int, last_day: int) -> str:
    """A SELECT for `Engine.view`: each piece of a UTC day, open or closed, from the first to the last (since 1970).

    `opened_us` is how long the group has been open since the first day when the piece begins. The group '' stands for
    all that have no hours of their own. Raises InvalidInput.
    """
    rows = [(one.group, *piece) for one in hours if one.tenant == tenant for piece in _pieces(one, first_day, last_day)]
    return sql.inline(COLUMNS, rows)


def _pieces(hours: OpeningHours, first_day: int, last_day: int) -> Iterator[Piece]:
    start = _EPOCH + timedelta(days=first_day)
    found = open_intervals(Hours(timetables=(_timetable(hours),)), hours.time_zone, start, last_day - first_day + 1)
    opened_us, at_us = 0, first_day * DAY_US
    for opens_us, closes_us in [(to_us(one.opens_at), to_us(one.closes_at)) for one in found]:
        yield from _by_day(at_us, opens_us, opened_us, False)
        yield from _by_day(opens_us, closes_us, opened_us, True)
        opened_us, at_us = opened_us + closes_us - opens_us, closes_us
    yield from _by_day(at_us, (last_day + 1) * DAY_US, opened_us, False)


def _by_day(begin_us: int, end_us: int, opened_us: int, is_open: bool) -> Iterator[Piece]:
    while begin_us < end_us:
        day = begin_us // DAY_US
        until_us = min(end_us, (day + 1) * DAY_US)
        yield day, begin_us, until_us, opened_us, is_open
        opened_us += until_us - begin_us if is_open else 0
        begin_us = until_us


def _timetable(hours: OpeningHours) -> Timetable:
    try:
        week: list[tuple[tuple[int, int], ...]] = [()] * len(DAYS)
        for names, slots in hours.open.items():
            for day in parse_days(names):
                if week[day]:
                    raise ValueError(f"{names!r} names a day that another line names too; name each day once")
                week[day] = tuple(parse_slots(slots))
        closed = tuple(parse_dates(text) for text in hours.closed)
        if unknown := [place for place in hours.holidays if not is_place(place)]:
            raise ValueError(f"nobody knows the holidays of {unknown[0]!r}")
    except ValueError as error:
        whose = f"group {hours.group!r}" if hours.group else "all groups"
        raise InvalidInput(f"opening_hours of tenant {hours.tenant!r}, {whose}: {error}.") from error
    return Timetable(name=hours.group, week=tuple(week), holidays=hours.holidays, closed=closed)
