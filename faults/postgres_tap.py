"""Reads PostgreSQL's protocol so far as to cut a link around a COMMIT (PostgreSQL manual, 55.7, message formats)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from faults.proxy import Link

_ENCRYPTION_ASKED = {80877103, 80877104}
"""SSLRequest and GSSENCRequest: the start-up message comes after them."""


class Around(Enum):
    """On which side of the COMMIT the link is cut."""

    BEFORE = "before"
    """The server never hears of it: nothing is stored."""
    AFTER = "after"
    """The server has committed; the client never hears of it."""


@dataclass
class CommitCuts:
    """The cuts that are asked for, by role; each is taken once."""

    asked: dict[str, Around] = field(default_factory=dict)
    taken: int = 0

    def take(self, role: str) -> Around | None:
        """The role's cut, if one is asked for."""
        found = self.asked.pop(role, None)
        self.taken += found is not None
        return found


class PostgresTap:
    """One link's messages, looked at on their way."""

    def __init__(self, link: Link, cuts: CommitCuts) -> None:
        self._link, self._cuts = link, cuts
        self._buffer = b""
        self._typed = False
        self._cut_on_answer = False

    def to_server(self, data: bytes) -> bytes:
        """What goes on to the server."""
        self._buffer += data
        passed = b""
        while (message := self._next()) is not None:
            if self._is_commit(message):
                match self._cuts.take(self._link.role):
                    case Around.BEFORE:
                        self._link.cut()
                        return b""
                    case Around.AFTER:
                        self._cut_on_answer = True
            passed += message
        return passed

    def to_client(self, data: bytes) -> bytes:
        """What goes on to the client: not the answer to a COMMIT that is to look lost."""
        if self._cut_on_answer:
            self._link.cut()
            return b""
        return data

    def _next(self) -> bytes | None:
        """The next whole message of the client."""
        head = 1 if self._typed else 0
        if len(self._buffer) < head + 4:
            return None
        length = head + struct.unpack_from("!I", self._buffer, head)[0]
        if len(self._buffer) < length:
            return None
        message, self._buffer = self._buffer[:length], self._buffer[length:]
        if not self._typed:
            self._typed = struct.unpack_from("!I", message, 4)[0] not in _ENCRYPTION_ASKED
        return message

    def _is_commit(self, message: bytes) -> bool:
        if self._link.role == "worker":
            # Its one statement for all rows commits by itself: here they are bound to it (dialer.storage.dialogues).
            return message[:1] == b"B" and b'[{"tries":' in message
        # psycopg commits with a simple query.
        return message[:1] == b"Q" and message[5:11].upper() == b"COMMIT"


def role_of(client: socket.socket) -> str:
    """`engine`, `worker` or `other`: by the command line of the process at the other end of a Unix socket."""
    pid = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "other"
    if b"agi.worker" in arguments:
        return "worker"
    return "engine" if b"run" in arguments else "other"
