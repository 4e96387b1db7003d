"""Dialogues while PostgreSQL comes and goes, disks fill up and workers die: no answer is lost, nobody hears silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy
from sqlalchemy import text

from agi import records as agi_records
from agi.records import LedElsewhere
from agi.results import DialogueOver
from dialer.calls.log import event_row
from dialer.calls.results import Answer, DialogueEnd, FlowResult, Try, TryOutcome, Writes
from dialer.campaign.model import Campaign
from dialer.clock import utc_now
from dialer.storage import spool
from dialer.storage.session import async_engine
from dialer.storage.spool import Spool, SpoolFile
from dialer.storage.store import PostgresStore
from sounds.build import build
from tests.conftest import Database
from tests.database.test_agi_results import DOCUMENT, KEY, Worker, add_attempt, running
from tests.support.fake_asterisk import Call, FakeAsterisk, request

pytestmark = pytest.mark.database

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ANSWERS = "select step, value from answer order by at"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agi_records, "ORPHANS_EVERY_S", 0.05)
    monkeypatch.setattr(agi_records, "BUSY_S", 0.1)
    monkeypatch.setattr(agi_records, "CLOSE_S", 0.2)


@pytest.fixture
async def worker(database: Database) -> AsyncIterator[Worker]:
    build(Campaign.model_validate(DOCUMENT), Path("/base"), database.settings)
    async with running(database) as worker:
        yield worker


@contextmanager
def admin(database: Database) -> Iterator[Callable[[str], None]]:
    """Statements from another database: this one may be closed to us too."""
    url = database.url.replace("postgresql://", "postgresql+psycopg://")
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = sqlalchemy.make_url(url).database

    def run(statement: str) -> None:
        with engine.connect() as connection:
            connection.execute(text(statement.replace("DB", str(name))))

    try:
        yield run
    finally:
        engine.dispose()


def shut(database: Database) -> None:
    """PostgreSQL is away for everybody: connections end, and no new one is let in."""
    database.engine.dispose()
    with admin(database) as run:
        run("alter database DB with allow_connections false")
        run("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'DB'")


def reopen(database: Database) -> None:
    with admin(database) as run:
        run("alter database DB with allow_connections true")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def files(database: Database) -> list[Path]:
    return list(database.settings.spool_dir.glob("*.jsonl"))


def archived(database: Database) -> list[Writes]:
    return [
        writes
        for path in spool.archives(database.settings.journal_dir)
        for writes in spool.read_archive(path)
    ]  # fmt: skip


async def call(
    worker: Worker, attempt_id: UUID, script: str, *, turn: int = 1, at: dict[str, Callable[[], None]] | None = None
) -> Call:
    """A call; `at` does something just before a command's reply (`GET DATA 2` is the second question)."""
    seen: dict[str, int] = {}

    def look(command: str) -> None:
        name = " ".join(command.split()[:2])
        seen[name] = seen.get(name, 0) + 1
        if at and f"{name} {seen[name]}" in at:
            at[f"{name} {seen[name]}"]()

    return await FakeAsterisk(worker.port, script, before_reply=look).run(request(attempt_id, KEY, turn=turn))


async def test_a_dialogue_in_health_leaves_its_rows_and_an_archive_and_no_file(
    database: Database, worker: Worker
) -> None:
    attempt_id = add_attempt(database)
    during: list[int] = []
    await call(worker, attempt_id, "on 1 12 on", at={"GET DATA 2": lambda: during.append(len(files(database)))})
    await until(lambda: not files(database))
    assert during == [1]
    (kept,) = archived(database)
    assert [(answer.step, answer.value) for answer in kept.answers] == database.rows(ANSWERS)
    assert len(kept.tries) == 2
    assert [end.result for end in kept.ends] == [FlowResult.COMPLETED]
    assert [event["seq"] for event in kept.events] == [1, 2, 3, 4]


async def test_a_dialogue_goes_on_without_postgresql_and_is_stored_when_it_is_back(
    database: Database, worker: Worker
) -> None:
    attempt_id = add_attempt(database)
    started = asyncio.get_running_loop().time()
    heard = await call(worker, attempt_id, "on 1 12 on", at={"GET DATA 1": lambda: shut(database)})
    assert asyncio.get_running_loop().time() - started < 5
    assert [sound.parent.name for sound in heard.heard] == ["pl"] * 4, "no apology"
    assert heard.variables == {"DIALER_DONE": "1"}
    assert spool.pending(database.settings.spool_dir, [attempt_id]) == {attempt_id}
    reopen(database)
    await until(lambda: not files(database))
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result, answers from flow_result") == [("completed", 2)]
    assert database.rows("select seq from event where subject_id = :id order by seq", id=str(attempt_id)) == [
        (1,), (2,), (3,), (4,),
    ]  # fmt: skip


