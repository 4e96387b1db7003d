"""The lines of a do-not-call list, one by one: a number with its reason, or why none can be read there.

Pure over lines of text. A list of numbers alone, or CSV with comma, semicolon or tab, with a header or without. Each
line stands for itself, so that a quote nobody closed hides no other number.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import phonenumbers

from dialer.contacts.numbers import NumberReader
from dialer.errors import InvalidInput, Problem
from dialer.phone import E164, Number, NumberReject, mask

NUMBER_COLUMNS = ("number", "phone", "phone_number", "telephone", "msisdn", "mobile", "numer", "telefon")
"""What the column of the numbers is often called; looked for when nobody names one."""
REASON_COLUMN = "reason"
MOST_CHARS = 10_000
"""Of a line: more is no line of a list."""
_DELIMITERS = ";\t,"


@dataclass(frozen=True, kw_only=True)
class ListedNumber:
    """One number of a list."""

    number: str
    """E.164."""
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """A line in which no number can be read: it keeps nobody from being called."""

    line: int
    text: str
    """What stands there, masked."""
    reason: NumberReject


def read_list(
    lines: Iterable[str], file: str, region: str | None = None, column: str | None = None
) -> Iterator[ListedNumber | Unreadable]:
    """The numbers of a list, line by line; empty lines are nothing.

    `region` (ISO 3166 alpha-2) reads numbers without a country code. `column` names the numbers' column in the header,
    or counts it from 1. Raises InvalidInput, before the first number, when there is no such column, or several may be
    meant.
    """
    numbered = ((line, text.rstrip("\r\n")) for line, text in enumerate(lines, 1))
    filled = ((line, text) for line, text in numbered if text.strip())
    first = next(filled, None)
    if first is None:
        return iter(())
    delimiter = next((one for one in _DELIMITERS if one in first[1]), ",")
    cells = _cells(first[1], delimiter)
    names = [name.strip().lower() for name in cells]
    wanted = NUMBER_COLUMNS if column is None else (column.strip().lower(),)
    has_header = not any(map(str.isdigit, first[1])) or any(name in wanted and not name.isdigit() for name in names)
    if column is not None and column.isdigit() and 1 <= int(column) <= len(cells):
        found = [int(column) - 1]
    elif has_header:
        found = [place for place, name in enumerate(names) if name in wanted]
        found = found or ([0] if len(cells) == 1 and column is None else [])
    else:
        found = _filled_with_numbers(cells, region) if column is None else []
    if len(found) != 1:
        raise _no_column(file, cells, has_header, column, several=bool(found))
    reason = names.index(REASON_COLUMN) if has_header and REASON_COLUMN in names else None
    rows = filled if has_header else chain((first,), filled)
    return _numbers(rows, delimiter, found[0], reason, region)


def _filled_with_numbers(cells: Sequence[str], region: str | None) -> list[int]:
    """The places of a first line without names that hold a number; the only one there is, whatever it holds."""
    if len(cells) == 1:
        return [0]
    reader = NumberReader(region)
    return [place for place, cell in enumerate(cells) if not isinstance(_e164(reader, cell, region), NumberReject)]


def _no_column(
    file: str, cells: Sequence[str], has_header: bool, column: str | None, *, several: bool
) -> InvalidInput:  # fmt: skip
    """Which column holds the numbers must not be guessed: those of another one would be called."""
    there = ", ".join(cell[:40] for cell in cells[:20]) if has_header else f"{len(cells)} columns without names"
    what = "several columns may hold the numbers" if several else "no column of numbers was found"
    problem = Problem(
        file=file, line=1, key=column or "number", code="no-such-column", message=f"{what}; there are: {there}",
        fix="name it with --column, or count it from 1",
    )  # fmt: skip
    return InvalidInput(f"{file} cannot be imported; nothing was changed", [problem])


def _numbers(
    rows: Iterable[tuple[int, str]], delimiter: str, place: int, reason: int | None, region: str | None
) -> Iterator[ListedNumber | Unreadable]:
    reader = NumberReader(region)
    for line, text in rows:
        cells = _cells(text, delimiter)
        cell = cells[place] if place < len(cells) else ""
        found = _e164(reader, cell, region)
        if isinstance(found, NumberReject):
            yield Unreadable(line=line, text=mask(cell.strip()[:40]), reason=found)
        else:
            why = cells[reason].strip() if reason is not None and reason < len(cells) else ""
            yield ListedNumber(number=found, reason=why.replace("\0", "") or None)


def _cells(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([text[:MOST_CHARS]], delimiter=delimiter), [])
    except csv.Error:
        return [text[:MOST_CHARS]]


def _e164(reader: NumberReader, text: str, region: str | None) -> str | NumberReject:
    found = reader.read(text)
    if isinstance(found, Number):
        return found.number
    if found is not NumberReject.INVALID:
        return found
    # Numbering plans change: what is no number to us today may be somebody's tomorrow.
    formatted = phonenumbers.format_number(phonenumbers.parse(text, region), phonenumbers.PhoneNumberFormat.E164)
    return formatted if E164.fullmatch(formatted) else found
