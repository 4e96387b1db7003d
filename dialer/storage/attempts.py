"""Attempts and their contacts as the tracker stores them: many changes a transaction, one statement a table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.campaign.model import Campaign
from dialer.campaign.running import terms
from dialer.contacts.contact import Claim, Contact, ContactChange, Leftover, Totals
from dialer.crash_points import reach
from dialer.storage import leases, tables
from dialer.storage.bulk import insert_rows
from dialer.storage.claims import history

SETTLE_S = 0.5
"""How long a slot stays taken after its Hangup: the BYE leaves asynchronously. What is left of it when the change is
stored is added to the database's clock, which is the one that the claim reads."""


_ATTEMPT_TYPES = {
    "id": "uuid",
    "state": "text",
    "accepted_at": "timestamptz",
    "ringing_at": "timestamptz",
    "answered_at": "timestamptz",
    "first_audio_at": "timestamptz",
    "hung_up_at": "timestamptz",
    "ended_at": "timestamptz",
    "settles_s": "float8",
    "originate_reason": "int",
    "cause": "int",
    "tech_cause": "int",
    "disposition": "text",
    "counted": "bool",
    "seq": "int",
}
_CONTACT_TYPES = {
    "contact_id": "bigint",
    "attempts": "int",
    "wave": "int",
    "next_attempt_at": "timestamptz",
    "next_number": "text",
    "avoid": "text",
    "closed_as": "text",
    "on_hold": "bool",
    "waits_for": "text",
}


def _arrays(types: dict[str, str], prefix: str) -> str:
    """`unnest` over one array a column: any number of rows in one statement that is prepared once."""
    casts = ", ".join(f"cast(:{prefix}{name} as {kind}[])" for name, kind in types.items())
    return f"unnest({casts}) as d({', '.join(types)})"


def _sets(types: dict[str, str], *but: str) -> str:
    return ", ".join(f"{name} = d.{name}" for name in types if name not in but)


# An attempt that ended stays as it is: verdicts are final. A contact changes only together with its attempt's end: a
# commit whose answer was lost is done again, and must not make a contact due that was claimed meanwhile.
_SAVE = text(f"""
with saved as (
  update attempt t set {_sets(_ATTEMPT_TYPES, "id", "settles_s")},
    slot_until = case when d.settles_s is not null
                 then coalesce(t.slot_until, clock_timestamp() + make_interval(secs => d.settles_s)) end
  from {_arrays(_ATTEMPT_TYPES, "a_")}
  where t.id = d.id and t.state <> 'ended'
  returning t.contact_id, t.state
)
update contact t set {_sets(_CONTACT_TYPES, "contact_id", "avoid")}, avoid_trunks = string_to_array(d.avoid, ' ')
from {_arrays(_CONTACT_TYPES, "c_")} join saved on saved.contact_id = d.contact_id and saved.state = 'ended'
where t.id = d.contact_id
""")
_FLOW_RESULTS = text("""
select f.*, coalesce(
    (select jsonb_object_agg(a.step, a.value order by a.visit) from answer a where a.attempt_id = f.attempt_id), '{}'
  ) as given
from flow_result f where f.attempt_id = any(:ids)
""")
_OPEN = text("""
select a.*, c.numbers, c.zones, c.attempts, p.tenant_id, r.document, person.person_key
from attempt a join contact c on c.id = a.contact_id join campaign p on p.id = a.campaign_id
  join revision r on r.id = a.revision_id join person on person.id = a.person_id
where a.state <> 'ended' and a.node = :node
""")
# By way of the campaigns under way: their index holds the moments.
_SENT_SINCE = text("""
select a.trunk, count(*) as attempts
from campaign_node n join attempt a on a.campaign_id = n.campaign_id
where n.node = :node and a.node = :node and (cast(:campaign as bigint) is null or n.campaign_id = :campaign)
  and a.submitting_at > clock_timestamp() - make_interval(secs => :seconds)
group by 1
""")
_KNOWN = text("select id from attempt where id = any(:ids)")
_TOTALS = text("""
select
  count(*) as contacts,
  count(*) filter (where closed_as is not null) as closed,
  count(*) filter (where on_hold) as held
from contact where campaign_id = :campaign
""")
# Contacts that share their zones share their window, and there are few such sets; for each the first interval that is
# still open when its first contact is due. Who is due behind the days that are written waits, as long as the calendar
# reaches their end (campaign.calendar.KNOWN_AHEAD): only one that ends before them leaves nobody's turn to come.
_DUE = text("""
with due as (
  select zones, carried, count(*) as people, count(*) filter (where next_attempt_at <= clock_timestamp()) as people_now,
         min(next_attempt_at) as first_at, min(wave) as wave
  from contact cross join lateral (select exists (
    select from unnest(cast(:prefixes as text[])) as p(prefix) where starts_with(next_number, p.prefix)) as carried) c
  where campaign_id = :campaign and next_attempt_at is not null group by zones, carried
)
select due.*, coalesce((
  select greatest(o.opens_at, due.first_at) from open_interval o
  where o.revision_id = :revision and o.zones = due.zones and due.carried
    and o.closes_at > greatest(due.first_at, clock_timestamp())
  order by o.opens_at limit 1
), (
  select due.first_at where due.carried and due.first_at > clock_timestamp() + interval '13 days' and exists (
    select from open_interval o
    where o.revision_id = :revision and o.zones = due.zones and o.closes_at > clock_timestamp() + interval '13 days')
)) as call_at
from due
""")
_BY_DISPOSITION = text("""
select disposition, count(*) from attempt
where campaign_id = :id and node = :node and disposition is not null group by 1
""")


