"""Reads the node's own record of calls (CEL, one JSON object a line), through rotation, truncation and restarts.

Asterisk writes it to its own disk whatever happens to us, so it is the witness when an event was missed (cel_custom).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dialer import names
from dialer.calls.witness import CelPosition, CelRecord
from dialer.clock import from_epoch

MAX_BYTES = 1 << 20
"""Read at once; a record has some hundred bytes."""


def read(path: Path, position: CelPosition | None) -> tuple[list[CelRecord], CelPosition]:
    """The records after a position, at most a megabyte of them, and the new position; the same one at the end.

    A file that was rotated away is first read to its end, wherever beside `path` it went. Raises OSError when there is
    no file to read.
    """
    current = path.stat()
    if position is None:
        return _read(path, CelPosition(inode=current.st_ino, offset=0))
    if position.inode == current.st_ino:
        # A file that became shorter was emptied in place (copytruncate): it begins anew.
        offset = position.offset if position.offset <= current.st_size else 0
        return _read(path, CelPosition(inode=position.inode, offset=offset))
    rotated = next((one for one in path.parent.glob(f"{path.name}*") if one.stat().st_ino == position.inode), None)
    if rotated is not None:
        records, after = _read(rotated, position)
        if after != position:
            return records, after
    return _read(path, CelPosition(inode=current.st_ino, offset=0))


def _read(path: Path, position: CelPosition) -> tuple[list[CelRecord], CelPosition]:
    with path.open("rb") as file:
        file.seek(position.offset)
        data = file.read(MAX_BYTES)
    # The last line may still be on its way to the disk.
    whole = data[: data.rfind(b"\n") + 1]
    return list(_records(whole, position)), CelPosition(inode=position.inode, offset=position.offset + len(whole))


def _records(data: bytes, position: CelPosition) -> Iterator[CelRecord]:
    offset = position.offset
    for line in data.splitlines(keepends=True):
        record = _record(line, position.inode, offset)
        if record is not None:
            yield record
        offset += len(line)


def _record(line: bytes, inode: int, offset: int) -> CelRecord | None:
    """None for a line that is not about a call of ours, or that a crash cut."""
    try:
        said = json.loads(line)
        attempt_id = names.attempt_of(str(said["uniqueid"]))
        at = from_epoch(float(said["eventtime"]))
        kind = str(said["eventtype"])
        extra = json.loads(said.get("eventextra") or "{}")
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    if attempt_id is None or not isinstance(extra, dict):
        return None
    return CelRecord(
        inode=inode, offset=offset, attempt_id=attempt_id, kind=kind, at=at,
        digit=_text(extra.get("digit")), cause=_whole(extra.get("hangupcause")),
    )  # fmt: skip


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None
