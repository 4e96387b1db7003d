"""A report as a stream of rows, and the forms it is written in: RFC 4180 CSV, or one JSON object a line."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from dialer.errors import DialerError

STREAMED = {"yield_per": 1000}
"""A server-side cursor: a report of millions of rows takes no more memory than one of ten."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Columns, and rows in a stable order. Values are text, numbers, instants or None."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]


def instant(at: datetime) -> str:
    """ISO 8601 in UTC with microseconds, so that all are equally long and sort as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_csv(report: Report, out: TextIO) -> None:
    """Lines end with CR LF; what is missing is empty; text stands as it is, quoted where it must be."""
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(report.columns)
    for row in report.rows:
        writer.writerow([_plain(value) for value in row])


def write_json(report: Report, out: TextIO) -> None:
    """One object a line, with the columns' names."""
    for row in report.rows:
        values = dict(zip(report.columns, map(_plain, row), strict=True))
        out.write(json.dumps(values, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    return instant(value) if isinstance(value, datetime) else value


@contextmanager
def opened(target: str) -> Iterator[TextIO]:
    """A file that appears only when it is whole, or standard output for `-`; UTF-8, line ends as written.

    A new file is readable by its owner alone, because it holds what people answered; one that is replaced keeps its
    mode. Devices and pipes are written to, never replaced.
    """
    if target == "-":
        out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
        yield out
        out.flush()
        out.detach()
        return
    path = Path(target)
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as device:
                yield device
        else:
            with _replaced(path.resolve()) as file:
                yield file
    except OSError as error:
        raise DialerError(f"cannot write {path}: {error.strerror}. Free some space, or name another place.") from error


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        if path.exists():
            shutil.copymode(path, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
