"""Attempts and their contacts as the tracker stores them: many changes a transaction, one statement a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.states import State
from dialer.campaign.model import RetryPolicy
from dialer.contacts.contact import Claim, Contact, ContactChange, Leftover, Totals
from dialer.storage import tables
from dialer.storage.bulk import insert_rows
from dialer.storage.claims import history

SETTLE = timedelta(seconds=0.5)
"""How long a slot stays taken after Hangup: the BYE leaves asynchronously."""


_ATTEMPT_TYPES = {
    "id": "uuid",
    "state": "text",
    "accepted_at": "timestamptz",
    "ringing_at": "timestamptz",
    "answered_at": "timestamptz",
    "hung_up_at": "timestamptz",
    "ended_at": "timestamptz",
    "slot_until": "timestamptz",
    "originate_reason": "int",
    "cause": "int",
    "tech_cause": "int",
    "disposition": "text",
    "seq": "int",
}
_CONTACT_TYPES = {
    "contact_id": "bigint",
    "attempts": "int",
    "wave": "int",
    "next_attempt_at": "timestamptz",
    "next_number": "text",
    "closed_as": "text",
    "on_hold": "bool",
}


def _arrays(types: dict[str, str], prefix: str) -> str:
    """`unnest` over one array a column: any number of rows in one statement that is prepared once."""
    casts = ", ".join(f"cast(:{prefix}{name} as {kind}[])" for name, kind in types.items())
    return f"unnest({casts}) as d({', '.join(types)})"


def _sets(types: dict[str, str], key: str) -> str:
    return ", ".join(f"{name} = d.{name}" for name in types if name != key)


# An attempt that ended stays as it is: verdicts are final. A contact changes only together with its attempt's end: a
# commit whose answer was lost is done again, and must not make a contact due that was claimed meanwhile.
_SAVE = text(f"""
with saved as (
  update attempt t set {_sets(_ATTEMPT_TYPES, "id")}
  from {_arrays(_ATTEMPT_TYPES, "a_")}
  where t.id = d.id and t.state <> 'ended'
  returning t.contact_id, t.state
)
update contact t set {_sets(_CONTACT_TYPES, "contact_id")}
from {_arrays(_CONTACT_TYPES, "c_")} join saved on saved.contact_id = d.contact_id and saved.state = 'ended'
where t.id = d.contact_id
""")
_FLOW_RESULTS = text(
    "select attempt_id, result, step, answers, detail, at from flow_result where attempt_id = any(:ids)"
)
_OPEN = text("""
select a.*, c.numbers, c.attempts, p.tenant_id, coalesce(r.document -> 'retry', '{}') as retry
from attempt a join contact c on c.id = a.contact_id join campaign p on p.id = a.campaign_id
  join revision r on r.id = a.revision_id
where a.state <> 'ended' and a.node = :node
""")
_SENT_SINCE = text("select submitting_at from attempt where node = :node and submitting_at > now() - interval '11 s'")
_TOTALS = text("""
select
  count(*) as contacts,
  count(*) filter (where closed_as is not null) as closed,
  count(*) filter (where on_hold) as held,
  count(*) filter (where next_attempt_at is not null) as due,
  min(next_attempt_at) as next_due_at,
  coalesce(min(wave) filter (where next_attempt_at is not null), 0) as wave
from contact where campaign_id = :id
""")
_BY_DISPOSITION = text("""
select disposition, count(*) from attempt where campaign_id = :id and disposition is not null group by 1
""")


async def save(
    engine: AsyncEngine,
    attempts: Sequence[Attempt],
    contacts: Sequence[ContactChange],
    events: Sequence[dict[str, Any]],
) -> None:
    """Stores changed attempts, what that means for their contacts, and the events, in one transaction."""
    async with engine.begin() as connection:
        rows = [_row(attempt) for attempt in attempts]
        values: dict[str, Any] = {f"a_{name}": [row[name] for row in rows] for name in _ATTEMPT_TYPES}
        values |= {f"c_{name}": [getattr(change, name) for change in contacts] for name in _CONTACT_TYPES}
        await connection.execute(_SAVE, values)
        await insert_rows(connection, tables.event, events)


def _row(attempt: Attempt) -> dict[str, Any]:
    gone = attempt.hung_up_at
    return {
        **{
            name: getattr(attempt, name)
            for name in _ATTEMPT_TYPES
            if name not in ("state", "disposition", "slot_until")
        },
        "state": attempt.state.value,
        "disposition": attempt.disposition.value if attempt.disposition else None,
        "slot_until": gone + SETTLE if gone else None,
    }


async def flow_results(engine: AsyncEngine, attempt_ids: Sequence[UUID]) -> list[DialogueEnd]:
    """The dialogue results that have reached the database, of these attempts."""
    async with engine.connect() as connection:
        rows = await connection.execute(_FLOW_RESULTS, {"ids": list(attempt_ids)})
        return [
            DialogueEnd(
                attempt_id=row.attempt_id,
                result=FlowResult(row.result),
                step=row.step,
                answers=row.answers,
                detail=row.detail,
                at=row.at,
            )
            for row in rows
        ]


async def open_attempts(engine: AsyncEngine, node: str) -> list[Leftover]:
    """Every attempt of a node without a verdict, as an engine before this one left it."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_OPEN, {"node": node})).all()
        histories = await history(connection, [row.contact_id for row in rows])
    return [
        Leftover(
            claim=Claim(
                attempt=_attempt(row),
                contact=Contact(
                    id=row.contact_id,
                    numbers=tuple(row.numbers),
                    attempts=row.attempts,
                    history=histories.get(row.contact_id, ()),
                ),
            ),
            retry=RetryPolicy.model_validate(row.retry),
        )
        for row in rows
    ]


def _attempt(row: Row[Any]) -> Attempt:
    return Attempt(
        id=row.id,
        tenant_id=row.tenant_id,
        campaign_id=row.campaign_id,
        revision_id=row.revision_id,
        contact_id=row.contact_id,
        number=row.number,
        wave=row.wave,
        node=row.node,
        trunk=row.trunk,
        submitting_at=row.submitting_at,
        state=State(row.state),
        accepted_at=row.accepted_at,
        ringing_at=row.ringing_at,
        answered_at=row.answered_at,
        hung_up_at=row.hung_up_at,
        originate_reason=row.originate_reason,
        cause=row.cause,
        tech_cause=row.tech_cause,
        channel_seen=row.ringing_at is not None or row.answered_at is not None or row.hung_up_at is not None,
        seq=row.seq,
    )


async def sent_lately(engine: AsyncEngine, node: str) -> list[datetime]:
    """When attempts of the last seconds were submitted, so that a restart does not start the rate anew."""
    async with engine.connect() as connection:
        return list((await connection.execute(_SENT_SINCE, {"node": node})).scalars())


async def totals(engine: AsyncEngine, campaign_id: int) -> Totals:
    """Counts of a campaign's contacts and verdicts."""
    async with engine.connect() as connection:
        counts = (await connection.execute(_TOTALS, {"id": campaign_id})).one()
        dispositions = (await connection.execute(_BY_DISPOSITION, {"id": campaign_id})).all()
    return Totals(
        contacts=counts.contacts,
        closed=counts.closed,
        held=counts.held,
        due=counts.due,
        next_due_at=counts.next_due_at,
        wave=counts.wave,
        dispositions={Disposition(name): number for name, number in dispositions},
    )
