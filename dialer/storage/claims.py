"""Takes due contacts for dialling: in their window, within every rule and limit, nobody twice; the attempt row first.

All of it is one transaction. It locks the rows of the limits in one order, so that engines side by side cannot pass
them together, then the campaign's, and the node's lease; then it counts. Contacts are taken with their persons and
numbers, and judged only then: of two claims, the second knows what the first has placed. What commits here may be
dialled; nothing else may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.log import event_row
from dialer.contacts.contact import Claim, ClaimOrder, ClaimResult, Contact, Tried
from dialer.pacing.decide import Binding
from dialer.pacing.routes import Candidate, Route, assign
from dialer.storage import dnc, leases, rules, tables
from dialer.storage.bulk import insert_rows
from dialer.waves import NOT_DIALLED

# Sorted below the lock, so every claim takes them in this order (PostgreSQL locks rows as the sort returns them).
_LIMITS = text("""
select scope, name, max_concurrent from capacity_limit
where max_concurrent is not null
  and (scope = 'site' or (scope = 'node' and name = :node) or (scope = 'trunk' and name = any(:trunks)))
order by scope, name for no key update
""")

# A pause and a lower ceiling hold from their commit on, whether or not the engine has heard of them.
_CAMPAIGN = text("""
select c.tenant_id, w.wanted = 'running' and w.revision_id = :revision as may_run, w.max_concurrent
from campaign c join campaign_run w on w.campaign_id = c.id
where c.id = :campaign for no key update of c for share of w
""")

# A list of a million is walked along its index, people whose window is closed left out whole. Left alone, the planner
# counts on few rows where the table has no statistics yet, and then sorts everybody who is due for each claim. (What is
# off costs so much in the planner's eyes that it would compile the plan as well.)
_ALONG_INDEXES = text(f"""
select set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
  set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true), {dnc.READ_LOCK}
""")

_IN_USE = text("""
select node = :node as here, trunk, campaign_id = :campaign as ours, count(*) as calls
from (select node, trunk, campaign_id from attempt where slot_until is null
      union all select node, trunk, campaign_id from attempt where slot_until > now()) as used
group by 1, 2, 3
""")

# now() stands still from the transaction's begin, before it waited for the lock; clock_timestamp() is the moment, and
# in a select of its own it is asked once, so that an index can be searched for it.
# For each set of zones the priorities that somebody waits with, each found by one step into the index: whoever is due
# with one of them then stands at its head.
# Only those are held whom the claim may take: with every zone of a continent open, the heads of all are many more. Whom
# another transaction holds, in person or by number, is not ours: another claim may be judging them, so that no two
# count the same calls before either has placed its own, and none waits in a circle. Calls of other campaigns that stand
# already show in the indexes of open attempts, and `on conflict` obeys them.
# A trunk that failed somebody is avoided for a while only, from when they could be called on: no other may be there any
# more.
_DUE = text("""
with recursive open_now as materialized (
  select zones, max(opens_at) as opens_at from open_interval
  where revision_id = :revision and opens_at <= (select clock_timestamp()) and closes_at > (select clock_timestamp())
  group by zones
), levels as (
  select zones, opens_at, (
    select c.priority from contact c
    where c.campaign_id = :campaign and c.zones = open_now.zones and c.next_attempt_at is not null
    order by c.priority limit 1
  ) as priority from open_now
  union all
  select zones, opens_at, (
    select c.priority from contact c
    where c.campaign_id = :campaign and c.zones = levels.zones and c.priority > levels.priority
      and c.next_attempt_at is not null
    order by c.priority limit 1
  ) from levels where priority is not null
), due as materialized (
  select heads.* from levels cross join lateral (
    select c.id, c.person_id, c.next_number, c.zones, c.wave, c.priority, c.next_attempt_at, avoid.trunks as avoid
    from contact c cross join lateral (
      select case when clock_timestamp() - interval '5 minutes' < greatest(
               c.next_attempt_at, levels.opens_at, (select wanted_at from campaign_run where campaign_id = :campaign))
             then coalesce(c.avoid_trunks, '{}') else '{}' end as trunks
    ) avoid
    where c.campaign_id = :campaign and c.zones = levels.zones and c.priority = levels.priority
      and c.next_attempt_at <= (select clock_timestamp())
      and exists (select from unnest(cast(:trunks as text[]), cast(:prefixes as text[])) as t(trunk, prefix)
                  where starts_with(c.next_number, t.prefix) and t.trunk <> all(avoid.trunks))
      and not exists (select from attempt a where a.state <> 'ended' and a.number = c.next_number)
      and not exists (select from attempt a where a.state <> 'ended' and a.person_id = c.person_id)
    order by c.next_attempt_at, c.id
    limit :most
  ) heads
  order by heads.priority, heads.next_attempt_at, heads.id
  limit :most
)
select due.*, case when ours.id is null then false
                   else pg_try_advisory_xact_lock(hashtextextended(due.next_number, 5)) end as is_ours
