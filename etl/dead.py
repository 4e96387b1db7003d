"""Dead letters: the lines that are no events, kept as they came with the reason, until replayed or purged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy import Connection as Reader

from dialer.storage.direct import Connection
from dialer.storage.tables import event_dead
from etl.event_types import Reason
from etl.wire import Letter


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A letter as it is stored."""

    tenant_id: str
    letter_id: UUID
    source: str
    reason: Reason
    detail: str
    raw: bytes
    times: int
    """It came."""
    attempts: int
    """At replaying it."""
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, kw_only=True)
class Which:
    """The letters that an operator means; None is no condition."""

    tenant_id: str | None = None
    reason: Reason | None = None
    source: str | None = None
    letter_ids: Sequence[UUID] = ()
    before: datetime | None = None
    """The last time that they came."""

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a query on `event_dead`."""
        columns = event_dead.c
        made = []
        if self.tenant_id is not None:
            made.append(columns.tenant_id == self.tenant_id)
        if self.reason is not None:
            made.append(columns.reason == self.reason.value)
        if self.source is not None:
            made.append(columns.source == self.source)
        if self.letter_ids:
            made.append(columns.letter_id.in_(self.letter_ids))
        if self.before is not None:
            made.append(columns.last_at < self.before)
        return made


Addressed = tuple[str, str, datetime, int, Letter]
"""Tenant, source, when it came, how many times (0: it is being replayed), and the letter."""


async def put(cursor: psycopg.AsyncCursor[Any], letters: Iterable[Addressed]) -> None:
    """Keeps letters in the caller's transaction; one that is there already counts on."""
    rows = {}
    for tenant_id, source, received_at, times, letter in letters:
        letter_id = _letter_id(source, letter.raw)
        rows[tenant_id, letter_id] = (
            tenant_id, letter_id, source, letter.reason.value, letter.detail, letter.raw, times, received_at,
        )  # fmt: skip
    if rows:
        columns = zip(*(rows[key] for key in sorted(rows)), strict=True)
        await cursor.execute(_PUT, [list(column) for column in columns])


def listed(connection: Reader, which: Which, limit: int | None = None) -> Iterator[Kept]:
    """Letters, the newest first; safe to drain slowly in a reader's transaction."""
    columns = event_dead.c
    query = (
        select(event_dead)
        .where(*which.conditions())
        .order_by(columns.last_at.desc(), columns.tenant_id, columns.letter_id)
        .limit(limit)
    )
    rows = connection.execution_options(stream_results=True, max_row_buffer=200).execute(query)
    for row in rows.mappings():
        yield Kept(**{**row, "reason": Reason(row["reason"])})


def purge(connection: Reader, which: Which) -> int:
    """Removes letters for good; how many."""
    return connection.execute(delete(event_dead).where(*which.conditions())).rowcount


async def settle(connection: Connection, kept: Sequence[Kept], gone: Iterable[int]) -> None:
    """After a replay: forgets the letters at these places, and counts the try at the others."""
    places = set(gone)
    done = [(one.tenant_id, one.letter_id) for place, one in enumerate(kept) if place in places]
    tried = [(one.tenant_id, one.letter_id) for place, one in enumerate(kept) if place not in places]
    async with connection.transaction(), connection.cursor() as cursor:
        for statement, keys in ((_FORGET, done), (_TRIED, tried)):
            await cursor.execute(statement, ([tenant for tenant, _ in keys], [letter_id for _, letter_id in keys]))


def _letter_id(source: str, raw: bytes) -> UUID:
    return UUID(bytes=hashlib.sha256(source.encode() + b"\0" + raw).digest()[:16])


# In the order of the key, so that two writers do not wait for each other in a circle.
_PUT = """
insert into event_dead (tenant_id, letter_id, source, reason, detail, raw, times, first_at, last_at)
select tenant_id, letter_id, source, reason, detail, raw, times, at, at
from unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::integer[], %s::timestamptz[])
     as letter (tenant_id, letter_id, source, reason, detail, raw, times, at)
on conflict (tenant_id, letter_id) do update set
    reason = excluded.reason, detail = excluded.detail, times = event_dead.times + excluded.times,
    last_at = greatest(event_dead.last_at, excluded.last_at)
"""
_KEYS = "from unnest(%s::text[], %s::uuid[]) as key (tenant, id) where tenant_id = tenant and letter_id = id"
_FORGET = f"delete from event_dead using {_KEYS.removeprefix('from ')}"
_TRIED = f"update event_dead set attempts = attempts + 1 {_KEYS}"
