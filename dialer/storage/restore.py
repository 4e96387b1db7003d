"""After a database came back from an older backup: what the host's journal knows and the database has forgotten.

The journal's lines are put in again as they were, in their order, so that nobody is called for whom the policy has no
call left. Putting them in twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialer.calls.results import Writes
from dialer.campaign.running import Wanted
from dialer.storage import dialogues, event_log, journal, runs, spool
from dialer.storage.journal import Claimed, Line, Verdict
from dialer.storage.replay import Reconciled, Replay
from dialer.storage.runs import Order

T = TypeVar("T")

TAIL = 2000
"""Lines of each day that are compared before a start: a restore loses the last ones, never some in the middle."""
BATCH = 500

_KNOWN = text("select id, state = 'ended' as ended from attempt where id = any(:ids)")
_WITHOUT_RESULT = text("""
select id, revision_id from attempt a
where id = any(:ids) and not exists (select from flow_result f where f.attempt_id = a.id)
""")


_RUNNING = text("""
select p.id, p.name, p.tenant_id from campaign p join campaign_run w on w.campaign_id = p.id
where w.wanted = 'running' order by p.name
""")
_WHY_PAUSED = "the database was restored from a backup; orders that were given after it are lost"


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """How much the last lines of the journal know that the database does not."""

    attempts: int
    verdicts: int
    since: datetime

    def __str__(self) -> str:
        return (
            f"the database lacks at least {self.attempts} calls and {self.verdicts} verdicts, the first of "
            f"{self.since:%Y-%m-%d %H:%M:%S} UTC, that this host's journal holds: it was restored from an older "
            "backup, or is another one. People would be called again. Run `dialer restore-reconcile`."
        )


def last_lines(directory: Path) -> list[Line]:
    """The lines that `ahead` compares; reads files, so not for an event loop."""
    return [line for path in journal.files(directory) for line in journal.tail(path, TAIL)]


def ahead(connection: Connection, directory: Path, lines: Sequence[Line] | None = None) -> Ahead | None:
    """What the journal knows and the database does not; None when it knows nothing more."""
    lines = last_lines(directory) if lines is None else lines
    known = {row.id: row.ended for row in connection.execute(_KNOWN, {"ids": list({one.attempt_id for one in lines})})}
    claims = {line.attempt_id: line.at for line in lines if isinstance(line, Claimed)}
    verdicts = {line.attempt_id: line.at for line in lines if isinstance(line, Verdict)}
    without_claim = verdicts.keys() - claims.keys() - known.keys()
    if without_claim:
        # Either its claim stands before the tail, or it has none: then it was never ordered (a crash, a full disk).
        everything = journal.read_all(directory)
        claims |= {one.attempt_id: one.at for one in everything if _claims_one_of(one, without_claim)}
    lost = {one: at for one, at in claims.items() if one not in known}
    unsettled = {one: at for one, at in verdicts.items() if known.get(one) is False}
    if not lost and not unsettled:
        return None
    return Ahead(attempts=len(lost), verdicts=len(unsettled), since=min((*lost.values(), *unsettled.values())))


def _claims_one_of(line: Line, attempt_ids: set[UUID]) -> bool:
    return isinstance(line, Claimed) and line.attempt_id in attempt_ids


async def reconcile(
    engine: AsyncEngine,
    directory: Path,
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Reconciled:
    """Puts everything in that the journal and the workers' archives hold and the database lacks.

    Some hundred lines are a transaction; `dry_run` undoes it all at the end. Engines must not run meanwhile. Raises the
    driver's DBAPIError, and DialerError for a journal of another release.
    """
    async with engine.connect() as connection:

        async def keep() -> None:
            if not dry_run:
                await connection.commit()

        await connection.run_sync(_make_room, directory, now)
        await keep()
        work, done = Replay(connection, now), 0
        for lines in batches(journal.read_all(directory), BATCH):
            await work.put_in(lines)
            await keep()
            done += len(lines)
            progress(f"{done} lines of the journal compared")
        await work.finish()
        if work.report.verdicts or work.report.attempts or work.report.unmatched:
            work.report.paused = await connection.run_sync(_pause)
        await keep()
        for path in spool.archives(directory):
            for group in batches(spool.read_archive(path), BATCH):
                await _store_dialogues(connection, group, work.report)
                await keep()
            progress(f"dialogues of {path.stem} compared")
        await connection.rollback()
    return work.report


def _pause(connection: Connection) -> list[str]:
    """Pauses what the backup wants to run, and names it: an order to stop it may be among what was lost."""
    order = Order(verb="pause", wanted=Wanted.PAUSED, by="dialer restore-reconcile", why=_WHY_PAUSED)
    return [
        row.name
        for row in connection.execute(_RUNNING).all()
        if runs.change(connection, row.id, row.tenant_id, order, (Wanted.RUNNING,))
    ]


def _make_room(connection: Connection, directory: Path, now: datetime) -> None:
    """Partitions for the events of every day that the files tell of."""
    days = {re.search(r"\d{4}-\d\d-\d\d", path.name) for path in directory.glob("*.jsonl")}
    for day in sorted(found[0] for found in days if found):
        event_log.ensure_partitions(connection, datetime.fromisoformat(day).replace(tzinfo=UTC))
    event_log.ensure_partitions(connection, now)


async def _store_dialogues(connection: AsyncConnection, group: Sequence[Writes], report: Reconciled) -> None:
    """Stores what the database lacks of dialogues; those whose result it has, it has whole: that is stored last."""
    ids = [UUID(attempt) for writes in group for attempt in writes.attempts()]
    lacking = {row.id: row.revision_id for row in await connection.execute(_WITHOUT_RESULT, {"ids": ids})}
    found = [_of_revision(writes, lacking) for writes in group if {*map(UUID, writes.attempts())} <= lacking.keys()]
    await dialogues.write(connection, found)
    report.dialogues += len(found)
    report.answers += sum(len(writes.answers) for writes in found)


def _of_revision(writes: Writes, revisions: Mapping[UUID, int]) -> Writes:
    """The same rows under the revision that the attempt has in this database."""
    answers = [replace(one, revision_id=revisions[one.attempt_id]) for one in writes.answers]
    return replace(writes, answers=answers)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of that size, the last one shorter."""
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
