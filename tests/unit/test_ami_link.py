"""Each hazard of panoramisk 1.4 that the link takes away (design.md, section 6), against a scripted manager."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from dialer.ami import link as link_module
from dialer.ami.link import AmiLink, LinkLost, LinkState, check_headers
from dialer.ami.originate import headers, originate
from dialer.calls.events import Accepted, Refused, Returned, Unclear
from dialer.calls.order import Order
from dialer.clock import SystemClock
from dialer.errors import AsteriskAway
from tests.unit.fake_ami import FakeAmi

ORDER = Order(
    attempt_id=UUID(int=7), number="+48501234567", trunk="carrier-a", caller_id="+48221234567", ring_s=20
)  # fmt: skip
now = SystemClock().now


def link_to(port: int, secret: str = "secret") -> AmiLink:
    return AmiLink("127.0.0.1", port, "dialer", secret, now)


async def next_named(link: AmiLink, name: str) -> dict[str, object]:
    while True:
        _, event = await asyncio.wait_for(link.events.get(), 5)
        if event.get("event") == name:
            return event


async def test_an_unanswered_originate_is_never_sent_again():
    """P1: panoramisk replays it after the reconnect, and the person is called twice."""
    fake = FakeAmi(on_action=lambda ami, action: ami.drop() if action["Action"] == "Originate" else None)
    async with fake.serve() as port:
        link, ups = link_to(port), asyncio.Queue()

        async def on_up() -> None:
            ups.put_nowait(link.state)

        keeping = asyncio.create_task(link.keep_up(on_up, lambda: None))
        await asyncio.wait_for(ups.get(), 5)
        assert isinstance(await originate(link, ORDER, "token", now), Unclear)
        await asyncio.wait_for(ups.get(), 5)
        assert (await link.send({"Action": "Ping"}))["response"] == "Success"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert fake.connections == 2
    assert fake.count("Originate") == 1


async def test_nothing_is_queued_while_the_link_is_down():
    """P2, P14: a call ordered during an outage must not leave after it."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        assert isinstance(await originate(link, ORDER, "token", now), Returned)
        await link.connect()
        await link.send({"Action": "Ping"})
        link.close()
    assert fake.count("Originate") == 0


async def test_every_waiter_is_told_when_the_link_drops():
    """P4: an acknowledged list action that never ends."""

    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        ami.answer(action, message="Channels will follow")
        ami.drop()

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        with pytest.raises(LinkLost):
            await link.send_list({"Action": "CoreShowChannels"})
        assert link.state is LinkState.DOWN


async def test_a_late_answer_is_not_matched_and_nothing_is_kept():
    """P5: the entry of a timed-out action swallows later messages."""
    late: list[dict[str, str]] = []
    fake = FakeAmi(on_action=lambda _ami, action: late.append(action))
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        with pytest.raises(LinkLost):
            await link.send({"Action": "Originate", "ActionID": "d-1"}, timeout_s=0.05)
        assert link._manager.protocol.responses == {}
        fake.event("OriginateResponse; ActionID=d-1; Response=Failure; Reason=3")
        assert (await next_named(link, "OriginateResponse"))["reason"] == "3"
        link.close()


async def test_originate_response_is_an_event_and_the_acknowledgement_an_answer():
    """P6, P7."""

    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        ami.answer(action, message="Originate successfully queued")
        ami.event(f"OriginateResponse; ActionID={action['ActionID']}; Response=Success; Reason=4")

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        assert isinstance(await originate(link, ORDER, "token", now), Accepted)
        assert (await next_named(link, "OriginateResponse"))["response"] == "Success"
        link.close()
    sent = next(action for action in fake.actions if action["Action"] == "Originate")
    assert sent["Async"] == "true"
    assert sent["ChannelId"] == sent["ActionID"] == f"d-{UUID(int=7)}"


@pytest.mark.parametrize(
    "garbage",
    [
        b"Event: Hangup\r\nEvent: Hangup\r\nUniqueid: x\r\n\r\n",
        b"\xff\xfe\x00nonsense\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"Response: Follows\r\n\r\n",
        b": \r\n: x\r\n\r\n",
    ],
)
async def test_a_message_that_cannot_be_read_does_not_end_the_link(garbage):
    """P8, P9."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        fake.write(garbage)
        fake.event("Newchannel; Uniqueid=after")
        assert (await next_named(link, "Newchannel"))["uniqueid"] == "after"
        assert link.state is LinkState.UP
        link.close()


async def test_events_keep_their_order():
    """P10."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        for number in range(500):
            fake.event(f"Newstate; Uniqueid={number}")
        got = [int(str((await next_named(link, "Newstate"))["uniqueid"])) for _ in range(500)]
        assert got == list(range(500))
        link.close()


