"""The rows of a contacts CSV, one by one: accepted as people with numbers, or rejected with line and reason.

Pure over lines of text. Bytes that were not UTF-8 arrive as lone surrogates (Python's `surrogateescape`), so that one
bad row does not stop the others. CSV as RFC 4180 describes it, with comma, semicolon or tab.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import partial
from itertools import chain

from dialer.campaign.calendar import is_zone
from dialer.campaign.number_base import Contacts
from dialer.errors import InvalidInput, Problem
from dialer.phone import Number, NumberReject, mask, parse

MAX_RECORD_CHARS = 200_000
"""One row, its line breaks included. A quote that nobody closed would else swallow the rest of the file."""
MAX_PERSON_CHARS = 200
"""Longer keys do not fit into an index of PostgreSQL."""
_HEADER_LINES = 50
_NOT_UTF8 = re.compile("[\ud800-\udfff]")


class RejectReason(Enum):
    """Why a row is not called; the values stand in the rejects file."""

    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    CELLS = "wrong_number_of_cells"
    NUL = "nul_byte"
    NOT_UTF8 = "not_utf8"
    NO_PERSON = "no_person"
    PERSON_TOO_LONG = "person_too_long"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    NO_NUMBER = "no_number"
    NOT_A_NUMBER = "not_a_number"
    INVALID_NUMBER = "invalid_number"
    COSTLY_NUMBER = "costly_number"
    DUPLICATE_PERSON = "duplicate_person"
    """Found by the database: the person stands in an earlier row of the same file."""
    NUMBER_LEFT_OUT = "number_left_out"
    """A note, not a reject: the person is called, but not at this number."""


_OF_NUMBER = {
    NumberReject.EMPTY: RejectReason.NO_NUMBER,
    NumberReject.NOT_A_NUMBER: RejectReason.NOT_A_NUMBER,
    NumberReject.INVALID: RejectReason.INVALID_NUMBER,
    NumberReject.COSTLY: RejectReason.COSTLY_NUMBER,
}


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A person to call. `line` counts from 1; `zones` are IANA names, sorted, joined by commas."""

    line: int
    person_key: str
    numbers: tuple[str, ...]
    zones: str
    language: str | None
    fields: dict[str, str]
    """The text of each named column, exactly as it was read."""
    left_out: tuple[Rejected, ...] = ()
    """Numbers of the row that are not dialled, each with its reason in the detail."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that nobody calls, or a number left out; `number` is masked."""

    line: int
    reason: RejectReason
    detail: str
    number: str = ""


def read_contacts(lines: Iterable[str], contacts: Contacts, file: str) -> Iterator[Accepted | Rejected]:
    """The rows below the header, in order. Raises InvalidInput at once when a column is missing or there is no header.

    `lines` keep their ends; `file` names the source in messages.
    """
    source = iter(lines)
    header_lines, skipped = _header_lines(source, file)
    delimiter, header = _header(header_lines, _wanted(contacts))
    line = skipped + 1
    _require_columns(header, contacts, file, line)
    records = _Records(source, delimiter, skipped + len(header_lines) + 1)
    return _rows(records.read(), _Columns.of(header, contacts))


def _wanted(contacts: Contacts) -> list[str]:
    """The columns that a campaign reads."""
    named = [contacts.person, *contacts.numbers, contacts.language, contacts.time_zone, *contacts.fields]
    return list(dict.fromkeys(name for name in named if name is not None))


# -- header -------------------------------------------------------------------------------------------------------


def _header_lines(source: Iterator[str], file: str) -> tuple[list[str], int]:
    """The lines of the header (several when a quoted name holds a line break) and how many blank ones preceded."""
    skipped = 0
    for first in source:
        first = first.removeprefix("\ufeff") if skipped == 0 else first
        if not first.strip():
            skipped += 1
            continue
        found = [first]
        while sum(line.count('"') for line in found) % 2 and len(found) < _HEADER_LINES:
            following = next(source, None)
            if following is None:
                break
            found.append(following)
        text = "".join(found)
        if "\0" in text or _NOT_UTF8.search(text):
            raise _unusable(file, skipped + 1, "not-utf-8", "the header is not UTF-8 text",
                            'save the file as "CSV UTF-8"')  # fmt: skip
        return found, skipped
    raise _unusable(file, None, "empty", "the file has no header and no rows", "write a line with the columns' names")


