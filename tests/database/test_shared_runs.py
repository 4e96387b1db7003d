"""One campaign on two nodes: its rate shared by rows, its end when nobody calls any more, its nodes at each start."""

from __future__ import annotations

import asyncio
import random

import pytest
from sqlalchemy import text

from dialer.campaign.running import Wanted
from dialer.pacing.shares import HOLD_S
from dialer.storage import runs
from dialer.storage.engine_runs import RATE_FORGOTTEN_S
from dialer.storage.session import async_engine
from tests.support.claiming import NOBODY, ended, make_campaign, numbers, order, route, store_of

RATE = 10.0


@pytest.fixture
async def pair(database):
    """The engines of two nodes; the second one's process is another machine's."""
    engine = async_engine(database.settings, pool_size=6)
    made = store_of(engine, database, "node-1"), store_of(engine, database, "node-2", NOBODY)
    for store in made:
        assert await store.hold_node()
    yield made
    await engine.dispose()


@pytest.fixture
def campaign(database) -> int:
    return make_campaign(database, "c", numbers(20), nodes=["node-1", "node-2"], rate=RATE)


async def look(store, campaign_id: int, able: bool = True) -> float:
    return (await store.rate_shares([campaign_id], able=able))[campaign_id]


def pass_time(database, seconds: float) -> None:
    """As if so many seconds had gone by since all that is written."""
    database.run(
        "update campaign_node set rate_at = rate_at - make_interval(secs => :s), "
        "rate_high_until = rate_high_until - make_interval(secs => :s)",
        s=seconds,
    )


def held(database, column: str = "rate_share") -> float:
    """What all nodes together may still bring to the carrier."""
    rows = database.rows(
        f"select sum(case when rate_high_until > now() then greatest({column}, rate_high) else {column} end) "
        "from campaign_node"
    )
    return float(str(rows[0][0]))


# -- the rate --------------------------------------------------------------------------------------------------------


def leave(database, node: str) -> None:
    """Its engine has lost its lease."""
    database.run("update engine_lease set lease_until = now() where node = :node", node=node)


async def test_engines_that_live_have_their_parts_from_the_start(database, pair, campaign):
    assert [await look(store, campaign) for store in pair] == [5, 5]
    assert held(database) == RATE


async def test_who_comes_later_waits_until_the_first_ones_calls_no_longer_count(database, pair, campaign):
    one, two = pair
    leave(database, "node-2")
    assert await look(one, campaign) == RATE, "nobody else is there"
    await two.hold_node()
    assert await look(two, campaign) == 0
    assert await look(one, campaign) == 5, "given up at once"
    assert await look(two, campaign) == 0, "but taken only when what was sent under it is over"
    pass_time(database, HOLD_S - 1)
    assert await look(two, campaign) == 0
    pass_time(database, 2)
    assert await look(two, campaign) == 5
    assert [await look(store, campaign) for store in pair] == [5, 5]


async def test_the_part_of_a_dead_engine_is_taken_when_its_last_calls_count_no_more(database, pair, campaign):
    one, two = pair
    assert [await look(store, campaign) for store in pair] == [5, 5]
    leave(database, "node-2")
    pass_time(database, RATE_FORGOTTEN_S - 1)
    assert await look(one, campaign) == 5
    database.run("update campaign_node set rate_at = rate_at - interval '2 s' where node = 'node-2'")
    assert await look(one, campaign) == RATE
    assert await look(two, campaign) == 0, "back again, it begins with nothing"


async def test_a_frozen_engine_keeps_its_part_while_its_lease_lives(database, pair, campaign):
    assert [await look(store, campaign) for store in pair] == [5, 5]
    pass_time(database, RATE_FORGOTTEN_S + 1)
    assert await look(pair[0], campaign) == 5


async def test_weights_divide_the_rate_and_a_lower_one_holds_at_once(database, pair, campaign):
    database.run("update campaign_node set weight = 4 where node = 'node-1'")
    assert [await look(store, campaign) for store in pair] == [8, 2]
    database.run("update campaign_run set calls_per_second = 5")
    assert [await look(store, campaign) for store in pair] == [3, 0], "8 a second may still be on their way"
    pass_time(database, HOLD_S + 1)
    assert [await look(store, campaign) for store in reversed(pair)] == [1, 4]


async def test_each_campaign_has_shares_of_its_own(database, pair, campaign):
    other = make_campaign(database, "d", numbers(1), nodes=["node-1"], rate=3)
    assert await pair[0].rate_shares([campaign, other], able=True) == {campaign: 5, other: 3}
    assert await pair[1].rate_shares([campaign, other], able=True) == {campaign: 5}


@pytest.mark.parametrize("seed", range(3))
async def test_whoever_looks_whenever_the_whole_is_never_exceeded(database, pair, campaign, seed):
    chance = random.Random(seed)
    used = 0.0
    for _ in range(25):
        looking = [store for store in pair if chance.random() < 0.7]
        await asyncio.gather(*(look(store, campaign, chance.random() < 0.8) for store in looking))
        assert held(database) <= RATE + 1e-9
        used = max(used, held(database))
        database.run("update campaign_node set weight = :w where node = :n", w=chance.randint(1, 5),
                     n=chance.choice(("node-1", "node-2")))  # fmt: skip
        pass_time(database, chance.choice((0, 1, 5, HOLD_S)))
    assert used == pytest.approx(RATE)


