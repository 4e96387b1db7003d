"""One call's FastAGI connection: commands out, replies in, strictly one after the other.

The protocol is that of res_agi.c (Asterisk 22): a line a command; `200 result=…`, `510`, `511` or a `520` block as
the reply; `HANGUP` at any moment, which is no reply.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from agi.line import Line
from agi.ports import CallerHungUp, EndedBy, PhoneBroken, Pressed, SoundMissing

HEADER_TIMEOUT_S = 5.0
MAX_COMMAND_BYTES = 2000
"""Asterisk 16 to 20 cut a command at 2047 bytes (AGI_BUF_LEN)."""
_MAX_STRAY_LINES = 100
_CHANNEL_UP = "6"

_REPLY = re.compile(r"(\d{3})([ -])(.*)", re.DOTALL)
_RESULT = re.compile(r"result=([^ (]*) ?(?:\((.*)\))?(.*)", re.DOTALL)
_KEYS = re.compile(r"[0-9*A-D]*")
_BREAKS = re.compile(r"[\r\n\0]")
_ENDPOS = re.compile(r"endpos=(\d+)")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """A `200` reply: `result=`, what stands in parentheses, and the rest."""

    result: str
    note: str = ""
    rest: str = ""


async def read_headers(line: Line) -> dict[str, str] | None:
    """The `agi_…` lines up to the blank one; None when what comes is no AGI request, or not in 5 s and 64 KiB."""
    try:
        async with asyncio.timeout(HEADER_TIMEOUT_S):
            raw = await line.until(b"\n\n")
    except (TimeoutError, ValueError, OSError):
        return None
    headers = {}
    for text in raw.decode(errors="replace").splitlines():
        name, colon, value = text.partition(":")
        if colon and name.startswith("agi_"):
            headers[name] = value.strip()
    return headers or None


def quote(value: str) -> str:
    """An argument in AGI's quotes. Raises ValueError for what would end the line and begin another command."""
    if _BREAKS.search(value):
        raise ValueError("an AGI argument cannot hold a line break or NUL")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class Session:
    """The phone of a dialogue (agi.ports.Phone)."""

    def __init__(self, line: Line, on_prompt: Callable[[], None] = lambda: None) -> None:
        """`on_prompt` is called as each prompt is begun."""
        self._line, self._on_prompt = line, on_prompt
        self._turn = asyncio.Lock()
        self.hung_up = False

    # -- commands --

    async def play(self, sound: str) -> None:
        """STREAM FILE, not to be interrupted by keys."""
        self._on_prompt()
        reply = await self._alive(f'STREAM FILE {quote(sound)} ""')
        endpos = _ENDPOS.search(reply.rest)
        if reply.result == "-1":
            await self._tell_hangup_from_missing(sound)
        if endpos is None or endpos[1] == "0":
            # A file that cannot be opened is "played" to its beginning: result=0 endpos=0.
            await self._tell_hangup_from_missing(sound)

    async def ask(self, sound: str, max_digits: int, timeout_s: float) -> Pressed:
        """GET DATA: plays until the first key, then reads up to `max_digits`, with `timeout_s` for each."""
        self._on_prompt()
        reply = await self._alive(f"GET DATA {quote(sound)} {int(timeout_s * 1000)} {max_digits}")
        if reply.result == "-1":
            await self._tell_hangup_from_missing(sound)
        if not _KEYS.fullmatch(reply.result):
            raise PhoneBroken(f"GET DATA gave {reply.result!r}")
        if reply.note == "timeout":
            ended_by = EndedBy.TIMEOUT
        else:
            ended_by = EndedBy.FULL if len(reply.result) >= max_digits else EndedBy.HASH
        return Pressed(digits=reply.result, ended_by=ended_by)

    async def limit(self, seconds: int) -> None:
        """SET AUTOHANGUP."""
        await self._alive(f"SET AUTOHANGUP {seconds}")

    async def set_variable(self, name: str, value: str) -> None:
        """SET VARIABLE; works after a hangup too."""
        await self._command(f"SET VARIABLE {name} {quote(value)}")

    async def _tell_hangup_from_missing(self, sound: str) -> None:
        # After a hangup, HANGUP comes before the reply to whatever is sent next (res_agi.c, run_agi).
        status = await self._alive("CHANNEL STATUS")
        if status.result != _CHANNEL_UP:
            raise CallerHungUp
        raise SoundMissing(f"Asterisk cannot play {sound}")

    # -- wire --

    async def _alive(self, line: str) -> Reply:
        """One command that makes sense only while the person is there. Raises CallerHungUp."""
        if self.hung_up:
            raise CallerHungUp
        reply = await self._command(line)
        if self.hung_up:
            raise CallerHungUp
        return reply

    async def _command(self, line: str) -> Reply:
        data = line.encode() + b"\n"
        if len(data) > MAX_COMMAND_BYTES or b"\n" in data[:-1]:
            raise PhoneBroken(f"a command of {len(data)} bytes cannot be sent")
        async with self._turn:
            try:
                self._line.write(data)
                return await self._reply()
            except OSError as error:
                self.hung_up = True
                raise CallerHungUp("connection_lost") from error
            except ValueError as error:
                raise PhoneBroken("Asterisk sent a line without an end") from error

    async def _reply(self) -> Reply:
        for _ in range(_MAX_STRAY_LINES):
            line = await self._next()
            if line == "HANGUP":
                self.hung_up = True
                continue
            match = _REPLY.fullmatch(line)
            if match is None:
                raise PhoneBroken(f"no AGI reply: {line[:80]!r}")
            code, more, text = match.groups()
            if code == "100":
                continue
            if code == "520" and more == "-":
                await self._usage()
            return self._read(code, text)
        raise PhoneBroken("no reply among many lines")

    def _read(self, code: str, text: str) -> Reply:
        if code == "511":
            self.hung_up = True
            raise CallerHungUp
        result = _RESULT.fullmatch(text) if code == "200" else None
        if result is None:
            raise PhoneBroken(f"Asterisk refused a command: {code} {text[:80]}")
        return Reply(result=result[1], note=result[2] or "", rest=result[3].strip())

    async def _usage(self) -> None:
        for _ in range(_MAX_STRAY_LINES):
            if (await self._next()).startswith("520 End"):
                return
        raise PhoneBroken("a usage text without an end")

    async def _next(self) -> str:
        return (await self._line.until(b"\n")).decode(errors="replace").rstrip("\r\n")
