"""Landing in a real PostgreSQL: nothing twice, nothing lost to a poisoned row, conflicts kept aside, tenants apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text

from dialer.clock import SystemClock
from dialer.storage.direct import Connection, Connections
from etl import access, dead, wire
from etl import intake as intake_module
from etl.access import Unauthorised
from etl.collect import Collector
from etl.dead import Which
from etl.event_types import Reason
from etl.intake import Intake, Unavailable
from etl.landing import Batch, Landed, Landing
from etl.metrics import Metrics
from etl.replay import replay
from etl.spool import Spool
from etl.wire import read_lines, terms_of
from tests.support.collecting import add_token, line, ndjson, terms

STORED = "select event_id::text, tenant_id, type, subject_id, seq, payload, source, unknown from event order by seq"


@pytest.fixture
async def connections(database):
    made = Connections(database.settings, most=4)
    yield made
    await made.close()


@pytest.fixture
def landing():
    return Landing()


@pytest.fixture
def unjudged(monkeypatch):
    """Numbers that PostgreSQL alone finds out to be none of its own."""
    monkeypatch.setattr(wire, "_check_numbers", lambda _payload: None)


def batch(lines: Sequence[dict[str, Any] | bytes], tenant_id: str = "acme", at: datetime | None = None) -> Batch:
    at = at or datetime.now(UTC)
    events, letters = read_lines(enumerate(ndjson(lines).split(b"\n"), 1), terms(tenant_id, at=at))
    return Batch(tenant_id=tenant_id, source="helpdesk", received_at=at, events=events, letters=letters)


async def test_what_lands_is_what_came(database, connections, landing):
    lines = [line(seq=n, subject_id=f"Zażółć-{n}", payload={"author": "bot", "visibility": "internal", "π": [n, None]})
             for n in range(50)] + [line(type="crm.note", seq=50, schema_v=3, payload={})]  # fmt: skip
    (landed,) = await connections.run(lambda c: landing.store(c, [batch(lines)]))
    assert landed == Landed()
    rows = database.rows(STORED)
    assert [row[:2] + row[2:6] for row in rows] == [
        (one["event_id"], "acme", one["type"], one["subject_id"], one["seq"], one["payload"]) for one in lines
    ]
    assert [row[6:] for row in rows] == [("helpdesk", False)] * 50 + [("helpdesk", True)]
    moments = database.rows("select occurred_at, schema_v, subject_type from event order by seq")
    assert moments == [
        (datetime.fromisoformat(one["occurred_at"]), one.get("schema_v", 1), one["type"].split(".")[0]) for one in lines
    ]


async def test_the_same_again_changes_nothing_and_is_counted(database, connections, landing):
    lines = [line(seq=n) for n in range(20)]
    await connections.run(lambda c: landing.store(c, [batch(lines)]))
    before = database.rows("select * from event order by seq")
    twice = batch([*lines[:10], line(seq=20), lines[3], lines[4]])
    landed = await connections.run(lambda c: landing.store(c, [batch(lines), twice]))
    assert [one.duplicates for one in landed] == [20, 12]
    assert database.rows("select * from event where seq < 20 order by seq") == before
    assert database.rows("select count(*) from event_dead") == [(0,)]


async def test_news_that_comes_twice_in_one_group_is_stored_once(database, connections, landing):
    one = line(seq=1)
    landed = await connections.run(lambda c: landing.store(c, [batch([one, one]), batch([one])]))
    assert [each.duplicates for each in landed] == [1, 1]
    assert database.rows("select count(*) from event") == [(1,)]


async def test_an_id_that_says_otherwise_the_second_time_is_kept_aside(database, connections, landing):
    first = line(seq=1)
    await connections.run(lambda c: landing.store(c, [batch([first])]))
    other = first | {"payload": {"author": "agent", "visibility": "public"}}
    (landed,) = await connections.run(lambda c: landing.store(c, [batch([line(seq=2), other, first])]))
    assert landed.duplicates == 1
    assert [(letter.number, letter.reason) for letter in landed.refused] == [(2, Reason.DUPLICATE_ID_CONFLICT)]
    assert database.rows("select payload ->> 'author' from event where seq = 1") == [("customer",)]
    ((raw,),) = database.rows("select raw from event_dead where reason = 'duplicate_id_conflict'")
    assert json.loads(bytes(raw)) == other


async def test_one_id_of_two_tenants_is_two_events(database, connections, landing):
    one = line()
    landed = await connections.run(lambda c: landing.store(c, [batch([one]), batch([one], "globex")]))
    assert [each.duplicates for each in landed] == [0, 0]
    assert database.rows("select tenant_id from event order by 1") == [("acme",), ("globex",)]


@pytest.mark.parametrize("found", ["by its payload", "by halving"])
@pytest.mark.parametrize("places", [[0], [36], [4, 5, 30], list(range(37))], ids=str)
async def test_a_poisoned_row_is_found_and_the_rest_of_its_batch_lands(
    database, connections, landing, places, found, monkeypatch, unjudged
):
    if found == "by halving":
        monkeypatch.setattr(landing, "_cure", landing._halve)
    lines = [line(type="crm.note", seq=n, payload={"n": 1}) for n in range(37)]
    raw = ndjson(lines).split(b"\n")[:-1]
    for place in places:
        raw[place] = raw[place].replace(b'{"n": 1}', b'{"n": 1e999999}')
    events, letters = read_lines(enumerate(raw, 1), terms())
    assert not letters, "it is only found out by PostgreSQL"
    sick = Batch(tenant_id="acme", source="helpdesk", received_at=datetime.now(UTC), events=events)
    well = batch([line(seq=100 + n) for n in range(5)], "globex")
    landed = await connections.run(lambda c: landing.store(c, [sick, well]))
    assert [letter.number - 1 for letter in landed[0].refused] == places
    assert landed[1] == Landed()
    assert database.rows("select count(*) from event") == [(37 - len(places) + 5,)]
    assert database.rows("select tenant_id, reason, source from event_dead") == [("acme", "schema", "helpdesk")] * len(
        places
    )


async def test_a_source_that_sends_nothing_but_poison_takes_no_more_time(connections, landing, monkeypatch, unjudged):
    landings = 0
    land = landing._land

    async def counted(*arguments):
        nonlocal landings
        landings += 1
        return await land(*arguments)

    monkeypatch.setattr(landing, "_land", counted)
    raw = [one.replace(b'"T-1"', b'"T-1", "type": "crm.note", "payload": {"n": 1e999999}')
           for one in ndjson(line(type=None, payload=None) for _ in range(1000)).splitlines()]  # fmt: skip
    events, letters = read_lines(enumerate(raw, 1), terms())
    assert not letters
    sick = Batch(tenant_id="acme", source="helpdesk", received_at=datetime.now(UTC), events=events)
    (landed,) = await connections.run(lambda c: landing.store(c, [sick]))
    assert (len(landed.refused), landings) == (1000, 2)


async def test_letters_are_kept_once_however_often_they_come(database, connections, landing):
    lines = [line(seq=1), line(type="No Type"), line(event_id=None)]
    for _ in range(3):
        await connections.run(lambda c: landing.store(c, [batch(lines)]))
    assert database.rows("select reason, times, attempts from event_dead") == [("schema", 3, 0)] * 2


async def test_days_of_the_past_are_made_when_they_are_needed_and_again_when_they_were_dropped(
    database, connections, landing
):
    past = datetime.now(UTC) - timedelta(days=30)
    for seq in (1, 2):
        lines = [line(seq=seq, occurred_at=(past + timedelta(hours=12 * n)).isoformat()) for n in range(6)]
        assert await connections.run(lambda c, lines=lines: landing.store(c, [batch(lines)])) == [Landed()]
        assert database.rows("select count(*) from event") == [(6,)]
        if seq == 1:
            for n in range(4):
                database.run(f"drop table if exists event_{past + timedelta(days=n):%Y%m%d}")


async def test_two_writers_of_the_same_events_store_them_once(database, connections, landing):
    lines = [line(seq=n) for n in range(2000)]
    backward = batch(lines[::-1])
    await asyncio.gather(
        *(connections.run(lambda c, b=b: landing.store(c, [b])) for b in (batch(lines), backward, batch(lines)))
    )
    assert database.rows("select count(*), count(distinct event_id) from event") == [(2000, 2000)]


async def test_letters_become_events_when_the_window_is_wider(database, connections, landing):
    now = datetime.now(UTC)
    old = [line(seq=n, occurred_at=(now - timedelta(days=40)).isoformat()) for n in range(3)]
    taken = line(seq=9)
    await connections.run(lambda c: landing.store(c, [batch([*old, line(type="No Type"), taken])]))
    await connections.run(lambda c: landing.store(c, [batch([taken | {"seq": 8}])]))
    with database.engine.connect() as reader:
        letters = list(dead.listed(reader, Which(tenant_id="acme")))
    assert len(letters) == 5
    wider = terms_of(database.settings.collect.model_copy(update={"late_days": 50}))
    gone = await connections.run(lambda c: replay(landing, letters, wider, c))
    assert gone == 3
    assert database.rows("select count(*) from event") == [(4,)]
    assert database.rows("select reason, times, attempts from event_dead order by reason") == [
        ("duplicate_id_conflict", 1, 1), ("schema", 1, 1),
    ]  # fmt: skip
    # Interrupted before it could forget them, it finds them as events.
    assert await connections.run(lambda c: replay(landing, letters, wider, c)) == 3


async def test_readers_see_their_tenants_alone(database, connections, landing):
    await connections.run(lambda c: landing.store(c, [batch([line(), b"{}"], tenant) for tenant in ("acme", "globex")]))
    role = f"reader_{database.url.split('/')[3].split('?')[0]}"
    database.run(f"create role {role} login")
    try:
        database.run(f"grant select on event, event_dead, collect_usage to {role}")
        database.run("insert into tenant_reader values (:role, 'acme'), ('somebody', 'globex')", role=role)
        reader = create_engine(database.url.replace("postgresql://dialer@", f"postgresql+psycopg://{role}@"))
        with reader.begin() as connection:
            for table in ("event", "event_dead", "tenant_reader"):
                found = connection.execute(text(f"select distinct tenant_id from {table}")).scalars().all()
                assert found == ["acme"], table
        today = f"event_{datetime.now(UTC):%Y%m%d}"
        database.run(f"grant select on {today} to {role}")
        with reader.begin() as connection:
            assert connection.execute(text(f"select count(*) from {today}")).scalar() == 0, "past the policies"
        reader.dispose()
        assert database.rows("select count(distinct tenant_id) from event") == [(2,)], "the owner sees all"
    finally:
        database.run(f"drop owned by {role}")
        database.run(f"drop role {role}")


# -- the way there -------------------------------------------------------------------------------------------------


@pytest.fixture
async def intake(database, tmp_path):
    connections, spool = Connections(database.settings, most=4), Spool(tmp_path / "collect", 2**20)
    made = Intake(connections, spool, terms_of(database.settings.collect), Metrics())
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connections.close()
    spool.close()


async def failing(_connection: Connection, _batches: Sequence[Batch]) -> list[Landed]:
    raise psycopg.OperationalError("the server is gone")


async def test_batches_of_many_requests_land_in_groups(database, intake):
    stored = await asyncio.gather(*(intake.put(batch([line(seq=n)])) for n in range(300)))
    assert not any(one.spooled for one in stored)
    assert database.rows("select count(*) from event") == [(300,)]
    ((transactions,),) = database.rows("select count(distinct ingest_xid::text) from event")
    assert isinstance(transactions, int)
    assert transactions < 20


async def test_what_comes_while_the_database_is_away_waits_on_the_disk(database, intake, monkeypatch):
    lines = [line(seq=n) for n in range(3)]
    store = intake._landing.store
    monkeypatch.setattr(intake._landing, "store", failing)
    held = batch([*lines, line(type="No Type")])
    assert (await intake.put(held)).spooled
    assert intake.away
    monkeypatch.setattr(intake._landing, "store", store)
    # The circuit is open: nobody waits for a database that is away.
    assert (await intake.put(batch([line(seq=3)], "globex"))).spooled
    assert database.rows("select count(*) from event") == [(0,)]
    assert intake.spooled("acme") > 2 * intake.spooled("globex") > 0
    while await intake.replay():
        pass
    assert not intake.away
    assert intake.spooled("acme") == intake.spooled("globex") == 0
    assert database.rows("select seq from event order by seq") == [(0,), (1,), (2,), (3,)]
    assert database.rows("select times from event_dead") == [(1,)]
    assert not (await intake.put(batch([line(seq=4)]))).spooled


@pytest.mark.parametrize("most", ["GROUP_EVENTS", "GROUP_BYTES"])
async def test_a_group_is_no_larger_than_what_lands_in_time(database, intake, monkeypatch, most):
    """From senders and from the disk; a batch is one, however large."""
    groups: list[int] = []
    store = intake._landing.store

    async def counted(connection, batches):
        groups.append(len(batches))
        return await store(connection, batches)

    monkeypatch.setattr(intake_module, most, {"GROUP_EVENTS": 5, "GROUP_BYTES": 600}[most])
    batches = [batch([line(), line()]) for _ in range(9)]
    monkeypatch.setattr(intake._landing, "store", counted)
    await asyncio.gather(*(intake.put(one) for one in batches))
    assert max(groups) <= 3
    groups.clear()
    monkeypatch.setattr(intake, "away", True)
    await asyncio.gather(*(intake.put(one) for one in batches))
    while await intake.replay():
        pass
    assert max(groups) <= 3
    assert database.rows("select count(*) from event") == [(18,)]


async def test_a_commit_whose_answer_was_lost_is_done_again(database, intake, monkeypatch):
    store = intake._landing.store

    async def lost(connection, batches):
        await store(connection, batches)
        raise psycopg.OperationalError("the connection is gone")

    lines = [line(seq=n) for n in range(3)]
    monkeypatch.setattr(intake._landing, "store", lost)
    assert (await intake.put(batch(lines))).spooled
    monkeypatch.setattr(intake._landing, "store", store)
    await intake.replay()
    assert database.rows("select count(*) from event") == [(3,)]


async def test_what_was_taken_when_it_came_is_taken_when_it_is_replayed(database, intake, monkeypatch):
    came = datetime.now(UTC) - timedelta(days=3)
    late = line(seq=1, occurred_at=(came - timedelta(days=34)).isoformat())
    shorter = database.settings.collect.model_copy(update={"max_line": 150})
    monkeypatch.setattr(intake, "_terms", terms_of(shorter))
    with monkeypatch.context() as away:
        away.setattr(intake._landing, "store", failing)
        await intake.put(batch([late], at=came))
    await intake.replay()
    assert database.rows("select seq from event") == [(1,)]


async def test_without_database_and_disk_nothing_is_acknowledged(intake, monkeypatch, caplog):
    monkeypatch.setattr(intake._landing, "store", failing)
    for _ in range(40):
        try:
            await intake.put(batch([line(payload={"author": "bot", "visibility": "public", "x": "y" * 50_000})]))
        except Unavailable:
            break
    for _ in range(3):
        with pytest.raises(Unavailable, match="full"):
            await intake.put(batch([line()]))
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == ["database_away", "disk_refuses"]


async def test_no_tenant_waits_behind_the_queue_of_another(intake, monkeypatch):
    order: list[str] = []

    async def land(batches, _within_s):
        order.extend(one.tenant_id for one in batches)
        return [Landed() for _ in batches]

    # Not over connections: which of two is open first says nothing of whose turn it is.
    monkeypatch.setattr(intake, "_land", land)
    many = [line() for _ in range(3000)]
    big = batch(many, "big")
    await asyncio.gather(*(intake.put(big) for _ in range(20)), intake.put(batch([line()], "small")))
    assert order.index("small") < 4


async def test_tokens_come_and_go_while_the_disk_is_brought_home(database, monkeypatch):
    made = Collector(database.settings, SystemClock())
    monkeypatch.setattr(made._intake, "replay", asyncio.Event().wait)
    token_id, secret = add_token(database.engine, database.settings)

    def known() -> bool:
        try:
            return made._access.bearer(f"Bearer {secret}").id == token_id
        except Unauthorised:
            return False

    async with made._lifespan(made.app()), asyncio.timeout(10):
        while not known():
            await asyncio.sleep(0.01)
        with database.engine.begin() as connection:
            assert access.revoke(connection, token_id)
        while known():
            await asyncio.sleep(0.01)


async def test_a_database_that_hangs_is_not_waited_for(database, intake, monkeypatch):
    monkeypatch.setattr(intake_module, "LAND_S", 0.3)
    monkeypatch.setattr(intake_module, "REPLAY_S", 0.3)
    with database.engine.begin() as holder:
        holder.execute(text("lock table event in access exclusive mode"))
        assert (await intake.put(batch([line(seq=1)]))).spooled
        with pytest.raises(TimeoutError):
            await intake.replay()
        assert intake.away, "it answers, and takes nothing"
    await intake.replay()
    assert database.rows("select seq from event") == [(1,)]
