"""How a campaign file writes durations, shares, times and days, and how our own validators say what is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WALL_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} ([01][0-9]|2[0-3]):[0-5][0-9]")
_SLOT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]|24):([0-5]\d)")


class Part(BaseModel):
    """A part of the campaign file: no unknown keys, and no value taken for another kind of value."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """One thing wrong in a part of the file: where below that part, a stable code, what it is and how to mend it."""

    key: tuple[str | int, ...] = ()
    code: str
    message: str
    fix: str


REFUSED = "refused"
"""The type of the pydantic error that carries our own `Wrong`s, in its context as `wrongs`."""


def refuse(wrongs: Sequence[Wrong]) -> PydanticCustomError:
    """The error that a validator raises to report several things at once, in our own words."""
    text = "; ".join(wrong.message for wrong in wrongs)
    return PydanticCustomError(REFUSED, "{text}", {"text": text, "wrongs": tuple(wrongs)})


def parse_duration(value: Any, shortest_s: int, longest_s: int) -> int:
    """`90s`, `5m`, `2h`, `3d` as whole seconds, between two limits."""
    match = re.fullmatch(r"([0-9]{1,6})\s*([smhd])", value) if isinstance(value, str) else None
    if match is None:
        fix = "write a number and its unit: s, m, h or d, such as 30s, 5m, 2h or 3d"
        raise refuse([Wrong(code="wrong-form", message=f"{value!r} is not a duration", fix=fix)])
    seconds = int(match[1]) * _UNITS[match[2]]
    if not shortest_s <= seconds <= longest_s:
        fix = f"write a duration from {duration_text(shortest_s)} to {duration_text(longest_s)}"
        raise refuse([Wrong(code="out-of-range", message=f"{value} is out of bounds", fix=fix)])
    return seconds


def duration_text(seconds: int) -> str:
    """Seconds as the file writes them, in the largest unit that is exact: 90 is `90s`, 120 is `2m`."""
    unit = next((unit for unit in "dhm" if seconds and seconds % _UNITS[unit] == 0), "s")
    return f"{seconds // _UNITS[unit]}{unit}"


@dataclass(frozen=True, kw_only=True)
class Duration:
    """Marks a number of seconds that the file writes as a duration, within two limits."""

    shortest_s: int
    longest_s: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            lambda value: parse_duration(value, self.shortest_s, self.longest_s), handler(source)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": "^[0-9]{1,6}\\s*[smhd]$", "examples": ["30s", "5m", "2h"]}


_PERCENT = r"^(100|[0-9]{1,2}(\.[0-9]{1,2})?)%$"


def parse_percent(value: Any) -> float:
    """`3%` or `2.5%`, up to `100%`, as a share from 0 to 1."""
    if not (isinstance(value, str) and re.fullmatch(_PERCENT, value)):
        fix = "write a number from 0 to 100 and a percent sign, such as 3% or 2.5%"
        raise refuse([Wrong(code="wrong-form", message=f"{value!r} is not a share", fix=fix)])
    return float(value.removesuffix("%")) / 100


@dataclass(frozen=True)
class Percent:
    """Marks a share from 0 to 1 that the file writes with a percent sign."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(parse_percent, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": _PERCENT, "examples": ["3%", "2.5%"]}


def parse_slots(text: str) -> list[tuple[int, int]]:
    """`09:00-13:00, 14:00-20:00` as half-open minutes of the day. Raises ValueError."""
    slots = []
    for part in text.split(","):
        match = _SLOT.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a time span such as 09:00-20:00")
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if not start < end <= 1440:
            raise ValueError(f"{part.strip()!r} must start before it ends, within one day")
        slots.append((start, end))
    slots.sort()
    if any(this[1] > following[0] for this, following in pairwise(slots)):
        raise ValueError("the time spans overlap")
    return slots


def parse_days(text: str) -> list[int]:
    """`mon`, `mon-fri` or `sat,sun` as weekdays (Monday is 0). Raises ValueError."""
    days: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{part.strip()!r} is not a day or a range of days such as mon-fri")
        start, end = DAYS.index(first), DAYS.index(last or first)
        if start > end:
            raise ValueError(f"{part.strip()!r} must go from an earlier day to a later one")
        days.extend(range(start, end + 1))
    if len(set(days)) < len(days):
        raise ValueError(f"{text!r} names a day twice")
    return days


def parse_dates(text: str) -> tuple[date, date]:
    """`2026-12-24` or `2026-12-31..2027-01-02` as the first and the last day. Raises ValueError."""
    first, dots, last = text.partition("..")
    begin = _parse_date(first.strip())
    end = _parse_date(last.strip()) if dots else begin
    if begin > end:
        raise ValueError(f"{text!r} must go from an earlier day to a later one")
    return begin, end


def _parse_date(text: str) -> date:
    if not _DATE.fullmatch(text):
        raise ValueError(f"{text!r} is not a day such as 2026-12-24")
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is a day that no calendar has") from error


def parse_wall_time(text: str) -> datetime:
    """`2026-12-24 20:00` as what a clock shows, without a time zone. Raises ValueError."""
    if not _WALL_TIME.fullmatch(text):
        raise ValueError(f"{text!r} is not a day and a time such as 2026-12-24 20:00")
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is a day that no calendar has") from error


def window_wrongs(window: Mapping[str, str]) -> list[Wrong]:
    """What is wrong with a window of days to time spans."""
    wrongs: list[Wrong] = []

    def wrong(key: tuple[str, ...], message: str, fix: str) -> None:
        wrongs.append(Wrong(key=key, code="wrong-window", message=message, fix=fix))

    if not window:
        wrong((), "the window is empty, so nobody could ever be called", 'write for example `mon-fri: "09:00-20:00"`')
    seen: set[int] = set()
    for days, slots in window.items():
        try:
            numbers = set(parse_days(days))
            if seen & numbers:
                wrong((days,), f"{days!r} names a day that another line names too", "name each day once")
            seen |= numbers
        except ValueError as error:
            wrong((days,), str(error), f"write days as {', '.join(DAYS)}, or a range such as mon-fri")
        try:
            parse_slots(slots)
        except ValueError as error:
            wrong((days,), str(error), 'write time spans as "09:00-13:00, 14:00-20:00"; midnight at the end is 24:00')
    return wrongs
