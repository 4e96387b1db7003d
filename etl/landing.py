"""Brings batches of events into the log: COPY into a stage, then an insert that leaves alone what is there already.

Doing it again changes nothing, so that whoever is in doubt whether a commit came through does it again. Rows that
PostgreSQL refuses are found and become dead letters; the rest of their batch lands.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import psycopg

from dialer.storage import event_log
from dialer.storage.direct import Connection
from etl import dead
from etl.event_types import Reason
from etl.wire import Event, Letter, letter

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL's, in its binary form of timestamptz."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one request brought."""

    tenant_id: str
    source: str
    received_at: datetime
    events: Sequence[Event]
    letters: Sequence[Letter] = ()
    times: int = 1
    """How many times it came; 0: it is being replayed."""


@dataclass(kw_only=True)
class Landed:
    """What became of a batch's events: those neither here nor there are stored."""

    duplicates: int = 0
    """Stood there already, just so."""
    refused: list[Letter] = field(default_factory=list)
    """Stood there with another content, or could not be stored."""


class Landing:
    """Lands batches over any connections of one database."""

    def __init__(self) -> None:
        self._days: set[date] = set()
        self._staged: WeakSet[Connection] = WeakSet()

    async def store(self, connection: Connection, batches: Sequence[Batch]) -> list[Landed]:
        """Stores batches with their letters, durable on return; `Landed` for each. Raises psycopg.Error.

        All in one transaction, unless one holds a row that PostgreSQL refuses: then each batch has its own.
        """
        try:
            try:
                return await self._land(connection, batches)
            except psycopg.errors.CheckViolation:
                # A partition that stood here was dropped for its age.
                self._days.clear()
                return await self._land(connection, batches)
        except psycopg.Error as error:
            if not _is_poison(error) or not any(batch.events for batch in batches):
                raise
            if len(batches) == 1:
                return [await self._cure(connection, batches[0], str(error).splitlines()[0])]
        return [landed for batch in batches for landed in await self.store(connection, [batch])]

    async def _cure(self, connection: Connection, batch: Batch, detail: str) -> Landed:
        """Asks of each payload by itself, in one round trip: a source may send nothing but poison."""
        await connection.execute(_ASK)
        rows = await connection.execute(_REFUSALS, [[event.payload for event in batch.events]])
        refusals = {place - 1: told for place, told in await rows.fetchall()}
        if not refusals:
            return await self._halve(connection, batch, detail)
        poison = [
            letter(batch.events[place].number, Reason.SCHEMA, told, batch.events[place].raw)
            for place, told in refusals.items()
        ]
        well = [event for place, event in enumerate(batch.events) if place not in refusals]
        (landed,) = await self.store(connection, [_part(batch, well, (*batch.letters, *poison))])
        return Landed(duplicates=landed.duplicates, refused=[*poison, *landed.refused])

    async def _halve(self, connection: Connection, batch: Batch, detail: str) -> Landed:
        """What no payload is to blame for: the row that is lands as a letter, after a step for each doubling."""
        if len(batch.events) == 1:
            (event,) = batch.events
            poison = letter(event.number, Reason.SCHEMA, detail, event.raw)
            await self.store(connection, [_part(batch, (), (*batch.letters, poison))])
            return Landed(refused=[poison])
        middle = len(batch.events) // 2
        (first,) = await self.store(connection, [_part(batch, batch.events[:middle], batch.letters)])
        (second,) = await self.store(connection, [_part(batch, batch.events[middle:], ())])
        return Landed(duplicates=first.duplicates + second.duplicates, refused=first.refused + second.refused)

    async def _land(self, connection: Connection, batches: Sequence[Batch]) -> list[Landed]:
        landed = [Landed() for _ in batches]
        events = [(index, event) for index, batch in enumerate(batches) for event in batch.events]
        letters = [_addressed(batch, letter) for batch in batches for letter in batch.letters]
        if events:
            await self._make_room(connection, {event.occurred_at for _, event in events})
        async with connection.transaction(), connection.cursor() as cursor:
            if events:
                stored = await _copy(cursor, batches)
                if stored < len(events):
                    await cursor.execute(_THERE)
                    for ordinal, differs in await cursor.fetchall():
                        index, event = events[ordinal]
                        if differs:
                            conflict = letter(
                                event.number, Reason.DUPLICATE_ID_CONFLICT,
                                "an event with this id and moment is stored, and says otherwise", event.raw,
                            )  # fmt: skip
                            landed[index].refused.append(conflict)
                            letters.append(_addressed(batches[index], conflict))
                        else:
                            landed[index].duplicates += 1
            await dead.put(cursor, letters)
        return landed

    async def _make_room(self, connection: Connection, moments: Iterable[datetime]) -> None:
        """The stage of this connection, and the partitions of the events' days."""
        if connection not in self._staged:
            await connection.execute(_STAGE)
            self._staged.add(connection)
        days = {moment.astimezone(UTC).date() for moment in moments} - self._days
        if days:
            await connection.execute(event_log.partitions(days))
            self._days |= days


