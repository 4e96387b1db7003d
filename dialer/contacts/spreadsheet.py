"""The rows of an XLSX or ODS sheet as a table of texts, as a CSV of the same sheet would give them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Any, BinaryIO

from python_calamine import CalamineWorkbook

from dialer.contacts.rows import Record, Table, printable, unusable
from dialer.errors import InvalidInput

ZIP = b"PK\x03\x04"
"""How XLSX and ODS begin."""
OLE = b"\xd0\xcf\x11\xe0"
"""How XLS and every password-protected Excel file begin."""
MAX_UNPACKED_BYTES = 1 << 30
"""What a spreadsheet may hold unpacked: one of 1 MB can claim a terabyte."""


def sheet_table(file: BinaryIO, name: str, sheet: str | None) -> Table:
    """The table of a sheet, the first without a name. Lines count as the sheet shows them, from 1.

    The header is the first row that is not empty. Raises InvalidInput for what is no readable spreadsheet.
    """
    rows = _rows(file, name, sheet)
    for line, cells in rows:
        if any(cells):
            header = [cell.strip() for cell in cells]
            # Cells beyond the last named column hold notes, or nothing.
            while header and not header[-1]:
                header.pop()
            return Table(file=name, header=header, line=line, records=_records(rows, len(header)))
    raise unusable(name, None, "empty", "the sheet has no header and no rows", "write a line with the columns' names")


def _rows(file: BinaryIO, name: str, sheet: str | None) -> Iterator[tuple[int, list[str]]]:
    _require_bounded(file, name)
    try:
        workbook = CalamineWorkbook.from_filelike(file)
        names = list(workbook.sheet_names)
        if sheet is None or sheet in names:
            found: Iterable[Sequence[Any]] = (
                workbook.get_sheet_by_index(0) if sheet is None else workbook.get_sheet_by_name(sheet)
            ).iter_rows()
        else:
            there = ", ".join(printable(one[:40]) for one in names[:30])
            raise unusable(name, None, "no-such-sheet", f"there is no sheet {sheet!r}; there are: {there}",
                           "correct `contacts.sheet`, or leave it out for the first")  # fmt: skip
    except (InvalidInput, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # A panic of the Rust library is no Exception (pyo3's PanicException).
        why = printable(str(error)[:200])
        raise unusable(name, None, "not-a-spreadsheet", f"this is no whole XLSX or ODS file ({why})",
                       "save it again, or as CSV UTF-8") from error  # fmt: skip
    return ((line, [_text(cell) for cell in cells]) for line, cells in enumerate(found, 1))


def _require_bounded(file: BinaryIO, name: str) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise unusable(name, None, "not-a-spreadsheet", f"the file is damaged or cut off ({error})",
                       "deliver it again, whole") from error  # fmt: skip
    file.seek(0)
    if unpacked > MAX_UNPACKED_BYTES:
        raise unusable(name, None, "too-large", f"unpacked it would take {unpacked >> 20:,} MB, more than "
                       f"{MAX_UNPACKED_BYTES >> 20:,}", "save it as CSV UTF-8")  # fmt: skip


def _records(rows: Iterator[tuple[int, list[str]]], width: int) -> Iterator[Record]:
    for line, cells in rows:
        extra = any(cells[width:])
        yield line, cells if extra else (cells[:width] + [""] * (width - len(cells)))


def _text(cell: Any) -> str:
    """A cell as people see it: 501100101.0 is a number written 501100101."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, datetime) and (cell.hour, cell.minute, cell.second, cell.microsecond) == (0, 0, 0, 0):
        return cell.date().isoformat()
    if isinstance(cell, date):
        return cell.isoformat()
    return str(cell)
