"""A scripted Asterisk manager on loopback, for what a real one cannot be made to do on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from uuid import UUID

from dialer.ami.link import AmiLink
from dialer.calls.order import Order
from dialer.clock import SystemClock

Action = dict[str, str]
Answer = Callable[["FakeAmi", Action], Awaitable[None] | None]

ORDER = Order(
    attempt_id=UUID(int=7), number="+48501234567", trunk="carrier-a", caller_id="+48221234567", ring_s=20
)  # fmt: skip
now = SystemClock().now


class FakeAmi:
    """Logs in whoever knows the secret, records every action, answers as the test says."""

    def __init__(
        self,
        on_action: Answer | None = None,
        secret: str = "secret",
        login_error: str = "",
        refused: Collection[str] = (),
    ) -> None:
        self.actions: list[Action] = []
        self.connections = 0
        self.boot = ""
        self.arrived = asyncio.Condition()
        self._on_action = on_action
        self._secret, self.login_error, self.refused = secret, login_error, set(refused)
        self._writer: asyncio.StreamWriter | None = None

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Listens; gives the port."""
        self._server = await asyncio.start_server(self._session, "127.0.0.1", 0)
        try:
            yield self._server.sockets[0].getsockname()[1]
        finally:
            self._server.close()
            self.drop()

    def write(self, data: bytes) -> None:
        """Sends bytes as they are."""
        assert self._writer is not None
        self._writer.write(data)

    def answer(self, action: Action, response: str = "Success", message: str = "") -> None:
        """Answers an action."""
        self.write(f"Response: {response}\r\nActionID: {action['ActionID']}\r\nMessage: {message}\r\n\r\n".encode())

    def event(self, text: str) -> None:
        """Sends an event written as `Name; Key=value; …`."""
        name, *rest = [part.strip() for part in text.split(";")]
        lines = [f"Event: {name}", *(part.replace("=", ": ", 1) for part in rest)]
        self.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    def drop(self) -> None:
        """Cuts the connection."""
        if self._writer is not None:
            self._writer.transport.abort()

    def count(self, name: str) -> int:
        """How many actions of a name arrived, over all connections."""
        return sum(1 for action in self.actions if action["Action"].lower() == name.lower())

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until something arrived that makes the condition true."""
        async with self.arrived:
            await asyncio.wait_for(self.arrived.wait_for(condition), 10)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.connections += 1
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        try:
            while True:
                raw = await reader.readuntil(b"\r\n\r\n")
                action = dict(line.split(": ", 1) for line in raw.decode().strip().split("\r\n"))
                self.actions.append(action)
                await self._react(action)
                async with self.arrived:
                    self.arrived.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _react(self, action: Action) -> None:
        if action["Action"] == "Login":
            good = action["Secret"] == self._secret and not self.login_error
            self.answer(action, "Success" if good else "Error", self.login_error or "Authentication failed")
            if good:
                self.event("FullyBooted; Status=Fully Booted; Uptime=5")
        elif action["Action"] in self.refused:
            self.answer(action, "Error", "Permission denied")
        elif action["Action"] == "Ping":
            self.answer(action)
        elif action["Action"] in ("Getvar", "Setvar"):
            self.boot = action.get("Value", self.boot)
            self.write(
                f"Response: Success\r\nActionID: {action['ActionID']}\r\nVariable: {action['Variable']}\r\n"
                f"Value: {self.boot}\r\n\r\n".encode()
            )
        elif self._on_action is not None:
            done = self._on_action(self, action)
            if done is not None:
                await done


def link_to(port: int, secret: str = "secret") -> AmiLink:
    """A link that knows no way to end other sessions."""
    return AmiLink("127.0.0.1", port, "dialer", secret, now)


async def next_named(link: AmiLink, name: str) -> dict[str, object]:
    """The next event of that name."""
    while True:
        _, event = await asyncio.wait_for(link.events.get(), 5)
        if event.get("event") == name:
            return event
