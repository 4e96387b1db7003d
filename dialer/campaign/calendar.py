"""When a campaign's calendar is open, as UTC intervals: right across daylight saving, midnight and several time zones.

Hours and days are what the callee's clock shows, so each stretch of constant UTC offset is treated on its own: in the
hour that a clock skips nothing opens, in the hour that it repeats a slot is open twice, and no day is taken for 24 h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from dialer.campaign.holidays import CALLEE, holiday
from dialer.phone import UNKNOWN_ZONE

DAYS_AHEAD = 14
KNOWN_AHEAD = timedelta(days=DAYS_AHEAD - 1)
"""A calendar that ends before that ends for good: at a deadline, or because nothing opens any more."""
_FAR_AHEAD = 26
"""Spans of DAYS_AHEAD: a year."""
_PROBE = timedelta(hours=1)
"""No zone of the tz database has changed its offset and back within an hour."""
_NO_PLACES = {UNKNOWN_ZONE, "Factory", "localtime", "posixrules"}

Slot = tuple[int, int]
"""Half-open minutes of a day, from 0 to 1440."""
Days = tuple[date, date]
"""The first and the last of consecutive days."""


@dataclass(frozen=True, kw_only=True, order=True)
class Interval:
    """A half-open span of time in UTC."""

    opens_at: datetime
    closes_at: datetime


class Cause(Enum):
    """What keeps a calendar closed at a moment."""

    NO_ZONE = "no_zone"
    """Nobody knows what the callee's clock shows."""
    HOURS = "hours"
    """It is too early, too late, the break, or not a day for calls."""
    HOLIDAY = "holiday"
    CLOSED_DAY = "closed_day"
    LAST_CALL = "last_call"
    """It closes so soon that no call begins any more."""
    DEADLINE = "deadline"


@dataclass(frozen=True, kw_only=True)
class Day:
    """The hours of one day, and why there are no others."""

    slots: tuple[Slot, ...]
    cause: Cause = Cause.HOURS
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """The opening hours that one source asks for: the campaign file, or a rule pack."""

    name: str
    week: tuple[tuple[Slot, ...], ...]
    """From Monday to Sunday."""
    holidays: tuple[str, ...] = ()
    """Places whose public holidays are closed; CALLEE stands for the callee's own."""
    closed: tuple[Days, ...] = ()
    opened: tuple[tuple[Days, tuple[Slot, ...]], ...] = ()
    """Days with hours of their own, whatever weekday or holiday they are."""

    def on(self, day: date, places: tuple[str, ...]) -> Day:
        """The hours of a day for somebody in these places."""
        for (first, last), slots in self.opened:
            if first <= day <= last:
                return Day(slots=slots)
        if any(first <= day <= last for first, last in self.closed):
            return Day(slots=(), cause=Cause.CLOSED_DAY)
        for named in self.holidays:
            # An empty name is no place, so that somebody who may be anywhere is not called on any day.
            for place in (places or ("",)) if named == CALLEE else (named,):
                if (name := holiday(place, day)) is not None:
                    return Day(slots=(), cause=Cause.HOLIDAY, detail=f"{place}: {name}" if place else name)
        return Day(slots=self.week[day.weekday()])


@dataclass(frozen=True, kw_only=True)
class Hours:
    """When people may be called: while every timetable is open on every clock of the callee.

    No timetable at all (`window: any`, in a lab) means always, and asks for no time zone.
    """

    timetables: tuple[Timetable, ...]
    last_call_s: int = 0
    """No call begins within so many seconds of a closing, or of the deadline."""
    time_zone: str | None = None
    """Stands in for the zone of a number that has none."""
    deadline_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Closed:
    """One reason why a calendar is closed at a moment."""

    cause: Cause
    by: str = ""
    """The timetable's name; empty for what is the campaign's alone."""
    zone: str = ""
    """On whose clock."""
    detail: str = ""


def is_zone(name: str) -> bool:
    """Whether a name is an IANA time zone that tells what a clock somewhere shows; `Etc/Unknown` is none."""
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_PLACES)