def _header(lines: Sequence[str], wanted: Sequence[str]) -> tuple[str, list[str]]:
    """The delimiter under which most of the wanted columns appear, and the names of the columns."""
    best: tuple[tuple[int, int], str, list[str]] | None = None
    for delimiter in ",;\t":
        try:
            cells = [cell.strip() for cell in next(csv.reader(lines, delimiter=delimiter), [])]
        except csv.Error:
            continue
        score = (len(set(wanted) & set(cells)), len(cells))
        if best is None or score > best[0]:
            best = (score, delimiter, cells)
    return (best[1], best[2]) if best else (",", [])


def _require_columns(header: list[str], contacts: Contacts, file: str, line: int) -> None:
    problems = []
    for name in _wanted(contacts):
        make = partial(Problem, file=file, line=line, key=name)
        if header.count(name) > 1:
            problems.append(make(code="duplicate-column", message=f"two columns are called {name!r}",
                                 fix="rename one of them"))  # fmt: skip
        elif name not in header:
            folded = {column.casefold(): column for column in header}
            close = get_close_matches(name.casefold(), folded, 1, 0.6)
            hint = f"did you mean {folded[close[0]]!r}? " if close else ""
            found = ", ".join(column[:40] for column in header[:30])
            problems.append(make(code="missing-column", message=f"there is no column {name!r}; there are: {found}",
                                 fix=f"{hint}Names must be equal in the file and in `contacts:`"))  # fmt: skip
    if problems:
        raise InvalidInput(f"{file} lacks what the campaign reads; nothing was imported", problems)


def _unusable(file: str, line: int | None, code: str, message: str, fix: str) -> InvalidInput:
    problem = Problem(file=file, line=line, key="", code=code, message=message, fix=fix)
    return InvalidInput(f"{file} cannot be imported", [problem])


# -- records ------------------------------------------------------------------------------------------------------


class _TooLong(Exception):
    """A record passed MAX_RECORD_CHARS."""


class _Records:
    """The records of a CSV with their first lines; after a malformed one, reading goes on at its second line."""

    def __init__(self, source: Iterator[str], delimiter: str, line: int) -> None:
        self._source = source
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._size = 0
        self._line = line
        self._reader = csv.reader(self, delimiter=delimiter, strict=True)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """The next line for the reader; may go on after the end, when lines are given back."""
        line = self._again.popleft() if self._again else next(self._source)
        self._taken.append(line)
        self._size += len(line)
        if self._size > MAX_RECORD_CHARS:
            raise _TooLong
        return line

    def read(self) -> Iterator[tuple[int, list[str] | Rejected]]:
        """Each record's first line, and its cells or why it has none."""
        while True:
            self._taken, self._size = [], 0
            line = self._line
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                self._again.extendleft(reversed(self._taken[1:]))
                self._line += 1
                yield line, _unreadable(line, error)
                continue
            self._line += len(self._taken)
            yield line, cells


def _unreadable(line: int, error: Exception) -> Rejected:
    if isinstance(error, _TooLong) or "field limit" in str(error):
        detail = f"more than {MAX_RECORD_CHARS:,} characters; is a quote not closed?"
        return Rejected(line=line, reason=RejectReason.TOO_LONG, detail=detail)
    return Rejected(
        line=line, reason=RejectReason.MALFORMED, detail="a quote stands in a wrong place, or is not closed"
    )


