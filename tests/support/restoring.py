"""A host whose database is put back to an earlier state while its journal stays: an engine without the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer import waves
from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import UNCOUNTED, Disposition
from dialer.calls.log import event_row
from dialer.calls.results import Answer, DialogueEnd, FlowResult, Try, TryOutcome, Writes
from dialer.campaign.retry import RetryPolicy
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ContactChange, Tried
from dialer.storage import attempts, claims, dialogues, leases, restore
from dialer.storage.journal import Journal
from dialer.storage.replay import Reconciled
from dialer.storage.session import async_engine, sync_engine
from dialer.storage.spool import Archive
from tests.conftest import Database, settings_for
from tests.support.claiming import make_campaign, numbers, order, route

COPIES = count(1)


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
        taken = await leases.take(self.engine, self.node, f"{self.node} nobody 1 2")
        assert taken is not None
        self.epoch, _ = taken
        await leases.release(self.engine, self.node, self.epoch, f"{self.node} nobody 1 2")

    async def claim(self, name: str, most: int = 1) -> list[Claim]:
        ((campaign_id,),) = self.database.rows("select id from campaign where name = :name", name=name)
        # An operator wants it to run, also after a restore has paused it.
        self.database.run("update campaign_run set wanted = 'running' where campaign_id = :id", id=campaign_id)
        result = await claims.claim(
            self.engine,
            order(self.database, campaign_id, most=most, routes=(route("a"), route("b"))),
            node=self.node,
            epoch=self.epoch,
        )
        self.journal.claimed(name, result.claims)
        return result.claims

    async def end(self, claim: Claim, disposition: Disposition, *, again_now: bool = False) -> Attempt:
        """A verdict, and what the policy makes of it; `again_now` shortens its waiting time to nothing."""
        attempt, change = verdict(claim, disposition)
        if again_now and change.next_attempt_at:
            change = replace(change, next_attempt_at=utc_now())
        await attempts.save(self.engine, self.node, self.epoch, [attempt], [change], [], utc_now())
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
    now, rang = utc_now(), disposition not in UNCOUNTED
    attempt = replace(
        claim.attempt, state=State.ENDED, disposition=disposition, accepted_at=now, ringing_at=now if rang else None,
        first_audio_at=now if rang else None, hung_up_at=now, ended_at=now, cause=17, tech_cause=486,
        originate_reason=5, seq=5,
    )  # fmt: skip
    last = Tried(number=attempt.number, disposition=disposition, trunk=attempt.trunk, wave=attempt.wave, rang=rang)
    following = waves.after(RetryPolicy(), claim.contact, last, now, lambda number: ("a", "b"))
    counted = waves.counts(last, claim.contact.history)
    change = ContactChange(
        contact_id=claim.contact.id, attempts=claim.contact.attempts + counted, wave=attempt.wave + counted
    )
    match following:
        case waves.Next(at=at, number=number, avoid=avoid):
            return attempt, replace(change, next_attempt_at=at, next_number=number, avoid_trunks=avoid)
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


@asynccontextmanager
async def new_host(database: Database, tmp_path: Path) -> AsyncIterator[Engine]:
    """An engine with two campaigns whose people overlap; its journal stands where the settings say."""
    make_campaign(database, "autumn", numbers(30))
    make_campaign(database, "spring", [*numbers(30)[15:], "+48600000001"])
    made = Engine(database, async_engine(database.settings), database.settings.journal_dir)
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
  a.accepted_at, a.ringing_at, a.answered_at, a.first_audio_at, a.hung_up_at, a.ended_at, a.originate_reason, a.cause,
  a.tech_cause, a.disposition, a.counted, a.seq, a.caller_id
from attempt a join campaign p on p.id = a.campaign_id join person on person.id = a.person_id order by a.id
"""
CONTACTS = """
select p.name, person.person_key, c.numbers, c.attempts, c.dials, c.wave, c.next_number, c.next_attempt_at, c.closed_as,
  c.on_hold, c.avoid_trunks
from contact c join campaign p on p.id = c.campaign_id join person on person.id = c.person_id order by 1, 2
"""
DIALOGUES = "select t.attempt_id, t.keys, a.value, f.result, f.answers, f.at from answer_try t \
join answer a using (attempt_id, step, visit) join flow_result f using (attempt_id) order by 1"


def content(database: Database) -> list[list[tuple[object, ...]]]:
    return [database.rows(query) for query in (ATTEMPTS, CONTACTS, DIALOGUES)]