def read_key(key: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The zones and the places of a contact's calendar, as in `America/New_York,Europe/Warsaw@PL-14`."""
    zones, _, places = key.partition("@")
    return tuple(zone for zone in zones.split(",") if zone), tuple(place for place in places.split(",") if place)


def open_intervals(hours: Hours, key: str, start: datetime, days: int = DAYS_AHEAD) -> list[Interval]:
    """When people with this calendar key may be called, within `days` times 24 h from `start`, in order.

    No zone, or one that is unknown, means never: a person whose time is not known is not called.
    """
    begin, last_call = start.astimezone(UTC), timedelta(seconds=hours.last_call_s)
    # Looks so far ahead that whatever closes soon after the last day is seen to close.
    end = begin + timedelta(days=days) + last_call
    if hours.deadline_at is not None:
        end = min(end, hours.deadline_at)
    if begin >= end:
        return []
    found = [Interval(opens_at=begin, closes_at=end)]
    if hours.timetables:
        zones, places = read_key(key)
        clocks = _clocks(hours, zones)
        if not clocks:
            return []
        for clock in clocks:
            stretches = list(_constant_offsets(clock, Interval(opens_at=begin, closes_at=end)))
            for timetable in hours.timetables:
                found = _both(found, _joined(_on_clock(timetable, places, clock, stretches)))
    return [
        Interval(opens_at=one.opens_at, closes_at=one.closes_at - last_call)
        for one in found
        if one.opens_at < one.closes_at - last_call
    ]


def days_ahead(hours: Hours, key: str, start: datetime) -> list[Interval]:
    """The open intervals of the coming days; when they end early, also the next one within a year.

    So people who wait for the end of a long holiday are told from those for whom nothing ever opens.
    """
    found = open_intervals(hours, key, start)
    if found and found[-1].closes_at >= start + KNOWN_AHEAD:
        return found
    for span in range(1, _FAR_AHEAD):
        later = open_intervals(hours, key, start + timedelta(days=span * DAYS_AHEAD))
        if later:
            return [*found, later[0]]
    return found


def closed_because(hours: Hours, key: str, at: datetime) -> list[Closed]:
    """Why people with this calendar key may not be called at a moment: every reason; none when they may be."""
    found: list[Closed] = []
    if hours.deadline_at is not None and at >= hours.deadline_at:
        found.append(Closed(cause=Cause.DEADLINE))
    zones, places = read_key(key)
    clocks = _clocks(hours, zones) if hours.timetables else []
    if hours.timetables and not clocks:
        found.append(Closed(cause=Cause.NO_ZONE, detail=",".join(zones)))
    for clock in clocks:
        local = at.astimezone(clock)
        minute = local.hour * 60 + local.minute
        for timetable in hours.timetables:
            day = timetable.on(local.date(), places)
            if not any(begin <= minute < end for begin, end in day.slots):
                found.append(Closed(cause=day.cause, by=timetable.name, zone=clock.key, detail=day.detail))
    if not found and not any(one.opens_at <= at < one.closes_at for one in open_intervals(hours, key, at, 1)):
        found.append(Closed(cause=Cause.LAST_CALL))
    return found


def _clocks(hours: Hours, zones: Sequence[str]) -> list[ZoneInfo]:
    """The clocks that must all show an open hour; none when one of them is not known."""
    names = [hours.time_zone or zone if zone == UNKNOWN_ZONE else zone for zone in zones or (UNKNOWN_ZONE,)]
    return [ZoneInfo(name) for name in dict.fromkeys(names)] if all(is_zone(name) for name in names) else []


def _on_clock(
    timetable: Timetable, places: tuple[str, ...], clock: tzinfo, stretches: Sequence[Interval]
) -> Iterable[Interval]:  # fmt: skip
    for stretch in stretches:
        offset = stretch.opens_at.astimezone(clock).utcoffset() or timedelta()
        # Within a stretch the local clock is UTC plus a constant, so plain arithmetic is right.
        midnight = (stretch.opens_at + offset).replace(hour=0, minute=0, second=0, microsecond=0) - offset
        while midnight < stretch.closes_at:
            for begin, end in timetable.on((midnight + offset).date(), places).slots:
                opens_at = max(midnight + timedelta(minutes=begin), stretch.opens_at)
                closes_at = min(midnight + timedelta(minutes=end), stretch.closes_at)
                if opens_at < closes_at:
                    yield Interval(opens_at=opens_at, closes_at=closes_at)
            midnight += timedelta(days=1)


def _constant_offsets(zone: tzinfo, span: Interval) -> Iterable[Interval]:
    begin = at = span.opens_at
    while at < span.closes_at:
        following = min(at + _PROBE, span.closes_at)
        if following.astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
            change = _change(zone, at, following)
            yield Interval(opens_at=begin, closes_at=change)
            begin = change
        at = following
    if begin < span.closes_at:
        yield Interval(opens_at=begin, closes_at=span.closes_at)


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """The first second with the later offset, by bisection."""
    old = before.astimezone(zone).utcoffset()
    first, last = int(before.timestamp()), int(after.timestamp()) + 1
    while last - first > 1:
        middle = (first + last) // 2
        if datetime.fromtimestamp(middle, UTC).astimezone(zone).utcoffset() == old:
            first = middle
        else:
            last = middle
    return datetime.fromtimestamp(last, UTC)


def _joined(intervals: Iterable[Interval]) -> list[Interval]:
    """Neighbours made one: 20:00-24:00 and the next day's 00:00-06:00."""
    out: list[Interval] = []
    for interval in sorted(intervals):
        if out and interval.opens_at <= out[-1].closes_at:
            out[-1] = Interval(opens_at=out[-1].opens_at, closes_at=max(out[-1].closes_at, interval.closes_at))
        else:
            out.append(interval)
    return out


def _both(left: list[Interval], right: list[Interval]) -> list[Interval]:
    """Where both are open."""
    out = []
    i = j = 0
    while i < len(left) and j < len(right):
        opens_at = max(left[i].opens_at, right[j].opens_at)
        closes_at = min(left[i].closes_at, right[j].closes_at)
        if opens_at < closes_at:
            out.append(Interval(opens_at=opens_at, closes_at=closes_at))
        if left[i].closes_at < right[j].closes_at:
            i += 1
        else:
            j += 1
    return out