from due left join lateral (
  select c.id from contact c join person p on p.id = c.person_id
  where c.id = due.id and c.next_attempt_at = due.next_attempt_at and c.next_number = due.next_number
    and c.zones = due.zones
  for update of c skip locked for no key update of p skip locked
) ours on true
order by due.priority, due.next_attempt_at, due.id
""")

_PLACE = text("""
with placed as (
  insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, caller_id, state,
                       submitting_at, epoch, boot, seq)
  select gen_random_uuid(), :campaign, :revision, d.contact_id, d.person_id, d.number, d.wave, :node, d.trunk,
         d.caller_id, 'submitting', clock_timestamp(), :epoch, :boot, 1
  from unnest(cast(:contact_id as bigint[]), cast(:person_id as bigint[]), cast(:number as text[]),
              cast(:wave as int[]), cast(:trunk as text[]), cast(:caller_id as text[]))
    as d(contact_id, person_id, number, wave, trunk, caller_id)
  on conflict do nothing
  returning id, contact_id, number, wave, trunk, caller_id, submitting_at
), taken as (
  update contact c set next_attempt_at = null, next_number = null, avoid_trunks = null, waits_for = null,
    dials = c.dials + 1
  from placed where c.id = placed.contact_id
  returning c.id, c.person_id, c.numbers, c.zones, c.attempts, c.dials
)
select p.id, p.contact_id, p.number, p.wave, p.trunk, p.caller_id, p.submitting_at, t.numbers, t.zones, t.attempts,
  t.dials, person.person_key
