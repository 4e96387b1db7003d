"""Where a report goes: a file that appears when it is whole, a device, or standard output."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from dialer.errors import DialerError


@contextmanager
def opened(target: str, *, named: bool = False) -> Iterator[IO[bytes]]:
    """A binary file to write into; `-` is standard output. Raises DialerError when it cannot be written.

    A new file is readable by its owner alone, because it holds what people answered; one that is replaced keeps its
    mode. Devices and pipes are written to, never replaced. `named`: its `name` is where the bytes must go.
    """
    if target == "-":
        out: BinaryIO = sys.stdout.buffer
        try:
            yield out
            out.flush()
        except BrokenPipeError:
            # Who reads has seen enough (`| head`). What is left in the buffer must go somewhere as Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    path = Path(target)
    try:
        if path.exists() and not path.is_file() and not named:
            with path.open("wb", buffering=0) as device:
                yield device
        else:
            with _replaced(path.resolve()) as file:
                yield file
    except OSError as error:
        raise cannot_write(target, f"{error.strerror}. Free some space, or name another place.") from error


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