async def test_a_half_open_link_is_noticed(monkeypatch):
    """P11: nothing comes back, nothing is closed."""
    monkeypatch.setattr(link_module, "PING_EVERY_S", 0.05)
    monkeypatch.setattr(link_module, "ANSWER_TIMEOUT_S", 0.05)
    fake = FakeAmi()
    down = asyncio.Event()
    async with fake.serve() as port:
        link = link_to(port)

        async def on_up() -> None:
            fake._react = lambda _action: asyncio.sleep(0)  # deaf from now on

        keeping = asyncio.create_task(link.keep_up(on_up, down.set))
        await asyncio.wait_for(down.wait(), 5)
        assert link.state is LinkState.DOWN
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_refused_password_is_tried_once():
    """P12: trying for ever gets the host banned."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port, secret="wrong")

        async def on_up() -> None:
            raise AssertionError("logged in with a wrong password")

        await asyncio.wait_for(link.keep_up(on_up, lambda: None), 10)
        assert link.state is LinkState.REFUSED
        assert "secret" in link.refusal
    assert fake.connections == 1


async def test_a_second_engine_is_told_of_the_first():
    fake = FakeAmi(login_error="Login Already In Use")
    async with fake.serve() as port:
        link = link_to(port)
        with pytest.raises(AsteriskAway, match="another engine"):
            await link.connect()
        assert link.state is LinkState.DOWN


async def test_close_while_waiting_to_reconnect_stays_closed():
    """P13: panoramisk's timer opens a second connection after close."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        up = asyncio.Event()

        async def on_up() -> None:
            up.set()

        keeping = asyncio.create_task(link.keep_up(on_up, lambda: None))
        await asyncio.wait_for(up.wait(), 5)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        link.close()
        other = link_to(port)
        await other.connect()
        assert fake.connections == 2
        other.close()


@pytest.mark.parametrize("value", ["x\r\nAction: Command", "x\nAction: Command", "x\0", "x" * 1024])
async def test_no_value_breaks_out_of_its_line(value):
    """P15."""
    with pytest.raises(ValueError, match="nothing was sent"):
        check_headers([("Variable", [value])])
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        with pytest.raises(ValueError, match="nothing was sent"):
            await link.send({"Action": "Setvar", "Variable": "X", "Value": value})
        await link.send({"Action": "Ping"})
        link.close()
    assert [a["Action"] for a in fake.actions] == ["Login", "Getvar", "Setvar", "Ping"]


async def test_a_character_split_over_two_packets_is_whole():
    """P16."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        data = "Event: Newchannel\r\nCallerIDName: Zoë مرحبا 🙂\r\nUniqueid: 1\r\n\r\n".encode()
        for byte in data:
            fake.write(bytes([byte]))
            await fake._writer.drain()
            await asyncio.sleep(0)
        assert (await next_named(link, "Newchannel"))["calleridname"] == "Zoë مرحبا 🙂"
        link.close()


@pytest.mark.parametrize(
    "talk", [b"HTTP/1.0 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00" * 100, b""]
)  # fmt: skip
async def test_something_else_on_the_port_gets_a_plain_answer(monkeypatch, talk):
    monkeypatch.setattr(link_module, "BOOT_TIMEOUT_S", 0.2)

    async def stranger(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(talk)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(stranger, "127.0.0.1", 0)
    async with server:
        link = link_to(server.sockets[0].getsockname()[1])
        with pytest.raises(AsteriskAway, match="not as Asterisk's manager interface"):
            await link.connect()


@pytest.mark.parametrize(
    "number", ["500&PJSIP/itsp/14165551212", "+48501234567@evil", "+48501234567/x", "0048501234567", "+48 501"]
)
async def test_only_e164_reaches_a_dial_string(number):
    order = Order(attempt_id=UUID(int=1), number=number, trunk="a", caller_id="+48221234567", ring_s=20)
    with pytest.raises(ValueError, match=r"E\.164"):
        headers(order, "t")
    assert isinstance(await originate(link_to(1), order, "t", now), Refused)