# -- rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where in a row the campaign's columns are."""

    count: int
    person: int | None
    numbers: tuple[tuple[str, int], ...]
    region: str | None
    language: int | None
    time_zone: int | None
    fields: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, header: list[str], contacts: Contacts) -> _Columns:
        def place(name: str | None) -> int | None:
            return None if name is None else header.index(name)

        return cls(
            count=len(header),
            person=place(contacts.person),
            numbers=tuple((name, header.index(name)) for name in contacts.numbers),
            region=contacts.region,
            language=place(contacts.language),
            time_zone=place(contacts.time_zone),
            fields=tuple((name, header.index(name)) for name in contacts.fields),
        )


def _rows(records: Iterable[tuple[int, list[str] | Rejected]], columns: _Columns) -> Iterator[Accepted | Rejected]:
    for line, cells in records:
        if isinstance(cells, Rejected):
            yield cells
        elif cells and any(cell.strip() for cell in cells):
            yield _row(line, cells, columns)


def _row(line: int, cells: list[str], columns: _Columns) -> Accepted | Rejected:
    reject = partial(_reject, line, cells, columns)
    text = "".join(cells)
    if "\0" in text:
        return reject(RejectReason.NUL, "the row holds a NUL byte")
    if _NOT_UTF8.search(text):
        return reject(RejectReason.NOT_UTF8, "the row is not UTF-8 text")
    if len(cells) != columns.count:
        return reject(RejectReason.CELLS, f"{len(cells)} cells; the header has {columns.count}")
    person = cells[columns.person].strip() if columns.person is not None else None
    if person == "":
        return reject(RejectReason.NO_PERSON, "the cell that says who it is is empty")
    if person is not None and len(person) > MAX_PERSON_CHARS:
        return reject(RejectReason.PERSON_TOO_LONG, f"the person's key has more than {MAX_PERSON_CHARS} characters")
    zone = cells[columns.time_zone].strip() if columns.time_zone is not None else ""
    if zone and not is_zone(zone):
        return reject(RejectReason.UNKNOWN_TIME_ZONE, f"{zone[:60]!r} is not an IANA time zone")
    good, bad = _numbers(cells, columns)
    if not good:
        first = next((reason for _, _, reason in bad if reason is not RejectReason.NO_NUMBER), RejectReason.NO_NUMBER)
        return reject(first, ", ".join(f"{column}: {reason.value}" for column, _, reason in bad))
    zones = [zone] if zone else sorted(set(chain.from_iterable(number.zones for number in good)))
    return Accepted(
        line=line,
        person_key=person or good[0].number,
        numbers=tuple(dict.fromkeys(number.number for number in good)),
        zones=",".join(zones),
        language=(cells[columns.language].strip() or None) if columns.language is not None else None,
        fields={name: cells[place] for name, place in columns.fields},
        left_out=tuple(
            Rejected(line=line, reason=RejectReason.NUMBER_LEFT_OUT, detail=f"{column}: {reason.value}",
                     number=_masked(raw))
            for column, raw, reason in bad
            if reason is not RejectReason.NO_NUMBER
        ),
    )  # fmt: skip


def _numbers(cells: list[str], columns: _Columns) -> tuple[list[Number], list[tuple[str, str, RejectReason]]]:
    good: list[Number] = []
    bad: list[tuple[str, str, RejectReason]] = []
    for column, place in columns.numbers:
        parsed = parse(cells[place], columns.region)
        if isinstance(parsed, Number):
            good.append(parsed)
        else:
            bad.append((column, cells[place], _OF_NUMBER[parsed]))
    return good, bad


def _reject(line: int, cells: list[str], columns: _Columns, reason: RejectReason, detail: str) -> Rejected:
    raw = next((cells[place] for _, place in columns.numbers if place < len(cells) and cells[place].strip()), "")
    return Rejected(line=line, reason=reason, detail=detail, number=_masked(raw))


def _masked(raw: str) -> str:
    """What stood in a number's cell, fit for a list that people pass around."""
    text = " ".join(re.sub("[\0-\x1f\x7f\ud800-\udfff]", " ", raw).split())
    return mask(text if len(text) <= 40 else text[:40])
