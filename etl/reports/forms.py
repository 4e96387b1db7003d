"""The forms of a report, one way to write each: CSV, JSON lines and Parquet by DuckDB itself, XLSX row by row.

CSV and JSON stream through a pipe on their way to a file or to standard output, where they are counted into a hash.
"""

from __future__ import annotations

import errno
import fcntl
import gzip
import hashlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import duckdb
import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from dialer.errors import DialerError
from etl.engines.duckdb import DuckDb
from etl.reports.columns import Column, Form, Kind, Shown, literal, quoted
from etl.reports.options import ROWS_OF_A_SHEET, Profile
from etl.reports.target import cannot_write, opened

NAMED: frozenset[str] = frozenset({"xlsx", "parquet"})
"""Forms that are written by name and out of order: no streams."""
_PIPE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
DANGEROUS = (
    r"^(?:[\t\r\n\x00]|[\s\x{A0}\x{1680}\x{2000}-\x{200F}\x{2028}\x{2029}\x{202F}\x{205F}\x{2060}\x{3000}\x{FEFF}]*"
    r"[=+\-@＝＋－＠\t\r\n\x00])"
)
"""What a spreadsheet takes for a formula (OWASP, CSV injection): also behind blanks, also in full width, RE2."""
_HARMLESS = "(unicode({0}) BETWEEN 48 AND 57 OR unicode({0}) BETWEEN 65 AND 122)"
"""Most texts begin with a letter or a digit: these need no regular expression."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that was written."""

    path: Path | None
    """None: standard output."""
    rows: int
    bytes: int
    sha256: str
    cut: int = 0
    """Texts that were longer than the form takes, and are not whole."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A report that is ready to be written: the raw query without parameters, and what its columns become."""

    query: str
    columns: Sequence[Column]
    shown: Shown

    def select(self, form: Form, cells: Mapping[str, str] | None = None) -> str:
        """The query of the values as a form needs them; `cells` are expressions that are different."""
        listed = (
            f"{(cells or {}).get(column.name) or column.sql(form, self.shown)} AS {quoted(column.name)}"
            for column in self.columns
        )
        return f"SELECT {', '.join(listed)} FROM ({self.query}) AS raw"


def write_csv(duck: DuckDb, table: Table, target: str, profile: Profile) -> list[Made]:
    """RFC 4180: CR LF, quotes where they must be; one file, or several below the most rows of a sheet."""
    select = table.select("csv", _csv_cells(table, profile))
    options = (
        f"FORMAT csv, HEADER true, DELIMITER '{profile.delimiter}', QUOTE '\"', ESCAPE '\"', NEW_LINE '\\r\\n', NULL ''"
    )
    start = BOM if profile.bom else b""
    # A stream has one header: whoever reads it says where it is cut.
    if profile.most_rows is None or not _is_file(target):
        return _streamed(duck, [select], options, target, start)
    most = profile.most_rows
    duck.connection.execute(f"CREATE OR REPLACE TEMP TABLE sheet AS {select}")
    rows = _one(duck, "SELECT count(*) FROM sheet")
    sheets = [
        f"SELECT * FROM sheet WHERE rowid >= {first} AND rowid < {first + most} ORDER BY rowid"
        for first in range(0, max(rows, 1), most)
    ]
    return _streamed(duck, sheets, options, target, start)


def write_json(duck: DuckDb, table: Table, target: str) -> list[Made]:
    """One object a line; what is missing is null."""
    return _streamed(duck, [table.select("json")], "FORMAT json", target, b"")


def write_parquet(duck: DuckDb, table: Table, target: str) -> list[Made]:
    """Typed columns; instants in UTC are timestamps."""
    with opened(target, named=True) as file:
        with _plain(target):
            copy = f"COPY ({table.select('parquet')}) TO {literal(file.name)} (FORMAT parquet, COMPRESSION zstd, " \
                   "USE_TMP_FILE false)"  # fmt: skip
            rows = _one(duck, copy)
        digest = _hash(Path(file.name))
    return [Made(path=Path(target), rows=rows, bytes=Path(target).stat().st_size, sha256=digest)]