# -- its end and its beginning ---------------------------------------------------------------------------------------


async def finish(store, campaign_id: int) -> bool:
    return await store.finish(campaign_id, "t", "finished", "nobody is left")


async def test_a_campaign_does_not_end_while_another_live_engine_has_calls_of_it(database, pair, campaign):
    one, two = pair
    (claim,) = (await two.claim(order(database, campaign, most=1))).claims
    assert not await finish(one, campaign)
    assert database.rows("select wanted from campaign_run") == [("running",)]
    assert await finish(two, campaign), "its own calls are its own affair"
    database.run("update campaign_run set wanted = 'running'")
    await two.save([ended(claim)], [], [])
    assert await finish(one, campaign)
    assert database.rows("select wanted, orders from campaign_run") == [("idle", 3)]


async def test_a_claim_that_is_not_committed_yet_keeps_a_campaign_from_its_end_too(database, pair, campaign):
    one, two = pair
    begun, go_on = asyncio.Event(), asyncio.Event()
    asked = order(database, campaign, most=1)

    async def claim_slowly() -> None:
        async with two._engine.begin() as connection:
            locked = text("select from campaign_run where campaign_id = :c for share")
            await connection.execute(locked, {"c": campaign})
            begun.set()
            await go_on.wait()

    claiming = asyncio.create_task(claim_slowly())
    await begun.wait()
    ending = asyncio.create_task(finish(one, campaign))
    await until_somebody_waits(database)
    assert (await two.claim(asked)).claims
    go_on.set()
    assert not await ending
    await claiming


async def until_somebody_waits(database) -> None:
    async with asyncio.timeout(10):
        waiting = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        while not await asyncio.to_thread(database.rows, waiting):
            await asyncio.sleep(0.01)


async def test_who_cannot_call_leaves_the_rate_to_the_others(database, pair, campaign):
    await look(pair[0], campaign)
    await look(pair[1], campaign)
    assert await look(pair[1], campaign, able=False) == 0
    database.run("update campaign_node set rate_high_until = rate_high_until - interval '1 hour'")
    assert await look(pair[0], campaign) == 10
    assert await look(pair[1], campaign) == 0, "it comes back when the other has given its part up"


async def test_the_calls_of_an_engine_that_died_do_not_keep_a_campaign_from_its_end(database, pair, campaign):
    one, two = pair
    await two.claim(order(database, campaign, most=1))
    assert not await finish(one, campaign)
    database.run("update engine_lease set lease_until = now() where node = 'node-2'")
    assert await finish(one, campaign)


async def test_a_campaign_that_begins_again_has_the_nodes_of_its_new_order(database, pair, campaign):
    one, _ = pair
    await one.report({campaign: {"calls_now": 3}}, {"calls": 3})
    ((_, share),) = (await one.rate_shares([campaign], able=True)).items()
    (wanted,) = await one.wanted_runs(None)
    with database.engine.begin() as connection:
        runs.begin(connection, wanted.campaign, {"node-1": 3, "node-3": 2}, "bob@host", "again")
        found = runs.find(connection, campaign)
    assert database.rows("select node, weight, progress, rate_share from campaign_node order by node") == [
        ("node-1", 3, None, share), ("node-2", 0, None, 0.0), ("node-3", 2, None, 0.0),
    ]  # fmt: skip
    assert await pair[1].wanted_runs(None) == [], "node-2 is left out"
    assert await finish(pair[1], campaign), "and does not end it"
    assert database.rows("select wanted from campaign_run") == [("running",)]
    assert (found.wanted, found.wanted_by, found.wanted_why) == (Wanted.RUNNING, "bob@host", "again")
    assert [(one.node, one.engine_live) for one in found.nodes] == [("node-1", True), ("node-3", False)]
    assert found.progress == []


async def test_every_node_of_a_campaign_is_to_run_it_and_no_other(database, pair, campaign):
    other = make_campaign(database, "d", numbers(1), nodes=["node-2"])
    found = [{run.campaign.id for run in await store.wanted_runs(None)} for store in pair]
    assert found == [{campaign}, {campaign, other}]


async def test_a_restart_counts_what_was_sent_lately_by_trunk(database, pair, campaign):
    one, two = pair
    other = make_campaign(database, "d", numbers(3, "+4851"))
    routes = [route("a"), route("b", weight=2)]
    await one.claim(order(database, campaign, most=6, routes=routes))
    await one.claim(order(database, other, most=3))
    await two.claim(order(database, campaign, most=2, routes=[route("c")]))
    assert await one.sent_lately(10) == {"a": 5, "b": 4}
    assert await one.sent_lately(10, campaign) == {"a": 2, "b": 4}
    assert await two.sent_lately(10) == {"c": 2}
    database.run("update attempt set submitting_at = submitting_at - interval '11 s' where trunk = 'b'")
    assert await one.sent_lately(10, campaign) == {"a": 2}
