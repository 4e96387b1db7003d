"""Reads a spreadsheet in a process of its own: what a few bytes may unpack to costs that process its life, not ours.

Two cells in opposite corners of a sheet are a table of 17 billion, and the library that reads it ends its process when
the memory does not suffice. The rows come as lines of JSON: the header, the records, and a last line that is null.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, BinaryIO

import dialer
from dialer.contacts.rows import Record, Rejected, Table, unusable
from dialer.contacts.spreadsheet import sheet_table
from dialer.errors import InvalidInput, Problem

MAX_MEMORY_BYTES = 2 << 30
MAX_CPU_S = 300


@contextmanager
def read_apart(file: BinaryIO, name: str, sheet: str | None) -> Iterator[Table]:
    """The table of a sheet, the first without a name, as contacts.spreadsheet reads it. Raises InvalidInput."""
    file.seek(0)
    words = [sys.executable, "-P", "-m", __name__, name, *([sheet] if sheet is not None else [])]
    environment = {**os.environ, "PYTHONPATH": str(Path(dialer.__file__).parents[1]), "PYTHONUTF8": "1"}
    with subprocess.Popen(
        words, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, encoding="ascii"
    ) as process:
        assert process.stdout is not None
        try:
            lines = _said(process.stdout, name)
            header = next(lines)
            yield Table(file=name, header=header["header"], line=header["line"], records=_records(lines))
        finally:
            process.kill()


def _said(out: IO[str], name: str) -> Iterator[Any]:
    for line in out:
        said = json.loads(line) if line.endswith("\n") else {}
        if said is None:
            return
        if not said:
            break
        if "problem" in said:
            raise InvalidInput(f"{name} cannot be imported; nothing was", [Problem(**said["problem"])])
        yield said
    limits = f"{MAX_MEMORY_BYTES >> 30} GB of memory and {MAX_CPU_S // 60} minutes"
    raise unusable(name, None, "too-large", f"it cannot be read within {limits}", "save it as CSV UTF-8")


def _records(lines: Iterator[Any]) -> Iterator[Record]:
    return ((line, cells) for line, cells in lines)


def _main() -> None:
    """Standard input is the file, standard output the rows."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    name, *sheet = sys.argv[1:]
    try:
        table = sheet_table(sys.stdin.buffer, name, sheet[0] if sheet else None)
        _say({"header": table.header, "line": table.line})
        for line, cells in table.records:
            assert not isinstance(cells, Rejected), "a sheet has no malformed rows"
            _say([line, cells])
        _say(None)
    except InvalidInput as error:
        _say({"problem": asdict(error.problems[0])})


def _say(data: Any) -> None:
    sys.stdout.write(json.dumps(data) + "\n")


if __name__ == "__main__":
    _main()
