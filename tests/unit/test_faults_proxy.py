"""The proxy of the fault runs: what is cut is cut, what stalls comes later, what is swallowed never comes."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dialer.calls.results import Writes
from dialer.storage import dialogues
from faults.ami_tap import JUNK, AmiTap, Dirt, Spoiler
from faults.postgres_tap import Around, CommitCuts, PostgresTap
from faults.proxy import Connection, Link, Mode, Proxy


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, Connection]]:
    """A client's connection through a proxy to a server that says everything back."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port))
    client = await asyncio.open_connection("127.0.0.1", await proxy.listen_tcp())
    try:
        yield proxy, client
    finally:
        client[1].close()
        proxy.close()
        server.close()
        async with asyncio.timeout(5):
            while proxy.links():
                await asyncio.sleep(0)


async def said(client: Connection, data: bytes, within_s: float = 5) -> bytes:
    client[1].write(data)
    return await asyncio.wait_for(client[0].readexactly(len(data)), within_s)


async def test_it_carries_both_ways():
    async with proxied() as (_, client):
        assert await said(client, b"hello") == b"hello"


async def test_a_cut_link_is_reset():
    async with proxied() as (proxy, client):
        await said(client, b"hello")
        proxy.links()[0].cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client[0].read(), 5)


async def test_a_link_that_is_ended_reads_as_ended():
    async with proxied() as (proxy, client):
        await said(client, b"hello")
        proxy.links()[0].end()
        assert await asyncio.wait_for(client[0].read(), 5) == b""


@pytest.mark.parametrize("mode", [Mode.STALL_UP, Mode.STALL_DOWN])
async def test_what_stalls_comes_later(mode):
    async with proxied() as (proxy, client):
        await said(client, b"hello")
        await proxy.set_mode("client", mode)
        with pytest.raises(TimeoutError):
            await said(client, b"later", 0.1)
        await proxy.set_mode("client", Mode.OPEN)
        assert await asyncio.wait_for(client[0].readexactly(5), 5) == b"later"


async def test_what_is_swallowed_never_comes_and_the_link_is_lost():
    async with proxied() as (proxy, client):
        await said(client, b"hello")
        await proxy.set_mode("client", Mode.HALF_OPEN)
        with pytest.raises(TimeoutError):
            await said(client, b"gone", 0.1)
        await proxy.set_mode("client", Mode.OPEN)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(client[0].read(), 5)


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


class CutNoted(Link):
    """A link without sockets."""

    def __init__(self, role: str = "engine") -> None:
        self.role = role
        self.is_cut = False

    def cut(self) -> None:
        self.is_cut = True


def query(statement: bytes) -> bytes:
    return b"Q" + struct.pack("!I", len(statement) + 5) + statement + b"\0"


ENCRYPT = struct.pack("!II", 8, 80877103)
START = struct.pack("!II", 13, 196608) + b"user\0"
INSERT, COMMIT = query(b"insert into attempt"), query(b"COMMIT")
ROWS = Writes(events=[{"seq": 1}])
BIND = b"\0\0\0\1" + dialogues.as_array([ROWS]).encode() + b"\0\0"
BIND = b"B" + struct.pack("!I", len(BIND) + 4) + BIND


@pytest.mark.parametrize(("role", "commit"), [("engine", COMMIT), ("worker", BIND)])
@pytest.mark.parametrize("around", Around)
def test_a_link_is_cut_around_one_commit(around, role, commit):
    link, cuts = CutNoted(role), CommitCuts(asked={role: around})
    tap = PostgresTap(link, cuts)
    for message in (ENCRYPT, START, INSERT):
        # In two pieces: a message may come in any number of them.
        assert tap.to_server(message[:3]) + tap.to_server(message[3:]) == message
    assert tap.to_client(b"fine") == b"fine"
    assert tap.to_server(commit) == (b"" if around is Around.BEFORE else commit)
    assert link.is_cut == (around is Around.BEFORE)
    if around is Around.AFTER:
        assert tap.to_client(b"COMMIT") == b""
    assert link.is_cut
    assert (cuts.asked, cuts.taken) == ({}, 1)


def test_another_role_commits_in_peace():
    link = CutNoted()
    tap = PostgresTap(link, CommitCuts(asked={"worker": Around.BEFORE}))
    assert tap.to_server(START + INSERT + COMMIT) == START + INSERT + COMMIT
    assert not link.is_cut


# -- AMI --------------------------------------------------------------------------------------------------------------

GREETING = b"Asterisk Call Manager/9.0.0\r\n"


def event(name: str, channel: str) -> bytes:
    return f"Event: {name}\r\nUniqueid: {channel}\r\n\r\n".encode()


STREAM = [event(name, channel) for name in ("Newchannel", "Newstate", "Hangup") for channel in "abcd"]


def through(dirt: Dirt | None) -> bytes:
    tap = AmiTap(Spoiler(rng=random.Random(1), dirt=dirt))
    sent = GREETING + b"".join(STREAM) + b"Response: Pong\r\n\r\n" * 2
    return b"".join(tap.to_client(sent[place : place + 7]) for place in range(0, len(sent), 7))


def test_nothing_is_changed_when_nothing_is_wanted():
    assert through(None) == GREETING + b"".join(STREAM) + b"Response: Pong\r\n\r\n" * 2


def test_doubles_are_added_and_nothing_is_missing():
    found = through(Dirt.DOUBLED)
    counts = [found.count(message) for message in STREAM]
    assert set(counts) == {1, 2}


def test_neighbours_change_places_but_a_channel_keeps_its_order():
    found = through(Dirt.REORDERED)
    places = [found.index(message) for message in STREAM]
    assert places != sorted(places)
    for channel in range(4):
        mine = places[channel::4]
        assert mine == sorted(mine)


def test_junk_comes_between_the_messages():
    found = through(Dirt.GARBAGE)
    assert all(message in found for message in STREAM)
    assert any(junk in found for junk in JUNK)
