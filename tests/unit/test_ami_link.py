"""Each hazard of panoramisk 1.4 that the link takes away (design.md, section 6), against a scripted manager."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from dialer.ami import link as link_module
from dialer.ami.link import LinkLost, LinkState, check_headers
from dialer.ami.originate import originate
from dialer.calls.events import Accepted, Returned, Unclear
from dialer.errors import AsteriskAway
from tests.unit.fake_ami import ORDER, FakeAmi, link_to, next_named, now


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


@pytest.mark.parametrize("turns_later", range(4))
async def test_a_link_that_is_told_to_end_just_when_something_comes_ends(turns_later):
    """asyncio.wait_for of Python 3.11 forgets a cancellation that comes together with what it waits for."""
    fake = FakeAmi()
    async with fake.serve() as port:
        link, up = link_to(port), asyncio.Event()

        async def on_up() -> None:
            up.set()

        keeping = asyncio.create_task(link.keep_up(on_up, lambda: None))
        await up.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        link._stirred.set()
        for _ in range(turns_later):
            await asyncio.sleep(0)
        keeping.cancel()
        done, _ = await asyncio.wait([keeping], timeout=5)
        assert done


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


async def test_after_a_message_that_cannot_be_read_calls_are_asked_about_anew():
    """It may have been the hangup of a call of ours; silence afterwards proves nothing."""
    fake, told = FakeAmi(), asyncio.Queue()

    async def up() -> None:
        told.put_nowait("up")

    async def next_told() -> str:
        return await asyncio.wait_for(told.get(), 5)

    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        keeping = asyncio.create_task(link.keep_up(up, lambda: told.put_nowait("down")))
        assert await next_told() == "up"
        fake.write(b"Event: Hangup\r\nEvent: Hangup\r\nUniqueid: x\r\n\r\n")
        assert [await next_told(), await next_told()] == ["down", "up"]
        assert link.state is LinkState.UP
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert fake.connections == 1


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


async def test_a_doubled_answer_counts_once():
    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        for _ in range(2):
            ami.answer(action, "Error" if action["ActionID"] == "2" else "Success", action["ActionID"])

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        answers = [await link.send({"Action": "Hangup", "ActionID": number}) for number in "123"]
        assert [(answer["response"], answer["message"]) for answer in answers] == [
            ("Success", "1"), ("Error", "2"), ("Success", "3"),
        ]  # fmt: skip
        assert link._manager.protocol.responses == {}
        link.close()


async def test_answers_out_of_order_find_their_actions():
    held: list[dict[str, str]] = []

    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        held.append(action)
        if len(held) == 3:
            for one in reversed(held):
                ami.answer(one, message=one["ActionID"])

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        answers = await asyncio.gather(*(link.send({"Action": "Hangup", "ActionID": number}) for number in "123"))
        assert [answer["message"] for answer in answers] == ["1", "2", "3"]
        link.close()


async def test_an_event_that_overtakes_its_acknowledgement_is_seen_and_the_call_counts_as_placed():
    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        ami.event(f"OriginateResponse; ActionID={action['ActionID']}; Response=Failure; Reason=3")
        ami.answer(action, message="Originate successfully queued")

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        assert isinstance(await originate(link, ORDER, "token", now), Accepted)
        assert (await next_named(link, "OriginateResponse"))["reason"] == "3"
        link.close()


async def test_an_event_with_a_strange_action_id_and_lines_of_64_kilobytes_is_an_event():
    fake = FakeAmi()
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        fake.event(f"Hangup; ActionID=nobody-s; Uniqueid=x; Cause={'9' * 65536}; Cause-txt={'é' * 32768}")
        event = await next_named(link, "Hangup")
        assert len(str(event["cause-txt"])) == 32768
        assert link.state is LinkState.UP
        link.close()


async def test_a_message_without_an_end_closes_the_link(caplog):
    fake = FakeAmi()
    down = asyncio.Event()
    async with fake.serve() as port:
        link = link_to(port)

        async def on_up() -> None:
            fake.write(b"Event: Hangup\r\n" + b"X: y\r\n" * 200_000)

        keeping = asyncio.create_task(link.keep_up(on_up, down.set))
        await asyncio.wait_for(down.wait(), 10)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert "ami.endless" in [getattr(record, "event", "") for record in caplog.records]


async def test_a_sender_that_is_cancelled_leaves_no_entry_behind():
    """It would swallow the call's OriginateResponse."""
    fake = FakeAmi(on_action=lambda _ami, _action: None)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        sending = asyncio.create_task(originate(link, ORDER, "token", now))
        await fake.wait_for(lambda: fake.count("Originate") == 1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        fake.event(f"OriginateResponse; ActionID=d-{ORDER.attempt_id}; Response=Failure; Reason=3")
        assert (await next_named(link, "OriginateResponse"))["reason"] == "3"
        link.close()


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
