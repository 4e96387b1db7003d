"""Claims on a real PostgreSQL: windows, ceilings, one open call a number and a person, and verdicts stored once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ContactChange, Tried
from dialer.storage import claims
from dialer.storage.session import async_engine
from tests.support.claiming import SHOWN, ended, make_campaign, numbers, order, store_of


def revision_of(database, campaign_id: int) -> int:
    return database.rows("select revision_id from campaign where id = :id", id=campaign_id)[0][0]


@pytest.fixture
async def engine(database):
    made = async_engine(database.settings, pool_size=10)
    yield made
    await made.dispose()


@pytest.fixture
async def store(database, engine):
    """The store of the node's one engine."""
    made = store_of(engine, database, "node-1")
    assert await made.hold_node()
    yield made
    await made.close()


@pytest.fixture
def claim(database, store):
    async def claims(campaign_id: int, **wanted: Any) -> list[Claim]:
        return (await store.claim(order(database, campaign_id, **wanted))).claims

    return claims


async def test_a_claim_writes_the_attempt_and_its_event_before_anything_is_sent(database, claim):
    campaign_id = make_campaign(database, "c", numbers(3))
    claims = await claim(campaign_id, most=2)
    assert len(claims) == 2
    assert (
        database.rows("select state, wave, node, trunk, caller_id from attempt")
        == [("submitting", 1, "node-1", "a", SHOWN)] * 2
    )
    assert database.rows("select distinct payload->>'caller_id' from event") == [(SHOWN,)]
    told = "select payload->>'dial', payload->>'number_dial', payload->'revision' from event"
    assert database.rows(told) == [("1", "1", revision_of(database, campaign_id))] * 2
    assert database.rows("select count(*) from event where type = 'attempt.submitting'") == [(2,)]
    assert database.rows("select count(*) from contact where next_attempt_at is null") == [(2,)]


@pytest.mark.parametrize(
    ("opens", "closes", "expected"),
    [("-1 hour", "1 hour", 1), ("1 minute", "1 hour", 0), ("-1 hour", "-1 minute", 0)],
)
async def test_nobody_is_claimed_outside_the_window(database, claim, opens, closes, expected):
    campaign_id = make_campaign(database, "c", numbers(1), opens=opens, closes=closes)
    assert len(await claim(campaign_id)) == expected


@pytest.mark.parametrize("wanted", ["idle", "paused", "draining", "stopping"])
async def test_nobody_is_claimed_for_a_campaign_that_is_not_wanted_to_run(database, claim, wanted):
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run("update campaign_run set wanted = :w", w=wanted)
    assert await claim(campaign_id) == []


async def test_no_interval_means_no_call(database, claim):
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run("update contact set zones = 'Etc/Unknown'")
    assert await claim(campaign_id) == []


async def test_the_ceiling_holds_over_engines_that_claim_at_once(database, claim):
    campaign_id = make_campaign(database, "c", numbers(40))
    found = await asyncio.gather(*(claim(campaign_id, ceiling=7, most=5) for _ in range(8)))
    assert sum(map(len, found)) == 7


async def test_a_slot_stays_taken_until_its_bye_has_left(database, claim, store):
    campaign_id = make_campaign(database, "c", numbers(3))
    (first,) = await claim(campaign_id, ceiling=1)
    await store.save([ended(first)], [], [])
    assert await claim(campaign_id, ceiling=1) == []
    database.run("update attempt set slot_until = now()")
    assert len(await claim(campaign_id, ceiling=1)) == 1


async def test_one_open_call_a_number_and_a_person_over_all_campaigns(database, claim, store):
    one = make_campaign(database, "one", numbers(1))
    two = make_campaign(database, "two", numbers(1))
    (first,) = await claim(one)
    assert await claim(two) == []
    database.run("update attempt set state = 'closing'")
    assert await claim(two) == []
    await store.save([ended(first)], [], [])
    assert len(await claim(two)) == 1
    with pytest.raises(IntegrityError, match="has its verdict"):
        database.run("update attempt set state = 'ringing', disposition = null, ended_at = null where state = 'ended'")


