"""A proxy between the product and a server, TCP or Unix, that can lose what it carries in every known way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Protocol

CHUNK = 1 << 16
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Mode(Enum):
    """What happens to bytes on the way."""

    OPEN = "open"
    HALF_OPEN = "half_open"
    """Both sockets stay, everything is swallowed: what a dead path looks like from both ends."""
    STALL_UP = "stall_up"
    """Nothing is read from the client any more; the server's words still come."""
    STALL_DOWN = "stall_down"


class Tap(Protocol):
    """Sees and may change one link's bytes; it may also cut the link."""

    def to_server(self, data: bytes) -> bytes: ...

    def to_client(self, data: bytes) -> bytes: ...


class Link:
    """One connection of a client, with its own to the server."""

    def __init__(self, role: str, client: Connection, server: Connection | None) -> None:
        self.role = role
        """Who connected, as `Proxy.role_of` says."""
        self._client, self._server = client, server
        self.doomed = False
        """Bytes of it were swallowed, so it can only be cut when the path heals."""

    def cut(self) -> None:
        """Ends both connections at once, with RST where the protocol has one; what is on its way is lost."""
        for side in (self._client, self._server):
            if side is not None:
                with suppress(OSError):
                    found = side[1].get_extra_info("socket")
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side[1].transport.abort()

    def end(self) -> None:
        """Ends both connections in good order (FIN)."""
        for side in (self._client, self._server):
            if side is not None:
                side[1].close()

    async def carry(self, proxy: Proxy, tap: Tap | None) -> None:
        """Carries bytes both ways until either side ends."""
        assert self._server is not None
        ways = [
            asyncio.create_task(
                self._carry(proxy, self._client, self._server, Mode.STALL_UP, tap.to_server if tap else None),
            ),
            asyncio.create_task(
                self._carry(proxy, self._server, self._client, Mode.STALL_DOWN, tap.to_client if tap else None),
            ),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self.end()

    async def _carry(
        self, proxy: Proxy, source: Connection, target: Connection, stall: Mode,
        change: Callable[[bytes], bytes] | None,
    ) -> None:  # fmt: skip
        with suppress(OSError):
            while True:
                await proxy.until_not(self.role, stall)
                data = await source[0].read(CHUNK)
                if not data:
                    return
                await proxy.until_not(self.role, stall)
                if proxy.mode(self.role) is Mode.HALF_OPEN:
                    self.doomed = True
                    continue
                target[1].write(change(data) if change else data)
                await target[1].drain()


class Proxy:
    """Listens in the server's place; faults apply to the links of one role, or to all."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        role_of: Callable[[socket.socket], str] = lambda _client: "client",
        tap: Callable[[Link], Tap] | None = None,
    ) -> None:
        self._connect, self._role_of, self._tap = connect, role_of, tap
        self._modes: dict[str, Mode] = {}
        self._changed = asyncio.Condition()
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None

    async def listen_tcp(self, host: str = "127.0.0.1") -> int:
        """The port that it chose."""
        self._server = await asyncio.start_server(self._serve, host, 0, limit=CHUNK)
        return int(self._server.sockets[0].getsockname()[1])

    async def listen_unix(self, path: Path) -> None:
        """Takes the place of a server's Unix socket."""
        self._server = await asyncio.start_unix_server(self._serve, str(path), limit=CHUNK)

    def close(self) -> None:
        """Stops listening, and cuts what is open."""
        if self._server is not None:
            self._server.close()
        for link in self.links():
            link.cut()

    def links(self, role: str | None = None) -> list[Link]:
        """The open links, of a role or of all."""
        return [link for link in self._links if role in (None, link.role)]

    def mode(self, role: str) -> Mode:
        """What happens to a role's bytes now."""
        return self._modes.get(role, Mode.OPEN)

    async def set_mode(self, role: str, mode: Mode) -> None:
        """Lets a role's bytes pass, stall or vanish from now on; healing cuts the links that lost bytes."""
        self._modes[role] = mode
        if mode is Mode.OPEN:
            for link in self.links(role):
                if link.doomed:
                    link.cut()
        async with self._changed:
            self._changed.notify_all()

    async def until_not(self, role: str, mode: Mode) -> None:
        """Returns when the role is not in that mode."""
        if self.mode(role) is mode:
            async with self._changed:
                await self._changed.wait_for(lambda: self.mode(role) is not mode)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        role = self._role_of(writer.get_extra_info("socket"))
        if self.mode(role) is Mode.HALF_OPEN:
            # The path is dead for who comes now too: nobody ever answers.
            await self._never_answer(Link(role, (reader, writer), None))
            return
        try:
            server = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        link = Link(role, (reader, writer), server)
        self._links.add(link)
        try:
            await link.carry(self, self._tap(link) if self._tap else None)
        finally:
            self._links.discard(link)

    async def _never_answer(self, link: Link) -> None:
        self._links.add(link)
        try:
            await self.until_not(link.role, Mode.HALF_OPEN)
        finally:
            self._links.discard(link)
            link.cut()
