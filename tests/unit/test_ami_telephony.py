"""What leaves for Asterisk and what is made of its words: orders, marks, hangups, lists of channels."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from dialer.ami.originate import headers, originate
from dialer.ami.telephony import AmiTelephony
from dialer.ami.translate import translate
from dialer.calls.events import HungUp, Refused
from dialer.calls.order import Order
from tests.unit.fake_ami import ORDER, FakeAmi, link_to, now


@pytest.mark.parametrize(
    ("cause", "expected"), [("16", 16), ("9" * 65536, 0), ("²", 0), ("-1", 0), ("", 0), (["16", "17"], 0)]
)
def test_a_cause_that_is_none_does_not_hide_the_hangup(cause, expected):
    at = now()
    headers = {"event": "Hangup", "uniqueid": f"d-{UUID(int=7)}", "cause": cause}
    assert translate(at, headers) == (UUID(int=7), HungUp(at=at, cause=expected, tech_cause=None))


async def test_a_refusal_is_kept_in_words_that_the_database_takes():
    fake = FakeAmi(on_action=lambda ami, action: ami.answer(action, "Error", "no \0such " + "x" * 999))
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        refused = await originate(link, ORDER, "token", now)
        assert isinstance(refused, Refused)
        assert refused.message.startswith("no such xxx")
        assert len(refused.message) == 200
        link.close()


async def test_an_order_is_accepted_before_the_call_rings_also_when_both_are_read_at_once():
    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        ami.answer(action)
        ami.event("DialState; DestUniqueid=d-00000000-0000-0000-0000-000000000007; DialStatus=RINGING")

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        telephony = AmiTelephony(link, b"k" * 32, now)
        accepted = await telephony.originate(ORDER)
        rang = [one for _, one in await telephony.next_events()]
        while not rang:
            rang = [one for _, one in await telephony.next_events()]
        assert accepted.at < rang[0].at
        link.close()


SHOWN = "CoreShowChannel; ActionID={id}; Uniqueid=d-00000000-0000-0000-0000-000000000007; ChannelState=6"


@pytest.mark.parametrize(
    ("said", "live"),
    [
        ([SHOWN, "CoreShowChannelsComplete; ActionID={id}; ListItems=1"], {UUID(int=7)}),
        (["CoreShowChannelsComplete; ActionID={id}; ListItems=0"], set()),
        # An item got lost: who is not in the list may live all the same.
        ([SHOWN, "CoreShowChannelsComplete; ActionID={id}; ListItems=2"], None),
        (["CoreShowChannelsComplete; ActionID={id}; ListItems=1", SHOWN], None),
    ],
)
async def test_only_a_whole_list_of_channels_counts(said, live):
    def react(ami: FakeAmi, action: dict[str, str]) -> None:
        ami.answer(action, message="Channels will follow")
        for text in said:
            ami.event(text.format(id=action["ActionID"]))

    fake = FakeAmi(on_action=react)
    async with fake.serve() as port:
        link = link_to(port)
        await link.connect()
        calls = await AmiTelephony(link, b"k" * 32, now).live_calls()
        assert (None if calls is None else set(calls)) == live
        link.close()


async def test_a_mark_calls_nobody_and_needs_an_answer():
    fake = FakeAmi(on_action=lambda ami, action: ami.answer(action))
    async with fake.serve() as port:
        link = link_to(port)
        telephony = AmiTelephony(link, b"k" * 32, now)
        assert await telephony.leave_mark() is None
        await link.connect()
        mark = await telephony.leave_mark()
        (sent,) = [action for action in fake.actions if action["Action"] == "Originate"]
        assert (sent["ChannelId"], sent["Channel"]) == (f"m-{mark}", "Local/s@dialer-dead-end")
        fake.refused.add("Originate")
        assert await telephony.leave_mark() is None
        link.close()


async def test_hanging_up_is_a_wish():
    fake = FakeAmi(on_action=lambda ami, action: ami.answer(action, "Error", "No such channel"))
    async with fake.serve() as port:
        link = link_to(port)
        telephony = AmiTelephony(link, b"k" * 32, now)
        await telephony.hang_up(ORDER.attempt_id)
        await link.connect()
        await telephony.hang_up(ORDER.attempt_id)
        assert fake.actions[-1]["Channel"] == f"d-{ORDER.attempt_id}"
        link.close()


@pytest.mark.parametrize(
    "number", ["500&PJSIP/itsp/14165551212", "+48501234567@evil", "+48501234567/x", "0048501234567", "+48 501"]
)
async def test_only_e164_reaches_a_dial_string(number):
    order = Order(attempt_id=UUID(int=1), number=number, trunk="a", caller_id="+48221234567", ring_s=20)
    with pytest.raises(ValueError, match=r"E\.164"):
        headers(order, "t")
    assert isinstance(await originate(link_to(1), order, "t", now), Refused)


@pytest.mark.parametrize(
    ("dial", "show", "channel", "caller_id"),
    [
        (None,          None,        "PJSIP/+48501234567@carrier-a", "<+48221234567>"),
        ("0501234567",  "221234567", "PJSIP/0501234567@carrier-a",   "<221234567>"),
        ("*9#50123456", None,        "PJSIP/*9#50123456@carrier-a",  "<+48221234567>"),
    ],
)  # fmt: skip
def test_what_the_trunks_formats_wrote_goes_out(dial, show, channel, caller_id):
    action = headers(replace(ORDER, dial=dial, show=show), "t")
    assert (action["Channel"], action["CallerID"]) == (channel, caller_id)


@pytest.mark.parametrize(
    "written", ["", "5", "50123&PJSIP/7", "501234567@evil", "501234567/x", "48+501234567", "5 01", "٥٠١", "5" * 21]
)
@pytest.mark.parametrize("part", ["dial", "show"])
async def test_a_format_cannot_write_more_than_a_number(written, part):
    order = replace(ORDER, **{part: written})
    with pytest.raises(ValueError, match="digits"):
        headers(order, "t")
    assert isinstance(await originate(link_to(1), order, "t", now), Refused)
