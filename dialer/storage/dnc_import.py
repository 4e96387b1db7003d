"""A file of numbers onto a do-not-call list: read once for its encoding, once for its lines; stored all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from sqlalchemy import Connection, text

from dialer.contacts.dnc_file import MOST_CHARS, Unreadable, read_list
from dialer.contacts.encoding import Survey
from dialer.contacts.spreadsheet import OLE, ZIP
from dialer.contacts.suppress import DncSource
from dialer.errors import InvalidInput
from dialer.storage import dnc
from dialer.storage.dnc import AddCounts, DncList

KEPT = 20
"""Of the lines that cannot be read; the others are only counted."""


@dataclass(frozen=True, kw_only=True)
class DncFile:
    """How a list is written."""

    path: Path
    column: str | None = None
    """The numbers' column: its name in the header, or its place from 1."""
    region: str | None = None
    """The country of numbers without a country code (ISO 3166 alpha-2)."""


@dataclass(frozen=True, kw_only=True)
class DncImport:
    """What a file came to."""

    counts: AddCounts
    sha256: str
    unreadable: int
    """Lines in which no number can be read: they keep nobody from being called."""
    first_unreadable: tuple[Unreadable, ...]


def import_file(
    connection: Connection, to: DncList, file: DncFile, *, by: str, reason: str | None, until: datetime | None
) -> DncImport:
    """Puts a file's numbers on a list, in the caller's transaction, whose last step must be `dnc.hold_claims`.

    Raises InvalidInput when the file cannot be read, or holds no number in the column.
    """
    lines = _Lines()
    # A large file is read whole before its first number is stored: longer than the 30 s of other sessions.
    connection.execute(text("set local idle_in_transaction_session_timeout = '10min'"))
    try:
        sha256, encoding = _survey(file)
        counts = dnc.add(
            connection, to, lines.numbers(file, encoding), source=DncSource.IMPORT, by=by, reason=reason, until=until
        )
    except OSError as error:
        raise InvalidInput(
            f"{file.path} cannot be read: {error.strerror}. Check the path, and that you may read it."
        ) from error
    if not counts.added + counts.known:
        first = f" {told(lines.first[0])}" if lines.first else ""
        raise InvalidInput(f"{file.path} holds no number that can be read; nothing was changed.{first}")
    return DncImport(
        counts=counts, sha256=sha256, unreadable=lines.unreadable, first_unreadable=tuple(lines.first)
    )  # fmt: skip


def told(line: Unreadable) -> str:
    """A line without a number, in words."""
    return f"Line {line.line}: {line.text!r} is refused as {line.reason.value}."


def _survey(file: DncFile) -> tuple[str, str]:
    """The file's hash and its encoding."""
    digest, survey = hashlib.sha256(), Survey()
    with file.path.open("rb") as opened:
        if opened.peek(4).startswith((ZIP, OLE)):
            raise InvalidInput(f"{file.path} is a spreadsheet; nothing was changed. Save it as CSV, and import that.")
        while block := opened.read(1 << 20):
            digest.update(block)
            survey.add(block)
    return digest.hexdigest(), survey.codec(file.region)


def _begins(file: TextIO) -> Iterator[str]:
    """What each line begins with: one without an end must not fill the memory, nor its middle pass for a number."""
    while text := file.readline(MOST_CHARS):
        yield text
        while text and not text.endswith(("\n", "\r")):
            text = file.readline(1 << 20)


@dataclass(kw_only=True)
class _Lines:
    """The lines of a file as they go by, and what could not be read."""

    unreadable: int = 0
    first: list[Unreadable] = field(default_factory=list)

    def numbers(self, file: DncFile, encoding: str) -> Iterator[tuple[str, str | None]]:
        """Each number with its reason. Raises InvalidInput when there is no such column, and OSError."""
        with file.path.open(encoding=encoding, errors="replace", newline="") as opened:
            for found in read_list(_begins(opened), str(file.path), file.region, file.column):
                if isinstance(found, Unreadable):
                    self.unreadable += 1
                    if len(self.first) < KEPT:
                        self.first.append(found)
                else:
                    yield found.number, found.reason
