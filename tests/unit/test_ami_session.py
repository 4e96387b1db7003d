"""Who may log in at a node, how a left-over session ends, and which start of Asterisk a session is with."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from dialer.ami.link import AmiLink, LinkState
from dialer.errors import AsteriskAway
from tests.unit.fake_ami import FakeAmi, link_to, now


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


async def kick_that(fake: FakeAmi, frees: bool, says: bool) -> bool:
    if frees:
        fake.login_error = ""
    return says


@pytest.mark.parametrize(
    ("frees", "says", "connections", "state"),
    [
        (True, True, 2, LinkState.UP),
        # The other one is back, or was never ended: once is enough.
        (False, True, 2, LinkState.DOWN),
        (False, False, 1, LinkState.DOWN),
    ],
)
async def test_a_session_left_over_is_ended_once(caplog, frees, says, connections, state):
    fake = FakeAmi(login_error="Login Already In Use")
    async with fake.serve() as port:
        link = AmiLink("127.0.0.1", port, "dialer", "secret", now, lambda: kick_that(fake, frees, says))
        if state is LinkState.UP:
            await link.connect()
        else:
            with pytest.raises(AsteriskAway, match="another engine"):
                await link.connect()
        assert (link.state, fake.connections) == (state, connections)
        alarms = [record for record in caplog.records if getattr(record, "event", "") == "ami.kick_failed"]
        assert len(alarms) == (0 if state is LinkState.UP else 1)
        link.close()


async def test_a_console_that_fails_leaves_the_node_closed_and_says_why(caplog):
    async def kick() -> bool:
        raise AsteriskAway("the node's console is broken")

    fake = FakeAmi(login_error="Login Already In Use")
    async with fake.serve() as port:
        link = AmiLink("127.0.0.1", port, "dialer", "secret", now, kick)
        with pytest.raises(AsteriskAway, match="console is broken"):
            await link.connect()
        assert link.state is LinkState.DOWN
    assert "ami.kick_failed" in [getattr(record, "event", "") for record in caplog.records]


async def test_one_start_of_asterisk_has_one_name():
    fake = FakeAmi()
    async with fake.serve() as port:
        link, boots = link_to(port), []
        for restarted in (False, False, True):
            if restarted:
                fake.boot = ""
            await link.connect()
            boots.append(link.boot)
            link.close()
            assert link.boot == ""
    assert str(UUID(boots[0])) == boots[0] == boots[1] != boots[2]
    assert fake.count("Setvar") == 2


async def test_without_the_right_to_name_the_start_nobody_is_called():
    fake = FakeAmi(refused={"Setvar"})
    async with fake.serve() as port:
        link = link_to(port)
        with pytest.raises(AsteriskAway, match="DIALER_BOOT"):
            await link.connect()
        assert (link.state, link.boot) == (LinkState.DOWN, "")


async def test_a_boot_under_a_live_link_ends_it():
    fake = FakeAmi()
    async with fake.serve() as port:
        link, ups = link_to(port), asyncio.Queue()

        async def on_up() -> None:
            ups.put_nowait(link.boot)

        keeping = asyncio.create_task(link.keep_up(on_up, lambda: None))
        first = await asyncio.wait_for(ups.get(), 5)
        fake.boot = ""
        fake.event("FullyBooted; Status=Fully Booted; Uptime=0")
        assert await asyncio.wait_for(ups.get(), 5) not in ("", first)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert fake.connections == 2
