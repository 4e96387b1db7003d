"""A database restored from an older backup: the journal finds what it forgot, and brings it up to where it was."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer import waves
from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.calls.log import event_row
from dialer.calls.results import Answer, DialogueEnd, FlowResult, Try, TryOutcome, Writes
from dialer.campaign.model import RetryPolicy
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ContactChange
from dialer.storage import attempts, claims, dialogues, journal, leases, restore
from dialer.storage.journal import Journal
from dialer.storage.replay import Reconciled
from dialer.storage.session import async_engine, sync_engine
from dialer.storage.spool import Archive
from tests.conftest import Database, settings_for
from tests.database.test_claims import make_campaign, numbers

COPIES = count(1)
D = Disposition


@dataclass
class Engine:
    """What an engine does to a database and to its host's journal, without the calls."""

    database: Database
    engine: AsyncEngine
    directory: Path
    node: str = "node-1"
    epoch: int = 0

    def __post_init__(self) -> None:
        self.journal = Journal(self.directory, self.node)

    async def begin(self) -> None:
        self.epoch = await leases.take(self.engine, self.node, f"{self.node} nobody 1 2") or 0
        await leases.release(self.engine, self.node, self.epoch, f"{self.node} nobody 1 2")

    async def claim(self, name: str, most: int = 1) -> list[Claim]:
        ((campaign_id, revision_id),) = self.database.rows(
            "select id, revision_id from campaign where name = :name", name=name
        )
        result = await claims.claim(
            self.engine, campaign_id=campaign_id, revision_id=revision_id, node=self.node, epoch=self.epoch, boot="b",
            trunk="a", max_concurrent=10_000, most=most,
        )  # fmt: skip
        self.journal.claimed(name, result.claims)
        return result.claims

    async def end(self, claim: Claim, disposition: Disposition, *, again_now: bool = False) -> Attempt:
        """A verdict, and what the policy makes of it; `again_now` shortens its waiting time to nothing."""
        attempt, change = verdict(claim, disposition)
        if again_now and change.next_attempt_at:
            change = replace(change, next_attempt_at=utc_now())
        await attempts.save(self.engine, self.node, self.epoch, [attempt], [change], [])
        self.journal.ended([(attempt, change)])
        return attempt

    async def talk(self, claim: Claim) -> None:
        """A dialogue with one answer, as a worker stores and archives it."""
        attempt, at = claim.attempt, utc_now()
        event = event_row(
            tenant_id="t", occurred_at=at, type="dialogue.ended", subject_type="dialogue", subject_id=str(attempt.id),
            seq=1, payload={},
        )  # fmt: skip
        writes = Writes(
            tries=[
                Try(attempt_id=attempt.id, step="q", visit=1, try_no=1, keys="5", outcome=TryOutcome.ACCEPTED, at=at)
            ],
            answers=[
                Answer(attempt_id=attempt.id, step="q", visit=1, revision_id=attempt.revision_id, keys="5", value="5",
                       at=at)
            ],
            ends=[DialogueEnd(attempt_id=attempt.id, result=FlowResult.COMPLETED, step=None, answers=1, at=at)],
            events=[event],
        )  # fmt: skip
        async with self.engine.begin() as connection:
            await dialogues.write(connection, [writes])
        Archive(self.directory).append(writes, at.date())

    def ahead(self) -> restore.Ahead | None:
        with self.database.engine.connect() as connection:
            return restore.ahead(connection, self.directory)

    async def reconcile(self, **options: bool) -> Reconciled:
        return await restore.reconcile(self.engine, self.directory, utc_now(), **options)


