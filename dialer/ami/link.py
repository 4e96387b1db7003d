"""One guarded AMI session over panoramisk: nothing is ever sent twice, nothing waits for ever, no event is lost by us.

What panoramisk 1.4 does by itself, and why this wrapper takes it away (each has a regression test):
it sends unanswered actions again after a reconnect, queues actions while the link is down, leaves futures without an
end, drops the link when a callback raises, loses characters at packet edges, writes CR and LF as they come, never
notices a half-open connection, and goes on trying a refused password.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import uuid4

from panoramisk.message import Message

from dialer import crash_points, names
from dialer.ami.protocol import Everything, GuardedManager, GuardedProtocol
from dialer.errors import AsteriskAway

log = logging.getLogger(__name__)

Headers = dict[str, str | list[str]]
"""A message's headers with lower-case names."""

MAX_LINE = 1023
"""Asterisk cuts longer lines (manager.c, inbuf[1025])."""
ANSWER_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0
BOOT_TIMEOUT_S = 30.0
PING_EVERY_S = 5.0
QUEUE_LENGTH = 100_000


class LinkLost(Exception):
    """The link went down before Asterisk answered: what was sent may have been done."""


class NotSent(LinkLost):
    """The link is down and nothing was sent: what was asked was certainly not done."""


class _InUse(AsteriskAway):
    """Another session holds the login."""


class LinkState(Enum):
    """Whether actions may be sent."""

    DOWN = "down"
    UP = "up"
    REFUSED = "refused"
    """The login was refused for good; a person must mend the settings."""


