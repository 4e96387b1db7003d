"""Whole dialogues over a socket into a real PostgreSQL: what is stored, when, and what a stranger can do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert

from agi.handshake import Listener, answers, check, look
from agi.records import Records
from agi.results import NoDialogue, ResultStore
from agi.server import AgiServer
from dialer import __version__, tokens
from dialer.calls.results import Answer, DialogueEnd, FlowResult, Writes
from dialer.campaign.model import Campaign
from dialer.clock import SystemClock, utc_now
from dialer.errors import DatabaseAway
from dialer.storage import tables
from sounds.build import build
from tests.conftest import Database
from tests.support import fake_asterisk
from tests.support.fake_asterisk import FakeAsterisk, request

pytestmark = pytest.mark.database

KEY = b"k" * 64
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
DOCUMENT = {
    "campaign": "health-check", "tenant": "north", "calling": {"window": "any"}, "languages": ["pl", "en"],
    "contacts": {"from": "base.csv", "numbers": ["mobile"], "fields": ["first_name"]},
    "capacity": {"max_concurrent": 9, "calls_per_second": 9, "trunks": ["carrier-a"], "caller_id": "+48221234567",
                 "longest_call": "2m"},
    "flow": {
        "welcome": {"say": {"pl": "Dzień dobry {first_name}.", "en": "Good morning {first_name}."}},
        "fever": {"ask": {"pl": "Gorączka?", "en": "Fever?"}, "keys": {"1": "yes", "2": "no"}, "next": {"no": "bye"}},
        "days": {"ask": {"pl": "Ile dni?", "en": "How many days?"}, "digits": "1-2"},
        "bye": {"say": {"pl": "Do widzenia.", "en": "Goodbye."}, "complete": "yes"},
    },
}  # fmt: skip


def add_attempt(database: Database, *, number: int = 1, state: str = "answered", **fields: str) -> UUID:
    """A campaign, if there is none yet, and in it a person with an open call."""
    attempt_id = uuid4()
    ended = {"disposition": "unknown", "ended_at": AT, "slot_until": AT} if state == "ended" else {}
    first = not database.rows("select 1 from revision")
    with database.engine.begin() as c:
        if first:
            c.execute(insert(tables.campaign).values(tenant_id="north", name="health-check", created_at=AT))
            c.execute(
                insert(tables.revision).values(
                    campaign_id=1, number=1, sha256="x", document=DOCUMENT, base_dir="/base", accepted_at=AT
                )
            )
        person_id = c.execute(
            insert(tables.person).values(tenant_id="north", person_key=str(number)).returning(tables.person.c.id)
        ).scalar_one()
        contact_id = c.execute(
            insert(tables.contact)
            .values(
                campaign_id=1,
                person_id=person_id,
                numbers=["+4850000000"],
                zones="Europe/Warsaw",
                language="pl",
                fields={"first_name": "Łucja", **fields},
            )
            .returning(tables.contact.c.id)
        ).scalar_one()
        c.execute(insert(tables.attempt).values(
            id=attempt_id, campaign_id=1, revision_id=1, contact_id=contact_id, person_id=person_id, seq=0,
            number=f"+4850{number:07}", wave=1, node="node-1", trunk="carrier-a", state=state, submitting_at=AT,
            **ended))  # fmt: skip
    return attempt_id


@dataclass
class Worker:
    """A worker in this process, on a port of its own."""

    server: AgiServer
    records: Records
    store: ResultStore
    port: int

    async def call(self, attempt_id: UUID, script: str) -> fake_asterisk.Call:
        return await fake_asterisk.call(self.port, attempt_id, KEY, script)


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Worker]:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    settings = database.settings.model_copy(update={"agi": database.settings.agi.model_copy(update={"port": port})})
    clock = SystemClock()
    store = ResultStore(settings)
    held = Records(store=store, settings=settings, clock=clock)
    server = AgiServer(settings=settings, records=held, clock=clock)
    await server.start(listener)
    try:
        yield Worker(server=server, records=held, store=store, port=port)
    finally:
        await server.stop(drain_s=5)


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    build(Campaign.model_validate(DOCUMENT), Path("/base"), database.settings)
    async with running(database) as worker:
        yield worker


async def test_a_dialogue_is_stored_as_it_was(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    call = await worker.call(attempt_id, "on 5 … 1 12 on")
    assert call.variables == {"DIALER_DONE": "1"}
    assert call.commands[0] == "SET AUTOHANGUP 120"
    assert [sound.parent.name for sound in call.heard] == ["pl"] * 6
    assert database.rows("select step, visit, try_no, keys, outcome from answer_try order by at, try_no") == [
        ("fever", 1, 1, "5", "not_allowed"), ("fever", 1, 2, "", "silence"), ("fever", 1, 3, "1", "accepted"),
        ("days", 1, 1, "12", "accepted"),
    ]  # fmt: skip
    assert database.rows("select attempt_id, step, visit, revision_id, keys, value from answer order by at") == [
        (attempt_id, "fever", 1, 1, "1", "yes"), (attempt_id, "days", 1, 1, "12", "12"),
    ]  # fmt: skip
    assert database.rows("select result, step, answers, detail from flow_result") == [("completed", "bye", 2, None)]
    assert database.rows("select seq, type, tenant_id, payload ->> 'value' from event "
                         "where subject_type = 'dialogue' and subject_id = :id order by seq", id=str(attempt_id)) == [
        (1, "dialogue.started", "north", None), (2, "dialogue.tried", "north", None),
        (3, "dialogue.tried", "north", None), (4, "dialogue.answered", "north", "yes"),
        (5, "dialogue.answered", "north", "12"), (6, "dialogue.ended", "north", None),
    ]  # fmt: skip
    ((path,),) = database.rows("select payload -> 'path' from event where type = 'dialogue.ended'")
    assert [(step, visit, word) for step, _, visit, word in path] == [
        ("welcome", 1, "say"), ("fever", 1, "ask"), ("days", 1, "ask"), ("bye", 1, "say"),
    ]  # fmt: skip
    assert database.rows("select state from attempt") == [("answered",)]


async def test_each_answer_stands_in_the_database_before_the_person_hears_anything_more(
    database: Database, worker: Worker
) -> None:
    attempt_id = add_attempt(database)
    seen: list[object] = []

    def look(command: str) -> None:
        if command.startswith(("GET", "STREAM", "SET VARIABLE")):
            answers = database.rows("select count(*) from answer")[0][0]
            seen.append((answers, database.rows("select count(*) from flow_result")[0][0]))

    await FakeAsterisk(worker.port, "on 1 12 on", before_reply=look).run(request(attempt_id, KEY))
    assert seen == [(0, 0), (0, 0), (1, 0), (2, 0), (2, 1)]


async def test_hanging_up_is_a_result_too(database: Database, worker: Worker) -> None:
    await worker.call(add_attempt(database), "on 1 bye")
    assert database.rows("select result, step, answers from flow_result") == [("hung_up", "days", 1)]


@pytest.mark.parametrize("name", [
    'Anna "Ania", O\'Neil\r\nACTION: Originate', "${SHELL(id)}", "x" * 10_000, "Zażółć gęślą", "مرحبا", "😀", "",
    "-x\x01", "[[_^_EN]] <speak>", "{first_name}",
])  # fmt: skip
async def test_whatever_a_field_holds_is_spoken_or_skipped(database: Database, worker: Worker, name: str) -> None:
    call = await worker.call(add_attempt(database, first_name=name), "on 2 on")
    assert database.rows("select result from flow_result") == [("completed",)]
    assert all(sound.stat().st_size > 0 for sound in call.heard)
    assert not [command for command in call.commands if not command.startswith(("SET ", "GET DATA ", "STREAM FILE "))]


def _transactions(database: Database) -> int:
    """Of sessions that have ended, and of this one."""
    database.engine.dispose()
    database.run("select pg_stat_force_next_flush()")
    (count,) = database.rows("select xact_commit from pg_stat_database where datname = current_database()")[0]
    assert isinstance(count, int)
    return count


async def test_many_dialogues_share_their_commits(database: Database, worker: Worker) -> None:
    attempts = [add_attempt(database, number=number) for number in range(40)]
    before = _transactions(database)
    await asyncio.gather(*(worker.call(attempt_id, "on 1 3# on") for attempt_id in attempts))
    assert database.rows("select result, count(*) from flow_result group by 1") == [("completed", 40)]
    assert database.rows("select count(*) from answer") == [(80,)]
    await worker.server.stop(drain_s=5)
    # 5 a call, were each loaded and written alone.
    assert _transactions(database) - before < 80


async def test_who_has_no_business_here_hears_nothing_but_a_person_an_apology(
    database: Database, worker: Worker
) -> None:
    open_call, ended, talked = (add_attempt(database, number=number, state=state)
                                for number, state in ((1, "answered"), (2, "ended"), (3, "answered")))  # fmt: skip
    await worker.call(talked, "bye")
    other = b"o" * 64
    strangers = {
        "bad_token": request(open_call, other),
        "other_channel": request(open_call, KEY, uniqueid="1719999999.12"),
        "unknown_route": request(open_call, KEY, route="elsewhere"),
    }
    people = {
        "attempt_ended": request(ended, KEY),
        "had_its_dialogue": request(talked, KEY),
        "unknown_attempt": request(uuid4(), KEY),
    }
    for reason, header in (strangers | people).items():
        call = await FakeAsterisk(worker.port, "on").run(header)
        assert worker.server.strangers.counts[reason] == 1
        assert [sound.parent.name for sound in call.heard] == (["en"] if reason in people else []), reason
        assert call.variables == ({"DIALER_DONE": "1"} if reason in people else {}), reason
    assert database.rows("select attempt_id from flow_result") == [(talked,)]
    assert not list(database.settings.spool_dir.iterdir())


async def test_one_call_has_one_dialogue_also_when_asked_for_twice_at_once(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    calls = await asyncio.gather(*(worker.call(attempt_id, "on 2 on") for _ in range(3)))
    assert sorted(bool(call.commands) for call in calls) == [False, False, True]
    assert database.rows("select count(*) from flow_result") == [(1,)]


def _end(attempt_id: UUID, **changes: object) -> Writes:
    values = {"attempt_id": attempt_id, "result": FlowResult.COMPLETED, "step": "bye", "answers": 0, "at": AT}
    return Writes(ends=[DialogueEnd(**{**values, **changes})])  # type: ignore[arg-type]


async def test_the_same_rows_again_change_nothing(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    answer = Answer(attempt_id=attempt_id, step="fever", visit=1, revision_id=1, keys="1", value="yes", at=AT)
    for _ in range(2):
        await worker.store.write([Writes(answers=[answer]), _end(attempt_id)])
    assert database.rows("select count(*) from answer") == [(1,)]
    assert database.rows("select count(*) from flow_result") == [(1,)]


async def test_a_connection_that_died_unnoticed_costs_nothing(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)

    def cut() -> None:
        database.engine.dispose()
        database.run("select pg_terminate_backend(pid) from pg_stat_activity "
                     "where datname = current_database() and pid <> pg_backend_pid()")  # fmt: skip

    await worker.store.load(attempt_id)
    cut()
    await worker.store.load(attempt_id)
    cut()
    await worker.store.write([_end(attempt_id)])
    assert database.rows("select count(*) from flow_result") == [(1,)]


async def test_without_a_database_the_person_hears_sorry(database: Database, worker: Worker, tmp_path: Path) -> None:
    attempt_id = add_attempt(database)
    nowhere = database.settings.model_copy(update={"database": f"postgresql:///dialer?host={tmp_path}"})
    async with running(Database(url="", settings=nowhere, engine=database.engine)) as lost:
        call = await lost.call(attempt_id, "on")
        assert [sound.parent.name for sound in call.heard] == ["en"]
        assert call.variables == {"DIALER_DONE": "1"}, "the dialplan need not say it again"
        with pytest.raises(DatabaseAway):
            await lost.store.load(attempt_id)


async def test_loading_says_what_to_talk_about(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    loaded = await worker.store.load(attempt_id)
    dialogue = loaded.dialogue
    assert loaded.memory is None
    assert (dialogue.language, dialogue.codec, dialogue.longest_call_s) == ("pl", "alaw", 120)
    assert (dialogue.tenant_id, dialogue.fields) == ("north", {"first_name": "Łucja"})
    assert list(dialogue.campaign.flow) == ["welcome", "fever", "days", "bye"], "the order of the file is the flow"
    with pytest.raises(NoDialogue, match="unknown_attempt"):
        await worker.store.load(uuid4())


async def test_the_handshake_tells_our_workers_from_others(database: Database, worker: Worker) -> None:
    settings = worker.server._settings
    assert await asyncio.to_thread(check, settings) is Listener.OK
    assert await asyncio.to_thread(answers, settings)
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    writer.write(b"agi_network_script: dialer-handshake\n\n")
    said = json.loads(await reader.readline())
    assert (said["service"], said["version"]) == ("dialer-agi", __version__)
    writer.close()


async def test_the_workers_tell_how_they_fare(database: Database, worker: Worker) -> None:
    settings, seen = worker.server._settings, []

    async def ask() -> None:
        seen.append(await asyncio.to_thread(look, settings))

    def before_the_reply(command: str) -> None:
        if command.startswith("GET DATA"):
            tasks.append(asyncio.create_task(ask()))

    tasks: list[asyncio.Task[None]] = []
    await FakeAsterisk(worker.port, "on 2 on", before_reply=before_the_reply).run(request(add_attempt(database), KEY))
    await asyncio.gather(*tasks)
    await ask()
    assert all(one is not None for one in seen)
    assert 0 < seen[-1].first_prompt_s < 5
    assert seen[-1].dialogues == 0
    nowhere = settings.model_copy(update={"agi": settings.agi.model_copy(update={"port": 1})})
    assert await asyncio.to_thread(look, nowhere) is None


async def test_the_result_tells_when_the_first_prompt_was_begun(database: Database, worker: Worker) -> None:
    attempt_id, before = add_attempt(database), utc_now()
    heard: list[datetime] = []

    def note(command: str) -> None:
        if command.startswith(("STREAM", "GET")):
            heard.append(utc_now())

    await FakeAsterisk(worker.port, "on 1 12 on", before_reply=note).run(request(attempt_id, KEY))
    ((audio_at,),) = database.rows("select audio_at from flow_result")
    assert before < audio_at <= heard[0]
    assert database.rows("select occurred_at - :at < interval '10 ms' from event where type = 'dialogue.started'",
                         at=audio_at) == [(True,)]  # fmt: skip


def test_tokens_are_what_the_engine_signs() -> None:
    attempt_id = uuid4()
    assert tokens.verify(tokens.sign(attempt_id, KEY), KEY) == attempt_id
    assert utc_now().tzinfo is UTC