def write_xlsx(duck: DuckDb, table: Table, target: str) -> list[Made]:
    """A sheet, or several where one is full. Text is written as text: no cell is ever a formula."""
    with opened(target, named=True) as file, TemporaryDirectory(prefix=".xlsx-", dir=Path(file.name).parent) as folder:
        with _book(file.name, folder) as book:
            # Else the time of writing stands in the file, and equal reports differ.
            book.set_properties({"created": datetime(2000, 1, 1)})  # noqa: DTZ001
            filled = _fill(duck, table, book)
        digest = _hash(Path(file.name))
    size = Path(target).stat().st_size
    return [Made(path=Path(target), rows=filled.rows, bytes=size, sha256=digest, cut=filled.cut)]


@contextmanager
def _book(path: str, folder: str) -> Iterator[Any]:
    """A workbook whose rows wait in files of a folder. One that failed is not closed: that would write it all."""
    book = xlsxwriter.Workbook(
        path,
        {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": folder,
         "use_zip64": True},
    )  # fmt: skip
    yield book
    try:
        book.close()
    except FileCreateError as error:
        # It holds what went wrong with the file.
        raise error.args[0] from error


@dataclass
class _Filled:
    rows: int = 0
    cut: int = 0


def _fill(duck: DuckDb, table: Table, book: Any) -> _Filled:
    bold = book.add_format({"bold": True})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
    places = {d: book.add_format({"num_format": f"0.{'0' * d}"}) for d in {c.decimals for c in table.columns} if d}
    formats = [
        moment if column.kind in (Kind.UTC, Kind.LOCAL) else places.get(column.decimals) for column in table.columns
    ]  # fmt: skip
    filled = _Filled()
    sheet = None
    for row in _fetched(duck, table.select("xlsx")):
        if sheet is None or filled.rows % ROWS_OF_A_SHEET == 0:
            sheet = _sheet(book, table, bold)
        filled.cut += _write_row(sheet, filled.rows % ROWS_OF_A_SHEET + 1, row, formats)
        filled.rows += 1
    if sheet is None:
        _sheet(book, table, bold)
    return filled


def _sheet(book: Any, table: Table, bold: Any) -> Any:
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    for place, column in enumerate(table.columns):
        # A date that finds no room is shown as ####.
        sheet.set_column(place, place, max(_WIDTH.get(column.kind, 0), min(len(column.name), 40) + 2))
        sheet.write_string(0, place, column.name, bold)
    return sheet


_WIDTH = {Kind.UTC: 23, Kind.LOCAL: 23, Kind.TEXT: 14, Kind.CAMPAIGN: 18}
"""Of a column at least, in characters; no row has been seen when it is said."""


def _write_row(sheet: Any, place: int, row: Sequence[Any], formats: Sequence[Any]) -> int:
    """How many texts of it were longer than a cell can be (32,767 characters), and were cut."""
    cut = 0
    for column, (value, shape) in enumerate(zip(row, formats, strict=True)):
        match value:
            case None:
                continue
            case bool():
                sheet.write_boolean(place, column, value)
            case str():
                cut += sheet.write_string(place, column, value) != 0
            case datetime():
                sheet.write_datetime(place, column, value, shape)
            case Decimal() | int():
                sheet.write_number(place, column, float(value), shape)
    return cut


def _csv_cells(table: Table, profile: Profile) -> dict[str, str]:
    """What a profile changes: text that would be a formula, and the decimal sign. By the column's type, never by looks:
    the number -5 stays one."""
    cells = {}
    for column in table.columns:
        value = column.sql("csv", table.shown)
        if profile.guard and column.kind in (Kind.TEXT, Kind.CAMPAIGN):
            harmless = _HARMLESS.format(f"({value})")
            cells[column.name] = (
                f"CASE WHEN {harmless} THEN {value} WHEN regexp_matches({value}, {literal(DANGEROUS)}) "
                f"THEN '''' || {value} ELSE {value} END"
            )
        elif profile.decimal_comma and column.kind is Kind.NUMBER:
            cells[column.name] = f"replace(CAST({value} AS VARCHAR), '.', ',')"
    return cells


