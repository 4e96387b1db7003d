"""Promise 5 on a real PostgreSQL: no limit is passed, however many engines claim at once, and each is said by name."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from dialer.campaign.running import Overrides, RunningCampaign
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ClaimResult, ContactChange
from dialer.pacing.decide import Binding
from dialer.storage import runs
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore
from tests.support.claiming import ended, make_campaign, numbers, order, route, store_of

NODES = {"node-1": ("a", "b"), "node-2": ("c",)}
"""What each has a trunk to."""
PLENTY = 1000


@pytest.fixture
async def stores(database):
    """An engine a node, each with a pool of its own."""
    engines = [async_engine(database.settings, pool_size=6) for _ in NODES]
    made = [store_of(engine, database, node) for engine, node in zip(engines, NODES, strict=True)]
    for store in made:
        assert await store.hold_node()
    yield made
    for store in made:
        await store.close()


async def limit(stores, *, site: int | None = None, node: int = PLENTY, trunk: int | None = None) -> None:
    for store in stores:
        await store.set_limits(site, node, dict.fromkeys(NODES[store._node], trunk))


def wanted(database, store: PostgresStore, campaign_id: int, most: int = 5):
    return order(database, campaign_id, most=most, routes=[route(name) for name in NODES[store._node]])


def in_use(database, column: str) -> dict[str, int]:
    rows = database.rows(
        f"select cast({column} as text), count(*) from attempt where slot_until is null or slot_until > now() "
        "group by 1"
    )
    return {str(name): int(str(calls)) for name, calls in rows}


# -- how many --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "of_campaign", "expected"),
    [
        ({"site": 13}, PLENTY, {"'all'": {"all": 13}}),
        ({"node": 9}, PLENTY, {"node": {"node-1": 9, "node-2": 9}}),
        ({"trunk": 4}, PLENTY, {"trunk": {"a": 4, "b": 4, "c": 4}}),
        ({}, 6, {"campaign_id": {"1": 6, "2": 6}}),
        ({"site": 12, "node": 9, "trunk": 7}, 11, {"'all'": {"all": 12}}),
    ],
    ids=["site", "node", "trunk", "campaign", "all of them"],
)
async def test_engines_that_claim_at_once_reach_a_limit_and_never_pass_it(
    database, stores, limits, of_campaign, expected
):
    ids = [make_campaign(database, f"c{begin}", numbers(40, begin)) for begin in ("+4850", "+4851")]
    database.run("update campaign_run set max_concurrent = :most", most=of_campaign)
    await limit(stores, **limits)
    for _ in range(3):
        found = await asyncio.gather(
            *(store.claim(wanted(database, store, campaign)) for store in stores for campaign in ids for _ in range(3))
        )
        for column, most in expected.items():
            assert all(calls <= most[name] for name, calls in in_use(database, column).items())
    # A last round alone: what a round left over because somebody else's claim was not committed yet.
    found += [await store.claim(wanted(database, store, campaign)) for store in stores for campaign in ids]
    for column, most in expected.items():
        assert in_use(database, column) == most
    assert found[-1].claims == []


async def test_limits_hold_while_calls_end_orders_change_and_everybody_writes(database, stores):
    """Eight loops over two nodes and two campaigns that share half of their people: no limit passed at any commit, and
    no deadlock, which PostgreSQL would end after a second with an error in one of them."""
    people = numbers(60)
    ids = [
        make_campaign(database, "one", people[:40], nodes=list(NODES)),
        make_campaign(database, "two", list(reversed(people[20:])), nodes=list(NODES), rate=5),
    ]
    most = {"'all'": 9, "node": 6, "trunk": 4, "campaign_id": 7}
    database.run("update campaign_run set max_concurrent = :most", most=most["campaign_id"])
    await limit(stores, site=most["'all'"], node=most["node"], trunk=most["trunk"])
    claimed = await asyncio.gather(*(
        hammer(database, store, campaign, ids, most, random.Random(seed))
        for seed, (store, campaign) in enumerate([(store, campaign) for store in stores for campaign in ids] * 2)
    ))  # fmt: skip
    assert sum(claimed) > 40, "it was a storm"
    assert min(claimed) > 0, "everybody had their part"


async def hammer(database, store, campaign_id, ids, most, chance) -> int:
    """Claims, ends and reports as an engine does; how many were claimed."""
    live: list[Claim] = []
    claimed, asked = 0, wanted(database, store, campaign_id)
    for _ in range(10):
        result = await store.claim(replace(asked, most=chance.randint(1, 4)))
        live += result.claims
        claimed += len(result.claims)
        for column, limit_ in most.items():
            # In a thread: what waits for a lock of ours would else keep the loop from letting it go.
            used = await asyncio.to_thread(in_use, database, column)
            assert max(used.values(), default=0) <= limit_, column
        chance.shuffle(live)
        over, live = live[:2], live[2:]
        await end(store, over, gone_for=timedelta(seconds=chance.choice((0.4, 1))))
        mixed = chance.sample(ids, len(ids))
        await store.report({one: {"calls_now": 1} for one in mixed}, {"calls": 1})
        await store.rate_shares(mixed, able=chance.random() < 0.9)
        await limit([store], site=most["'all'"], node=most["node"], trunk=most["trunk"])
        if chance.random() < 0.3:
            await asyncio.to_thread(begin_again, database, (await store.wanted_runs([campaign_id]))[0].campaign)
    return claimed


def begin_again(database, campaign: RunningCampaign) -> None:
    with database.engine.begin() as connection:
        runs.begin(connection, campaign, dict.fromkeys(reversed(NODES), 1), "ann@host")


async def end(store, claims: list[Claim], gone_for: timedelta) -> None:
    """Verdicts of calls that were hung up a while ago; the people are due again at once."""
    now = utc_now()
    changes = [
        ContactChange(
            contact_id=one.contact.id, attempts=0, wave=1, next_attempt_at=now, next_number=one.attempt.number
        )
        for one in claims
    ]  # fmt: skip
    await store.save([ended(one, at=now - gone_for) for one in claims], changes, [])


@pytest.mark.parametrize(
    "others",
    [
        "update contact set next_attempt_at = now() - interval '1 minute' * id where campaign_id = 2",
        "update contact set next_number = '+4852' || 9999999 - substr(next_number, 6)::int where campaign_id = 2",
        "update contact c set next_number = o.next_number from contact o "
        "where o.campaign_id = 1 and c.campaign_id = 2 and c.id - o.id between 75 and 85",
    ],
    ids=["the same numbers", "other numbers", "others' numbers"],
)
async def test_claims_of_campaigns_that_share_people_do_not_wait_for_each_other_for_ever(database, stores, others):
    """Nothing in common but people, whom each has in another order: the indexes of open calls alone decide."""
    ids = [make_campaign(database, name, numbers(80)) for name in ("one", "two")]
    database.run(others)
    asked = [wanted(database, store, campaign, 80) for store, campaign in zip(stores, ids, strict=True)]
    for _ in range(6):
        found = await asyncio.gather(*(store.claim(one) for store, one in zip(stores, asked, strict=True)))
        assert sum(len(one.claims) for one in found) <= 80, "one call a person"
        for store, result in zip(stores, found, strict=True):
            await end(store, result.claims, gone_for=timedelta(seconds=1))


async def test_a_slot_that_settles_is_taken_for_site_node_and_trunk(database, stores):
    campaign_id = make_campaign(database, "c", numbers(5))
    store = stores[0]
    await limit(stores, site=1)
    (first,) = (await store.claim(wanted(database, store, campaign_id))).claims
    await store.save([ended(first)], [], [])
    for one in stores:
        assert (await one.claim(wanted(database, one, campaign_id))).claims == []
    database.run("update attempt set slot_until = now()")
    assert len((await stores[1].claim(wanted(database, stores[1], campaign_id))).claims) == 1


# -- which one -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "ceiling", "expected", "binds"),
    [
        ({"site": 2}, PLENTY, 2, Binding.SITE_CEILING),
        ({"node": 3}, PLENTY, 3, Binding.NODE_CEILING),
        ({"trunk": 2}, PLENTY, 4, Binding.TRUNK_CEILING),
        ({"site": 7, "node": 6}, 5, 5, Binding.CEILING),
        ({"site": 4, "node": 9, "trunk": 3}, 8, 4, Binding.SITE_CEILING),
        ({"site": 0}, PLENTY, 0, Binding.SITE_CEILING),
        ({}, PLENTY, 9, None),
    ],
)
async def test_a_claim_says_which_limit_kept_it_from_more(database, stores, limits, ceiling, expected, binds):
    campaign_id = make_campaign(database, "c", numbers(9))
    await limit(stores, **limits)
    asked = order(database, campaign_id, ceiling=ceiling, most=50, routes=[route("a"), route("b")])
    result = await stores[0].claim(asked)
    assert (len(result.claims), result.bound) == (expected, binds)
    again = await stores[0].claim(asked)
    assert (again.claims, again.bound) == ([], binds)


async def test_whoever_got_all_they_asked_for_was_kept_from_nothing(database, stores):
    campaign_id = make_campaign(database, "c", numbers(9))
    await limit(stores, site=3)
    result = await stores[0].claim(wanted(database, stores[0], campaign_id, 3))
    assert (len(result.claims), result.bound) == (3, None)


async def test_a_full_trunk_is_named_when_only_it_carries_whoever_is_due(database, stores):
    """Else the campaign would say that nobody is due, and look again only now and then."""
    campaign_id = make_campaign(database, "c", [*numbers(3, "+4850"), *numbers(2, "+4951")])
    await limit(stores, trunk=1)
    asked = order(database, campaign_id, routes=[route("a", "+48"), route("b", "+49")], room={"a": 5, "b": 5})
    for claimed in (2, 0):
        result = await stores[0].claim(asked)
        assert (len(result.claims), result.bound) == (claimed, Binding.TRUNK_CEILING)
    await limit(stores, trunk=2)
    found = await stores[0].claim(asked)
    assert sorted(one.attempt.number[:3] for one in found.claims) == ["+48", "+49"]
    # Everybody for b is in a call; b has room, a has none.
    await limit(stores[:1], trunk=3)
    database.run("update capacity_limit set max_concurrent = 2 where name = 'a'")
    result = await stores[0].claim(asked)
    assert (result.claims, result.bound) == ([], Binding.TRUNK_CEILING)


# -- which trunk -----------------------------------------------------------------------------------------------------


async def through(store, asked) -> dict[str, str]:
    return {one.attempt.number: one.attempt.trunk for one in (await store.claim(asked)).claims}


async def test_a_number_goes_through_a_trunk_that_carries_it_or_through_none(database, stores):
    poland, germany, france = numbers(1, "+4850"), numbers(1, "+4951"), numbers(1, "+3360")
    campaign_id = make_campaign(database, "c", [*france, *poland, *germany])
    routes = [route("a", "+48", "+49"), route("b", "+495")]
    asked = order(database, campaign_id, routes=routes, room={"a": 1, "b": 2})
    result = await stores[0].claim(asked)
    assert {one.attempt.number: one.attempt.trunk for one in result.claims} == {poland[0]: "a", germany[0]: "b"}
    assert result.bound is None, "no trunk here carries whoever is left"


async def test_the_shown_number_is_chosen_for_trunk_and_callee_and_kept(database, stores):
    campaign_id = make_campaign(database, "c", numbers(2))
    asked = order(database, campaign_id, routes=[route("a"), route("b")])
    asked = replace(asked, identity=lambda trunk, number: f"+4822{ord(trunk):07d}")
    claims = (await stores[0].claim(asked)).claims
    shown = {one.attempt.trunk: one.attempt.caller_id for one in claims}
    assert shown == {"a": "+48220000097", "b": "+48220000098"}
    assert dict(database.rows("select trunk, caller_id from attempt")) == shown
    left = await stores[0].open_attempts()
    assert {one.claim.attempt.trunk: one.claim.attempt.caller_id for one in left} == shown


@pytest.mark.parametrize(
    ("avoid", "due", "expected"),
    [
        ("{}", "0 s", "a"),
        ("{a}", "0 s", "b"),
        ("{a,b}", "0 s", None),
        ("{a,b}", "4 minutes 50 s", None),
        ("{a,b}", "5 minutes 1 s", "a"),
        ("{a}", "5 minutes 1 s", "a"),
    ],
)
async def test_a_trunk_that_failed_somebody_is_avoided_for_five_minutes(database, stores, avoid, due, expected):
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run(
        "update contact set avoid_trunks = cast(:avoid as text[]), next_attempt_at = now() - cast(:due as interval)",
        avoid=avoid, due=due,
    )  # fmt: skip
    database.run("update campaign_run set wanted_at = now() - interval '1 day'")
    asked = order(database, campaign_id, routes=[route("a"), route("b", priority=2)])
    assert await through(stores[0], asked) == ({numbers(1)[0]: expected} if expected else {})


async def test_what_a_verdict_avoids_is_kept_until_the_next_claim(database, stores):
    campaign_id = make_campaign(database, "c", numbers(1))
    store, asked = stores[0], order(database, campaign_id, routes=[route("a"), route("b")])
    (first,) = (await store.claim(asked)).claims
    change = ContactChange(
        contact_id=first.contact.id, attempts=0, wave=1, next_attempt_at=utc_now(), next_number=first.attempt.number,
        avoid_trunks=("a", "x-1"),
    )  # fmt: skip
    await store.save([ended(first)], [change], [])
    assert database.rows("select avoid_trunks from contact") == [(["a", "x-1"],)]
    assert await through(store, asked) == {first.attempt.number: "b"}
    assert database.rows("select avoid_trunks from contact") == [(None,)]


# -- while it runs ---------------------------------------------------------------------------------------------------


def set_limits(database, campaign_id: int, **limits: float) -> Overrides | None:
    with database.engine.begin() as connection:
        return runs.set_limits(connection, campaign_id, "t", Overrides(**limits), "ann@host", "too many")


async def test_a_lower_ceiling_holds_for_the_next_claim(database, stores):
    campaign_id = make_campaign(database, "c", numbers(9))
    store = stores[0]
    await store.claim(wanted(database, store, campaign_id, 3))
    now = set_limits(database, campaign_id, max_concurrent=4)
    assert now == Overrides(max_concurrent=4, calls_per_second=1, priority=5, share=1)
    result = await store.claim(wanted(database, store, campaign_id))
    assert (len(result.claims), result.bound) == (1, Binding.CEILING)
    set_limits(database, campaign_id, max_concurrent=2)
    result = await store.claim(wanted(database, store, campaign_id))
    assert (result.claims, result.bound) == ([], Binding.CEILING)
    (event,) = database.rows("select seq, payload from event where type = 'campaign.set' order by seq limit 1")
    assert event == (2, {"by": "ann@host", "why": "too many", "wanted": "running", "max_concurrent": 4,
                         "calls_per_second": 1, "priority": 5, "share": 1})  # fmt: skip


async def test_an_idle_campaign_has_no_limits_to_set(database):
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run("update campaign_run set wanted = 'idle'")
    assert set_limits(database, campaign_id, max_concurrent=4) is None
    assert database.rows("select max_concurrent from campaign_run") == [(10_000,)]


def test_a_campaign_takes_orders_without_end(database):
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run("update campaign_run set orders = 32767")
    assert set_limits(database, campaign_id, max_concurrent=4) is not None
    assert database.rows("select max(seq) from event where type = 'campaign.set'") == [(32768,)]


async def test_a_paused_campaign_claims_nothing_and_says_so(database, stores):
    campaign_id = make_campaign(database, "c", numbers(1))
    await stores[1].pause(campaign_id, "t", "silent calls")
    result: ClaimResult = await stores[0].claim(wanted(database, stores[0], campaign_id))
    assert (result.claims, result.bound) == ([], Binding.PAUSED)


async def test_an_engine_that_lifts_anothers_limits_says_so(database, stores, caplog):
    await limit(stores, site=13, node=9)
    caplog.clear()
    await stores[0].set_limits(13, 9, {"a": None, "b": None})
    assert not caplog.records
    await stores[0].set_limits(None, 5, {"a": None, "b": 4})
    (said,) = caplog.records
    assert "site: 13 -> no limit; node node-1: 9 -> 5; trunk b: no limit -> 4" in said.getMessage()
