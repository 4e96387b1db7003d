"""The records of a table that people wrote, whatever the file: the port between a file's form and what its rows mean.

CSV as RFC 4180 describes it, with comma, semicolon, tab or bar; spreadsheets give the same (contacts.spreadsheet).
Bytes that are no text in the file's encoding arrive as lone surrogates (Python's `surrogateescape`), so that one bad
row does not stop the others.
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

from dialer.errors import InvalidInput, Problem

MAX_RECORD_CHARS = 200_000
"""One row, its line breaks included. A quote that nobody closed would else swallow the rest of the file."""
MAX_READ_AGAIN_CHARS = 50_000_000
"""Of lines that unclosed quotes swallowed and gave back: a file that is made of such lines would take days."""
NOT_TEXT = re.compile("[\ud800-\udfff]")
_HEADER_LINES = 50
_DELIMITERS = ",;\t|"


class RejectReason(Enum):
    """Why a row is not called; the values stand in the report."""

    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    CELLS = "wrong_number_of_cells"
    NUL = "nul_byte"
    WRONG_ENCODING = "wrong_encoding"
    NO_PERSON = "no_person"
    PERSON_TOO_LONG = "person_too_long"
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    UNKNOWN_SUBDIVISION = "unknown_subdivision"
    WRONG_PRIORITY = "wrong_priority"
    NO_CONSENT = "no_consent"
    NO_NUMBER = "no_number"
    NOT_A_NUMBER = "not_a_number"
    INVALID_NUMBER = "invalid_number"
    COSTLY_NUMBER = "costly_number"
    KIND_NOT_ALLOWED = "type_not_allowed"
    COUNTRY_NOT_ALLOWED = "country_not_allowed"
    DUPLICATE_PERSON = "duplicate_person"
    """Found by the database: the person stands in an earlier row of the same file."""
    CALLED_LATELY = "called_lately"
    """Found by the database: another campaign called them within `not_called_within`."""
    NUMBER_LEFT_OUT = "number_left_out"
    """A note, not a reject: the person is called, but not at this number."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A row that nobody calls, or a number left out; `number` is masked."""

    line: int
    reason: RejectReason
    detail: str
    number: str = ""
    person_key: str | None = None
    """Whose row it is, where that can be read: whom it rejects is not called, even where missing people are kept."""


Record = tuple[int, list[str] | Rejected]
"""The first line of a record, from 1, and its cells or why it has none."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A header and the records below it, which are read as they are asked for."""

    file: str
    """Names the source in messages."""
    header: list[str]
    line: int
    """Of the header."""
    records: Iterator[Record]
    beside: str | None = None
    """Python's name of the encoding of one byte a letter in which the text was read: a row of UTF-8 is text in it too,
    only the wrong one."""


# -- columns ------------------------------------------------------------------------------------------------------


def require_columns(table: Table, wanted: Sequence[str]) -> None:
    """Raises InvalidInput when a wanted column is missing, or stands in the header twice."""
    problems = []
    doubt = "" if set(wanted) & set(table.header) else "is this the right file, with a header? "
    for name in wanted:
        make = partial(Problem, file=table.file, line=table.line, key=name)
        if table.header.count(name) > 1:
            problems.append(make(code="duplicate-column", message=f"two columns are called {name!r}",
                                 fix="rename one of them"))  # fmt: skip
        elif name not in table.header:
            folded = {column.casefold(): column for column in table.header}
            close = get_close_matches(name.casefold(), folded, 1, 0.6)
            hint = f"did you mean {folded[close[0]]!r}? " if close else ""
            found = ", ".join(printable(column[:40]) for column in table.header[:30])
            problems.append(make(code="missing-column", message=f"there is no column {name!r}; there are: {found}",
                                 fix=f"{hint or doubt}Names must be equal in the file and in `contacts:`"))  # fmt: skip
    if problems:
        raise InvalidInput(f"{table.file} lacks what the campaign reads; nothing was imported", problems)


