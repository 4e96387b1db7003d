"""A file of people on disk: opened once, surveyed, and read as a table, whether CSV, XLSX or ODS."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dialer.campaign.number_base import Contacts
from dialer.contacts.encoding import CODECS, NAMES, Survey
from dialer.contacts.rows import MAX_RECORD_CHARS, Table, csv_table, unusable
from dialer.contacts.spreadsheet import OLE, ZIP, sheet_table
from dialer.errors import InvalidInput, Problem

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

    def table(self, contacts: Contacts) -> Table:
        """Its rows. Raises InvalidInput for what is no table."""
        if self.head.startswith(OLE):
            raise unusable(self.name, None, "not-a-spreadsheet", "an old or a password-protected Excel file",
                           "save it as XLSX without a password, or as CSV UTF-8")  # fmt: skip
        if self.head.startswith(ZIP):
            return sheet_table(self.file, self.name, contacts.sheet)
        codec = CODECS[contacts.encoding] if contacts.encoding else self.survey.codec(contacts.region)
        # One letter a byte: UTF-8 read so is text as well, only the wrong one.
        mixed = codec in _SINGLE_BYTE and self.survey.utf8_lines > 0
        lines = _lines(self.file, self.name, codec)
        return csv_table(lines, contacts.columns, self.name, contacts.delimiter, codec if mixed else None)

    def form(self, contacts: Contacts) -> str:
        """What the file is, for a summary."""
        if self.head.startswith(ZIP):
            return "spreadsheet"
        return contacts.encoding or NAMES[self.survey.codec(contacts.region)]


@contextmanager
def opened(path: Path, how: Any) -> Iterator[NumberFile]:
    """The file, opened once: what replaces it meanwhile is another file. `how` is JSON data on how it will be read."""
    try:
        file = path.open("rb")
    except OSError as error:
        problem = Problem(
            file=str(path), line=None, key="contacts.from", code="unreadable",
            message=f"the contacts cannot be read: {error.strerror}", fix="check the path, and that you may read it",
        )  # fmt: skip
        raise InvalidInput(f"{path} cannot be imported", [problem]) from error
    with file:
        digest, survey, head = hashlib.sha256(json.dumps(how, sort_keys=True).encode()), Survey(), b""
        while block := file.read(_BLOCK):
            head = head or block[:8]
            digest.update(block)
            survey.add(block)
        file.seek(0)
        yield NumberFile(file=file, name=str(path), sha256=digest.hexdigest(), survey=survey, head=head)


def _lines(file: BinaryIO, name: str, codec: str) -> Iterator[str]:
    """Lines with their ends; what is no text in the encoding becomes lone surrogates."""
    errors = "surrogatepass" if codec.startswith("utf-16") else "surrogateescape"
    reader = io.TextIOWrapper(file, encoding=codec, errors=errors, newline="")
    line = 0
    try:
        # A line without an end must not fill the memory; its pieces are rejected one by one.
        for text in iter(lambda: reader.readline(MAX_RECORD_CHARS + 1), ""):
            line += 1
            yield text
    except UnicodeDecodeError as error:
        raise unusable(name, line + 1, "cut-off", "the file ends in the middle of a letter",
                       "deliver the whole file") from error  # fmt: skip
    finally:
        # A wrapper that is thrown away closes the file, which belongs to the caller.
        if not file.closed:
            reader.detach()
