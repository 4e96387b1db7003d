"""Free ports for a lab: probed by binding them, never one that another lab of this machine has taken."""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from dialer.errors import LabError

RANGE = range(6100, 9900)
"""Below what Linux gives to outgoing connections (32768 and up) and below the labs' RTP ports."""
PLAN = "ports.json"
"""In a lab's runtime directory: the ports it took, by use, also those that nobody listens on yet."""


@contextmanager
def machine_lock() -> Iterator[None]:
    """One lab of this machine at a time starts or ends, so that no two see the same port free."""
    path = Path(tempfile.gettempdir()) / "dialer-lab.lock"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Reading is enough for flock, so that other users' labs can lock the same file.
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def choose(uses: Sequence[str]) -> dict[str, int]:
    """A port for each use, free on 127.0.0.1 for TCP and UDP. To be called under `machine_lock`."""
    taken = set(_taken())
    chosen: dict[str, int] = {}
    with ExitStack() as held:
        for port in random.sample(RANGE, len(RANGE)):
            if len(chosen) == len(uses):
                break
            if port not in taken and _bind(port, held):
                chosen[uses[len(chosen)]] = port
    if len(chosen) < len(uses):
        raise LabError(f"no {len(uses)} free ports between {RANGE.start} and {RANGE.stop}. End what holds them.")
    return chosen


def _bind(port: int, held: ExitStack) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        probe = held.enter_context(socket.socket(socket.AF_INET, kind))
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _taken() -> Iterator[int]:
    for file in Path(tempfile.gettempdir()).glob(f"dialer-lab-*/{PLAN}"):
        with suppress(OSError, ValueError, AttributeError):
            yield from json.loads(file.read_text(encoding="utf-8")).values()
