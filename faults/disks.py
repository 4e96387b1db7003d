"""Small disks for the parts that write (tmpfs), so that each can be filled up and freed again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dialer.lab.places import Places, make_private

BALLAST = "ballast"
MEGABYTE = 1 << 20
SIZES_MB = {"postgres": 400, "cel": 64, "journal": 24, "spool": 24}
"""Enough for a run, and quickly filled. The engine starts no call with less than 8 MB free."""


def disks_of(where: Places) -> dict[str, Path]:
    """Where the disks are mounted, by what is written there."""
    return {
        "postgres": where.postgres,
        "cel": where.node / "log",
        "journal": where.state / "journal",
        "spool": where.state / "spool",
    }


@contextmanager
def small_disks(where: Places) -> Iterator[bool]:
    """Mounts them before the lab comes up; False when this user may not mount. To be left before the lab goes down."""
    if os.geteuid() != 0:
        yield False
        return
    unmount(where)
    where.runtime.parent.mkdir(parents=True, exist_ok=True)
    make_private(where.runtime)
    try:
        for name, directory in disks_of(where).items():
            directory.mkdir(parents=True, exist_ok=True)
            _run("mount", "-t", "tmpfs", "-o", f"size={SIZES_MB[name]}m,mode=755", "tmpfs", str(directory))
        yield True
    finally:
        unmount(where)


def unmount(where: Places) -> None:
    """Takes away what is mounted below a lab's directory, also what a killed run left there."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="ascii").splitlines()]
    for place in sorted((one for one in mounted if one.startswith(f"{where.runtime}/")), reverse=True):
        # Lazy: a process on its way out may still hold a file of it.
        _run("umount", "--lazy", place)


def fill(directory: Path) -> None:
    """Takes all the space that is left."""
    free = shutil.disk_usage(directory).free
    with (directory / BALLAST).open("ab") as file, suppress(OSError):
        while free > 0:
            # Asked for at once, a size that another writer has just made too large would take nothing.
            size = max(4096, min(free, MEGABYTE))
            os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
            free = shutil.disk_usage(directory).free


def free(directory: Path) -> None:
    """Gives it back."""
    (directory / BALLAST).unlink(missing_ok=True)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