from placed p join taken t on t.id = p.contact_id join person on person.id = t.person_id
order by p.contact_id
""")

_HISTORY = text("""
select contact_id, number, disposition, trunk, wave, ringing_at is not null as rang from attempt
where contact_id = any(:contacts) and state = 'ended' order by ended_at, id
""")


MORE_PASSES, MOST_SIFTED = 3, 250
"""So often a claim looks further when rules keep people back, and at so many at once: each holds a lock, and all claims
together have about 6,000 (max_locks_per_transaction times max_connections)."""


@dataclass(frozen=True, kw_only=True)
class _Room:
    """How many calls may be claimed, which limit says so, and how many each trunk may take of them."""

    calls: int
    bound: Binding
    trunks: Mapping[str, int]


async def claim(engine: AsyncEngine, order: ClaimOrder, *, node: str, epoch: int) -> ClaimResult:
    """Claims due contacts of a campaign that is wanted to run, never more than any limit leaves.

    Attempt rows and events are committed.

    The revision is the one that the run began with: a file accepted meanwhile changes nothing under live calls.
    Raises Fenced when the node's lease has another epoch.
    """
    async with engine.begin() as connection:
        names = [route.trunk for route in order.routes]
        limits = (await connection.execute(_LIMITS, {"node": node, "trunks": names})).all()
        campaign = (
            await connection.execute(_CAMPAIGN, {"campaign": order.campaign_id, "revision": order.revision_id})
        ).first()
        await leases.require(connection, node, epoch)
        if campaign is None or not campaign.may_run:
            return ClaimResult(claims=[], bound=Binding.PAUSED)
        await connection.execute(_ALONG_INDEXES)
        in_use = (await connection.execute(_IN_USE, {"node": node, "campaign": order.campaign_id})).all()
        room = _room(order, min(order.ceiling, campaign.max_concurrent), limits, in_use)
        if room.calls <= 0:
            return ClaimResult(claims=[], bound=room.bound)
        shared = {
            "tenant_id": campaign.tenant_id, "campaign_id": order.campaign_id, "revision_id": order.revision_id,
            "node": node, "epoch": epoch, "boot": order.boot,
        }  # fmt: skip
        return await _fill(connection, order, room, shared)


def _room(
    order: ClaimOrder, ceiling: int, limits: Sequence[Row[Any]], in_use: Sequence[Row[Any]]
) -> _Room:  # fmt: skip
    used = Counter[str]()
    for row in in_use:
        used["site"] += row.calls
        used["campaign"] += row.calls * row.ours
        used["node"] += row.calls * row.here
        used[f"trunk {row.trunk}"] += row.calls
    most = {(row.scope, row.name): row.max_concurrent for row in limits}
    trunks = {
        name: min(room, most[("trunk", name)] - used[f"trunk {name}"]) if ("trunk", name) in most else room
        for name, room in order.room.items()
    }
    left = {Binding.CEILING: ceiling - used["campaign"]}
    for (scope, _), limit in most.items():
        if scope != "trunk":
            left[Binding.SITE_CEILING if scope == "site" else Binding.NODE_CEILING] = limit - used[scope]
    left[Binding.TRUNK_CEILING] = sum(max(0, room) for room in trunks.values())
    bound = min(left, key=lambda one: left[one])
    return _Room(calls=min(order.most, left[bound]), bound=bound, trunks=trunks)


async def _fill(
    connection: AsyncConnection, order: ClaimOrder, room: _Room, shared: dict[str, Any]
) -> ClaimResult:  # fmt: skip
    """Takes who is due and may be called until the room is used up or nobody is left.

    Each pass leaves out the trunks that those before it have filled: else a long list for a trunk with little room
    would keep everybody behind it from the others. Whom a rule keeps back is moved out of the way; in their place, and
    in that of people whom others hold, more and more are looked at, up to a bound: a claim stays short.
    """
    chosen: dict[int, tuple[Row[Any], str]] = {}
    trunks, taken = dict(room.trunks), Counter(order.placed)
    judged, moved, most = set[int](), set[int](), room.calls
    for _ in range(len(order.routes) + MORE_PASSES):
        usable = [route for route in order.routes if trunks.get(route.trunk, 0) > 0]
        due = await _due(connection, order, usable, most)
        ours = [row for row in due if row.is_ours and row.id not in chosen]
        moved = await rules.sift(
            connection, order.rules, shared["tenant_id"], order.campaign_id,
            [row for row in ours if row.id not in judged],
        )  # fmt: skip
        judged |= {row.id for row in ours} - moved
        new = [row for row in ours if row.id not in moved][: room.calls - len(chosen)]
        candidates = [Candidate(contact_id=row.id, number=row.next_number, avoid=row.avoid) for row in new]
        found = assign(candidates, order.routes, trunks, taken)
        chosen |= {row.id: (row, found[row.id]) for row in new if row.id in found}
        used = Counter(found.values())
        taken += used
        trunks = {name: left - used[name] for name, left in trunks.items()}
        in_the_way = len(moved) + sum(not row.is_ours for row in due)
        if len(chosen) == room.calls or (not moved and len(due) < most) or not (in_the_way or used):
            break
        if in_the_way:
            most = max(room.calls, min(4 * most, MOST_SIFTED))
    claims = await _place(connection, order, list(chosen.values()), shared)
    if len(claims) == room.calls:
        return ClaimResult(claims=claims, bound=room.bound if room.calls < order.most else None)
    full = [route for route in order.routes if trunks.get(route.trunk, 0) <= 0]
    if await _due(connection, order, full, 1):
        return ClaimResult(claims=claims, bound=Binding.TRUNK_CEILING)
    return ClaimResult(claims=claims, bound=Binding.RULES if moved else None)


async def _due(
    connection: AsyncConnection, order: ClaimOrder, routes: Sequence[Route], most: int
) -> Sequence[Row[Any]]:  # fmt: skip
    """Who is due and carried by one of these routes: by priority, the longest due first; each is held until the end."""
    if not routes:
        return []
    parts = [(route.trunk, prefix) for route in routes for prefix in route.prefixes or ("",)]
    values = {
        "campaign": order.campaign_id, "revision": order.revision_id, "most": most,
        "trunks": [trunk for trunk, _ in parts], "prefixes": [prefix for _, prefix in parts],
    }  # fmt: skip
    return (await connection.execute(_DUE, values)).all()


async def _place(
    connection: AsyncConnection, order: ClaimOrder, chosen: Sequence[tuple[Row[Any], str]], shared: dict[str, Any]
) -> list[Claim]:
    """Writes an attempt for each of these, through that trunk."""
    if not chosen:
        return []
    chosen = sorted(chosen, key=lambda one: str(one[0].next_number))
    values = {
        "campaign": order.campaign_id, "revision": order.revision_id, "node": shared["node"], "epoch": shared["epoch"],
        "boot": order.boot,
        "contact_id": [row.id for row, _ in chosen],
        "person_id": [row.person_id for row, _ in chosen],
        "number": [row.next_number for row, _ in chosen],
        "wave": [row.wave for row, _ in chosen],
        "trunk": [trunk for _, trunk in chosen],
        "caller_id": [order.identity(trunk, row.next_number) for row, trunk in chosen],
    }  # fmt: skip
    rows = (await connection.execute(_PLACE, values)).all()
    histories = await history(connection, [row.contact_id for row in rows if row.dials > 1])
    claims = [_claim(row, shared, histories.get(row.contact_id, ())) for row in rows]
    await insert_rows(connection, tables.event, [_submitting(one) for one in claims])
    return claims


def _claim(row: Row[Any], shared: dict[str, Any], earlier: tuple[Tried, ...]) -> Claim:
    return Claim(
        attempt=Attempt(
            id=row.id,
            contact_id=row.contact_id,
            number=row.number,
            wave=row.wave,
            trunk=row.trunk,
            caller_id=row.caller_id,
            submitting_at=row.submitting_at,
            seq=1,
            **shared,
        ),
        contact=Contact(
            id=row.contact_id,
            numbers=tuple(row.numbers),
            attempts=row.attempts,
            history=earlier,
            person_key=row.person_key,
            zones=row.zones,
        ),
    )


async def history(connection: AsyncConnection, contact_ids: list[int]) -> dict[int, tuple[Tried, ...]]:
    """The ended attempts of contacts, oldest first."""
    if not contact_ids:
        return {}
    found: dict[int, list[Tried]] = {}
    for row in await connection.execute(_HISTORY, {"contacts": contact_ids}):
        found.setdefault(row.contact_id, []).append(
            Tried(number=row.number, disposition=Disposition(row.disposition), trunk=row.trunk, wave=row.wave,
                  rang=row.rang)
        )  # fmt: skip
    return {contact_id: tuple(tries) for contact_id, tries in found.items()}


def _submitting(claim: Claim) -> dict[str, object]:
    attempt = claim.attempt
    dialled = [tried.number for tried in claim.contact.history if tried.disposition not in NOT_DIALLED]
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
            "revision": attempt.revision_id,
            "wave": attempt.wave,
            "dial": len(dialled) + 1,
            "number_dial": dialled.count(attempt.number) + 1,
            "node": attempt.node,
            "trunk": attempt.trunk,
            "caller_id": attempt.caller_id,
        },
    )
