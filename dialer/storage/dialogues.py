"""What came of dialogues, in PostgreSQL: tries, answers, opt-outs, results, events, with one statement for all."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import namedtuple_row
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.calls.results import Memory, Try, TryOutcome, Writes
from dialer.storage.direct import Connection
from dialer.storage.spool import SpoolFile, encode

log = logging.getLogger(__name__)


async def write(connection: AsyncConnection, group: Sequence[Writes]) -> None:
    """Stores the rows of any number of dialogues in the caller's transaction; rows that stand already change nothing.

    Raises the driver's DBAPIError, a foreign key's among them when an attempt or a revision is not there.
    """
    await connection.exec_driver_sql(_WRITE, {"groups": as_array(group)})


async def write_directly(connection: Connection, group: Sequence[Writes]) -> None:
    """The same in a transaction of its own. Raises psycopg.Error."""
    await connection.execute(_WRITE, {"groups": as_array(group)})


def as_array(group: Sequence[Writes]) -> str:
    """The rows as the spool has them, as a JSON array."""
    return f"[{b','.join(map(encode, group)).decode()}]"


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


class Context(NamedTuple):
    """What is stored for an attempt's dialogue: all that it needs but its revision, and whether it has begun."""

    id: UUID
    state: str
    revision_id: int
    trunk: str
    node: str
    language: str | None
    fields: dict[str, Any]
    zones: str
    sha256: str
    now: datetime
    result: str | None
    had_tries: bool