async def test_two_contacts_with_one_number_are_called_one_after_the_other(database, claim, store):
    campaign_id = make_campaign(database, "c", numbers(2))
    database.run("update contact set numbers = array['+48500000000'], next_number = '+48500000000'")
    claims = await claim(campaign_id)
    assert len(claims) == 1
    await store.save([ended(claims[0])], [], [])
    assert len(await claim(campaign_id)) == 1


async def test_a_verdict_is_final_and_stored_once(database, claim, store):
    """A commit whose answer was lost is done again; by then the contact may be in its next call."""
    campaign_id = make_campaign(database, "c", numbers(1))
    (first,) = await claim(campaign_id)
    due = utc_now()
    change = ContactChange(
        contact_id=first.contact.id, attempts=1, wave=2, next_attempt_at=due, next_number=first.attempt.number
    )  # fmt: skip
    await store.save([ended(first)], [change], [])
    (second,) = await claim(campaign_id)
    assert (second.attempt.wave, second.contact.attempts) == (2, 1)
    assert second.contact.history == (
        Tried(number=first.attempt.number, disposition=Disposition.BUSY, trunk="a", wave=1, rang=False),
    )
    await store.save([ended(first, Disposition.COMPLETED)], [change], [])
    assert database.rows("select disposition from attempt where id = :id", id=first.attempt.id) == [("busy",)]
    assert database.rows("select next_attempt_at from contact") == [(None,)]


async def test_verdicts_that_do_not_count_are_remembered_too(database, claim, store):
    """They leave wave and attempts as they are; forgotten, the same number would be dialled without end."""
    campaign_id = make_campaign(database, "c", numbers(1))
    for earlier in range(4):
        (one,) = await claim(campaign_id)
        same = Tried(number=one.attempt.number, disposition=Disposition.CONGESTION, trunk="a", wave=1, rang=False)
        assert one.contact.history == (same,) * earlier
        change = ContactChange(
            contact_id=one.contact.id, attempts=0, wave=1, next_attempt_at=utc_now(), next_number=one.attempt.number
        )  # fmt: skip
        await store.save([ended(one, Disposition.CONGESTION)], [change], [])


async def test_the_log_says_which_dial_it_is_and_counts_none_that_never_left_the_node(database, claim, store):
    campaign_id = make_campaign(database, "c", numbers(1))
    other = "+48600000009"
    database.run("update contact set numbers = array_append(numbers, cast(:other as text))", other=other)
    for disposition, following in (
        (Disposition.RETURNED, None), (Disposition.BUSY, other), (Disposition.NOT_PLACED, other),
        (Disposition.CONGESTION, None), (Disposition.BUSY, None),
    ):  # fmt: skip
        (one,) = await claim(campaign_id)
        change = ContactChange(
            contact_id=one.contact.id, attempts=0, wave=1, next_attempt_at=utc_now(),
            next_number=following or one.contact.numbers[0],
        )  # fmt: skip
        await store.save([ended(one, disposition)], [change], [])
    told = "select cast(payload->>'dial' as int), cast(payload->>'number_dial' as int) from event order by occurred_at"
    assert database.rows(told) == [(1, 1), (1, 1), (2, 1), (2, 1), (3, 2)]


async def test_what_an_engine_left_open_is_found_with_its_own_policy(database, claim, store):
    campaign_id = make_campaign(database, "c", numbers(2))
    await claim(campaign_id)
    left = await store.open_attempts()
    assert [one.claim.attempt.state for one in left] == [State.SUBMITTING] * 2
    assert {one.terms.retry.attempts for one in left} == {2}
    assert {one.terms.longest_s for one in left} == {20 + 240}
    assert not any(one.claim.attempt.watched for one in left)


@pytest.mark.parametrize("statistics", ["old", "new"])
async def test_a_claim_walks_only_those_whom_it_takes(database, statistics):
    """A fresh list: everybody is due since the same moment, half of them in zones whose window is closed."""
    campaign_id = fresh_list(database, statistics)
    found = plan_of_a_claim(database, campaign_id)
    contacts = (node for node in found if node.get("Relation Name") == "contact")
    passed_over = sum(node.get("Rows Removed by Filter", 0) for node in found)
    walked = sum(map(rows_of, contacts))
    assert (walked, passed_over) == (10 + 10 + 1, 0), "to find, to take, and one for the priority that they wait with"


