"""What people ask for in a call, on a real PostgreSQL: no more calls, or another one at a time of theirs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from agi.results import ResultStore
from dialer.calls.attempt import State
from dialer.calls.results import Answer, DialogueEnd, FlowResult, OptOut, Writes
from dialer.campaign.model import Campaign
from dialer.clock import utc_now
from dialer.contacts.contact import ContactChange
from dialer.contacts.suppress import DncScope
from dialer.storage.session import async_engine
from sounds.build import build
from tests.conftest import Database
from tests.database.test_agi_results import DOCUMENT, KEY, add_attempt, running
from tests.support.claiming import ended, make_campaign, numbers, order, store_of
from tests.support.fake_asterisk import FakeAsterisk, request

pytestmark = pytest.mark.database

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
FLOW = {
    "welcome": {"menu": "What now?", "keys": {"1": "when", "9": "never"}},
    "when": {"callback": "At what time?", "next": "bye"},
    "never": {"opt_out": "Never again."},
    "bye": {"say": "Goodbye."},
}


@pytest.fixture
async def rows_of(database: Database) -> AsyncIterator[ResultStore]:
    """Where workers write."""
    store = ResultStore(database.settings)
    yield store
    await store.close()


def wish(attempt_id: UUID, scope: DncScope = DncScope.TENANT) -> Writes:
    return Writes(opt_outs=[OptOut(attempt_id=attempt_id, scope=scope, at=AT)])


def listed(database: Database) -> list[tuple[object, ...]]:
    return database.rows("select number, scope, tenant_id, campaign_id from dnc order by number")


def with_numbers(database: Database) -> UUID:
    """A call in a campaign of the tenant north; the person is in another one of it, and in one of the tenant south."""
    attempt_id = add_attempt(database)
    database.run("update contact set numbers = '{+48500000001,+48500000002}'")
    database.run("insert into campaign (tenant_id, name, created_at) values ('north', 'two', now()), "
                 "('south', 'three', now())")  # fmt: skip
    database.run("insert into person (tenant_id, person_key) values ('south', '1')")
    database.run("insert into contact (campaign_id, person_id, numbers, zones, fields) values "
                 "(2, 1, '{+48500000003}', 'Europe/Warsaw', '{}'), "
                 "(3, 2, '{+48500000004}', 'Europe/Warsaw', '{}')")  # fmt: skip
    return attempt_id


OURS, OTHERS = ["+48500000001", "+48500000002"], ["+48500000003"]


@pytest.mark.parametrize(("scope", "expected", "of"), [
    (DncScope.SITE, OURS + OTHERS, (None, None)),
    (DncScope.TENANT, OURS + OTHERS, ("north", None)),
    (DncScope.CAMPAIGN, OURS, ("north", 1)),
])  # fmt: skip
async def test_every_number_that_is_known_of_the_person_is_listed(
    database: Database, rows_of: ResultStore, scope: DncScope, expected: list[str], of: tuple[object, ...]
) -> None:
    attempt_id = with_numbers(database)
    await rows_of.write([wish(attempt_id, scope)])
    assert listed(database) == [(number, scope.value, *of) for number in expected]
    assert database.rows("select distinct source, attempt_id, added_at, added_by, until from dnc") == [
        ("call", attempt_id, AT, "callee", None)
    ]
    assert database.rows("select who, what, tenant_id, campaign_id, detail from audit") == [
        ("callee", "dnc.add", *of, {"attempt": str(attempt_id), "scope": scope.value, "numbers": len(expected)})
    ]


async def test_the_number_called_is_listed_though_the_base_has_another_one_by_now(
    database: Database, rows_of: ResultStore
) -> None:
    attempt_id = add_attempt(database, number=5)
    database.run("update contact set numbers = '{+48500000009}'")
    await rows_of.write([wish(attempt_id)])
    assert [row[0] for row in listed(database)] == ["+48500000005", "+48500000009"]


async def test_the_same_wish_again_changes_nothing_and_is_audited_once(
    database: Database, rows_of: ResultStore
) -> None:
    attempt_id = with_numbers(database)
    for _ in range(2):
        await rows_of.write([wish(attempt_id)])
    assert len(listed(database)) == 3
    assert database.rows("select count(*) from audit") == [(1,)]


async def test_an_entry_that_would_expire_does_so_no_more(database: Database, rows_of: ResultStore) -> None:
    attempt_id = add_attempt(database)
    database.run("insert into dnc (number, scope, tenant_id, source, reason, added_by, until) values "
                 "('+48500000001', 'tenant', 'north', 'command', 'asked for quiet', 'ann@host', now())")  # fmt: skip
    await rows_of.write([wish(attempt_id)])
    assert database.rows("select until, source, reason, added_by from dnc where number = '+48500000001'") == [
        (None, "call", None, "callee")
    ]


async def test_wishes_of_one_moment_that_share_a_number_are_stored_together(
    database: Database, rows_of: ResultStore
) -> None:
    wishes = [wish(add_attempt(database, number=number)) for number in (1, 2)]
    await rows_of.write([*wishes, Writes()])
    assert [row[0] for row in listed(database)] == ["+4850000000", "+48500000001", "+48500000002"]


async def test_who_presses_nine_is_on_the_list_before_they_hear_so(database: Database) -> None:
    attempt_id = add_attempt(database)
    document = {**DOCUMENT, "languages": ["en"], "flow": FLOW}
    database.run("update revision set document = cast(:document as json)", document=json.dumps(document))
    build(Campaign.model_validate(document), Path("/base"), database.settings)
    seen: list[object] = []

    def look(command: str) -> None:
        if command.startswith(("GET", "STREAM")):
            seen.append(database.rows("select (select count(*) from answer_try), (select count(*) from dnc)"))

    async with running(database) as worker:
        await FakeAsterisk(worker.port, "9 bye", before_reply=look).run(request(attempt_id, KEY))
    assert seen == [[(0, 0)], [(1, 2)]], "together with the key"
    assert database.rows("select result, step, opted_out, callback_at from flow_result") == [
        ("refused", "never", True, None)
    ]


async def test_a_time_that_is_typed_is_by_the_callees_clock(database: Database) -> None:
    attempt_id = add_attempt(database)
    database.run("update contact set zones = 'Asia/Tokyo@JP'")
    document = {**DOCUMENT, "languages": ["en"], "flow": FLOW}
    database.run("update revision set document = cast(:document as json)", document=json.dumps(document))
    build(Campaign.model_validate(document), Path("/base"), database.settings)
    async with running(database) as worker:
        await worker.call(attempt_id, "1 1730 on")
    ((result, opted_out, wait, shown),) = database.rows(
        "select result, opted_out, callback_at - at, to_char(callback_at at time zone 'Asia/Tokyo', 'HH24MISS') "
        "from flow_result"
    )
    assert (result, opted_out, shown) == ("partial", False, "173000")
    assert isinstance(wait, timedelta)
    assert timedelta() <= wait + timedelta(seconds=5) <= timedelta(days=1, seconds=10)
    assert database.rows("select step, value from answer") == [("when", "17:30")]


async def test_the_engine_reads_what_was_asked_for_and_answered(database: Database, rows_of: ResultStore) -> None:
    attempt_id = add_attempt(database)
    answers = [
        Answer(attempt_id=attempt_id, step=step, visit=visit, revision_id=1, keys="1", value=value, at=AT)
        for step, visit, value in (("fever", 2, "no"), ("fever", 1, "yes"), ("days", 1, "3"))
    ]
    end = DialogueEnd(attempt_id=attempt_id, result=FlowResult.PARTIAL, step="bye", answers=3, at=AT, audio_at=AT,
                      callback_at=AT + timedelta(hours=2), opted_out=True)  # fmt: skip
    await rows_of.write([Writes(answers=answers, ends=[end])])
    engine = async_engine(database.settings, pool_size=1)
    (read,) = await store_of(engine, database, "node-1").flow_results([attempt_id])
    await engine.dispose()
    assert read == DialogueEnd(**{**vars(end), "given": {"fever": "no", "days": "3"}})


async def test_a_contact_remembers_that_it_waits_for_its_own_wish_until_it_is_claimed(database: Database) -> None:
    campaign_id = make_campaign(database, "c", numbers(1))
    engine = async_engine(database.settings, pool_size=2)
    store = store_of(engine, database, "node-1")
    assert await store.hold_node()
    (first,) = (await store.claim(order(database, campaign_id))).claims
    assert first.contact.zones == "Europe/Warsaw"
    change = ContactChange(contact_id=first.contact.id, attempts=1, wave=2, next_attempt_at=utc_now(),
                           next_number=first.attempt.number, waits_for="callback")  # fmt: skip
    await store.save([ended(first)], [change], [])
    assert database.rows("select waits_for from contact") == [("callback",)]
    (second,) = (await store.claim(order(database, campaign_id))).claims
    assert second.attempt.state is State.SUBMITTING
    assert database.rows("select waits_for from contact") == [(None,)]
    (left,) = await store.open_attempts()
    assert left.claim.contact.zones == "Europe/Warsaw"
    await store.close()
    await engine.dispose()
