"""Local time by integers: when a zone's offsets hold, as tables made with zoneinfo and as SQL that any engine computes.

Timestamp functions of engines differ, silently; an offset that is added to microseconds does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from dialer.clock import to_us
from dialer.errors import InvalidInput
from etl.columns import DAY_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True)
class Offset:
    """From when on a zone's clock is how far ahead of UTC."""

    from_us: int
    ahead_us: int


@dataclass(frozen=True, kw_only=True)
class Zone:
    """A time zone over some years. `offsets` are in order; the first also holds before its begin."""

    name: str
    offsets: tuple[Offset, ...]

    def local(self, instant: str) -> str:
        """SQL: what the clock shows at an instant, in microseconds since its own 1970."""
        return f"({instant} + {self._by_instant(instant, lambda offset: str(offset.ahead_us))})"

    def ahead(self, instant: str) -> str:
        """SQL: the offset at an instant as ISO 8601 writes it, such as +01:00."""
        return self._by_instant(instant, lambda offset: f"'{_written(offset.ahead_us)}'")

    def utc(self, clock: str) -> str:
        """SQL: the first instant at which the clock shows this or later; a time that it skips is the jump's."""
        first, *later = self.offsets
        ends = [after.from_us + before.ahead_us for before, after in zip(self.offsets, later, strict=False)]
        values = [f"{clock} - {first.ahead_us}"]
        values += [f"greatest({clock} - {offset.ahead_us}, {offset.from_us})" for offset in later]
        return _case(clock, ends, values)

    def day_us(self, day: date) -> int:
        """When a local day begins."""
        clock = (day - date(1970, 1, 1)).days * DAY_US
        before, *later = self.offsets
        begins_us = clock - before.ahead_us
        for after in later:
            if clock < after.from_us + before.ahead_us:
                break
            begins_us, before = max(clock - after.ahead_us, after.from_us), after
        return begins_us

    def days(self, first: date, last: date) -> Iterator[tuple[int, int]]:
        """Begin and end of each local day, from the first to the last."""
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            yield self.day_us(day), self.day_us(day + timedelta(days=1))

    def clock(self, instant_us: int) -> int:
        """What the clock shows at an instant, in microseconds since its own 1970."""
        held = [one for one in self.offsets[1:] if one.from_us <= instant_us]
        return instant_us + (held[-1] if held else self.offsets[0]).ahead_us

    def steps(self, from_us: int, to_us: int, step_us: int) -> Iterator[tuple[int, int]]:
        """The hours, or other parts of an hour, that the clock counts from one instant to another."""
        while from_us < to_us:
            until_us = from_us + step_us - self.clock(from_us) % step_us
            yield from_us, until_us
            from_us = until_us

    def date_of(self, instant_us: int) -> date:
        """The local day that an instant belongs to."""
        return from_us(instant_us).astimezone(ZoneInfo(self.name)).date()

    def _by_instant(self, instant: str, value: Callable[[Offset], str]) -> str:
        return _case(instant, [offset.from_us for offset in self.offsets[1:]], [value(one) for one in self.offsets])


def zone(name: str, first: date, last: date) -> Zone:
    """A zone from the day before the first to the day after the last. Raises InvalidInput for a name nobody knows."""
    try:
        found = ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise InvalidInput(f"there is no time zone {name!r}. Name one as Europe/Warsaw or UTC.") from error
    at = datetime(first.year, first.month, first.day, tzinfo=UTC) - timedelta(days=2)
    end = datetime(last.year, last.month, last.day, tzinfo=UTC) + timedelta(days=3)
    offsets = [Offset(to_us(at), _ahead(found, at))]
    while at < end:
        after = at + timedelta(days=1)
        if _ahead(found, after) != offsets[-1].ahead_us:
            jump = _jump(found, at, after)
            offsets.append(Offset(to_us(jump), _ahead(found, jump)))
        at = after
    return Zone(name=name, offsets=tuple(offsets))


def from_us(instant_us: int) -> datetime:
    """An instant from microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=instant_us)


def _ahead(found: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(found).utcoffset()
    assert offset is not None
    return offset // _US


def _jump(found: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """The second at which the offset becomes another one."""
    was = _ahead(found, before)
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        middle = middle.replace(microsecond=0)
        if _ahead(found, middle) == was:
            before = middle
        else:
            after = middle
    return after


def _case(of: str, ends: list[int], values: list[str]) -> str:
    if not ends:
        return f"({values[0]})"
    whens = " ".join(f"WHEN {of} < {end} THEN {value}" for end, value in zip(ends, values, strict=False))
    return f"(CASE {whens} ELSE {values[-1]} END)"


def _written(ahead_us: int) -> str:
    minutes = abs(ahead_us) // 60_000_000
    return f"{'-' if ahead_us < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
