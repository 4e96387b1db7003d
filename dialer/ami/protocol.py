"""panoramisk's protocol and manager without what harms us; `link` says what that is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from panoramisk.ami_protocol import AMIProtocol
from panoramisk.manager import Manager
from panoramisk.message import Message

log = logging.getLogger(__name__)

MAX_MESSAGE = 1 << 20
"""Bytes; Asterisk's longest messages have some thousand."""


class Everything:
    """panoramisk asks whether an action may be forgotten at a disconnect; all may: replaying one calls people twice."""

    def __contains__(self, _action: object) -> bool:
        return True


class GuardedProtocol(AMIProtocol):  # type: ignore[misc]
    """Reads whole messages from bytes; one that cannot be read is skipped and told of, the link stays."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_unreadable: Callable[[], None] = lambda: None
        """Called for each message that was skipped: it may have been of a call of ours."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.version: str | None = None
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.version is None:
            banner, found, rest = self.buffer.partition(b"\r\n")
            if not found:
                return self._refuse_endless()
            self.version = banner.decode("ascii", "replace").rpartition("/")[2]
            self.buffer = rest
        *messages, self.buffer = self.buffer.split(b"\r\n\r\n")
        for message in messages:
            try:
                parsed = Message.from_line(message.decode("utf-8", "replace").strip())
                if parsed is not None:
                    self.handle_message(parsed)
            except Exception:
                log.warning("unreadable AMI message skipped", extra={"event": "ami.unreadable"}, exc_info=True)
                self.on_unreadable()
        self._refuse_endless()
        return None

    def _refuse_endless(self) -> None:
        if len(self.buffer) > MAX_MESSAGE:
            log.error("AMI message without an end; the link is closed", extra={"event": "ami.endless"})
            self.transport.abort()


class GuardedManager(Manager):  # type: ignore[misc]
    """panoramisk's manager without its own reconnection, replay and ping; the link does these."""

    def connection_lost(self, exc: object) -> None:
        self.on_disconnect(self, exc)