def _streamed(duck: DuckDb, selects: Sequence[str], options: str, target: str, start: bytes) -> list[Made]:
    """A file a query, all of which appear when the last of them is whole; none for a reader who left early."""
    made: list[Made] = []
    with ExitStack() as whole:
        for part, select in enumerate(selects):
            path = _numbered(target, part)
            made.append(_pumped(duck, select, options, whole.enter_context(opened(path)), start, path))
    return made


def _pumped(duck: DuckDb, select: str, options: str, file: IO[bytes], start: bytes, target: str) -> Made:
    """Lets DuckDB write into a pipe, and passes on what comes out."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    pump = _Pump(reading, file, start, squeeze=target.endswith(".gz"))
    pump.start()
    try:
        rows = _one(duck, f"COPY ({select}) TO '/proc/self/fd/{writing}' ({options}, USE_TMP_FILE false)")
    except duckdb.IOException as error:
        if pump.failed is None:
            raise DialerError(f"DuckDB cannot write the report: {str(error).strip()}") from error
        rows = 0
    finally:
        os.close(writing)
        pump.join()
    if pump.failed is not None:
        raise pump.failed
    return Made(
        path=None if target == "-" else Path(target), rows=rows, bytes=pump.bytes, sha256=pump.digest.hexdigest()
    )  # fmt: skip


class _Pump(threading.Thread):
    """Carries bytes from a pipe into a file; when the file takes no more, the writer of the pipe learns it at once."""

    def __init__(self, reading: int, file: IO[bytes], start: bytes, *, squeeze: bool) -> None:
        super().__init__(daemon=True)
        self._reading, self._file, self._start = reading, file, start
        self._squeeze = squeeze
        self.digest, self.bytes = hashlib.sha256(), 0
        self.failed: OSError | None = None

    def run(self) -> None:
        try:
            self._carry()
        except OSError as error:
            self.failed = error
        finally:
            os.close(self._reading)

    def _carry(self) -> None:
        counted = _Counting(self)
        # Without a name and a time in it, equal rows are equal bytes.
        out: Any = gzip.GzipFile(filename="", mode="wb", fileobj=counted, mtime=0) if self._squeeze else counted
        out.write(self._start)
        while block := os.read(self._reading, _PIPE_BYTES):
            out.write(block)
        if self._squeeze:
            out.close()
        self._file.flush()

    def put(self, block: bytes) -> None:
        self.digest.update(block)
        self.bytes += len(block)
        self._file.write(block)


class _Counting:
    """What GzipFile needs of a file."""

    def __init__(self, pump: _Pump) -> None:
        self._pump = pump

    def write(self, block: bytes) -> int:
        self._pump.put(bytes(block))
        return len(block)

    def flush(self) -> None:
        pass


def _one(duck: DuckDb, query: str) -> int:
    found = duck.connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def _fetched(duck: DuckDb, query: str) -> Iterator[tuple[Any, ...]]:
    cursor = duck.connection.execute(query)
    while rows := cursor.fetchmany(10_000):
        yield from rows


@contextmanager
def _plain(target: str) -> Iterator[None]:
    try:
        yield
    except duckdb.IOException as error:
        full = os.strerror(errno.ENOSPC)
        if full in str(error):
            raise OSError(errno.ENOSPC, full) from error
        raise cannot_write(target, str(error).strip()) from error


def _is_file(target: str) -> bool:
    path = Path(target)
    return target != "-" and (path.is_file() or not path.exists())


def _numbered(target: str, part: int) -> str:
    """The first file has the name that was asked for; a.csv.gz goes on in a-2.csv.gz."""
    if part == 0:
        return target
    squeezed = ".gz" if target.endswith(".gz") else ""
    path = Path(target.removesuffix(".gz"))
    return str(path.with_name(f"{path.stem}-{part + 1}{path.suffix}{squeezed}"))


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
