"""What came of dialogues, in PostgreSQL: tries, answers, results and their events, with one statement a table."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.calls.results import Answer, DialogueEnd, Memory, Try, TryOutcome, Writes
from dialer.storage import tables
from dialer.storage.bulk import insert_rows
from dialer.storage.spool import SpoolFile

log = logging.getLogger(__name__)


async def write(connection: AsyncConnection, group: Sequence[Writes]) -> None:
    """Stores the rows of any number of dialogues in the caller's transaction; rows that stand already change nothing.

    Raises the driver's DBAPIError, a foreign key's among them when an attempt or a revision is not there.
    """
    await insert_rows(connection, tables.answer_try, [_try_row(item) for writes in group for item in writes.tries])
    await insert_rows(connection, tables.answer, [_answer_row(item) for writes in group for item in writes.answers])
    await insert_rows(connection, tables.flow_result, [_end_row(item) for writes in group for item in writes.ends])
    await insert_rows(connection, tables.event, [item for writes in group for item in writes.events])


async def bring_home(
    file: SpoolFile, write: Callable[[Sequence[Writes]], Awaitable[None]], keep: Callable[[Writes], None]
) -> None:
    """Writes what a dead worker left of a dialogue, gives it to the archive, and removes its file.

    Raises what `write` raises, and OSError; then the file stays for the next try.
    """
    try:
        writes = file.read().writes
        if writes:
            await write([writes])
            keep(writes)
        file.remove()
        log.warning("orphan_stored", extra={"attempt": str(file.attempt_id), "rows": len(writes)})
    finally:
        file.close()


async def memories(connection: AsyncConnection, attempt_ids: Sequence[UUID]) -> dict[UUID, Memory]:
    """What is stored of dialogues that have begun; those of which nothing is are left out.

    It reads all events since the oldest of the calls: for the few dialogues whose worker died.
    """
    tries: dict[UUID, list[Try]] = {}
    for row in await connection.execute(_TRIES, {"ids": list(attempt_ids)}):
        tries.setdefault(row.attempt_id, []).append(
            Try(attempt_id=row.attempt_id, step=row.step, visit=row.visit, try_no=row.try_no, keys=row.keys,
                outcome=TryOutcome(row.outcome), at=row.at)
        )  # fmt: skip
    begun = (await connection.execute(_BEGUN, {"ids": list(attempt_ids), "names": [str(i) for i in attempt_ids]})).all()
    return {row.id: Memory(tries=tuple(tries.get(row.id, ())), seq=row.seq, started_at=row.started_at) for row in begun}


_TRIES = text(
    "select attempt_id, step, visit, try_no, keys, outcome, at from answer_try where attempt_id = any(:ids) order by at"
)
# Clocks of hosts differ: an event may be dated before its attempt.
_BEGUN = text(
    """
    select attempt.id, coalesce(max(event.seq), 0) as seq,
           coalesce(min(event.occurred_at), attempt.submitting_at) as started_at
    from attempt left join event
      on event.subject_type = 'dialogue' and event.subject_id = attempt.id::text and event.subject_id = any(:names)
         and event.occurred_at >= (select min(submitting_at) from attempt where id = any(:ids)) - interval '1 hour'
    where attempt.id = any(:ids)
    group by attempt.id
    """
)


def _try_row(item: Try) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "step": item.step, "visit": item.visit, "try_no": item.try_no,
            "keys": item.keys, "outcome": item.outcome.value, "at": item.at}  # fmt: skip


def _answer_row(item: Answer) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "step": item.step, "visit": item.visit, "revision_id": item.revision_id,
            "keys": item.keys, "value": item.value, "at": item.at}  # fmt: skip


def _end_row(item: DialogueEnd) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "result": item.result.value, "step": item.step, "answers": item.answers,
            "detail": item.detail, "at": item.at}  # fmt: skip
