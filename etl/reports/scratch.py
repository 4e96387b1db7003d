"""Where reports spill: a folder each, that goes with its report, or with the next one when its process was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A new folder in that one. Removes those whose processes have ended: what people answered must not stay there.

    A process holds the lock of its folder while it lives; while it makes one, that of all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    all_of_them = _locked(folder)
    try:
        for left in folder.iterdir():
            _remove_dead(left)
        own = Path(mkdtemp(prefix="report-", dir=folder))
        held = _locked(own)
    finally:
        os.close(all_of_them)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        os.close(held)


def _locked(folder: Path, how: int = fcntl.LOCK_EX) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_dead(folder: Path) -> None:
    try:
        held = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # It is alive, or has just gone.
        return
    shutil.rmtree(folder, ignore_errors=True)
    os.close(held)