async def save(
    engine: AsyncEngine,
    node: str,
    epoch: int,
    attempts: Sequence[Attempt],
    contacts: Sequence[ContactChange],
    events: Sequence[dict[str, Any]],
    now: datetime,
) -> None:
    """Stores changed attempts, what that means for their contacts, and the events, in one transaction.

    `now` is by the clock that the attempts' times are of. Raises Fenced when the node's lease has another epoch.
    """
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        rows = [_row(attempt, now) for attempt in attempts]
        values: dict[str, Any] = {f"a_{name}": [row[name] for row in rows] for name in _ATTEMPT_TYPES}
        values |= {f"c_{name}": [_contact_value(change, name) for change in contacts] for name in _CONTACT_TYPES}
        await connection.execute(_SAVE, values)
        await insert_rows(connection, tables.event, events)
        reach("saving")
    reach("saved")


def _contact_value(change: ContactChange, name: str) -> Any:
    # An array of arrays must be a rectangle in PostgreSQL; names of trunks hold no space.
    return " ".join(change.avoid_trunks) or None if name == "avoid" else getattr(change, name)


def _row(attempt: Attempt, now: datetime) -> dict[str, Any]:
    gone_at = attempt.hung_up_at
    return {
        **{
            name: getattr(attempt, name) for name in _ATTEMPT_TYPES if name not in ("state", "disposition", "settles_s")
        },
        "state": attempt.state.value,
        "disposition": attempt.disposition.value if attempt.disposition else None,
        "settles_s": None if gone_at is None else _settles_s(now - gone_at),
    }


def _settles_s(gone_for: timedelta) -> float:
    """What is left of a slot's settling; a hangup's time may be the node's, whose clock may differ from ours."""
    return min(SETTLE_S, max(0.0, SETTLE_S - gone_for.total_seconds()))


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
                audio_at=row.audio_at,
                callback_at=row.callback_at,
                opted_out=row.opted_out,
                given=row.given,
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
                    person_key=row.person_key,
                    zones=row.zones,
                ),
            ),
            terms=terms(Campaign.model_validate(row.document)),
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
        caller_id=row.caller_id or "",
        epoch=row.epoch,
        boot=row.boot,
        state=State(row.state),
        accepted_at=row.accepted_at,
        ringing_at=row.ringing_at,
        answered_at=row.answered_at,
        hung_up_at=row.hung_up_at,
        originate_reason=row.originate_reason,
        cause=row.cause,
        tech_cause=row.tech_cause,
        watched=False,
        channel_seen=row.ringing_at is not None or row.answered_at is not None or row.hung_up_at is not None,
        seq=row.seq,
    )


async def sent_lately(
    engine: AsyncEngine, node: str, within_s: float, campaign_id: int | None = None
) -> dict[str, int]:  # fmt: skip
    """How many attempts were submitted to a node within the last seconds, by trunk: of a campaign, or of all."""
    async with engine.connect() as connection:
        values = {"node": node, "campaign": campaign_id, "seconds": within_s}
        rows = (await connection.execute(_SENT_SINCE, values)).all()
    return {row.trunk: row.attempts for row in rows}


async def unknown(engine: AsyncEngine, attempt_ids: Sequence[UUID]) -> set[UUID]:
    """Those that the database has never heard of."""
    async with engine.connect() as connection:
        known = await connection.execute(_KNOWN, {"ids": list(attempt_ids)})
        return set(attempt_ids) - set(known.scalars())


async def totals(engine: AsyncEngine, campaign_id: int, revision_id: int, prefixes: Sequence[str]) -> Totals:
    """Counts of a campaign's contacts, and when the next may be called by this revision's window.

    `prefixes` are those of the numbers that its trunks carry; an empty one is every number's.
    """
    async with engine.connect() as connection:
        counts = (await connection.execute(_TOTALS, {"campaign": campaign_id})).one()
        values = {"campaign": campaign_id, "revision": revision_id, "prefixes": list(prefixes)}
        due = (await connection.execute(_DUE, values)).all()
    return Totals(
        contacts=counts.contacts,
        closed=counts.closed,
        held=counts.held,
        due=sum(row.people for row in due),
        due_now=sum(row.people_now for row in due),
        never=sum(row.people for row in due if row.call_at is None),
        next_call_at=min((row.call_at for row in due if row.call_at is not None), default=None),
        wave=min((row.wave for row in due), default=0),
    )


async def dispositions(engine: AsyncEngine, campaign_id: int, node: str) -> dict[Disposition, int]:
    """A campaign's verdicts so far, of calls through a node."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_BY_DISPOSITION, {"id": campaign_id, "node": node})).all()
    return {Disposition(name): number for name, number in rows}
