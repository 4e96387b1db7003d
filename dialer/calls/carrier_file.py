"""A carrier's call records as CSV, whatever its columns are called, read as calls on our numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import inf

from dialer import phone
from dialer.calls.carrier_record import CarrierCall
from dialer.clock import from_epoch
from dialer.errors import InvalidInput, Problem

KEYS = ("number", "started_at", "answered_at", "ended_at", "seconds", "status")
"""What a column can be mapped to; the first two and one of `answered_at` and `seconds` are needed."""
LAB_COLUMNS = {
    "number": "number",
    "started_at": "invited_at",
    "answered_at": "answered_at",
    "ended_at": "ended_at",
    "status": "final_code",
}
"""As `dialer lab truth` writes them."""
MOST_PROBLEMS = 20
_EPOCH = re.compile(r"[0-9]{9,}(\.[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How to read a carrier's file."""

    columns: Mapping[str, str]
    """The column of each of KEYS that the file has."""
    zone: tzinfo = UTC
    """Of times that name no offset."""
    region: str | None = None
    """ISO 3166 alpha-2, of numbers without a country code."""


@dataclass(frozen=True, kw_only=True)
class CarrierCalls:
    """The calls on our numbers, each number's in the order of time; `elsewhere` counts the rows of other traffic."""

    by_number: dict[str, list[CarrierCall]]
    elsewhere: int


def read_carrier_calls(lines: Iterable[str], layout: Layout, numbers: Collection[str], file: str) -> CarrierCalls:
    """The rows on `numbers` (E.164), one pass over the file; rows of other traffic are only counted.

    Raises InvalidInput with located problems when a column is missing or a row on our numbers cannot be read: a row
    that is passed over could be the call too many.
    """
    source = iter(lines)
    header = next(source, "").removeprefix("\ufeff")
    delimiter, names = _header(header, set(layout.columns.values()))
    _require(layout.columns, names, file)
    places = {key: names.index(column) for key, column in layout.columns.items()}
    by_number: dict[str, list[CarrierCall]] = {}
    problems: list[Problem] = []
    elsewhere = 0
    for line, cells in _records(source, delimiter, file):
        row = {key: cells[place].strip() if place < len(cells) else "" for key, place in places.items()}
        number = _ours(row["number"], layout.region, numbers)
        if number is None:
            elsewhere += any(cells)
            continue
        try:
            by_number.setdefault(number, []).append(_call(line, row, layout.zone))
        except ValueError as error:
            problems.append(Problem(file=file, line=line, key="", code="unreadable-row", message=str(error),
                                    fix="mend the row, or map the right column with --map"))  # fmt: skip
            if len(problems) == MOST_PROBLEMS:
                break
    if problems:
        raise InvalidInput(f"{file} has rows on our numbers that cannot be read", problems)
    for calls in by_number.values():
        calls.sort(key=lambda call: (call.started_at, call.line))
    return CarrierCalls(by_number=by_number, elsewhere=elsewhere)


def _header(line: str, wanted: set[str]) -> tuple[str, list[str]]:
    """The delimiter under which most of the wanted columns appear, and the columns' names."""
    read = [
        (delimiter, [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])])
        for delimiter in ",;\t|"
    ]
    return max(read, key=lambda one: len(wanted & set(one[1])))


def _require(columns: Mapping[str, str], names: list[str], file: str) -> None:
    if "number" not in columns or "started_at" not in columns or not columns.keys() & {"answered_at", "seconds"}:
        raise InvalidInput("A carrier's file needs --map number=… --map started_at=… and one of answered_at, seconds.")
    problems = [
        Problem(file=file, line=1, key=key, code="missing-column", message=f"there is no column {column!r}",
                fix=f"name the right one with --map {key}=COLUMN; there are: {', '.join(names)[:300]}")
        for key, column in columns.items() if column not in names
    ]  # fmt: skip
    if problems:
        raise InvalidInput(f"{file} lacks columns", problems)


def _records(source: Iterator[str], delimiter: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """Each record with the line where it begins; the header was line 1."""
    reader = csv.reader(source, delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 2
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = Problem(file=file, line=line, key="", code="malformed", message=str(error),
                              fix="write the file anew: the rows behind this one cannot be told apart")  # fmt: skip
            raise InvalidInput(f"{file} is no CSV", [problem]) from None
        yield line, cells


def _ours(text: str, region: str | None, numbers: Collection[str]) -> str | None:
    """The number in E.164 when it is one of ours; carriers write it with and without plus, zeros and spaces."""
    bare = re.sub(r"[^0-9+]", "", text)
    bare = bare[2:] if bare.startswith("00") else bare.removeprefix("+")
    if f"+{bare}" in numbers:
        return f"+{bare}"
    if region is None:
        return None
    parsed = phone.parse(text, region)
    return parsed.number if isinstance(parsed, phone.Number) and parsed.number in numbers else None


def _call(line: int, row: Mapping[str, str], zone: tzinfo) -> CarrierCall:
    """Raises ValueError that says what cannot be read."""
    started_at = _time(row["started_at"], zone)
    if started_at is None:
        raise ValueError("the row has no start")
    answered_at, ended_at = _time(row.get("answered_at", ""), zone), _time(row.get("ended_at", ""), zone)
    billed = row.get("seconds", "")
    seconds = float(billed) if billed else None
    if seconds is not None and not 0 <= seconds < inf:
        raise ValueError(f"{billed!r} is no number of seconds")
    answered = answered_at is not None or bool(seconds)
    if seconds is None and answered_at is not None and ended_at is not None:
        seconds = (ended_at - answered_at).total_seconds()
    return CarrierCall(
        line=line, started_at=started_at, answered=answered, seconds=seconds, status=row.get("status", "")
    )  # fmt: skip


def _time(text: str, zone: tzinfo) -> datetime | None:
    """ISO 8601, or seconds since 1970; nothing when the cell is empty."""
    if not text:
        return None
    if _EPOCH.fullmatch(text):
        return from_epoch(float(text))
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
