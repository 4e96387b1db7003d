"""The engine's session with a real node: left-over logins, which start of Asterisk it is, marks in its record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from dialer import names
from dialer.ami import cel
from dialer.ami.console import Console
from dialer.ami.link import AmiLink, LinkState
from dialer.ami.telephony import AmiTelephony
from dialer.calls.events import Accepted, CallEvent, Created, HungUp
from dialer.calls.order import Order
from dialer.clock import SystemClock
from dialer.errors import AsteriskAway
from dialer.lab.process import end_all
from dialer.lab.up import Lab
from dialer.secret_file import read_secret
from tests.lab.caller import Ami, until

pytestmark = pytest.mark.lab

NUMBER = "+48501300003"
WITHIN_S = 10


def link_to(lab: Lab, *, console: bool = True) -> AmiLink:
    node = lab.settings.nodes[0]

    async def kick() -> bool:
        return await Console(argv=node.console).kick(names.AMI_USER) > 0

    secret = read_secret(node.ami.secret_file)
    return AmiLink(
        node.ami.host, node.ami.port, names.AMI_USER, secret, SystemClock().now, kick if console else None
    )  # fmt: skip


@asynccontextmanager
async def connected(lab: Lab) -> AsyncIterator[tuple[AmiLink, AmiTelephony]]:
    link = link_to(lab)
    await link.connect()
    try:
        yield link, AmiTelephony(link, b"k" * 32, SystemClock().now)
    finally:
        link.close()


async def test_a_session_whose_engine_is_gone_is_ended_and_the_login_taken(lab: Lab) -> None:
    half_open, watching = await asyncio.to_thread(Ami, lab), await asyncio.to_thread(Ami, lab, "dialer-watch")
    try:
        without = link_to(lab, console=False)
        with pytest.raises(AsteriskAway, match="name the node's `console` in the settings"):
            await without.connect()
        assert half_open.act("Ping")["Response"] == "Success"
        async with connected(lab) as (link, _):
            assert link.state is LinkState.UP
            assert (await link.send({"Action": "Ping"}))["response"] == "Success"
            assert watching.act("CoreStatus")["Response"] == "Success"
            with pytest.raises(ConnectionError):
                await asyncio.to_thread(half_open.act, "Ping")
    finally:
        half_open.close()
        watching.close()


async def test_a_start_of_asterisk_keeps_its_name_until_the_next(lab: Lab) -> None:
    boots = []
    for between in (lambda: lab.node.execute("dialplan reload"), lambda: _restart(lab), lambda: None):
        async with connected(lab) as (link, _):
            boots.append(link.boot)
        await asyncio.to_thread(between)
    assert boots[0] == boots[1]
    async with connected(lab) as (link, _):
        assert link.boot == boots[2] != boots[0]
    assert str(UUID(boots[2])) == boots[2]


def _restart(lab: Lab) -> None:
    end_all(lab.places.node)
    lab.node.start()
    lab.node.wait_ready()


async def test_a_mark_stands_behind_all_that_came_before_it_and_leaves_nothing(lab: Lab, numbers_file: Path) -> None:
    numbers_file.write_text(f"number,nth_invite,behaviour,args\n{NUMBER},*,rings_out,\n", encoding="utf-8")
    lab.set_numbers(numbers_file)
    record = lab.places.node / "log" / "cel.jsonl"
    async with connected(lab) as (_, telephony):
        order = Order(
            attempt_id=uuid4(), number=NUMBER, trunk="carrier-a", caller_id="+48221234567", ring_s=30
        )  # fmt: skip
        assert isinstance(await telephony.originate(order), Accepted)
        assert await _first(telephony, order.attempt_id, Created)
        mark = await telephony.leave_mark()
        assert mark is not None
        await asyncio.to_thread(until, lambda: mark in cel.read(record, None).marks, "the mark is in the record")
        seen = [one.kind for one in cel.read(record, None).records if one.attempt_id == order.attempt_id]
        assert seen == ["CHAN_START"]
        # The mark's own channels are gone, and are no calls of ours.
        assert set(await telephony.live_calls() or ()) == {order.attempt_id}
        await telephony.hang_up(order.attempt_id)
        assert await _first(telephony, order.attempt_id, HungUp)
        assert await telephony.live_calls() == {}


async def _first(telephony: AmiTelephony, attempt_id: UUID, kind: type[CallEvent]) -> CallEvent:
    """The attempt's next event of a kind; nothing may be heard of any other attempt."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            for about, event in await telephony.next_events():
                assert about == attempt_id
                if isinstance(event, kind):
                    return event
