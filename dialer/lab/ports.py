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
PLAN = "plan.json"
"""In a lab's runtime directory: how many nodes and carriers it has, and the ports it took, in use or not yet."""


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
    """A port for each use, free on this machine for TCP and UDP. To be called under `machine_lock`."""
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


def first_outgoing() -> int:
    """The lowest port that Linux gives to outgoing connections (ip(7), ip_local_port_range)."""
    return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])


def _bind(port: int, held: ExitStack) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        probe = held.enter_context(socket.socket(socket.AF_INET, kind))
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def _taken() -> Iterator[int]:
    for file in Path(tempfile.gettempdir()).glob(f"dialer-lab-*/{PLAN}"):
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            yield from json.loads(file.read_text(encoding="utf-8"))["ports"].values()
