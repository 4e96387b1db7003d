"""Takes due contacts for dialling: inside their window, below the ceiling, nobody twice; the attempt row comes first.

All of it is one transaction that holds the campaign's row, so that engines side by side cannot pass the ceiling
together, and the node's lease. What commits here may be dialled; nothing else may.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.log import event_row
from dialer.contacts.contact import Claim, ClaimResult, Contact
from dialer.storage import leases, tables
from dialer.storage.bulk import insert_rows

_LOCK = text("select tenant_id from campaign where id = :campaign for no key update")

# A pause holds from its commit on, whether or not the engine has heard of it.
_MAY_RUN = text("select exists (select from campaign_run where campaign_id = :campaign and wanted = 'running')")

_IN_USE = text(
    "select count(*) from attempt where campaign_id = :campaign and (slot_until is null or slot_until > now())"
)

# now() stands still from the transaction's begin, before it waited for the lock; clock_timestamp() is the moment.
# SKIP LOCKED alone does not see calls of other campaigns: the open-attempt indexes do, and `on conflict` obeys them.
_CLAIM = text("""
with due as (
  select c.id, c.person_id, c.next_number, c.wave
  from contact c
  where c.campaign_id = :campaign and c.next_attempt_at <= clock_timestamp()
    and exists (select from open_interval o
                where o.revision_id = :revision and o.zones = c.zones
                  and o.opens_at <= clock_timestamp() and clock_timestamp() < o.closes_at)
    and not exists (select from attempt a where a.state <> 'ended' and a.number = c.next_number)
    and not exists (select from attempt a where a.state <> 'ended' and a.person_id = c.person_id)
  order by c.next_attempt_at, c.id
  limit :most
  for update of c skip locked
), placed as (
  insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state,
                       submitting_at, epoch, boot, seq)
  select gen_random_uuid(), :campaign, :revision, due.id, due.person_id, due.next_number, due.wave, :node, :trunk,
         'submitting', clock_timestamp(), :epoch, :boot, 1
  from due
  on conflict do nothing
  returning id, contact_id, number, wave, submitting_at
), taken as (
  update contact c set next_attempt_at = null, next_number = null, dials = c.dials + 1
  from placed where c.id = placed.contact_id
  returning c.id, c.person_id, c.numbers, c.attempts, c.dials
)
select p.id, p.contact_id, p.number, p.wave, p.submitting_at, t.numbers, t.attempts, t.dials, person.person_key
from placed p join taken t on t.id = p.contact_id join person on person.id = t.person_id
order by p.contact_id
""")

_HISTORY = text("""
select contact_id, number, disposition from attempt
where contact_id = any(:contacts) and state = 'ended' order by ended_at, id
""")


async def claim(
    engine: AsyncEngine,
    *,
    campaign_id: int,
    revision_id: int,
    node: str,
    epoch: int,
    boot: str,
    trunk: str,
    max_concurrent: int,
    most: int,
) -> ClaimResult:
    """Claims at most `most` due contacts of a campaign that is wanted to run, never more than the ceiling leaves.

    Attempt rows and events are committed.

    The revision is the one that the run began with: a file accepted meanwhile changes nothing under live calls.
    Raises Fenced when the node's lease has another epoch.
    """
    async with engine.begin() as connection:
        campaign = (await connection.execute(_LOCK, {"campaign": campaign_id})).one()
        await leases.require(connection, node, epoch)
        may_run = (await connection.execute(_MAY_RUN, {"campaign": campaign_id})).scalar_one()
        in_use = int((await connection.execute(_IN_USE, {"campaign": campaign_id})).scalar_one())
        room = min(most, max_concurrent - in_use)
        if room <= 0 or not may_run:
            return ClaimResult(claims=[], in_use=in_use)
        rows = (
            await connection.execute(
                _CLAIM,
                {
                    "campaign": campaign_id,
                    "revision": revision_id,
                    "most": room,
                    "node": node,
                    "trunk": trunk,
                    "epoch": epoch,
                    "boot": boot,
                },
            )
        ).all()
        histories = await history(connection, [row.contact_id for row in rows if row.dials > 1])
        placed = {
            "tenant_id": campaign.tenant_id, "campaign_id": campaign_id, "revision_id": revision_id, "node": node,
            "trunk": trunk, "epoch": epoch, "boot": boot,
        }  # fmt: skip
        claims = [_claim(row, placed, histories.get(row.contact_id, ())) for row in rows]
        await insert_rows(connection, tables.event, [_submitting(one.attempt) for one in claims])
    return ClaimResult(claims=claims, in_use=in_use)


def _claim(row: Row[Any], placed: dict[str, Any], earlier: tuple[tuple[str, Disposition], ...]) -> Claim:
    return Claim(
        attempt=Attempt(
            id=row.id,
            contact_id=row.contact_id,
            number=row.number,
            wave=row.wave,
            submitting_at=row.submitting_at,
            seq=1,
            **placed,
        ),
        contact=Contact(
            id=row.contact_id,
            numbers=tuple(row.numbers),
            attempts=row.attempts,
            history=earlier,
            person_key=row.person_key,
        ),
    )


async def history(
    connection: AsyncConnection, contact_ids: list[int]
) -> dict[int, tuple[tuple[str, Disposition], ...]]:
    """The ended attempts of contacts, oldest first: number and verdict."""
    if not contact_ids:
        return {}
    found: dict[int, list[tuple[str, Disposition]]] = {}
    for row in await connection.execute(_HISTORY, {"contacts": contact_ids}):
        found.setdefault(row.contact_id, []).append((row.number, Disposition(row.disposition)))
    return {contact_id: tuple(tries) for contact_id, tries in found.items()}


def _submitting(attempt: Attempt) -> dict[str, object]:
    return event_row(
        tenant_id=attempt.tenant_id,
        occurred_at=attempt.submitting_at,
        type="attempt.submitting",
        subject_type="attempt",
        subject_id=str(attempt.id),
        seq=1,
        payload={
            "campaign": attempt.campaign_id,
            "contact": attempt.contact_id,
            "wave": attempt.wave,
            "node": attempt.node,
            "trunk": attempt.trunk,
        },
    )