async def test_a_database_that_stands_still_costs_a_moment_and_no_dialogue(
    database: Database, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.records._shipper, "_patience_s", 0.1)
    attempt_id = add_attempt(database)
    locked = database.engine.connect()
    synced: list[UUID] = []
    sync = SpoolFile.sync

    def note(file: SpoolFile) -> None:
        synced.append(file.attempt_id)
        sync(file)

    monkeypatch.setattr(SpoolFile, "sync", note)

    def stall() -> None:
        locked.execute(text("lock table answer in access exclusive mode"))

    heard = await call(worker, attempt_id, "on 1 12 on", at={"GET DATA 1": stall})
    assert heard.variables == {"DIALER_DONE": "1"}
    assert synced == [attempt_id] * 3, "each answer and the result, before the person heard more"
    locked.close()
    await until(lambda: not files(database))
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result from flow_result") == [("completed",)]


async def test_what_a_stopped_worker_leaves_another_brings_home(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    async with running(database) as stopped:
        await call(stopped, attempt_id, "on 1 12 on", at={"GET DATA 1": lambda: shut(database)})
    assert len(files(database)) == 1
    reopen(database)
    await until(lambda: not files(database))
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result from flow_result") == [("completed",)]
    assert [len(kept.answers) for kept in archived(database)] == [2]


async def test_when_neither_disk_nor_database_takes_an_answer_the_person_hears_sorry(
    database: Database, worker: Worker
) -> None:
    attempt_id = add_attempt(database)
    database.settings.spool_dir.write_text("no directory", encoding="utf-8")
    heard = await call(worker, attempt_id, "on 1 on", at={"GET DATA 1": lambda: shut(database)})
    assert len(heard.heard) == 3, "greeting, question, apology"
    assert heard.variables == {"DIALER_DONE": "1"}
    reopen(database)
    await until(lambda: database.rows("select result from flow_result") == [("error",)])
    assert database.rows(ANSWERS) == [("fever", "yes")], "from memory"


@pytest.mark.parametrize("broken", ["begin", "append", "open"])
async def test_a_full_disk_costs_nothing_while_postgresql_takes_rows(
    database: Database, worker: Worker, broken: str, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool if broken == "open" else SpoolFile, broken, full)
    await call(worker, add_attempt(database), "on 1 12 on")
    await until(lambda: not files(database))
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result from flow_result") == [("completed",)]
    assert "spool_disk_fails" in {record.getMessage() for record in caplog.records}


def rows_of(attempt_id: UUID, keys: str, value: str) -> Writes:
    return Writes(
        tries=[Try(attempt_id=attempt_id, step="fever", visit=1, try_no=1, keys=keys, outcome=TryOutcome.ACCEPTED,
                   at=AT)],
        answers=[Answer(attempt_id=attempt_id, step="fever", visit=1, revision_id=1, keys=keys, value=value, at=AT)],
    )  # fmt: skip


async def died(worker: Worker, attempt_id: UUID, *, keeps_file: bool) -> None:
    """A worker whose dialogue has one answer stored, and then ends like a killed process: only its lock goes."""
    opened = await worker.records.open(attempt_id)
    await opened.record.save(Writes(events=[event_row(
        tenant_id="north", occurred_at=utc_now(), type="dialogue.started", subject_type="dialogue",
        subject_id=str(attempt_id), seq=1, payload={})]))  # fmt: skip
    await opened.record.save(rows_of(attempt_id, "1", "yes"))
    file = opened.record._file
    assert file is not None
    if keeps_file:
        file.close()
    else:
        file.remove()


@pytest.mark.parametrize("keeps_file", [True, False], ids=["from the spool", "from PostgreSQL"])
async def test_a_dead_workers_dialogue_goes_on_behind_its_last_answer(
    database: Database, worker: Worker, keeps_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agi_records, "ORPHANS_EVERY_S", 60.0)
    attempt_id = add_attempt(database)
    async with running(database) as dying:
        await died(dying, attempt_id, keeps_file=keeps_file)
    heard = await call(worker, attempt_id, "12 on", turn=2)
    assert len(heard.heard) == 2, "the second question, goodbye"
    assert heard.variables == {"DIALER_DONE": "1"}
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result, answers from flow_result") == [("completed", 2)]
    assert database.rows("select audio_at = occurred_at from flow_result, event where type = 'dialogue.started'") == [
        (True,)
    ], "the first prompt was the dead worker's"
    assert database.rows("select seq, type from event where subject_id = :id order by seq", id=str(attempt_id)) == [
        (1, "dialogue.started"), (2, "dialogue.resumed"), (3, "dialogue.answered"), (4, "dialogue.ended"),
    ]  # fmt: skip
    await until(lambda: not files(database))


async def test_a_dialogue_goes_on_in_another_worker_while_postgresql_is_away(
    database: Database, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt_id = add_attempt(database)
    async with running(database) as dying:
        await died(dying, attempt_id, keeps_file=True)
        shut(database)
    heard = await call(worker, attempt_id, "12 on", turn=2)
    assert heard.variables == {"DIALER_DONE": "1"}
    assert len(heard.heard) == 2
    reopen(database)
    await until(lambda: not files(database))
    assert database.rows(ANSWERS) == [("fever", "yes"), ("days", "12")]
    assert database.rows("select result from flow_result") == [("completed",)]


async def test_a_dialogue_that_another_worker_leads_is_left_to_it(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    held = Spool(database.settings.spool_dir).open(attempt_id)
    assert held is not None
    with pytest.raises(LedElsewhere):
        await worker.records.open(attempt_id)
    heard = await call(worker, attempt_id, "on")
    assert heard.commands == []
    held.remove()
    assert (await call(worker, attempt_id, "on 2 on", turn=2)).variables == {"DIALER_DONE": "1"}


@pytest.mark.parametrize(("result", "heard"), [("completed", 0), ("refused", 0), ("error", 1), ("hung_up", 1)])
async def test_who_heard_all_hears_no_more_and_who_did_not_hears_sorry(
    database: Database, worker: Worker, result: str, heard: int
) -> None:
    attempt_id = add_attempt(database)
    ended = DialogueEnd(attempt_id=attempt_id, result=FlowResult(result), step="bye", answers=0, at=AT)
    await worker.store.write([Writes(ends=[ended])])
    again = await call(worker, attempt_id, "on", turn=2)
    assert len(again.heard) == heard
    assert again.variables == {"DIALER_DONE": "1"}
    assert not files(database)


async def test_a_result_in_the_spool_is_a_result(database: Database, worker: Worker) -> None:
    attempt_id = add_attempt(database)
    shut(database)
    file = Spool(database.settings.spool_dir).open(attempt_id)
    assert file is not None
    file.begin({})
    file.append(Writes(ends=[DialogueEnd(attempt_id=attempt_id, result=FlowResult.REFUSED, step="bye", answers=0,
                                         at=AT)]))  # fmt: skip
    file.close()
    with pytest.raises(DialogueOver, match="refused"):
        await worker.records.open(attempt_id)
    reopen(database)
    await until(lambda: not files(database))
    assert database.rows("select result from flow_result") == [("refused",)]


async def test_an_orphan_that_postgresql_refuses_stays_and_keeps_nobody_elses_back(
    database: Database, worker: Worker
) -> None:
    stranger, ours = uuid4(), add_attempt(database)
    for attempt_id in (stranger, ours):
        file = Spool(database.settings.spool_dir).open(attempt_id)
        assert file is not None
        file.begin({})
        file.append(rows_of(attempt_id, "1", "yes"))
        file.close()
    await until(lambda: [path.stem for path in files(database)] == [str(stranger)])
    assert database.rows("select attempt_id from answer") == [(ours,)]
    assert database.rows("select count(*) from flow_result") == [(0,)], "nobody invents a result"


async def test_with_no_worker_left_the_engine_stores_what_they_left(database: Database) -> None:
    dead, live, refused, other = add_attempt(database), add_attempt(database, number=2), uuid4(), uuid4()
    spooled = Spool(database.settings.spool_dir)
    held = spooled.open(live)
    for attempt_id in (dead, refused):
        file = spooled.open(attempt_id)
        assert file is not None
        file.begin({})
        file.append(rows_of(attempt_id, "1", "yes"))
        file.close()
    engine = async_engine(database.settings)
    store = PostgresStore(engine, "node-1", database.settings.spool_dir, database.settings.journal_dir)
    # What it has just stored is told once more: it proves that the call was answered.
    assert await store.awaiting_rows([dead, live, refused, other]) == {dead, live, refused}
    assert await store.awaiting_rows([dead, live, refused, other]) == {live, refused}
    await engine.dispose()
    assert held is not None
    held.remove()
    assert database.rows("select attempt_id from answer") == [(dead,)]
    assert [kept.attempts() for kept in archived(database)] == [[str(dead)]]
