"""A bare AMI client for the lab's own tests: the product's engine must not be what proves the lab."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from dialer.lab.topology import ami_use
from dialer.lab.up import Lab
from dialer.secret_file import read_secret

Value = TypeVar("Value")

_LOUD, _SOFT = b"\xaa", b"\x2a"
"""Two A-law samples of opposite sign."""


def sound(path: Path, *parts: tuple[str, float]) -> str:
    """Writes an A-law recording of ("tone" | "silence", seconds) parts; returns its name as Playback wants it."""
    period = _LOUD * 10 + _SOFT * 10
    data = b"".join(
        (period if kind == "tone" else b"\xd5" * 20) * round(seconds * 8000 / 20) for kind, seconds in parts
    )
    path.write_bytes(data)
    path.chmod(0o644)
    return str(path.with_suffix(""))


class Ami:
    """One AMI session; every answer and event is kept in the order it came."""

    def __init__(self, lab: Lab, user: str = "dialer", node: str = "node-1") -> None:
        self._connection = socket.create_connection(("127.0.0.1", lab.ports[ami_use(node)]), timeout=10)
        self._file = self._connection.makefile("r", encoding="utf-8", newline="\r\n")
        self._file.readline()
        self.greeting = self.act("Login", Username=user, Secret=read_secret(lab.places.secrets / f"ami-{user}"))

    def act(self, action: str, **headers: str) -> dict[str, str]:
        """Sends an action and returns its response, skipping events."""
        lines = [f"Action: {action}", *(f"{key}: {value}" for key, value in headers.items())]
        self._connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return self.wait(lambda message: "Event" not in message)

    def wait(self, wanted: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The next message of that kind."""
        while True:
            message = self._message()
            if wanted(message):
                return message

    def _message(self) -> dict[str, str]:
        message: dict[str, str] = {}
        while line := self._file.readline():
            if line == "\r\n":
                return message
            key, _, value = line.rstrip("\r\n").partition(": ")
            message[key] = value
        raise ConnectionError("Asterisk closed the AMI session")

    def record(self, heard: bytearray) -> None:
        """Appends everything that Asterisk says, until the session is closed from another thread."""
        self._connection.settimeout(None)
        while data := self._connection.recv(1 << 16):
            heard += data

    def close(self) -> None:
        with suppress(OSError):  # Asterisk may have closed it
            self._connection.shutdown(socket.SHUT_RDWR)
        self._file.close()
        self._connection.close()


@contextmanager
def ami(lab: Lab, user: str = "dialer", node: str = "node-1") -> Iterator[Ami]:
    """A logged-in AMI session for the length of a with-block."""
    session = Ami(lab, user, node)
    try:
        yield session
    finally:
        session.close()


def until(look: Callable[[], Value | None], what: str, within_s: float = 10) -> Value:
    """Looks again and again until there is something; fails with `what` when there never is."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s} s: {what}")
