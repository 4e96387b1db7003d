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
    or counts it from 1. Raises InvalidInput, before the first number, when there is no such column.
    """
    numbered = ((line, text.rstrip("\r\n")) for line, text in enumerate(lines, 1))
    filled = ((line, text) for line, text in numbered if text.strip())
    first = next(filled, None)
    if first is None:
        return iter(())
    delimiter = next((one for one in _DELIMITERS if one in first[1]), ",")
    header = _cells(first[1], delimiter)
    has_header = not any(character.isdigit() for character in first[1])
    place, reason = _places(header, has_header, column, file)
    rows = filled if has_header else chain((first,), filled)
    return _numbers(rows, delimiter, place, reason, region)


def _places(header: Sequence[str], has_header: bool, column: str | None, file: str) -> tuple[int, int | None]:
    """Where numbers and reasons stand in a row."""
    names = [name.strip().lower() for name in header] if has_header else []
    reason = names.index(REASON_COLUMN) if REASON_COLUMN in names else None
    if column is not None and column.isdigit() and 1 <= int(column) <= len(header):
        return int(column) - 1, reason
    wanted = NUMBER_COLUMNS if column is None else (column.strip().lower(),)
    found = next((names.index(name) for name in wanted if name in names), None)
    if found is None and column is None and (len(header) == 1 or not has_header):
        found = 0
    if found is None:
        there = ", ".join(header) if has_header else f"{len(header)} columns without names"
        problem = Problem(
            file=file, line=1, key=column or "number", code="no-such-column",
            message=f"no column of numbers was found; there are: {there}",
            fix="name it with --column, or count it from 1",
        )  # fmt: skip
        raise InvalidInput(f"{file} cannot be imported; nothing was changed", [problem])
    return found, reason


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