async def contexts(connection: Connection, attempt_ids: Sequence[UUID]) -> list[Context]:
    """A row for each attempt that there is. Raises psycopg.Error."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(_CONTEXTS, {"ids": list(attempt_ids)})
        return list(map(Context._make, await cursor.fetchall()))


async def revisions(connection: Connection, revision_ids: Sequence[int]) -> list[Any]:
    """`id, document, base_dir` of revisions; the document is JSON text. Raises psycopg.Error."""
    async with connection.cursor(row_factory=namedtuple_row) as cursor:
        return await (await cursor.execute(_REVISIONS, {"ids": list(revision_ids)})).fetchall()


async def memories(connection: Connection, attempt_ids: Sequence[UUID]) -> dict[UUID, Memory]:
    """What is stored of dialogues that have begun; those of which nothing is are left out.

    It reads all events since the oldest of the calls: for the few dialogues whose worker died. Raises psycopg.Error.
    """
    ids = list(attempt_ids)
    tries: dict[UUID, list[Try]] = {}
    async with connection.cursor(row_factory=namedtuple_row) as cursor:
        rows: list[Any] = await (await cursor.execute(_TRIES, {"ids": ids})).fetchall()
        for row in rows:
            tries.setdefault(row.attempt_id, []).append(
                Try(attempt_id=row.attempt_id, step=row.step, visit=row.visit, try_no=row.try_no, keys=row.keys,
                    outcome=TryOutcome(row.outcome), at=row.at)
            )  # fmt: skip
        begun: list[Any] = await (await cursor.execute(_BEGUN, {"ids": ids, "names": list(map(str, ids))})).fetchall()
    return {
        row.id: Memory(
            tries=tuple(tries.get(row.id, ())), seq=row.seq, started_at=row.started_at, audio_at=row.audio_at
        )
        for row in begun
    }


# One round trip, prepared once however many rows; the server reads JSON as cheaply as arrays, and it is there already.
# Who wants no more calls comes on the list with every number that we know of them, for good: an entry that would expire
# does so no more. Numbers in their order, as other writers of the list have them, so that none waits in a circle. The
# limits make PostgreSQL take the indexes; it expects far more lines there. No lock against claims under way is needed:
# this person and number are in a call.
_WRITE = """
with writes as (select value from json_array_elements(%(groups)s::json)),
tries as (
    insert into answer_try (attempt_id, step, visit, try_no, keys, outcome, at)
    select line.* from writes, json_to_recordset(value -> 'tries') as line (
        attempt_id uuid, step text, visit smallint, try_no smallint, keys text, outcome text, at timestamptz)
    on conflict do nothing
),
answers as (
    insert into answer (attempt_id, step, visit, revision_id, keys, value, at)
    select line.* from writes, json_to_recordset(value -> 'answers') as line (
        attempt_id uuid, step text, visit smallint, revision_id bigint, keys text, value text, at timestamptz)
    on conflict do nothing
),
ends as (
    insert into flow_result (attempt_id, result, step, answers, detail, at, audio_at, callback_at, opted_out)
    select line.* from writes, json_to_recordset(value -> 'ends') as line (
        attempt_id uuid, result text, step text, answers smallint, detail text, at timestamptz, audio_at timestamptz,
        callback_at timestamptz, opted_out boolean)
    on conflict do nothing
),
opt_outs as (
    insert into dnc (number, scope, tenant_id, campaign_id, source, attempt_id, added_at, added_by)
    select distinct on (number, scope, tenant_id, campaign_id)
           known.number, line.scope, case when line.scope <> 'site' then call.tenant_id end as tenant_id,
           case when line.scope = 'campaign' then call.campaign_id end as campaign_id,
           'call', line.attempt_id, line.at, 'callee'
    from writes
    cross join lateral json_to_recordset(value -> 'opt_outs') as line (attempt_id uuid, scope text, at timestamptz)
    cross join lateral (
        select attempt.number, attempt.person_id, attempt.campaign_id, campaign.tenant_id
        from attempt join campaign on campaign.id = attempt.campaign_id where attempt.id = line.attempt_id limit 1
    ) as call
    cross join lateral (
        select call.number
        union select unnest(same.numbers) from campaign cross join lateral (
            select numbers from contact
            where contact.campaign_id = campaign.id and contact.person_id = call.person_id limit 1
        ) as same
        where campaign.tenant_id = call.tenant_id and (line.scope <> 'campaign' or campaign.id = call.campaign_id)
    ) as known (number)
    order by number, scope, tenant_id, campaign_id, line.at
    on conflict (number, scope, tenant_id, campaign_id) do update set
        until = null, source = excluded.source, reason = null, attempt_id = excluded.attempt_id,
        added_at = excluded.added_at, added_by = excluded.added_by
    where dnc.until is not null
    returning scope, tenant_id, campaign_id, attempt_id
),
audited as (
    insert into audit (who, what, tenant_id, campaign_id, detail)
    select 'callee', 'dnc.add', tenant_id, campaign_id,
           jsonb_build_object('attempt', attempt_id, 'scope', scope, 'numbers', count(*))
    from opt_outs group by scope, tenant_id, campaign_id, attempt_id
)
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload)
select line.* from writes, json_to_recordset(value -> 'events') as line (
    event_id uuid, tenant_id text, occurred_at timestamptz, type text, subject_type text, subject_id text, seq integer,
    schema_v smallint, payload jsonb)
on conflict do nothing
"""
_CONTEXTS = """
select attempt.id, attempt.state, attempt.revision_id, attempt.trunk, attempt.node, contact.language, contact.fields,
       contact.zones, revision.sha256, clock_timestamp() as now, flow_result.result,
       exists (select from answer_try where attempt_id = attempt.id) as had_tries
from attempt
join contact on contact.id = attempt.contact_id
join revision on revision.id = attempt.revision_id
left join flow_result on flow_result.attempt_id = attempt.id
where attempt.id = any(%(ids)s)
"""
_REVISIONS = "select id, document::text as document, base_dir from revision where id = any(%(ids)s)"
_TRIES = """
select attempt_id, step, visit, try_no, keys, outcome, at from answer_try where attempt_id = any(%(ids)s) order by at
"""
# Clocks of hosts differ: an event may be dated before its attempt.
_BEGUN = """
select attempt.id, coalesce(max(event.seq), 0) as seq,
       coalesce(min(event.occurred_at), attempt.submitting_at) as started_at,
       min(event.occurred_at) filter (where event.type = 'dialogue.started') as audio_at
from attempt left join event
  on event.subject_type = 'dialogue' and event.subject_id = attempt.id::text and event.subject_id = any(%(names)s)
     and event.occurred_at >= (select min(submitting_at) from attempt where id = any(%(ids)s)) - interval '1 hour'
where attempt.id = any(%(ids)s)
group by attempt.id
"""
