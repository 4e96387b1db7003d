"""What came of dialogues, in PostgreSQL: tries, answers, results and their events, with one statement a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.calls.results import Answer, DialogueEnd, Try, Writes
from dialer.storage import tables
from dialer.storage.bulk import insert_rows


async def write(connection: AsyncConnection, group: Sequence[Writes]) -> None:
    """Stores the rows of any number of dialogues in the caller's transaction; rows that stand already change nothing.

    Raises the driver's DBAPIError, a foreign key's among them when an attempt or a revision is not there.
    """
    await insert_rows(connection, tables.answer_try, [_try_row(item) for writes in group for item in writes.tries])
    await insert_rows(connection, tables.answer, [_answer_row(item) for writes in group for item in writes.answers])
    await insert_rows(connection, tables.flow_result, [_end_row(item) for writes in group for item in writes.ends])
    await insert_rows(connection, tables.event, [item for writes in group for item in writes.events])


def _try_row(item: Try) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "step": item.step, "visit": item.visit, "try_no": item.try_no,
            "keys": item.keys, "outcome": item.outcome.value, "at": item.at}  # fmt: skip


def _answer_row(item: Answer) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "step": item.step, "visit": item.visit, "revision_id": item.revision_id,
            "keys": item.keys, "value": item.value, "at": item.at}  # fmt: skip


def _end_row(item: DialogueEnd) -> dict[str, Any]:
    return {"attempt_id": item.attempt_id, "result": item.result.value, "step": item.step, "answers": item.answers,
            "detail": item.detail, "at": item.at}  # fmt: skip
