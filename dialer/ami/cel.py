"""Reads the node's own record of calls (CEL, one JSON object a line), through rotation, truncation and restarts.

Asterisk writes it to its own disk whatever happens to us, so it is the witness when an event was missed (cel_custom).
A full disk or a crash cuts lines, also without an end: then the next whole object stands on the same line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from dialer import names
from dialer.calls.witness import CelPosition, CelReading, CelRecord
from dialer.clock import from_epoch

MAX_BYTES = 1 << 20
"""Read at once; a record has some hundred bytes."""

_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
_KIND = re.compile("[A-Z_]{1,40}")
_KEY = re.compile("[0-9*#A-D]")
_CAUSES = 1000
"""Q.850 causes have seven bits, Asterisk's own are some more (causes.h)."""

_OBJECT = b'{"'
"""How an object begins; inside one every quote mark is escaped, so a cut one is left behind here."""
_JSON = json.JSONDecoder()


def read(path: Path, position: CelPosition | None) -> CelReading:
    """What stands after a position, at most a megabyte of it; the same position at the end.

    A file that was rotated away is first read to its end, wherever beside `path` it went, then those that came after
    it. Raises OSError when there is no file to read.
    """
    current = path.stat()
    if position is None:
        return _read(path, CelPosition(inode=current.st_ino, offset=0))
    if position.inode == current.st_ino:
        # A file that became shorter was emptied in place (copytruncate): it begins anew.
        if position.offset > current.st_size:
            return _read_anew(path, current.st_ino)
        return _read(path, position)
    files = _oldest_first(path)
    place = next((place for place, (inode, _) in enumerate(files) if inode == position.inode), None)
    if place is None:
        return _read_anew(path, current.st_ino)
    reading = _read(files[place][1], position)
    if reading.position != position:
        return reading
    inode, following = files[place + 1] if place + 1 < len(files) else (current.st_ino, path)
    return _read(following, CelPosition(inode=inode, offset=0))


def _read_anew(path: Path, inode: int) -> CelReading:
    return replace(_read(path, CelPosition(inode=inode, offset=0)), unbroken=False)


def _oldest_first(path: Path) -> list[tuple[int, Path]]:
    """Inode and path of the current file and of those that were rotated away and are not packed, by last change."""
    files = []
    for one in path.parent.glob(f"{path.name}*"):
        status = one.stat()
        if one.suffix not in _PACKED:
            files.append((one == path, status.st_mtime_ns, status.st_ino, one))
    return [(inode, one) for _, _, inode, one in sorted(files)]


def _read(path: Path, position: CelPosition) -> CelReading:
    with path.open("rb") as file:
        if position.offset:
            file.seek(position.offset - 1)
            if file.read(1) != b"\n":
                # No line ends where we stopped: emptied in place and grown since, or another file with its number.
                return _read_anew(path, position.inode)
        whole = _whole_lines(file)
    records, marks = [], set()
    for offset, said in _objects(whole):
        channel = str(said.get("uniqueid"))
        mark = names.mark_of(channel)
        if mark is not None:
            marks.add(mark)
        record = _record(said, position.inode, position.offset + offset)
        if record is not None:
            records.append(record)
    after = CelPosition(inode=position.inode, offset=position.offset + len(whole))
    return CelReading(records=tuple(records), position=after, marks=frozenset(marks))


def _whole_lines(file: BinaryIO) -> bytes:
    """About a megabyte of lines; the last line of the file may still be on its way to the disk."""
    data = file.read(MAX_BYTES)
    end = data.rfind(b"\n") + 1
    if end or len(data) < MAX_BYTES:
        return data[:end]
    rest = file.readline()
    return data + rest if rest.endswith(b"\n") else b""


def _objects(data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    """Every whole JSON object and where it begins; what was cut is passed over up to the next beginning."""
    start = 0
    for line in data.splitlines(keepends=True):
        # One character a byte: places stay places, and all that is read of an object is ASCII.
        text = line.decode("latin-1")
        at = line.find(_OBJECT)
        while at >= 0:
            try:
                said, end = _JSON.raw_decode(text, at)
                yield start + at, said
            except (ValueError, RecursionError):
                end = at + 1
            at = line.find(_OBJECT, end)
        start += len(line)


def _record(said: dict[str, Any], inode: int, offset: int) -> CelRecord | None:
    """None for an object that is not about a call of ours."""
    attempt_id = names.attempt_of(str(said.get("uniqueid")))
    if attempt_id is None:
        return None
    try:
        at = from_epoch(float(said["eventtime"]))
        extra = json.loads(said.get("eventextra") or "{}")
    except (ValueError, KeyError, TypeError, OverflowError, OSError):
        return None
    kind = str(said.get("eventtype"))
    if not isinstance(extra, dict) or not _KIND.fullmatch(kind):
        return None
    digit, cause = extra.get("digit"), extra.get("hangupcause")
    return CelRecord(
        inode=inode, offset=offset, attempt_id=attempt_id, kind=kind, at=at,
        digit=digit if isinstance(digit, str) and _KEY.fullmatch(digit) else None,
        cause=cause if isinstance(cause, int) and 0 <= cause < _CAUSES else None,
    )  # fmt: skip