def _is_poison(error: psycopg.Error) -> bool:
    """Whether a row is at fault: NUL in jsonb, a number beyond numeric, JSON too deep (SQLSTATE classes 22 and 54)."""
    return isinstance(error, psycopg.DataError) or (error.sqlstate or "").startswith("54")


def _part(batch: Batch, events: Sequence[Event], letters: Sequence[Letter]) -> Batch:
    return replace(batch, events=events, letters=letters)


def _addressed(batch: Batch, letter: Letter) -> dead.Addressed:
    return batch.tenant_id, batch.source, batch.received_at, batch.times, letter


async def _copy(cursor: psycopg.AsyncCursor[Any], batches: Sequence[Batch]) -> int:
    """Stages all events and inserts them; how many are new."""
    async with cursor.copy(_COPY) as copy:
        await copy.write(packed(batches))
    return (await cursor.execute(_INSERT)).rowcount


# -- rows in PostgreSQL's binary form of COPY --------------------------------------------------------------------------
# Twice as fast as psycopg's own row by row, and a row is the hottest thing here: fixed columns first, in one piece.

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = b"\xff\xff"
_FIXED = struct.Struct(">hiiiqi16sihi?")
"""12 columns; ordinal, occurred_at, event_id, schema_v, unknown, each behind its length."""
_INT = struct.Struct(">ii")
_LENGTH = struct.Struct(">i")
_JSON = struct.Struct(">ib")
_NULL = _LENGTH.pack(-1)


def packed(batches: Sequence[Batch]) -> bytes:
    """The events of all batches, numbered on from 0, as one COPY of `_COPY`'s columns."""
    parts = [_SIGNATURE]
    ordinal = 0
    for batch in batches:
        owner = _text(batch.tenant_id) + _text(batch.source)
        for event in batch.events:
            subject, payload = event.subject_id.encode(), event.payload
            moment = (event.occurred_at - _EPOCH) // _MICROSECOND
            parts += (
                _FIXED.pack(
                    12, 4, ordinal, 8, moment, 16, event.event_id.bytes, 2, event.schema_v, 1, event.unknown
                ),
                _NULL if event.seq is None else _INT.pack(4, event.seq),
                owner,
                _kind(event.type, event.subject_type),
                _LENGTH.pack(len(subject)), subject,
                _JSON.pack(len(payload) + 1, 1), payload,
            )  # fmt: skip
            ordinal += 1
    parts.append(_END)
    return b"".join(parts)


@lru_cache(maxsize=1000)
def _kind(type_: str, subject_type: str) -> bytes:
    return _text(type_) + _text(subject_type)


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH.pack(len(data)) + data


_STAGE = """
create temp table collect_stage (
    ordinal integer, occurred_at timestamptz, event_id uuid, schema_v smallint, unknown boolean, seq integer,
    tenant_id text, source text, type text, subject_type text, subject_id text, payload jsonb
) on commit delete rows
"""
_ASK = """
create or replace function pg_temp.collect_refusal(payload bytea) returns text language plpgsql as $$
begin
    perform convert_from(payload, 'UTF8')::jsonb;
    return null;
exception when others then
    return sqlerrm;
end $$
"""
_REFUSALS = """
select place, told
from (select place, pg_temp.collect_refusal(payload) as told
      from unnest(%b::bytea[]) with ordinality as one (payload, place)) as asked
where told is not null order by place
"""
_COPY = """
copy collect_stage (ordinal, occurred_at, event_id, schema_v, unknown, seq, tenant_id, source, type, subject_type,
                    subject_id, payload) from stdin (format binary)
"""
# In the order of the key, so that two writers of the same events do not wait for each other in a circle; of two with
# one key the first counts.
_INSERT = """
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload, source,
                   unknown)
select event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload, source, unknown
from collect_stage order by tenant_id, occurred_at, event_id, ordinal
on conflict do nothing
"""
# The limit keeps PostgreSQL from reading whole days: it knows nothing of how much is staged.
_THERE = """
select ordinal, differs from (
    select stage.ordinal, there.differs,
           there.earlier or row_number() over (
               partition by stage.tenant_id, stage.occurred_at, stage.event_id order by stage.ordinal
           ) > 1 as again
    from collect_stage as stage cross join lateral (
        select event.ingest_xid <> pg_current_xact_id() as earlier,
               (event.type, event.subject_type, event.subject_id, event.seq, event.schema_v, event.payload)
               is distinct from
               (stage.type, stage.subject_type, stage.subject_id, stage.seq, stage.schema_v, stage.payload) as differs
        from event
        where event.tenant_id = stage.tenant_id and event.occurred_at = stage.occurred_at
              and event.event_id = stage.event_id
        limit 1
    ) as there
) as compared where again order by ordinal
"""
