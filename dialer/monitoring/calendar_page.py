"""`dialer calendar`: the coming calls as they stand, by hour and calendar key, as a table, as CSV and as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2

from dialer.campaign.calendar import Interval, is_zone, read_key
from dialer.monitoring.layout import iso
from dialer.monitoring.next_call import call_at
from dialer.storage.funnel import Coming

TEMPLATES = Path(__file__).parent / "templates"
HOUR = timedelta(hours=1)
_BAR = 30
_COLOURS = ("#1b6ca8", "#e08e0b", "#3a9d5d", "#b23a48", "#6b4fa0", "#4d7c8a", "#8a8a8a")
OTHERS = "others"
_MARKS = 12
_WIDTH, _HEIGHT, _LEFT, _TOP, _BELOW = 960, 320, 64, 40, 64
CSV_COLUMNS = ("hour", "local_hour", "zones", "people")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """People of one calendar key whose next call falls into an hour."""

    hour_at: datetime
    """Its begin, in UTC."""
    key: str
    people: int

    @property
    def local(self) -> str:
        """What the clock shows then, in the first of the key's zones."""
        zone = next((one for one in read_key(self.key)[0] if is_zone(one)), None)
        return f"{self.hour_at.astimezone(ZoneInfo(zone)):%a %H:%M}" if zone is not None else ""


def slots(people: Iterable[Coming], windows: Mapping[str, Sequence[Interval]], now: datetime) -> tuple[list[Slot], int]:
    """The coming calls by hour and key, in order; and how many people no open hour is left for.

    Everybody stands in the first open moment from when they are due: how many can be called an hour is not asked.
    """
    found: Counter[tuple[datetime, str]] = Counter()
    never = 0
    for one in people:
        at = call_at(windows.get(one.key, ()), max(one.due_at or now, now), now)
        if at is None:
            never += one.people
        else:
            found[at.astimezone(UTC).replace(minute=0, second=0, microsecond=0), one.key] += one.people
    return [Slot(hour_at=hour_at, key=key, people=count) for (hour_at, key), count in sorted(found.items())], never


def lines(found: Sequence[Slot]) -> list[str]:
    """A table with a bar for each hour and key."""
    if not found:
        return ["nobody is to be called"]
    most = max(slot.people for slot in found)
    wide = max(len(slot.key) for slot in found)
    rows = [f"{'hour (UTC)':<17}  {'there':<9}  {'where':<{wide}}  {'people':>10}"]
    for slot in found:
        bar = "#" * max(1, round(_BAR * slot.people / most))
        rows.append(
            f"{slot.hour_at:%Y-%m-%d %H:%MZ}  {slot.local:<9}  {slot.key:<{wide}}  {slot.people:>10,}  {bar}"
        )  # fmt: skip
    return rows


def csv_rows(found: Sequence[Slot]) -> Iterator[tuple[Any, ...]]:
    """The table as CSV has it."""
    return ((iso(slot.hour_at), slot.local, slot.key, slot.people) for slot in found)


def as_data(found: Sequence[Slot]) -> list[dict[str, Any]]:
    """The table for programs."""
    return [{"hour": iso(one.hour_at), "zones": one.key, "people": one.people} for one in found]


# -- the picture -------------------------------------------------------------------------------------------------------


def picture(title: str, found: Sequence[Slot]) -> str:
    """The table as SVG 1.1: a bar an hour, stacked by calendar key; the smaller keys are drawn together."""
    sums: Counter[str] = Counter()
    for slot in found:
        sums[slot.key] += slot.people
    keys = [key for key, _ in sums.most_common(len(_COLOURS) - 1)]
    shown = [*keys, OTHERS] if len(sums) > len(keys) else keys
    begin = found[0].hour_at if found else datetime.fromtimestamp(0, UTC)
    hours = int((found[-1].hour_at - begin) / HOUR) + 1 if found else 1
    high = Counter[datetime]()
    for slot in found:
        high[slot.hour_at] += slot.people
    most = max(high.values(), default=1)
    return _environment().get_template("calendar.svg.j2").render(
        title=title, width=_WIDTH, height=_HEIGHT, left=_LEFT, top=_TOP, most=most,
        base=_HEIGHT - _BELOW, bars=list(_bars(found, keys, begin, hours, most)),
        marks=[(_LEFT + place * _step(hours), begin + place * HOUR) for place in _marked(begin, hours)],
        legend=[(name or "no time zone", _COLOURS[place]) for place, name in enumerate(shown)],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One rectangle of the picture, in its units."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    says: str


def _bars(
    found: Sequence[Slot], keys: Sequence[str], begin: datetime, hours: int, most: int
) -> Iterator[Bar]:  # fmt: skip
    room, step = _HEIGHT - _BELOW - _TOP, _step(hours)
    stacked: Counter[datetime] = Counter()
    for slot in found:
        stacked[slot.hour_at] += slot.people
        place = keys.index(slot.key) if slot.key in keys else len(keys)
        yield Bar(
            x=_LEFT + step * ((slot.hour_at - begin) / HOUR),
            y=_HEIGHT - _BELOW - room * stacked[slot.hour_at] / most,
            width=max(step - 1, 0.5),
            height=room * slot.people / most,
            colour=_COLOURS[place],
            says=f"{slot.hour_at:%Y-%m-%d %H:%MZ} {slot.key}: {slot.people:,}",
        )


def _step(hours: int) -> float:
    return (_WIDTH - _LEFT - 16) / hours


def _marked(begin: datetime, hours: int) -> Iterator[int]:
    """The hours that are named below the picture: each of a few, else every sixth, else the beginnings of days."""
    every = 1 if hours <= _MARKS else 6 if hours <= 4 * _MARKS else 24 * ceil(hours / 24 / _MARKS)
    first = int(begin.timestamp()) // 3600
    return (place for place in range(hours) if (first + place) % every == 0)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
