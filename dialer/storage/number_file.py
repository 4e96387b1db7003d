"""A file of people on disk: opened once, surveyed, and read as a table, whether CSV, XLSX or ODS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dialer.campaign.number_base import Contacts
from dialer.contacts.encoding import CODECS, NAMES, Survey
from dialer.contacts.rows import MAX_RECORD_CHARS, Table, csv_table, unusable
from dialer.contacts.spreadsheet import OLE, ZIP
from dialer.errors import DialerError, InvalidInput, Problem
from dialer.storage.sheet_process import read_apart

_BLOCK = 1 << 20
_SINGLE_BYTE = {"cp1250", "cp1252", "iso-8859-1", "iso-8859-2"}


@dataclass(frozen=True, kw_only=True)
class NumberFile:
    """An open file of people."""

    file: BinaryIO
    name: str
    sha256: str
    """Of its bytes and of how they are read: another `numbers:` makes other contacts of the same file."""
    survey: Survey
    head: bytes
    stack: ExitStack
    """What ends with the file."""

    def table(self, contacts: Contacts) -> Table:
        """Its rows. Raises InvalidInput for what is no table."""
        if self.head.startswith(OLE):
            raise unusable(self.name, None, "not-a-spreadsheet", "an old or a password-protected Excel file",
                           "save it as XLSX without a password, or as CSV UTF-8")  # fmt: skip
        if self.head.startswith(ZIP):
            return self.stack.enter_context(read_apart(self.file, self.name, contacts.sheet))
        codec = CODECS[contacts.encoding] if contacts.encoding else self.survey.codec(contacts.region)
        beside = codec if codec in _SINGLE_BYTE else None
        return csv_table(_lines(self.file, self.name, codec), contacts.columns, self.name, contacts.delimiter, beside)

    def form(self, contacts: Contacts) -> str:
        """What the file is, for a summary."""
        if self.head.startswith(ZIP):
            return "spreadsheet"
        return contacts.encoding or NAMES[self.survey.codec(contacts.region)]


@contextmanager
def opened(path: Path, how: Any) -> Iterator[NumberFile]:
    """The file, opened once: what replaces it meanwhile is another file. `how` is JSON data on how it will be read.

    Raises InvalidInput for what is no file; DialerError when it cannot be read to its end, or when somebody writes to
    it meanwhile, so that it is neither what it was nor what it will be.
    """
    name = shown(path)
    with _file(path, name) as file, ExitStack() as stack:
        before = os.fstat(file.fileno())
        digest, survey, head = hashlib.sha256(json.dumps(how, sort_keys=True).encode()), Survey(), b""
        with _reading(name):
            while block := file.read(_BLOCK):
                head = head or block[:8]
                digest.update(block)
                if not head.startswith(ZIP):
                    survey.add(block)
            file.seek(0)
        yield NumberFile(
            file=file, name=name, sha256=digest.hexdigest(), survey=survey, head=head, stack=stack
        )  # fmt: skip
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise DialerError(f"{name} was written to while it was read; nothing was imported. Wait until it is whole.")


def shown(path: Path) -> str:
    """A path for messages and tables: a name on disk may hold bytes that are no text."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _file(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        # A pipe would be waited for without end, and cannot be read twice.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _unreadable(name, "it is a folder, a pipe or a device")
        file = path.open("rb")
    except (OSError, ValueError) as error:
        raise _unreadable(name, getattr(error, "strerror", None) or str(error)) from error
    with file:
        yield file


def _unreadable(name: str, why: str) -> InvalidInput:
    problem = Problem(
        file=name, line=None, key="contacts.from", code="unreadable", message=f"the contacts cannot be read: {why}",
        fix="check the path, and that you may read it",
    )  # fmt: skip
    return InvalidInput(f"{name} cannot be imported", [problem])


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DialerError(
            f"{name} cannot be read to its end: {error.strerror}; nothing was imported. "
            "Look after its disk or network share, and import it again."
        ) from error


def _lines(file: BinaryIO, name: str, codec: str) -> Iterator[str]:
    """Lines with their ends; what is no text in the encoding becomes lone surrogates."""
    errors = "surrogatepass" if codec.startswith("utf-16") else "surrogateescape"
    reader = io.TextIOWrapper(file, encoding=codec, errors=errors, newline="")
    line = 0
    try:
        with _reading(name):
            while text := reader.readline(MAX_RECORD_CHARS + 1):
                line += 1
                yield text if len(text) <= MAX_RECORD_CHARS else _beginning(reader, text)
    except UnicodeDecodeError as error:
        raise unusable(name, line + 1, "cut-off", "the file ends in the middle of a letter",
                       "deliver the whole file") from error  # fmt: skip
    finally:
        # A wrapper that is thrown away closes the file, which belongs to the caller.
        if not file.closed:
            reader.detach()


def _beginning(reader: io.TextIOWrapper, text: str) -> str:
    """Of a line so long that its row is refused: the rest, which may be all of the file, must not fill the memory."""
    last = text
    while last and not last.endswith(("\n", "\r")):
        last = reader.readline(_BLOCK)
    return f"{text}\n" if last else text
