"""The listening port: whatever strangers send, it goes on serving, and they get nothing."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi import server as agi_server
from agi import session as agi_session
from agi.records import Records
from agi.results import ResultStore
from agi.server import AgiServer
from agi.session import read_headers
from dialer.clock import SystemClock
from dialer.settings import Settings
from tests.unit.test_agi_session import line_that_says

HELLO = b"agi_network: yes\nagi_network_script: dialer-handshake\n\n"


@dataclass
class Port:
    """A worker without a database: strangers never get as far as that."""

    server: AgiServer
    number: int

    async def send(self, data: bytes, *, then_close: bool = False) -> bytes:
        """Everything that comes back, until the worker closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            writer.write(data)
            if then_close:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def serves(self) -> bool:
        """Whether it still answers who asks properly."""
        return bool(json.loads(await self.send(HELLO))["service"] == "dialer-agi")


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    (tmp_path / "key").write_text("k" * 64)
    here = Settings.model_validate({
        "database": "postgresql:///none", "state_dir": tmp_path, "mac_key_file": tmp_path / "key",
        "nodes": [{"name": "n", "ami": {"secret_file": tmp_path / "secret"}}],
        "trunks": [{"name": "a", "node": "n", "host": "127.0.0.1"}],
    })  # fmt: skip
    clock = SystemClock()
    store = ResultStore(here)
    server = AgiServer(settings=here, records=Records(store=store, settings=here, clock=clock), clock=clock)
    listener = socket.create_server(("127.0.0.1", 0))
    await server.start(listener)
    yield Port(server, listener.getsockname()[1])
    await server.stop(drain_s=1)


STRANGERS = [
    ("connects and closes", b"", "no_agi_request"),
    ("a browser", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "no_agi_request"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "no_agi_request"),
    ("SIP", b"OPTIONS sip:x SIP/2.0\r\n\r\n\n\n", "no_agi_request"),
    ("endless headers", b"agi_x: y\n" * 20_000, "no_agi_request"),
    ("a line of zeros", b"\0" * 100_000 + b"\n\n", "no_agi_request"),
    ("no route", b"agi_network: yes\n\n", "unknown_route"),
    ("another route", b"agi_network_script: ../flow\n\n", "unknown_route"),
    ("no token", b"agi_network_script: flow\n\n", "bad_token"),
    ("a guessed token", b"agi_network_script: flow\nagi_arg_1: 1.2\n\n", "bad_token"),
    ("a token of bytes", b"agi_network_script: flow\nagi_arg_1: \xff\xfe.\xf0\n\n", "bad_token"),
]  # fmt: skip


@pytest.mark.parametrize(("who", "sent", "reason"), STRANGERS, ids=[row[0] for row in STRANGERS])
async def test_strangers_get_nothing_and_stop_nothing(port: Port, who: str, sent: bytes, reason: str) -> None:
    assert await port.send(sent, then_close=True) == b""
    assert port.server.strangers.counts[reason] == 1
    assert await port.serves()


async def test_who_says_nothing_is_dropped_in_time(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agi_session, "HEADER_TIMEOUT_S", 0.1)
    assert await port.send(b"agi_network: y") == b""
    assert port.server.strangers.counts["no_agi_request"] == 1


async def test_a_flood_of_silent_connections_is_cut_off_and_then_forgotten(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agi_server, "MAX_CONNECTIONS", 20)
    writers = [(await asyncio.open_connection("127.0.0.1", port.number))[1] for _ in range(40)]
    async with asyncio.timeout(5):
        while port.server.strangers.counts["too_many_connections"] < 20:
            await asyncio.sleep(0.01)
    for writer in writers:
        writer.close()
    async with asyncio.timeout(5):
        while port.server.strangers.counts["no_agi_request"] < 20:
            await asyncio.sleep(0.01)
    assert await port.serves()


async def test_all_calls_of_a_dead_worker_may_ask_at_once(port: Port) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    calls = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(1000)]
    for _, writer in calls:
        writer.write(HELLO)
    replies = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in calls)), 10)
    for _, writer in calls:
        writer.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))
    assert all(replies)
    assert not port.server.strangers.counts


async def test_floods_fill_no_log(port: Port, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.gather(*(port.send(b"x", then_close=True) for _ in range(50)))
    assert port.server.strangers.counts["no_agi_request"] == 50
    assert len([record for record in caplog.records if record.getMessage() == "connection_dropped"]) == 1


@settings(max_examples=200, deadline=None)
@given(st.one_of(
    st.binary(max_size=400),
    st.lists(st.sampled_from([b"agi_", b":", b"\n", b"\r", b"\0", b"\xff", b"flow", b"agi_arg_1: x"])).map(b"".join),
))  # fmt: skip
def test_no_bytes_break_the_header(data: bytes) -> None:
    async def run() -> dict[str, str] | None:
        return await asyncio.wait_for(read_headers(line_that_says(data)), 2)

    headers = asyncio.run(run())
    assert headers is None or all(name.startswith("agi_") for name in headers)