def printable(text: str) -> str:
    """What somebody wrote, for a terminal that it must not steer."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def unusable(file: str, line: int | None, code: str, message: str, fix: str) -> InvalidInput:
    """The refusal of a whole file."""
    problem = Problem(file=file, line=line, key="", code=code, message=message, fix=fix)
    return InvalidInput(f"{file} cannot be imported; nothing was", [problem])


# -- CSV ----------------------------------------------------------------------------------------------------------


def csv_table(
    lines: Iterable[str], wanted: Sequence[str], file: str, delimiter: str | None = None, beside: str | None = None
) -> Table:
    """The table in the lines of a CSV, which keep their ends. Raises InvalidInput when there is no header.

    Without a `delimiter` it is the one under which most of the wanted columns appear. A file that ends in the middle of
    a row raises InvalidInput while it is read: what else of it is missing, nobody knows.
    """
    source = iter(lines)
    header_lines, skipped = _header_lines(source, file)
    found, header = _header(header_lines, wanted, delimiter or _DELIMITERS)
    records = _Records(source, found, skipped + len(header_lines) + 1, file, len(header))
    return Table(file=file, header=header, line=skipped + 1, records=records.read(), beside=beside)


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
        if len(text) > MAX_RECORD_CHARS:
            raise unusable(file, skipped + 1, "too-long", f"the header has more than {MAX_RECORD_CHARS:,} characters",
                           "end each row with a line break, and write the columns' names in the first")  # fmt: skip
        if "\0" in text or NOT_TEXT.search(text):
            raise unusable(file, skipped + 1, "not-text", "the header is not text in the encoding of the file",
                           'save the file as "CSV UTF-8", or name its `encoding:`')  # fmt: skip
        return found, skipped
    raise unusable(file, None, "empty", "the file has no header and no rows", "write a line with the columns' names")


def _header(lines: Sequence[str], wanted: Sequence[str], delimiters: str) -> tuple[str, list[str]]:
    """The delimiter under which most of the wanted columns appear, and the names of the columns."""
    best: tuple[tuple[int, int], str, list[str]] | None = None
    for delimiter in delimiters:
        try:
            cells = [cell.strip() for cell in next(csv.reader(lines, delimiter=delimiter), [])]
        except csv.Error:
            continue
        score = (len(set(wanted) & set(cells)), len(cells))
        if best is None or score > best[0]:
            best = (score, delimiter, cells)
    return (best[1], best[2]) if best else (delimiters[0], [])


class _TooLong(Exception):
    """A record passed MAX_RECORD_CHARS."""


class _Records:
    """The records of a CSV with their first lines; after a malformed one, reading goes on at its second line."""

    def __init__(self, source: Iterator[str], delimiter: str, line: int, file: str, cells: int) -> None:
        self._source = source
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._size = 0
        self._line = line
        self._file, self._cells = file, cells
        self._given_back = 0
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

    def read(self) -> Iterator[Record]:
        """Each record's first line, and its cells or why it has none. Raises InvalidInput at a cut-off end."""
        while True:
            self._taken, self._size = [], 0
            line = self._line
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                if isinstance(error, csv.Error) and len(self._taken) == 1:
                    self._require_end(line)
                self._give_back(line)
                self._line += 1
                yield line, _unreadable(line, error)
                continue
            if 1 < len(cells) < self._cells or (cells and len(cells) < self._cells and cells[0].strip()):
                self._require_end(line)
            self._line += len(self._taken)
            yield line, cells

    def _give_back(self, line: int) -> None:
        """The lines after the first are read again, as records of their own."""
        self._given_back += self._size - len(self._taken[0])
        if self._given_back > MAX_READ_AGAIN_CHARS:
            raise unusable(self._file, line, "malformed", "here and above too many quotes are not closed",
                           "write a quote inside a cell twice, and the cell between quotes (RFC 4180)")  # fmt: skip
        self._again.extendleft(reversed(self._taken[1:]))

    def _require_end(self, line: int) -> None:
        """Whoever stops writing in the middle of a row leaves its last line without an end."""
        if self._taken and not self._taken[-1].endswith(("\n", "\r")):
            raise unusable(self._file, line, "cut-off", "the file ends in the middle of this row",
                           "deliver the whole file; if it is whole, end its last row as the others")  # fmt: skip


def _unreadable(line: int, error: Exception) -> Rejected:
    if isinstance(error, _TooLong) or "field limit" in str(error):
        detail = f"more than {MAX_RECORD_CHARS:,} characters; is a quote not closed?"
        return Rejected(line=line, reason=RejectReason.TOO_LONG, detail=detail)
    return Rejected(
        line=line, reason=RejectReason.MALFORMED, detail="a quote stands in a wrong place, or is not closed"
    )
