"""One engine a node: leases, epochs, and what an engine that was away too long may still write: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from dialer.calls.attempt import State
from dialer.calls.witness import CelPosition
from dialer.clock import utc_now
from dialer.errors import Fenced
from dialer.storage import leases
from dialer.storage.session import async_engine
from tests.support.claiming import NOBODY, make_campaign, numbers, order, store_of


@pytest.fixture
async def stores(database):
    engine = async_engine(database.settings, pool_size=4)
    # Both are of this process, which lives; another holder's name makes them two.
    yield [store_of(engine, database, "node-1"), store_of(engine, database, "node-1", NOBODY)]
    await engine.dispose()


def lapse(database):
    database.run("update engine_lease set lease_until = now() - interval '1 second'")


async def test_a_live_lease_is_nobody_elses(database, stores):
    first, second = stores
    assert await first.hold_node() == leases.LEASE_S
    assert await second.hold_node() == 0
    assert await first.hold_node() == leases.LEASE_S
    assert database.rows("select epoch from engine_lease") == [(1,)]


async def test_a_lapsed_lease_is_taken_and_its_holder_fenced(database, stores):
    first, second = stores
    assert await first.hold_node()
    lapse(database)
    assert await second.hold_node()
    assert second.epoch == first.epoch + 1
    with pytest.raises(Fenced, match="another engine has taken over"):
        await first.hold_node()


async def test_a_lapsed_lease_that_nobody_took_goes_on(database, stores):
    first, _ = stores
    assert await first.hold_node()
    lapse(database)
    assert await first.hold_node() == leases.LEASE_S
    assert first.epoch == 1


async def test_a_lease_that_was_given_back_is_taken_at_once(database, stores):
    first, second = stores
    assert await first.hold_node()
    await first.close()
    assert await second.hold_node()


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[str]]:
    """Another process of this machine; its first line is how a lease names it."""
    command = "import dialer.storage.leases as l, time; print(l.this_process(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, text=True) as child:
        yield child
        child.kill()


def end(process: subprocess.Popen[str], *, reaped: bool) -> None:
    process.kill()
    if reaped:
        process.wait()
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("reaped", [True, False])
async def test_the_lease_of_a_dead_process_of_this_machine_is_taken_at_once(database, stores, neighbour, reaped):
    first, second = stores
    first._holder = neighbour.stdout.readline().strip()
    assert await first.hold_node()
    neighbour.send_signal(signal.SIGSTOP)
    assert await second.hold_node() == 0, "a frozen process may wake up"
    end(neighbour, reaped=reaped)
    assert await second.hold_node()


async def test_the_engines_clock_is_the_databases_whatever_the_hosts_shows(database, stores):
    first, _ = stores
    first._clock.set(utc_now() - timedelta(hours=1))
    assert await first.hold_node()
    assert abs((first._clock.now() - utc_now()).total_seconds()) < 2
    first._clock.set(utc_now() + timedelta(hours=1))
    assert await first.hold_node()
    assert abs((first._clock.now() - utc_now()).total_seconds()) < 2


async def test_who_lost_the_node_writes_nothing(database, stores):
    first, second = stores
    campaign_id = make_campaign(database, "c", numbers(2))
    await first.hold_node()
    (claim,) = (await first.claim(order(database, campaign_id, most=1))).claims
    assert (claim.attempt.epoch, claim.attempt.boot) == (1, "b")
    lapse(database)
    await second.hold_node()
    before = database.rows("select * from attempt")
    now = utc_now()
    with pytest.raises(Fenced):
        await first.save([replace(claim.attempt, state=State.ACCEPTED, accepted_at=now)], [], [])
    with pytest.raises(Fenced):
        await first.claim(order(database, campaign_id, most=1))
    with pytest.raises(Fenced):
        await first.store_cel([], CelPosition(inode=1, offset=1))
    with pytest.raises(Fenced):
        await first.finish(campaign_id, "t", "finished", "nobody is left")
    assert database.rows("select * from attempt") == before
    assert database.rows("select count(*) from cel_position") == [(0,)]
    assert len((await second.claim(order(database, campaign_id, most=2))).claims) == 1, "the first one's claim stands"
