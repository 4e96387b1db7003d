"""Finds out in which encoding a text file is written, from its bytes as they go by.

UTF-16 shows by its mark or its zero bytes, UTF-8 by sequences that nothing else has. Windows-1250 and 1252 use the same
bytes for different letters: the country tells, else which of the two reads more of them as letters.
"""

from __future__ import annotations

from collections import Counter

CODECS = {
    "utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1250": "cp1250", "windows-1252": "cp1252",
    "iso-8859-1": "iso-8859-1", "iso-8859-2": "iso-8859-2",
}  # fmt: skip
"""The names of the campaign file, and Python's; a byte order mark is never part of the text."""
NAMES = {codec: name for name, codec in CODECS.items()} | {"utf-16-le": "utf-16", "utf-16-be": "utf-16"}

_ENOUGH_LINES = 20_000
_HEAD = 4096
_CENTRAL_EUROPE = {"PL", "CZ", "SK", "HU", "SI", "HR", "BA", "RS", "ME", "RO", "AL"}
"""Where a PC's plain text is windows-1250."""


class Survey:
    """What the bytes of a file show; `add` takes them block after block."""

    def __init__(self) -> None:
        self._head = b""
        self._rest = b""
        self._bytes = Counter[int]()
        self.utf8_lines = 0
        """Lines with letters beyond ASCII that are UTF-8."""
        self.other_lines = 0
        """Such lines that are not."""

    def add(self, block: bytes) -> None:
        """The next bytes."""
        if len(self._head) < _HEAD:
            self._head += block[: _HEAD - len(self._head)]
        if self.utf8_lines + self.other_lines >= _ENOUGH_LINES or self.is_utf16():
            return
        # A block may end in the middle of a letter: what follows its last line break waits for the next one.
        whole, line_break, rest = block.replace(b"\r", b"\n").rpartition(b"\n")
        if line_break:
            self._lines(self._rest + whole)
            self._rest = rest
        else:
            self._rest += rest
            # No row is so long; each of its bytes would else be copied with every block.
            if len(self._rest) > 1 << 20:
                self._rest = b""

    def _lines(self, text: bytes) -> None:
        if text.isascii():
            return
        for line in text.split(b"\n"):
            if not line.isascii():
                self._bytes.update(line)
                try:
                    line.decode("utf-8")
                    self.utf8_lines += 1
                except UnicodeDecodeError:
                    self.other_lines += 1

    def is_utf16(self) -> bool:
        """Whether the beginning is UTF-16, with its mark or without."""
        return self._utf16() is not None

    def _utf16(self) -> str | None:
        head = self._head
        if head.startswith((b"\xff\xfe", b"\xfe\xff")):
            return "utf-16"
        pairs = len(head) // 2
        # Every second byte of Latin text in UTF-16 is zero; no other text has many.
        if pairs >= 4 and head[1::2].count(0) > pairs * 0.7 and head[0::2].count(0) < pairs * 0.3:
            return "utf-16-le"
        if pairs >= 4 and head[0::2].count(0) > pairs * 0.7 and head[1::2].count(0) < pairs * 0.3:
            return "utf-16-be"
        return None

    def codec(self, region: str | None) -> str:
        """Python's name of the encoding that fits best. `region` is the country that the list is of."""
        found = self._utf16()
        if found is not None:
            return found
        self._lines(self._rest)
        self._rest = b""
        if self._head.startswith(b"\xef\xbb\xbf") or self.utf8_lines >= self.other_lines:
            return "utf-8-sig"
        if region is not None:
            return "cp1250" if region in _CENTRAL_EUROPE else "cp1252"
        return "cp1250" if self._letters("cp1250") > self._letters("cp1252") else "cp1252"

    def _letters(self, codec: str) -> int:
        """How many of the bytes beyond ASCII are letters in an encoding."""
        return sum(
            count
            for byte, count in self._bytes.items()
            if byte >= 0x80 and bytes((byte,)).decode(codec, errors="replace").isalpha()
        )