class AmiLink:
    """A session with one node's AMI that is kept up; `events` holds what Asterisk says, in its order."""

    def __init__(
        self,
        host: str,
        port: int,
        username: str,
        secret: str,
        now: Callable[[], datetime],
        kick: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """`kick` ends the session that holds our login; true when the login may be tried again. It is for the one
        who holds the node's lease: two engines that kick each other would both dial."""
        self.state = LinkState.DOWN
        self.refusal = ""
        self.boot = ""
        """Which start of the Asterisk process the session is with; empty while there is no session."""
        self.events: asyncio.Queue[tuple[datetime, Headers]] = asyncio.Queue(QUEUE_LENGTH)
        self._address = (host, port)
        self._login = {"Action": "Login", "Username": username, "Secret": secret, "Events": "on"}
        self._now, self._kick = now, kick
        self._manager: GuardedManager | None = None
        self._pending: set[asyncio.Future[Any]] = set()
        self._lost, self._stirred = asyncio.Event(), asyncio.Event()
        self._gap = False
        self._booted = asyncio.Event()

    async def keep_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        """Uses the session that `connect` made, or connects; again after every loss, until cancelled or refused.

        `on_up` runs when actions may be sent, `on_down` when they no longer may; retries wait 0.5 to 10 s.
        """
        delay = 0.5
        while self.state is not LinkState.REFUSED:
            try:
                if self.state is not LinkState.UP:
                    await self.connect()
            except AsteriskAway as error:
                log.warning("AMI is away: %s", error, extra={"event": "ami.away"})
            else:
                delay = 0.5
                await self._while_up(on_up, on_down)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 2, 10.0)

    async def connect(self) -> None:
        """Connects, logs in and waits until Asterisk has booted. Raises AsteriskAway with what to do.

        A session that holds the login is ended once, when there is a way to do that.
        """
        try:
            await self._open()
        except _InUse as error:
            if self._kick is None:
                raise
            try:
                if not await self._kick():
                    raise
                await self._open()
            except AsteriskAway as still:
                log.error("the login is held: %s", still, extra={"event": "ami.kick_failed"})
                raise still from error

    async def _open(self) -> None:
        self.close()
        host, port = self._address
        loop = asyncio.get_running_loop()
        self._lost.clear()
        self._stirred.clear()
        self._gap = False
        self._booted.clear()
        opening: asyncio.Future[Any] = loop.create_future()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                made = await loop.create_connection(GuardedProtocol, host, port)
        except (OSError, TimeoutError) as error:
            raise AsteriskAway(
                f"Asterisk's manager interface does not answer at {host}:{port} ({error or 'timeout'}). "
                "Start Asterisk, or correct the node's `ami` in the settings."
            ) from error
        made[1].on_unreadable = self._note_gap
        opening.set_result(made)
        manager = GuardedManager(host=host, port=port, loop=loop, forgetable_actions=Everything(), ping_delay=86400)
        manager.on_disconnect = self._on_disconnect
        manager.patterns.clear()
        manager.callbacks.clear()
        manager.register_event("*", self._on_event)
        manager.connection_made(opening)
        manager.pinger.cancel()
        self._manager = manager
        await self._log_in(host, port)

    async def _log_in(self, host: str, port: int) -> None:
        try:
            answer = await self._ask(self._login)
            if str(answer.get("response")) != "Success":
                raise self._refused(str(answer.get("message", "")), host, port)
            async with asyncio.timeout(BOOT_TIMEOUT_S):
                await self._booted.wait()
            boot = await self._learn_boot(host, port)
            if self._lost.is_set():
                raise LinkLost("the link was lost during the login")
        except (LinkLost, TimeoutError) as error:
            self.close()
            raise AsteriskAway(
                f"something answers at {host}:{port}, but not as Asterisk's manager interface. "
                "Correct the node's `ami` in the settings, or wait until Asterisk has started."
            ) from error
        self.state, self.boot, self.refusal = LinkState.UP, boot, ""

    def _refused(self, message: str, host: str, port: int) -> AsteriskAway:
        self.close()
        if "already in use" in message.lower():
            return _InUse(
                f"another engine is logged in at {host}:{port} ({message}). Stop it first; if there is none, its "
                "session is left over: name the node's `console` in the settings, and it is ended by itself."
            )
        # Trying a wrong password again only fills the security log and gets this host banned.
        self.state = LinkState.REFUSED
        self.refusal = (
            f"Asterisk at {host}:{port} refused the AMI login ({message}). "
            "Make the node's secret file hold the secret of manager.conf."
        )
        return AsteriskAway(self.refusal)

    async def _learn_boot(self, host: str, port: int) -> str:
        """The mark of this start of Asterisk, made when there is none; one session a node, so nobody else makes it."""
        variable = {"Variable": names.BOOT_VARIABLE}
        answer = await self._ask({"Action": "Getvar", **variable})
        boot = str(answer.get("value", "")).strip()
        if not boot:
            boot = str(uuid4())
            answer = await self._ask({"Action": "Setvar", "Value": boot, **variable})
        if answer.get("response") != "Success":
            self.close()
            raise AsteriskAway(
                f"Asterisk at {host}:{port} does not let us read and set {names.BOOT_VARIABLE} "
                f"({answer.get('message', '')}). Render the node's manager.conf anew and reload it."
            )
        return boot

    async def _while_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        try:
            await on_up()
            while not self._lost.is_set():
                try:
                    async with asyncio.timeout(PING_EVERY_S):
                        await self._stirred.wait()
                except TimeoutError:
                    await self._ask({"Action": "Ping"})
                    continue
                self._stirred.clear()
                if self._gap and not self._lost.is_set():
                    # What was not read may have been of a call of ours: as if nobody had watched for a moment.
                    self._gap = False
                    on_down()
                    await on_up()
        except LinkLost:
            log.error("the AMI link is lost", extra={"event": "ami.lost"})
        finally:
            self.close()
            on_down()

    async def send(self, action: Mapping[str, str | list[str]], timeout_s: float | None = None) -> Headers:
        """Sends one action once; its first answer. Raises LinkLost when nobody can know whether it was done.

        Raises ValueError, and sends nothing, when a value could be read as more than one header line.
        """
        if self.state is not LinkState.UP:
            raise NotSent("the AMI link is down; nothing was sent")
        return await self._ask(action, timeout_s)

    async def send_list(self, action: Mapping[str, str | list[str]], timeout_s: float = 30.0) -> list[Headers]:
        """Sends an action that Asterisk answers with a list; all its messages."""
        if self.state is not LinkState.UP:
            raise NotSent("the AMI link is down; nothing was sent")
        answers = await self._await(dict(action), timeout_s, as_list=True)
        return [_plain(message) for message in (answers if isinstance(answers, list) else [answers])]

    async def _ask(self, action: Mapping[str, Any], timeout_s: float | None = None) -> Headers:
        answer = await self._await(dict(action), timeout_s or ANSWER_TIMEOUT_S, as_list=False)
        if "event" in answer:
            # The event overtook the acknowledgement; it must be seen as an event too.
            self._on_event(None, answer)
        return _plain(answer)

    async def _await(self, action: dict[str, Any], timeout_s: float, *, as_list: bool) -> Any:
        check_headers(action.items())
        if self._manager is None or self._manager.protocol is None:
            raise NotSent("the AMI link is down; nothing was sent")
        protocol = self._manager.protocol
        future = self._manager.send_action(action, as_list=as_list)
        if names.attempt_of(str(action.get("ActionID", ""))) is not None:
            crash_points.reach("ordered")
        self._pending.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise LinkLost(f"no answer from Asterisk in {timeout_s:g} s") from None
        finally:
            # Nobody waits any more: an entry that stayed would swallow the call's OriginateResponse.
            for key in [k for k, pending in protocol.responses.items() if pending.future is future]:
                del protocol.responses[key]
            self._pending.discard(future)

    def close(self) -> None:
        """Ends the session; whoever waits for an answer gets LinkLost."""
        manager, self._manager = self._manager, None
        self.boot = ""
        if self.state is LinkState.UP:
            self.state = LinkState.DOWN
        if manager is not None:
            manager.close()
        self._fail_pending()

    def _on_disconnect(self, manager: GuardedManager, _reason: object) -> None:
        if manager is self._manager:
            self.state, self.boot = LinkState.DOWN, ""
            self._lose()
            self._fail_pending()

    def _fail_pending(self) -> None:
        for future in self._pending:
            if not future.done():
                future.set_exception(LinkLost("the AMI link was lost before Asterisk answered"))

    def _on_event(self, _manager: object, message: Message) -> None:
        try:
            headers = _plain(message)
            if headers.get("event") == "FullyBooted":
                self._note_boot()
            self.events.put_nowait((self._now(), headers))
        except asyncio.QueueFull:
            # Events that nobody takes would make every count wrong; a new session starts from evidence.
            log.error("the AMI event queue is full; the link is closed", extra={"event": "ami.overflow"})
            self.close()
            self._lose()
        except Exception:
            log.exception("an AMI event could not be queued", extra={"event": "ami.unreadable"})
            self._note_gap()

    def _note_gap(self) -> None:
        self._gap = True
        self._stirred.set()

    def _lose(self) -> None:
        self._lost.set()
        self._stirred.set()

    def _note_boot(self) -> None:
        if self.state is LinkState.UP:
            # Whatever we knew of live calls is of another start; a new session learns which.
            log.error("Asterisk booted under a live AMI link; it is closed", extra={"event": "ami.rebooted"})
            self.close()
            self._lose()
        self._booted.set()


def check_headers(headers: Iterable[tuple[str, Any]]) -> None:
    """Raises ValueError when a header could break out of its line (manager.c ends a line at CR LF or LF alone)."""
    for name, value in headers:
        for item in value if isinstance(value, list) else [value]:
            line = f"{name}: {item}"
            if any(character in line for character in "\r\n\0"):
                raise ValueError(f"the AMI header {name} holds a line break or NUL; nothing was sent")
            if len(line.encode()) > MAX_LINE:
                raise ValueError(f"the AMI header {name} is longer than {MAX_LINE} bytes; nothing was sent")


def _plain(message: Message) -> Headers:
    return {str(name).lower(): value for name, value in message.items()}
