"""The bytes of one FastAGI connection: text up to an end mark in, commands out; lighter than asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT = 64 * 1024
"""Asterisk's longest header and reply are a few KiB; who sends more is somebody else."""


class Line(asyncio.Protocol):
    """One connection; `accept` gets it as soon as it stands."""

    def __init__(self, accept: Callable[[Line], None]) -> None:
        self._accept = accept
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._ended = self._paused = False

    async def until(self, end: bytes) -> bytes:
        """What comes before the next end mark. Raises ConnectionError when nothing more comes, ValueError at 64 KiB."""
        while (at := self._buffer.find(end)) < 0:
            if len(self._buffer) > LIMIT:
                raise ValueError(f"no {end!r} in {LIMIT} bytes")
            if self._ended:
                raise ConnectionResetError
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        found = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        if self._paused and len(self._buffer) <= LIMIT and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return found

    def write(self, data: bytes) -> None:
        """Sends something short. Raises ConnectionError when nobody would get it."""
        if self._transport.is_closing():
            raise ConnectionResetError
        self._transport.write(data)

    def close(self) -> None:
        """Ends the connection when all is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Ends the connection now."""
        self._transport.abort()

    # -- asyncio.Protocol --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > LIMIT and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        # What is being written still goes out.
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
