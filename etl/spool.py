"""Records on this host's disk for as long as PostgreSQL is away: each behind its length and CRC, on the disk on return.

Files are `<number>.spool`, replayed from the lowest on. A record that was being written when the machine stopped was
never acknowledged: reading ends there. The directory is one process's, by a lock that the kernel gives back.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct

from dialer.errors import DialerError

FILE_BYTES = 64 * 2**20
_ENDING, _ASIDE = ".spool", ".torn"
_HEAD = Struct(">II")
_FULL = 0.9
"""Of the quota; a record that is being written when it is reached still fits."""


class Spool:
    """The directory. Methods block, and raise OSError."""

    def __init__(self, directory: Path, most_bytes: int) -> None:
        """Takes the directory. Raises DialerError when another process has it, or it cannot be made."""
        self._directory, self._most = directory, most_bytes
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sync(directory.parent)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DialerError(f"{directory} cannot be used: {error.strerror}. Correct `state_dir`.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise DialerError(f"another collector uses {directory}: stop it, or give this one its state_dir") from error
        sizes = [path.stat().st_size for path in self._files()]
        self._total = sum(sizes)
        # Those put aside count: the next one must not take the place of one.
        there = [*self._files(), *directory.glob(f"*{_ASIDE}")]
        self._number = max((int(path.stem) for path in there), default=0)
        self._descriptor, self._size = -1, 0
        self._turn = threading.Lock()

    @property
    def size(self) -> int:
        """What is there."""
        return self._total

    @property
    def full(self) -> bool:
        """Whether it takes no more."""
        return self._total >= self._most * _FULL

    def append(self, records: Sequence[bytes]) -> None:
        """Adds records, all or none; they are on the disk when it returns."""
        with self._turn:
            if self.full:
                raise OSError(errno.EDQUOT, "the spool is full")
            if self._descriptor < 0:
                self._open()
            data = b"".join(_HEAD.pack(len(record), zlib.crc32(record)) + record for record in records)
            try:
                _write_all(self._descriptor, data)
                os.fdatasync(self._descriptor)
            except OSError:
                # What is there of them must not stand before the next ones; at a file's end it harms nobody.
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                self._end()
                raise
            self._size += len(data)
            self._total += len(data)
            if self._size >= FILE_BYTES:
                self._end()

    def sealed(self) -> list[Path]:
        """The files that nothing more is added to, oldest first: all that is there at this moment."""
        with self._turn:
            self._end()
            return self._files()

    def remove(self, path: Path) -> None:
        """Forgets a file whose records are all stored elsewhere."""
        with self._turn:
            size = path.stat().st_size
            path.unlink()
            self._total -= size

    def put_aside(self, path: Path) -> None:
        """Keeps a file with a torn end out of the way; what was whole in it is stored elsewhere."""
        with self._turn:
            size = path.stat().st_size
            path.rename(path.with_suffix(_ASIDE))
            self._total -= size

    def close(self) -> None:
        """Gives the directory away; its files stay for the next process."""
        with self._turn:
            self._end()
            os.close(self._lock)

    def _open(self) -> None:
        self._number += 1
        path = self._directory / f"{self._number:012}{_ENDING}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _sync(self._directory)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor, self._size = descriptor, 0

    def _end(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob(f"*{_ENDING}"), key=lambda path: int(path.stem))


class Torn(Exception):
    """A file ends in what is no record: the machine stopped while it was written, or the disk is damaged."""


def records(path: Path) -> Iterator[bytes]:
    """The whole records of a file, in their order. Raises Torn behind the last one, if more is there."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (size, 0)
            record = file.read(length) if at + length < size else b""
            if len(record) < length or not record or zlib.crc32(record) != checksum:
                raise Torn(f"{path.name} from byte {at} on, of {size}")
            yield record
            at += _HEAD.size + length


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
