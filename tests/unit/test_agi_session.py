"""One call's connection: what Asterisk may send, and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agi.line import Line
from agi.ports import CallerHungUp, EndedBy, PhoneBroken, Pressed, SoundMissing
from agi.session import Session, quote

Asked = Callable[[Session], Awaitable[object]]

USAGE = "520-Invalid command syntax.  Proper usage follows:\nUsage: GET DATA <file>\n\n520 End of proper usage.\n"


class Wire:
    """Asterisk's end: sends the prepared replies, one for each command line, and keeps the commands."""

    def __init__(self, replies: list[str], end: bool) -> None:
        self.replies, self.end, self.heard = replies, end, b""
        self.over = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in self.replies:
            self.heard += await reader.readline()
            writer.write(reply.encode())
        if not self.end:
            self.heard += await reader.read()
        writer.close()
        self.over.set()


@asynccontextmanager
async def connected(*replies: str, end: bool = True) -> AsyncIterator[tuple[Session, Wire]]:
    wire = Wire(list(replies), end)
    server = await asyncio.start_server(wire.serve, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    _, line = await asyncio.get_running_loop().create_connection(lambda: Line(lambda _: None), *address)
    try:
        yield Session(line), wire
    finally:
        line.close()
        await wire.over.wait()
        server.close()


def ask(session: Session) -> Awaitable[object]:
    return session.ask("/p/x", 2, 5)


def play(session: Session) -> Awaitable[object]:
    return session.play("/p/x")


PRESSED = [
    ("200 result=12\n", "12", EndedBy.FULL),
    ("200 result=1\n", "1", EndedBy.HASH),
    ("200 result=\n", "", EndedBy.HASH),
    ("200 result=1 (timeout)\n", "1", EndedBy.TIMEOUT),
    ("200 result= (timeout)\n", "", EndedBy.TIMEOUT),
    ("200 result=*\n", "*", EndedBy.HASH),
    ("100 result=0 Trying...\n200 result=*1\n", "*1", EndedBy.FULL),
]


@pytest.mark.parametrize(("reply", "digits", "ended_by"), PRESSED)
async def test_keys(reply: str, digits: str, ended_by: EndedBy) -> None:
    async with connected(reply) as (session, wire):
        assert await ask(session) == Pressed(digits=digits, ended_by=ended_by)
    assert wire.heard == b'GET DATA "/p/x" 5000 2\n'


ENDINGS: list[tuple[str, Asked, tuple[str, ...], type[Exception]]] = [
    ("hangup while keys are read", ask, ("200 result=-1\nHANGUP\n", "200 result=6\n"), CallerHungUp),
    ("hangup, told a moment later", ask, ("200 result=-1\n", "HANGUP\n200 result=6\n"), CallerHungUp),
    ("hangup before the reply", ask, ("HANGUP\n200 result=-1\n",), CallerHungUp),
    ("dead channel", ask, ("511 Command Not Permitted on a dead channel or intercept routine\n",), CallerHungUp),
    ("the line is cut", ask, ("",), CallerHungUp),
    ("the line is cut in a word", ask, ("200 res",), CallerHungUp),
    ("question without a file", ask, ("200 result=-1\n", "200 result=6\n"), SoundMissing),
    ("prompt without a file", play, ("200 result=0 endpos=0\n", "200 result=6\n"), SoundMissing),
    ("hangup in a prompt", play, ("200 result=-1 endpos=4000\n", "HANGUP\n200 result=6\n"), CallerHungUp),
    ("channel no longer up", play, ("200 result=-1 endpos=0\n", "200 result=0\n"), CallerHungUp),
    ("unknown command", ask, ("510 Invalid or unknown command\n",), PhoneBroken),
    ("wrong usage", ask, (USAGE,), PhoneBroken),
    ("wrong usage without help", ask, ("520 Invalid command syntax.  Proper usage not available.\n",), PhoneBroken),
    ("usage without an end", ask, ("520-Invalid\n" + "x\n" * 200,), PhoneBroken),
    ("no AGI at all", ask, ("HTTP/1.1 200 OK\n",), PhoneBroken),
    ("letters as keys", ask, ("200 result=hello\n",), PhoneBroken),
    ("a line without an end", ask, ("x" * 70_000,), PhoneBroken),
]


@pytest.mark.parametrize(("what", "command", "replies", "error"), ENDINGS, ids=[row[0] for row in ENDINGS])
async def test_endings(what: str, command: Asked, replies: tuple[str, ...], error: type[Exception]) -> None:
    async with connected(*replies) as (session, _):
        with pytest.raises(error):
            await command(session)


async def test_after_a_usage_text_the_next_reply_is_the_next_ones() -> None:
    async with connected(USAGE, "200 result=5\n") as (session, _):
        with pytest.raises(PhoneBroken):
            await ask(session)
        assert await session.ask("/p/x", 1, 5) == Pressed(digits="5", ended_by=EndedBy.FULL)


async def test_after_a_hangup_variables_can_still_be_set_but_nothing_said() -> None:
    async with connected("HANGUP\n200 result=-1\n", "200 result=1\n", end=False) as (session, wire):
        with pytest.raises(CallerHungUp):
            await ask(session)
        with pytest.raises(CallerHungUp):
            await play(session)
        await session.set_variable("DIALER_DONE", "1")
    assert wire.heard.splitlines() == [b'GET DATA "/p/x" 5000 2', b'SET VARIABLE DIALER_DONE "1"']


async def test_commands_of_one_call_never_overlap() -> None:
    async with connected("200 result=1\n", "200 result=0 endpos=800\n") as (session, wire):
        first, _ = await asyncio.gather(session.ask("/p/a", 1, 5), session.play("/p/b"))
    assert first == Pressed(digits="1", ended_by=EndedBy.FULL)
    assert wire.heard.splitlines() == [b'GET DATA "/p/a" 5000 1', b'STREAM FILE "/p/b" ""']


async def test_a_command_that_an_old_asterisk_would_cut_is_not_sent() -> None:
    async with connected(end=False) as (session, wire):
        with pytest.raises(PhoneBroken):
            await session.play("/p/" + "x" * 2000)
    assert wire.heard == b""


@pytest.mark.parametrize(("value", "quoted"), [("a b", '"a b"'), ('say "x"', r'"say \"x\""'), ("c:\\", r'"c:\\"')])
def test_quoting(value: str, quoted: str) -> None:
    assert quote(value) == quoted


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_what_would_begin_another_command_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        quote(value)


class Nowhere(asyncio.Transport):
    """Takes everything."""

    def write(self, _: object) -> None: ...

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def line_that_says(data: bytes) -> Line:
    """A connection over which these bytes come, and nothing more."""
    line = Line(lambda _: None)
    line.connection_made(Nowhere())
    line.data_received(data)
    line.eof_received()
    return line


def _asterisk_says(data: bytes) -> str:
    async def run() -> str:
        session = Session(line_that_says(data))
        try:
            pressed = await asyncio.wait_for(session.ask("/p/x", 2, 5), 5)
        except (CallerHungUp, PhoneBroken, SoundMissing) as error:
            return type(error).__name__
        return pressed.digits

    return asyncio.run(run())


AGI_LINES = st.lists(
    st.sampled_from([b"200 result=5\n", b"200 result=-1\n", b"HANGUP\n", b"520-x\n", b"520 End\n", b"511 dead\n",
                     b"200 result= (timeout)\n", b"\n", b"\xff\xfe\n", b"100 \n", b"200 result=6\n"])
).map(b"".join)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), AGI_LINES))
def test_whatever_asterisk_sends_the_call_comes_to_an_end(data: bytes) -> None:
    assert _asterisk_says(data) in {"CallerHungUp", "PhoneBroken", "SoundMissing", "5", "", "6"}
