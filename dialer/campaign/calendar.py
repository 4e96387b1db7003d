"""When a campaign's window is open, as UTC intervals: right across daylight saving, midnight and several time zones.

A window speaks of what the callee's clock shows, so each stretch of constant UTC offset is treated on its own: in the
hour that a clock skips nothing opens, in the hour that it repeats a slot is open twice, and no day is taken for 24 h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from dialer.campaign.values import parse_days, parse_slots
from dialer.phone import UNKNOWN_ZONE

DAYS_AHEAD = 14
_PROBE = timedelta(hours=1)
"""No zone of the tz database has changed its offset and back within an hour."""
_NO_PLACES = {UNKNOWN_ZONE, "Factory", "localtime", "posixrules"}


@dataclass(frozen=True, kw_only=True, order=True)
class Interval:
    """A half-open span of time in UTC."""

    opens_at: datetime
    closes_at: datetime


def is_zone(name: str) -> bool:
    """Whether a name is an IANA time zone that tells what a clock somewhere shows; `Etc/Unknown` is none."""
    return name in _zones()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - _NO_PLACES)


def open_intervals(
    window: Literal["any"] | Mapping[str, str], zones: tuple[str, ...], start: datetime, days: int = DAYS_AHEAD
) -> list[Interval]:
    """When the window is open in every one of the zones, within `days` times 24 h from `start`, in order.

    No zone, or one that is unknown, means never: a person whose time is not known is not called. Only `any`, which
    is for labs, asks for no zone.
    """
    span = Interval(opens_at=start.astimezone(UTC), closes_at=start.astimezone(UTC) + timedelta(days=days))
    if window == "any":
        return [span]
    if not zones or not all(is_zone(zone) for zone in zones):
        return []
    slots = {day: parse_slots(text) for names, text in window.items() for day in parse_days(names)}
    found = [span]
    for zone in zones:
        found = _both(found, _joined(_in_zone(slots, ZoneInfo(zone), span)))
    return found


def _in_zone(slots: Mapping[int, list[tuple[int, int]]], zone: tzinfo, span: Interval) -> Iterable[Interval]:
    for stretch in _constant_offsets(zone, span):
        offset = stretch.opens_at.astimezone(zone).utcoffset() or timedelta()
        # Within a stretch the local clock is UTC plus a constant, so plain arithmetic is right.
        midnight = (stretch.opens_at + offset).replace(hour=0, minute=0, second=0, microsecond=0) - offset
        while midnight < stretch.closes_at:
            weekday = (midnight + offset).weekday()
            for begin, end in slots.get(weekday, ()):
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
