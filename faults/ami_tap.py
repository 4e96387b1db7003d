"""Spoils what Asterisk's manager says on its way to the engine: junk, doubles, swapped neighbours, endless lines."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from enum import Enum

_END = b"\r\n\r\n"
_CHANNEL = re.compile(rb"^Uniqueid: (.*)\r?$", re.MULTILINE)

LONG_LINE = 1 << 16
JUNK = (
    b"\x00\xff\xfe\x80 this is no header" + _END,
    b"Event: Hangup\r\nUniqueid: d-00000000-0000-4000-8000-000000000000\r\nCause: many" + _END,
    b"Event: Hang" + _END,
    b"Response: Success\r\nActionID: nobody-asked\r\nMessage: Originate successfully queued" + _END,
    b"no colon at all\r\n: no name\r\n",
    b"\r\n",
)


class Dirt(Enum):
    """What is done to the messages."""

    GARBAGE = "garbage"
    DOUBLED = "doubled"
    REORDERED = "reordered"
    LONG_LINE = "long_line"


@dataclass
class Spoiler:
    """What is wanted now, for every link; None leaves all as it is."""

    rng: random.Random
    dirt: Dirt | None = None
    done: int = 0


class AmiTap:
    """One link's messages, whole, in their order."""

    def __init__(self, spoiler: Spoiler) -> None:
        self._spoiler = spoiler
        self._buffer = b""
        self._held: bytes | None = None

    def to_server(self, data: bytes) -> bytes:
        """What the engine says is never touched."""
        return data

    def to_client(self, data: bytes) -> bytes:
        """The messages as they are wanted; half a message waits for its end."""
        self._buffer += data
        *messages, self._buffer = self._buffer.split(_END)
        passed = b"".join(self._spoil(message + _END) for message in messages)
        if not messages and b"Asterisk Call Manager" in self._buffer and self._buffer.endswith(b"\r\n"):
            # The greeting is a line of its own, and the login waits for it.
            passed, self._buffer = self._buffer, b""
        return passed

    def _spoil(self, message: bytes) -> bytes:
        if self._held is not None:
            held, self._held = self._held, None
            return message + held if _channel(message) != _channel(held) else held + message
        spoiler = self._spoiler
        is_event = message.startswith(b"Event:")
        if spoiler.dirt is None or spoiler.rng.random() > 0.5:
            return message
        spoiler.done += 1
        match spoiler.dirt:
            case Dirt.DOUBLED if is_event:
                return message * 2
            case Dirt.REORDERED if is_event:
                self._held = message
                return b""
            case Dirt.GARBAGE:
                return spoiler.rng.choice(JUNK) + message
            case Dirt.LONG_LINE:
                return b"Event: Newstate\r\nUniqueid: " + b"x" * LONG_LINE + _END + message
        return message


def _channel(message: bytes) -> bytes:
    found = _CHANNEL.search(message)
    return found[1] if found else b""
