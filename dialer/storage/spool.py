"""Dialogues on this host's disk: one file for each that is under way, and an archive of those that are over.

A dialogue's file holds its context in the first line and a `Writes` in each further one, as JSON. Who leads the
dialogue holds the file under flock, which the kernel releases when the process dies: a file whose lock is free belongs
to nobody. Files hold what people said: they are readable by their owner alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pydantic import TypeAdapter, ValidationError

from dialer.calls.results import Writes
from dialer.settings import KEPT_ON_HOST

log = logging.getLogger(__name__)

_ENDING = ".jsonl"
_ARCHIVE = "dialogues-"
_WRITES = TypeAdapter(Writes)


def encode(writes: Writes) -> bytes:
    """Rows as one line of JSON: the spool, the archive and PostgreSQL (storage.dialogues) all get this."""
    return _WRITES.dump_json(writes)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a dialogue's file holds; without a context its worker died before the first word."""

    context: dict[str, Any] | None = None
    writes: Writes = field(default_factory=Writes)


class _Spares:
    """Emptied files of dialogues that this process has ended, for its next ones.

    Before ext4 gives a new file an inode it passes over all that were freed in the last minutes (find_inode_bit in
    fs/ext4/ialloc.c): at 70 dialogues a second that was a third of a worker's CPU. A spare has one owner, by its name:
    two that lent the same one would write two dialogues into one file. Losing one to somebody's cleaning harms nobody.
    """

    def __init__(self, directory: Path) -> None:
        self._directory, self._prefix = directory, f"{directory}/{uuid4().hex[:12]}-"
        self._free: list[str] | None = None

    def lend(self, path: str) -> None:
        """Puts a spare at a path, unless there is none, or a file stands there already."""
        if self._free is None:
            self._free = []
            self._clear()
        while self._free:
            spare = self._free.pop()
            try:
                os.link(spare, path)
            except FileExistsError:
                self._free.append(spare)
                return
            except OSError:
                continue
            with suppress(FileNotFoundError):
                os.unlink(spare)
            return

    def keep(self, path: str, descriptor: int) -> None:
        """Takes an open file away from its path, emptied. Raises OSError, when spares are on another disk for one."""
        os.ftruncate(descriptor, 0)
        spare = f"{self._prefix}{os.path.basename(path)}"
        try:
            os.rename(path, spare)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.rename(path, spare)
        if self._free is not None:
            self._free.append(spare)

    def _clear(self) -> None:
        """Removes what processes left that ended."""
        with suppress(OSError):
            for entry in os.scandir(self._directory):
                with suppress(FileNotFoundError):
                    os.unlink(entry.path)


class SpoolFile:
    """One dialogue's file, under our lock until `remove` or `close`. Methods raise OSError."""

    def __init__(self, attempt_id: UUID, path: str, descriptor: int, spares: _Spares | None = None) -> None:
        self.attempt_id = attempt_id
        self._path, self._descriptor, self._spares = path, descriptor, spares
        self._size = os.fstat(descriptor).st_size
        self._in_directory = False

    def read(self) -> Kept:
        """What is there; a last line without an end, of a machine that lost its power, is cut off."""
        if not self._size:
            return Kept()
        data = os.pread(self._descriptor, self._size, 0)
        whole = data.rfind(b"\n") + 1
        if whole < self._size:
            os.ftruncate(self._descriptor, whole)
            self._size = whole
        lines = data[:whole].splitlines()
        context = _context(lines[0]) if lines else None
        writes = Writes()
        for one in _decoded(lines[1:], os.path.basename(self._path)):
            writes.extend(one)
        return Kept(context=context, writes=writes)

    def begin(self, context: dict[str, Any]) -> None:
        """Writes the first line, in place of whatever is there: plain JSON data."""
        if self._size:
            os.ftruncate(self._descriptor, 0)
            self._size = 0
        self._append(json.dumps(context, ensure_ascii=False).encode())

    def append(self, writes: Writes) -> None:
        """Writes rows; they survive this process, and after `sync` the machine."""
        self._append(encode(writes))

    def sync(self) -> None:
        """Returns when all that was appended is on the disk; may block for long."""
        os.fdatasync(self._descriptor)
        if not self._in_directory:
            _sync_directory(os.path.dirname(self._path))
            self._in_directory = True

    def remove(self) -> None:
        """Ends the file, then the lock: who waited for it sees that it is gone."""
        try:
            if self._spares is None:
                os.unlink(self._path)
            else:
                self._spares.keep(self._path, self._descriptor)
        except FileNotFoundError:
            pass
        except OSError:
            # Another disk, or none of the space that a new name needs.
            os.unlink(self._path)
        self.close()

    def close(self) -> None:
        """Gives the lock away; the file stays for whoever takes it next. Closing again does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _append(self, line: bytes) -> None:
        self._size += _write_line(self._descriptor, line, self._size)


class Spool:
    """The directory of all dialogues that are under way on this host."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._prefix = directory, f"{directory}/"
        self._spares = _Spares(directory.with_name(f"{directory.name}-spare"))
        self._seen: dict[str, int] = {}

    def open(self, attempt_id: UUID) -> SpoolFile | None:
        """The dialogue's file, made if need be; None when another leads the dialogue. Raises OSError."""
        path = f"{self._prefix}{attempt_id}{_ENDING}"
        self._spares.lend(path)
        while True:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                continue
            if not _lock(descriptor):
                return None
            if _stands(path, descriptor):
                return SpoolFile(attempt_id, path, descriptor, self._spares)
            # Its last owner removed it between our open and our lock.
            os.close(descriptor)

    def take(self, attempt_id: UUID) -> SpoolFile | None:
        """The dialogue's file, if there is one and nobody holds it. Raises OSError."""
        path = f"{self._prefix}{attempt_id}{_ENDING}"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        if not _lock(descriptor):
            return None
        if _stands(path, descriptor):
            return SpoolFile(attempt_id, path, descriptor)
        os.close(descriptor)
        return None

    def orphans(self) -> Iterator[SpoolFile]:
        """Files that nobody holds, and that nobody has touched since the last call, each under our lock."""
        before, self._seen = self._seen, {}
        for attempt_id, path in _files(self._directory):
            with suppress(FileNotFoundError):
                self._seen[path.name] = path.stat().st_mtime_ns
            if path.name in before and before[path.name] == self._seen.get(path.name):
                try:
                    file = self.take(attempt_id)
                except OSError as error:
                    # One that cannot be opened keeps nobody else's back.
                    log.error("a dialogue's file cannot be opened: %s", error, extra={"event": "spool.unreadable"})
                    continue
                if file is not None:
                    yield file