def verdict(claim: Claim, disposition: Disposition) -> tuple[Attempt, ContactChange]:
    now = utc_now()
    attempt = replace(
        claim.attempt, state=State.ENDED, disposition=disposition, accepted_at=now, ringing_at=now, hung_up_at=now,
        ended_at=now, cause=17, tech_cause=486, originate_reason=5, seq=5,
    )  # fmt: skip
    following = waves.after(RetryPolicy(), claim.contact, attempt.number, disposition, now)
    counted = waves.counts(disposition)
    change = ContactChange(
        contact_id=claim.contact.id, attempts=claim.contact.attempts + counted, wave=attempt.wave + counted
    )
    match following:
        case waves.Next(at=at, number=number):
            return attempt, replace(change, next_attempt_at=at, next_number=number)
        case waves.Closed(reason=reason):
            return attempt, replace(change, closed_as=reason.value)
        case _:
            return attempt, replace(change, on_hold=True)


@contextmanager
def copy_of(database: Database, tmp_path: Path) -> Iterator[Database]:
    """Another database with the same content; nobody may be connected to the first."""
    database.engine.dispose()
    old = database.engine.url.database
    name = f"{old}_copy_{next(COPIES)}"
    url = database.url.replace(f"/{old}?", f"/{name}?")
    admin = sqlalchemy.create_engine(
        database.url.replace(f"/{old}?", "/postgres?").replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.execute(text(f"create database {name} template {old}"))
    settings = settings_for(url, tmp_path)
    engine = sync_engine(settings)
    try:
        yield Database(url=url, settings=settings, engine=engine)
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


@pytest.fixture
async def host(database, tmp_path):
    """An engine with two campaigns whose people overlap."""
    make_campaign(database, "autumn", numbers(30))
    make_campaign(database, "spring", [*numbers(30)[15:], "+48600000001"])
    made = Engine(database, async_engine(database.settings), tmp_path / "journal")
    await made.begin()
    yield made
    made.journal.close()
    await made.engine.dispose()


@asynccontextmanager
async def backup_of(host: Engine, tmp_path: Path) -> AsyncIterator[Engine]:
    """The same host on a copy of its database as it is now; whatever else happens to the first, the copy forgets."""
    await host.engine.dispose()
    with copy_of(host.database, tmp_path) as backup:
        made = Engine(backup, async_engine(backup.settings), host.directory, host.node, host.epoch)
        try:
            yield made
        finally:
            await made.engine.dispose()


ATTEMPTS = """
select a.id, p.name, person.person_key, a.number, a.wave, a.node, a.trunk, a.state, a.submitting_at, a.epoch, a.boot,
  a.accepted_at, a.ringing_at, a.answered_at, a.hung_up_at, a.ended_at, a.originate_reason, a.cause, a.tech_cause,
  a.disposition, a.seq
from attempt a join campaign p on p.id = a.campaign_id join person on person.id = a.person_id order by a.id
"""
CONTACTS = """
select p.name, person.person_key, c.numbers, c.attempts, c.dials, c.wave, c.next_number, c.next_attempt_at, c.closed_as,
  c.on_hold
from contact c join campaign p on p.id = c.campaign_id join person on person.id = c.person_id order by 1, 2
"""
DIALOGUES = "select t.attempt_id, t.keys, a.value, f.result, f.answers, f.at from answer_try t \
join answer a using (attempt_id, step, visit) join flow_result f using (attempt_id) order by 1"


def content(database: Database) -> list[list[tuple[object, ...]]]:
    return [database.rows(query) for query in (ATTEMPTS, CONTACTS, DIALOGUES)]


async def some_hours(host: Engine, seed: int) -> list[Claim]:
    """Waves of calls of both campaigns, with every kind of verdict; the claims that are still open at the end."""
    chance = random.Random(seed)
    live: list[Claim] = []
    for _ in range(25):
        live += await host.claim(chance.choice(("autumn", "spring")), most=chance.randint(1, 4))
        chance.shuffle(live)
        for _ in range(min(len(live), chance.randint(0, 5))):
            claim, disposition = live.pop(), chance.choice(list(D))
            if disposition is D.COMPLETED:
                await host.talk(claim)
            await host.end(claim, disposition, again_now=True)
    return live


@pytest.mark.parametrize("seed", range(6))
async def test_a_restored_database_is_brought_up_to_the_lost_one(host, tmp_path, seed):
    live = await some_hours(host, seed)
    assert host.ahead() is None
    async with backup_of(host, tmp_path) as again:
        for claim in live[::2]:
            await host.end(claim, D.BUSY)
        still_open = {claim.attempt.id for claim in live[1::2] + await some_hours(host, seed + 100)}
        assert again.ahead() is not None
        before = content(again.database)
        await again.reconcile(dry_run=True)
        assert content(again.database) == before
        report = await again.reconcile()
        made_open = still_open - {row[0] for row in before[0]}
        assert (report.open, report.unmatched, report.in_the_way) == (len(made_open), {}, [])
        assert report.attempts > 5
        lost, found = content(host.database), content(again.database)
        # Whether Asterisk took the order of an open attempt, the journal does not say.
        lost[0] = [(*row[:7], "unclear", *row[8:]) if row[0] in made_open else row for row in lost[0]]
        assert found == lost
        assert again.ahead() is None
        assert await again.reconcile() == Reconciled()
        assert content(again.database) == found


async def test_whoever_was_called_is_not_due_again(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        for claim in await host.claim("autumn", most=10):
            await host.end(claim, D.BUSY)
        await host.claim("spring", most=10)
        await again.reconcile()
        await again.begin()
        due = {one.attempt.number for one in await again.claim("autumn", most=99)}
        called = {number for (number,) in host.database.rows("select number from attempt")}
        assert due == set(numbers(30)) - called


async def test_a_verdict_alone_is_missed_too(host, tmp_path):
    (claim,) = await host.claim("autumn")
    async with backup_of(host, tmp_path) as again:
        await host.end(claim, D.COMPLETED)
        assert (again.ahead().attempts, again.ahead().verdicts) == (0, 1)
        assert (await again.reconcile()).verdicts == 1
        assert content(again.database) == content(host.database)
        assert again.database.rows(
            "select type, payload->>'disposition' from event where type = 'attempt.restored'"
        ) == [("attempt.restored", "completed")]


async def test_a_call_without_a_verdict_is_left_to_recovery(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        report = await again.reconcile()
        assert (report.attempts, report.open, report.verdicts, report.contacts) == (1, 1, 0, 1)
        (left,) = await attempts.open_attempts(again.engine, "node-1")
        assert (left.claim.attempt.id, left.claim.attempt.state) == (claim.attempt.id, State.UNCLEAR)
        assert left.claim.contact.person_key == claim.contact.person_key
        assert again.ahead() is None


async def test_people_whom_the_database_lacks_are_named_and_found_once_they_are_imported(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        make_campaign(host.database, "later", numbers(5))
        for claim in await host.claim("later", most=5):
            await host.end(claim, D.NO_ANSWER)
        (own,) = await host.claim("autumn")
        report = await again.reconcile()
        assert {name: len(keys) for name, keys in report.unmatched.items()} == {"later": 5}
        assert report.attempts == 1
        assert again.ahead() is not None, "the engine must not start"
        again.database.run("insert into campaign (tenant_id, name, created_at) values ('t', 'between', now())")
        make_campaign(again.database, "later", numbers(5))
        report = await again.reconcile()
        assert (report.attempts, report.unmatched, again.ahead()) == (5, {}, None)
        assert content(again.database)[1] == content(host.database)[1]
        assert own.attempt.id in {row[0] for row in content(again.database)[0]}


async def test_lines_that_a_crash_cut_are_passed_over(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        await host.claim("autumn", most=2)
        host.journal.close()
        (path,) = journal.files(host.directory)
        path.write_bytes(path.read_bytes() + b'{"claimed":{"at":"2026-')
        await host.claim("autumn", most=2)
        assert (await again.reconcile()).attempts == 4


async def test_a_verdict_lost_in_a_power_cut_does_not_bar_the_next_call_of_the_number(host, tmp_path):
    """Verdicts are not fsynced. That the number was claimed again proves that the call before was over."""
    (first,) = await host.claim("autumn")
    host.database.run("update contact set next_attempt_at = null, next_number = null where next_number <> :n",
                      n=first.attempt.number)  # fmt: skip
    async with backup_of(host, tmp_path) as again:
        attempt, change = verdict(first, D.BUSY)
        change = replace(change, next_attempt_at=utc_now())
        await attempts.save(host.engine, host.node, host.epoch, [attempt], [change], [])
        (second,) = await host.claim("autumn")
        report = await again.reconcile()
        assert (report.attempts, report.verdicts, report.in_the_way) == (1, 1, [])
        assert again.database.rows("select id, state, disposition from attempt order by submitting_at") == [
            (first.attempt.id, "ended", "unknown"), (second.attempt.id, "unclear", None),
        ]  # fmt: skip
        assert again.database.rows("select next_attempt_at, on_hold from contact where dials > 0") == [(None, False)]
        assert again.ahead() is None


async def test_an_open_call_of_another_host_in_the_way_is_told_and_not_ended(host, tmp_path):
    other = Engine(host.database, host.engine, tmp_path / "other-journal", "node-2")
    await other.begin()
    (first,) = await other.claim("spring")
    async with backup_of(host, tmp_path) as again:
        await other.end(first, D.COMPLETED)
        host.database.run("update contact set next_attempt_at = null, next_number = null where next_number <> :n",
                          n=first.attempt.number)  # fmt: skip
        (second,) = await host.claim("autumn")
        assert second.attempt.number == first.attempt.number
        assert (await again.reconcile()).in_the_way == ["node-2"]
        assert again.ahead() is not None
        there = Engine(again.database, again.engine, other.directory, "node-2", other.epoch)
        assert (await there.reconcile()).verdicts == 1
        report = await again.reconcile()
        assert (report.attempts, report.in_the_way, again.ahead()) == (1, [], None)


async def test_a_contact_is_left_as_its_latest_call_left_it_whichever_host_is_first(host, tmp_path):
    other = Engine(host.database, host.engine, tmp_path / "other-journal", "node-2")
    await other.begin()
    async with backup_of(host, tmp_path) as again:
        for engine in (host, other):
            (claim,) = await engine.claim("autumn")
            await engine.end(claim, D.BUSY, again_now=True)
            host.database.run("update contact set next_attempt_at = now() - interval '1 day' "
                              "where next_attempt_at is not null and dials > 0")  # fmt: skip
        there = Engine(again.database, again.engine, other.directory, "node-2", other.epoch)
        await there.reconcile()
        await again.reconcile()
        ((attempts_, wave, dials),) = again.database.rows("select attempts, wave, dials from contact where dials > 0")
        assert (attempts_, wave, dials) == (2, 3, 2)


async def test_no_epoch_is_given_out_twice(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        for _ in range(3):
            await host.begin()
        frozen = host.epoch
        await host.claim("autumn")
        await again.reconcile()
        await again.begin()
        assert again.epoch > frozen


async def test_a_claim_that_was_never_noted_was_never_sent_and_does_not_bar_the_start(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        host.journal.close()
        journal.files(host.directory)[0].unlink()
        await host.end(claim, D.NOT_PLACED)
        assert again.ahead() is None
        assert await again.reconcile() == Reconciled()


async def test_a_claim_before_the_tail_is_found_by_its_verdict(host, tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "TAIL", 2)
    async with backup_of(host, tmp_path) as again:
        for claim in await host.claim("autumn", most=4):
            await host.end(claim, D.BUSY)
        assert again.ahead().attempts == 2


async def test_looking_for_lost_calls_is_quick(host):
    """It stands before every start."""
    (claim,) = await host.claim("autumn")
    lines = [replace(claim, attempt=replace(claim.attempt, trunk=f"a{number}")) for number in range(3000)]
    for day in range(14):
        at = utc_now() - timedelta(days=day)
        Journal(host.directory, host.node, lambda at=at: at).claimed("autumn", lines)
    began = utc_now()
    assert host.ahead() is None
    assert (utc_now() - began).total_seconds() < 5
