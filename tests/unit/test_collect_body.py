"""Bodies: every limit is kept while the bytes come, and what was packed comes out whole or not at all."""

from __future__ import annotations

import asyncio
import gzip
import random
import tracemalloc

import pytest
import uvicorn
from uvicorn.server import ServerState

from dialer.settings import CollectSettings
from etl import body, serve
from etl.body import JSON, NDJSON, Refusal

LIMITS = CollectSettings(max_body=2000, max_unpacked=10_000, max_lines=3)


async def stream(*chunks: bytes):
    for chunk in chunks:
        yield chunk


async def refused(work) -> int:
    with pytest.raises(Refusal) as refusal:
        await work
    return refusal.value.status


@pytest.mark.parametrize(
    ("content_type", "encoding", "media"),
    [(NDJSON, "", NDJSON), ("Application/X-NDJSON; charset=utf-8", "GZIP", NDJSON), (JSON, "identity", JSON)],
)
def test_the_form_is_known(content_type, encoding, media):
    assert body.check_form(content_type, encoding) == media


@pytest.mark.parametrize(
    ("content_type", "encoding"), [("", ""), ("text/plain", ""), (NDJSON, "br"), (NDJSON, "gzip, gzip")]
)
def test_another_form_is_refused(content_type, encoding):
    with pytest.raises(Refusal) as refusal:
        body.check_form(content_type, encoding)
    assert refusal.value.status == 415


async def test_a_body_is_counted_as_it_comes():
    grown: list[int] = []
    assert await body.received(stream(b"ab", b"c"), "3", LIMITS, grown.append) == b"abc"
    assert grown == [2, 1]
    assert await refused(body.received(stream(b""), "2001", LIMITS, grown.append)) == 413
    assert await refused(body.received(stream(b"x" * 1500, b"x" * 501), "", LIMITS, grown.append)) == 413
    assert sum(grown) == 3 + 1500, "what is refused was not kept"


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(body, "READ_S", 0.01)

    async def never():
        yield b"a"
        await asyncio.Event().wait()

    assert await refused(body.received(never(), "", LIMITS, lambda _: None)) == 408


async def test_members_of_gzip_come_out_one_after_the_other():
    packed = gzip.compress(b"one\n") + gzip.compress(b"") + gzip.compress(b"two\n")
    assert await body.unpacked(packed, LIMITS, lambda _: None) == b"one\ntwo\n"
    large = CollectSettings()
    for plain in (bytes(3 * 2**20), random.Random(6).randbytes(3 * 2**20 + 7)):
        for size in (len(plain), 2**20, 2**16 - 1):
            parts = [gzip.compress(plain[start : start + size], 1) for start in range(0, len(plain), size)]
            assert await body.unpacked(b"".join(parts), large, lambda _: None) == plain


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (gzip.compress(b"x" * 10_001), 413),
        (gzip.compress(b"x" * 2**26), 413),
        (gzip.compress(b"x" * 5000) + gzip.compress(b"x" * 5001), 413),
        (gzip.compress(b"x" * 100)[:-9], 400),
        (gzip.compress(b"x" * 100)[:-1] + b"y", 400),
        (b"plain", 400),
        (gzip.compress(b"x") + b"behind", 400),
        (gzip.compress(b"") * 4, 413),
        (b"", 400),
    ],
    # The bytes hold the second at which they were packed: no name for tests that several processes collect.
    ids=["too much", "far too much", "too much in two", "cut off", "damaged", "none", "more behind", "many", "empty"],
)
async def test_gzip_that_is_none_or_too_much_is_refused(packed, status):
    grown: list[int] = []
    assert await refused(body.unpacked(packed, LIMITS, grown.append)) == status
    assert sum(grown) <= LIMITS.max_unpacked


SAID = [
    # what                       is said, one after the other                                      answers
    ("nothing",                  [b""],                                                            0),
    ("half a head",              [b"GET / HTTP/1.1\r\nX:"],                                        0),
    ("a head byte by byte",      [b"GET / HT", b"TP/1.1\r\n", b"X: ", b"y"],                       0),
    ("a request and half a one", [b"GET / HTTP/1.1\r\n\r\n", b"GET"],                              1),
    ("a whole one, answered late",
     [b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", b"0\r\n\r\n"], 1),
]  # fmt: skip


@pytest.mark.parametrize(("said", "answers"), [row[1:] for row in SAID], ids=[row[0] for row in SAID])
async def test_who_says_nothing_whole_is_not_waited_for(monkeypatch, said, answers):
    monkeypatch.setattr(serve, "READ_S", 0.1)

    async def app(_scope, receive, send):
        while (await receive())["more_body"]:
            pass
        await asyncio.sleep(0.3 if len(said) == 3 else 0)  # longer than a sender is waited for: it is our turn
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, http=serve.Protocol, ws="none", lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    listener = await asyncio.get_running_loop().create_server(
        lambda: serve.Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with listener, asyncio.timeout(3):
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        for part in said:
            writer.write(part)
            await asyncio.sleep(0.03)
        assert (await reader.read()).count(b"HTTP/1.1 204") == answers
        writer.close()


def test_lines_are_counted_without_the_last_end():
    assert body.lines(b"a\nb\nc\n", NDJSON, LIMITS) == [b"a", b"b", b"c", b""]
    assert body.lines(b"\xef\xbb\xbfa", NDJSON, LIMITS) == [b"a"]
    assert body.lines(b'\xef\xbb\xbf{\n"a":\n1\n}\n', JSON, LIMITS) == [b'{\n"a":\n1\n}\n']
    for data, media, status in ((b"a\nb\nc\nd", NDJSON, 413), (b"\n \n", NDJSON, 400), (b"", JSON, 400)):
        with pytest.raises(Refusal) as refusal:
            body.lines(data, media, LIMITS)
        assert refusal.value.status == status


def test_lines_that_are_too_many_take_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="1000001 lines"):
            body.lines(b"\n" * 1_000_000 + b"x", NDJSON, LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 2_100_000, "the body, and its copy in this test"
    finally:
        tracemalloc.stop()