def pending(directory: Path, attempt_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these attempts have a dialogue here whose rows are not all in PostgreSQL, or that goes on."""
    return {attempt_id for attempt_id in attempt_ids if (directory / f"{attempt_id}{_ENDING}").exists()}


class Archive:
    """What was stored of finished dialogues, a line each, for a database that must be restored from an old backup."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._prefix = directory, f"{directory}/{_ARCHIVE}"

    def append(self, writes: Writes, today: date) -> None:
        """Writes one dialogue's rows into this process's file of the day. Raises OSError."""
        path = f"{self._prefix}{today}-{os.getpid()}{_ENDING}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, flags, 0o600)
        try:
            _write_line(descriptor, encode(writes), os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def tidy(self, today: date) -> int:
        """Removes files of more than 14 days ago, and says how many. Raises OSError."""
        removed = 0
        for path in archives(self._directory):
            day = path.name.removeprefix(_ARCHIVE)[:10]
            with suppress(ValueError):
                if date.fromisoformat(day) < today - KEPT_ON_HOST:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed


def archives(directory: Path) -> list[Path]:
    """The archive's files, oldest day first."""
    return sorted(directory.glob(f"{_ARCHIVE}*{_ENDING}"))


def read_archive(path: Path) -> Iterator[Writes]:
    """The rows of each dialogue in one file of the archive; a line that is no rows is skipped, and logged."""
    with path.open("rb") as lines:
        yield from _decoded(lines, path.name)


def _write_line(descriptor: int, line: bytes, size: int) -> int:
    """Appends a line to a file of that size, whole or not at all: half a line would spoil the next one."""
    written = os.write(descriptor, line + b"\n")
    if written <= len(line):
        os.ftruncate(descriptor, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return written


def _context(line: bytes) -> dict[str, Any] | None:
    try:
        context = json.loads(line)
    except ValueError:
        return None
    return context if isinstance(context, dict) else None


def _decoded(lines: Iterable[bytes], file: str) -> Iterator[Writes]:
    for line in lines:
        try:
            writes = _WRITES.validate_json(line)
            for event in writes.events:
                event["event_id"] = UUID(event["event_id"])
                event["occurred_at"] = datetime.fromisoformat(event["occurred_at"])
        except (ValidationError, ValueError, KeyError, TypeError):
            log.error("spool_line_unreadable", extra={"file": file, "bytes": len(line)})
        else:
            yield writes


def _files(directory: Path) -> Iterator[tuple[UUID, Path]]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        with suppress(ValueError):
            yield UUID(name.removesuffix(_ENDING)), directory / name


def _lock(descriptor: int) -> bool:
    """Whether the lock is ours now; a descriptor without it is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


def _stands(path: str, descriptor: int) -> bool:
    """Whether an open file is the one at this path; it may have been taken away, and be another dialogue's by now."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
