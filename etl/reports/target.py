"""Where a report goes: a file that appears when it is whole, a device, or standard output."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from dialer.errors import DialerError


def checked(target: str, *, named: bool = False) -> None:
    """Tells before the work what would end it: no such folder, no file. Raises DialerError.

    `named`: the bytes are written by name and out of order, so that neither a device nor a pipe can take them.
    """
    if target == "-":
        if named:
            raise cannot_write("standard output", "this form is no stream; name a file.")
        return
    path = Path(target)
    folder = path.resolve().parent
    if path.is_dir():
        raise cannot_write(target, "it is a folder. Name a file in it.")
    if not folder.is_dir():
        raise cannot_write(target, f"there is no folder {folder}. Make it, or name another place.")
    if named and path.exists() and not path.is_file():
        raise cannot_write(target, "this form is no stream; name a file.")


@contextmanager
def opened(target: str, *, named: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write into; `-` is standard output. Raises DialerError when it cannot be written.

    A new file is readable by its owner alone, because it holds what people answered; one that is replaced keeps its
    mode. Devices and pipes are written to, never replaced. `named`: its `name` is where the bytes must go.
    """
    checked(target, named=named)
    if target == "-":
        with _standard_output() as out:
            yield out
        return
    path = Path(target)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb", buffering=0) as device:
                yield device
        else:
            with _replaced(path.resolve()) as file:
                yield file
    except OSError as error:
        raise _refused(target, error) from error


@contextmanager
def _standard_output() -> Iterator[BinaryIO]:
    out: BinaryIO = sys.stdout.buffer
    try:
        yield out
        out.flush()
    except OSError as error:
        # What is left in the buffer must go somewhere as Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # Who reads may have seen enough (`| head`).
        if not isinstance(error, BrokenPipeError):
            raise _refused("standard output", error) from error


def _refused(target: str, error: OSError) -> DialerError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return cannot_write(target, f"{error.strerror}. {'Free some space, or name' if full else 'Name'} another place.")


def cannot_write(target: str, why: str) -> DialerError:
    """The error for a place that takes no report."""
    return DialerError(f"cannot write {target}: {why}")


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
