"""Runs the collector on uvicorn: one process, its own socket, an end that answers what has begun."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dialer import event_loop
from dialer.clock import Clock
from dialer.errors import DialerError
from dialer.settings import CollectSettings, Settings
from etl.body import READ_S
from etl.collect import Collector

MOST_HEADERS = 2**16
"""Bytes."""
DRAIN_S = 30
"""What has begun may end, when we are told to stop."""


class Protocol(HttpToolsProtocol):
    """uvicorn's, with an end to headers: it keeps all that come, and waits for ever, before anybody knows for whom."""

    _headers = 0
    """Bytes since something came out of them."""
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._headers += len(data)
        super().data_received(data)
        if self._headers > MOST_HEADERS and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")
        elif not self._headers:
            self._wait_no_more()
        elif self._patience is None:
            self._wait()

    def _wait(self) -> None:
        self._patience = self.loop.call_later(READ_S, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def on_headers_complete(self) -> None:
        self._headers = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._headers = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._headers = 0
        super().on_message_complete()


def serve(settings: Settings, clock: Clock) -> None:
    """Takes events until SIGTERM or Ctrl-C. Raises DialerError when the port or the spool is taken."""
    listener = _listen(settings.collect)
    try:
        collector = Collector(settings, clock)
        server = uvicorn.Server(
            uvicorn.Config(
                collector.app(), http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False,
                server_header=False, timeout_graceful_shutdown=DRAIN_S,
            )
        )  # fmt: skip
        # uvicorn's own limit answers without `Retry-After`, and to those who watch too.
        collector.connections = lambda: len(server.server_state.connections)
        # uvicorn raises the signal again when it is done, and by itself it would count as a death.
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: None)
        event_loop.run(server.serve(sockets=[listener]))
    finally:
        listener.close()


def _listen(settings: CollectSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    where = f"{settings.host}:{settings.port}"
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise DialerError(
                f"{where} is in use by another program. Stop it, or choose another collect.port."
            ) from error
        raise DialerError(f"cannot listen on {where}: {error.strerror}. Correct collect.host and port.") from error
    return listener