@pytest.mark.parametrize("statistics", ["old", "new"])
async def test_a_claim_holds_only_those_whom_it_takes_however_many_zones_are_open(database, statistics):
    campaign_id = fresh_list(database, statistics)
    database.run(
        "insert into open_interval select revision_id, 'Asia/Tokyo', opens_at, closes_at from open_interval"
    )  # fmt: skip
    found = plan_of_a_claim(database, campaign_id)
    assert [rows_of(node) for node in found if node["Node Type"] == "LockRows"] == [10]


def fresh_list(database, statistics: str) -> int:
    campaign_id = make_campaign(database, "c", numbers(1))
    database.run("insert into person (tenant_id, person_key) select 't', 'x' || g from generate_series(1, 20000) g")
    database.run(
        "insert into contact (campaign_id, person_id, numbers, zones, fields, next_attempt_at, next_number) "
        "select :id, id, array['+486' || id], case when id % 2 = 0 then 'Asia/Tokyo' else 'Europe/Warsaw' end, '{}', "
        "now(), '+486' || id from person where person_key like 'x%'",
        id=campaign_id,
    )
    if statistics == "new":
        database.run("analyze")
    return campaign_id


def plan_of_a_claim(database, campaign_id: int) -> list[dict[str, Any]]:
    """The nodes of the plan by which ten people are found, with what they came to."""
    with database.engine.begin() as connection:
        connection.execute(claims._ALONG_INDEXES)
        ((plan,),) = connection.execute(
            text(f"explain (analyze, format json) {claims._DUE}"),
            {"campaign": campaign_id, "revision": revision_of(database, campaign_id), "most": 10, "trunks": ["a"],
             "prefixes": [""]},
        )  # fmt: skip
    return list(nodes_of(plan[0]["Plan"]))


def rows_of(node: dict[str, Any]) -> int:
    return int(node["Actual Rows"] * node["Actual Loops"])


def nodes_of(plan):
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes_of(below)


async def test_numbers_that_no_trunk_carries_are_nobodys_and_keep_no_campaign_going(database, store):
    campaign_id = make_campaign(database, "c", numbers(4))
    revision_id = revision_of(database, campaign_id)
    carried = await store.totals(campaign_id, revision_id, ["+48", "+49"])
    assert (carried.due, carried.never) == (4, 0)
    other = await store.totals(campaign_id, revision_id, ["+49"])
    assert (other.due, other.never, other.next_call_at) == (4, 4, None)


async def test_totals_add_up(database, claim, store):
    campaign_id = make_campaign(database, "c", numbers(4))
    first, second = await claim(campaign_id, most=2)
    changes = [
        ContactChange(contact_id=first.contact.id, attempts=1, wave=2, closed_as="completed"),
        ContactChange(contact_id=second.contact.id, attempts=1, wave=2, on_hold=True),
    ]
    await store.save([ended(first, Disposition.COMPLETED), ended(second, Disposition.UNKNOWN)], changes, [])
    totals = await store.totals(campaign_id, revision_of(database, campaign_id))
    assert (totals.contacts, totals.closed, totals.held, totals.due, totals.due_now) == (4, 1, 1, 2, 2)
    assert totals.never == 0
    assert await store.dispositions(campaign_id) == {Disposition.COMPLETED: 1, Disposition.UNKNOWN: 1}


@pytest.mark.parametrize(
    ("opens", "closes", "never", "expected"),
    [("-1 hour", "1 hour", 0, 0), ("2 hours", "3 hours", 0, 7200), ("-2 hours", "-1 hour", 2, None)],
)
async def test_the_next_call_is_when_somebody_is_due_and_the_window_open(
    database, store, opens, closes, never, expected
):
    campaign_id = make_campaign(database, "c", numbers(2), opens=opens, closes=closes)
    totals = await store.totals(campaign_id, revision_of(database, campaign_id))
    assert totals.never == never
    if expected is None:
        assert totals.next_call_at is None
    else:
        assert abs(totals.next_call_at - utc_now() - timedelta(seconds=expected)) < timedelta(seconds=10)
