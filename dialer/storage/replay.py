"""Puts the journal's lines into a database that has forgotten them: attempts, verdicts, and what these left behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.log import event_row
from dialer.contacts.contact import ContactChange
from dialer.storage import leases, tables
from dialer.storage.bulk import insert_rows
from dialer.storage.journal import Claimed, Line, Verdict
from dialer.waves import NOT_DIALLED

_KNOWN = text("select id, state = 'ended' as ended from attempt where id = any(:ids)")
# A database that was just restored has no statistics yet: the limits make PostgreSQL take the indexes, line by line.
_MATCH = text("""
select line.id, c.id as contact_id, p.id as campaign_id, person.id as person_id,
  coalesce(r.id, p.revision_id) as revision_id, r.id is null as other_revision
from unnest(cast(:ids as uuid[]), cast(:tenants as text[]), cast(:campaigns as text[]), cast(:persons as text[]),
            cast(:revisions as bigint[])) as line (id, tenant_id, campaign, person_key, revision_id)
  join lateral (select id, revision_id from campaign
                where tenant_id = line.tenant_id and name = line.campaign limit 1) as p on true
  join lateral (select id from person
                where tenant_id = line.tenant_id and person_key = line.person_key limit 1) as person on true
  join lateral (select id from contact where campaign_id = p.id and person_id = person.id limit 1) as c on true
  left join revision r on r.id = line.revision_id and r.campaign_id = p.id
""")
_STANDING = text("""
select a.id, a.campaign_id as campaign, a.contact_id as contact, a.revision_id as revision, a.wave, a.node, a.trunk,
  a.caller_id, a.state, a.disposition, a.cause, a.tech_cause, a.seq, a.submitting_at, a.accepted_at, a.ringing_at,
  a.answered_at, a.hung_up_at, a.ended_at, p.tenant_id, earlier.dials + 1 as dial, earlier.here + 1 as number_dial
from attempt a join campaign p on p.id = a.campaign_id cross join lateral (
  select count(*) as dials, count(*) filter (where e.number = a.number) as here from attempt e
  where e.contact_id = a.contact_id and e.submitting_at < a.submitting_at and e.disposition <> all(:not_dialled)
) as earlier
where a.id = any(:ids)
""")
_VERDICT_TYPES = {
    "accepted_at": "timestamptz", "ringing_at": "timestamptz", "answered_at": "timestamptz",
    "first_audio_at": "timestamptz", "hung_up_at": "timestamptz", "ended_at": "timestamptz", "originate_reason": "int",
    "cause": "int", "tech_cause": "int", "disposition": "text", "counted": "bool",
    "seq": "int",
}  # fmt: skip
_SETTLE = text(f"""
update attempt t set {", ".join(f"{name} = d.{name}" for name in _VERDICT_TYPES)}, state = 'ended',
  slot_until = d.ended_at
from unnest(cast(:ids as uuid[]), {", ".join(f"cast(:{name} as {kind}[])" for name, kind in _VERDICT_TYPES.items())})
  as d (id, {", ".join(_VERDICT_TYPES)})
where t.id = d.id and t.state <> 'ended'
""")
_DIALLED = text("""
update contact t set dials = t.dials + made.dials
from (select contact_id, count(*) as dials from attempt where id = any(:ids) group by contact_id) as made
where t.id = made.contact_id
""")
# What a contact is due for is what its latest attempt left; one host's journal may be put in after another's.
_LEFT = text("""
update contact t set attempts = d.attempts, wave = d.wave,
  next_attempt_at = d.next_attempt_at, next_number = d.next_number, avoid_trunks = string_to_array(d.avoid, ' '),
  closed_as = d.closed_as, on_hold = d.on_hold, waits_for = d.waits_for
from unnest(cast(:ids as uuid[]), cast(:attempts as int[]), cast(:wave as int[]),
            cast(:next_attempt_at as timestamptz[]), cast(:next_number as text[]), cast(:avoid as text[]),
            cast(:closed_as as text[]), cast(:on_hold as bool[]), cast(:waits_for as text[]))
    as d (id, attempts, wave, next_attempt_at, next_number, avoid, closed_as, on_hold, waits_for)
  join attempt a on a.id = d.id
where t.id = a.contact_id
  and not exists (select from attempt later where later.contact_id = t.id and later.submitting_at > a.submitting_at)
""")
_BLOCKERS = text("""
select a.id, a.node, a.seq, a.wave, a.contact_id, c.attempts, a.accepted_at, a.ringing_at, a.answered_at,
  a.first_audio_at, a.hung_up_at, min(line.submitting_at) as over_by
from attempt a join contact c on c.id = a.contact_id
  join unnest(cast(:numbers as text[]), cast(:persons as text[]), cast(:tenants as text[]),
                           cast(:submitting_at as timestamptz[]))
                    as line (number, person_key, tenant_id, submitting_at)
  on a.submitting_at < line.submitting_at
  and (a.number = line.number
       or a.person_id = (select id from person p
                         where p.tenant_id = line.tenant_id and p.person_key = line.person_key))
where a.state <> 'ended' group by a.id, c.attempts
""")
# An engine that was frozen before the restore must not find its epoch given out a second time.
_RAISE_EPOCH = text("""
insert into engine_lease (node, epoch, holder, taken_at, lease_until)
values (:node, :epoch, :holder, clock_timestamp(), clock_timestamp())
on conflict (node) do update set epoch = greatest(engine_lease.epoch, excluded.epoch + 1)
""")


@dataclass(kw_only=True)
class Reconciled:
    """What was put in again, and what could not be; in health all of it is nothing."""

    attempts: int = 0
    open: int = 0
    """Of these, those without a verdict: the engine's recovery settles them."""
    verdicts: int = 0
    other_revision: int = 0
    """Of the attempts, those whose revision the database lacks; they and their answers stand under the current one."""
    contacts: int = 0
    dialogues: int = 0
    answers: int = 0
    unmatched: dict[str, set[str]] = field(default_factory=dict)
    """The keys of people whom a campaign of the database lacks, by its name: they could be called again."""
    paused: list[str] = field(default_factory=list)
    """Campaigns that the backup wanted to run."""
    in_the_way: list[str] = field(default_factory=list)
    """Nodes of open attempts that hold a number or a person that the journal says was called again since."""


class Replay:
    """One pass over the journal."""

    def __init__(self, connection: AsyncConnection, now: datetime) -> None:
        self.report = Reconciled()
        self._connection, self._now = connection, now
        self._waiting: dict[UUID, Claimed] = {}
        """Claims whose number or person an open attempt holds: its verdict may stand some lines further on."""
        self._open: set[UUID] = set()
        self._epochs: dict[str, int] = {}

    async def put_in(self, lines: Sequence[Line]) -> None:
        """Puts lines in that follow each other in the journal."""
        claims = self._waiting | {line.attempt_id: line for line in lines if isinstance(line, Claimed)}
        verdicts = {line.attempt_id: line for line in lines if isinstance(line, Verdict)}
        for claim in claims.values():
            self._epochs[claim.node] = max(claim.epoch, self._epochs.get(claim.node, 0))
        ids = list(claims.keys() | verdicts.keys())
        known = {row.id: row.ended for row in await self._connection.execute(_KNOWN, {"ids": ids})}
        settled = {one: line for one, line in verdicts.items() if known.get(one) is False}
        unknown = [line for one, line in claims.items() if one not in known]
        if not settled and not unknown:
            return
        await self._settle(list(settled.values()))
        made = await self._make(unknown, verdicts)
        changed: dict[UUID, Line] = {one: verdicts.get(one) or claims[one] for one in (*settled, *made)}
        await self._leave_contacts(changed)
        await self._tell(changed)
        self._open = (self._open | {one for one in made if one not in verdicts}) - settled.keys()
        self.report.attempts += len(made)
        self.report.verdicts += sum(isinstance(line, Verdict) for line in changed.values())
        self.report.open = len(self._open)

    async def finish(self) -> None:
        """Ends what must have ended before a claim that still waits, and sees that no epoch is given out twice."""
        if self._waiting:
            blockers = (await self._connection.execute(_BLOCKERS, _blocked(self._waiting.values()))).all()
            ours = [row for row in blockers if row.node in self._epochs]
            await self.put_in([_unknown(row, self._now) for row in ours])
            self.report.in_the_way = sorted({row.node for row in blockers if row.node not in self._epochs})
        for node, epoch in self._epochs.items():
            await self._connection.execute(
                _RAISE_EPOCH, {"node": node, "epoch": epoch, "holder": leases.this_process()}
            )  # fmt: skip

    async def _settle(self, verdicts: Sequence[Verdict]) -> None:
        """Gives attempts that the database holds open the verdicts that they got."""
        values: dict[str, Any] = {name: [getattr(line, name) for line in verdicts] for name in _VERDICT_TYPES}
        await self._connection.execute(_SETTLE, values | {"ids": [line.attempt_id for line in verdicts]})

    async def _make(self, claims: Sequence[Claimed], verdicts: dict[UUID, Verdict]) -> list[UUID]:
        """Makes attempts that the database does not know; the ids of those that stand now."""
        matches = {row.id: row for row in await self._connection.execute(_MATCH, _named(claims))}
        for line in claims:
            if line.attempt_id not in matches:
                self.report.unmatched.setdefault(line.campaign, set()).add(line.person_key)
        found = [line for line in claims if line.attempt_id in matches]
        rows = [_attempt_row(line, matches[line.attempt_id], verdicts.get(line.attempt_id)) for line in found]
        await insert_rows(self._connection, tables.attempt, rows)
        ids = [line.attempt_id for line in found]
        standing = {row.id for row in await self._connection.execute(_KNOWN, {"ids": ids})}
        self._waiting = {line.attempt_id: line for line in found if line.attempt_id not in standing}
        made = [one for one in ids if one in standing]
        self.report.other_revision += sum(matches[one].other_revision for one in made)
        await self._connection.execute(_DIALLED, {"ids": made})
        return made

    async def _leave_contacts(self, changed: dict[UUID, Line]) -> None:
        """Leaves each contact as its latest attempt left it: out of the due list while that is open."""
        left = [_left_by(line) for line in changed.values()]
        values: dict[str, Any] = {name: [one[name] for one in left] for name in (*_CHANGE, "avoid")}
        self.report.contacts += (await self._connection.execute(_LEFT, values | {"ids": list(changed)})).rowcount

    async def _tell(self, changed: dict[UUID, Line]) -> None:
        """Writes an event an attempt; what it was told before was lost with the database."""
        values = {"ids": list(changed), "not_dialled": [one.value for one in NOT_DIALLED]}
        rows = await self._connection.execute(_STANDING, values)
        events = [_event(row, changed[row.id], self._now) for row in rows]
        await insert_rows(self._connection, tables.event, events)


_CHANGE = ("attempts", "wave", "next_attempt_at", "next_number", "closed_as", "on_hold", "waits_for")


def _left_by(line: Line) -> dict[str, Any]:
    if isinstance(line, Verdict):
        # An array of arrays must be a rectangle in PostgreSQL; names of trunks hold no space.
        avoid = " ".join(line.change.avoid_trunks) or None
        return {"avoid": avoid} | {name: getattr(line.change, name) for name in _CHANGE}
    return dict.fromkeys((*_CHANGE, "avoid")) | {"attempts": line.attempts, "wave": line.wave, "on_hold": False}


def _named(claims: Sequence[Claimed]) -> dict[str, Any]:
    return {
        "ids": [line.attempt_id for line in claims],
        "tenants": [line.tenant_id for line in claims],
        "campaigns": [line.campaign for line in claims],
        "persons": [line.person_key for line in claims],
        "revisions": [line.revision_id for line in claims],
    }


def _attempt_row(line: Claimed, match: Row[Any], verdict: Verdict | None) -> dict[str, Any]:
    row = {
        "id": line.attempt_id,
        "campaign_id": match.campaign_id,
        "revision_id": match.revision_id,
        "contact_id": match.contact_id,
        "person_id": match.person_id,
        "number": line.number,
        "wave": line.wave,
        "node": line.node,
        "trunk": line.trunk,
        "submitting_at": line.submitting_at,
        "epoch": line.epoch,
        "boot": line.boot,
        "caller_id": line.caller_id or None,
    }
    if verdict is None:
        return {**row, **dict.fromkeys(_VERDICT_TYPES), "state": State.UNCLEAR.value, "slot_until": None, "seq": 1}
    values = {name: getattr(verdict, name) for name in _VERDICT_TYPES}
    return {**row, **values, "state": State.ENDED.value, "slot_until": verdict.ended_at}


def _event(row: Row[Any], line: Line, now: datetime) -> dict[str, Any]:
    payload: dict[str, Any] = {name: getattr(row, name) for name in _TOLD}
    moments = {name: getattr(row, name) for name in _MOMENTS}
    payload |= {name: at.isoformat() if at else None for name, at in moments.items()}
    if isinstance(line, Verdict):
        change = line.change
        due = change.next_attempt_at.isoformat() if change.next_attempt_at else None
        payload |= {"next_attempt_at": due, "closed_as": change.closed_as, "on_hold": change.on_hold}
    return event_row(
        tenant_id=row.tenant_id,
        occurred_at=now,
        type="attempt.restored",
        subject_type="attempt",
        subject_id=str(row.id),
        seq=row.seq,
        payload=payload,
    )


_TOLD = (
    "campaign", "contact", "revision", "wave", "dial", "number_dial", "node", "trunk", "caller_id", "state",
    "disposition", "tech_cause", "cause",
)  # fmt: skip
_MOMENTS = ("submitting_at", "accepted_at", "ringing_at", "answered_at", "hung_up_at", "ended_at")


def _blocked(claims: Iterable[Claimed]) -> dict[str, Any]:
    waiting = list(claims)
    return {name: [getattr(line, attribute) for line in waiting] for name, attribute in _BLOCKED.items()}


_BLOCKED = {"numbers": "number", "persons": "person_key", "tenants": "tenant_id", "submitting_at": "submitting_at"}


def _unknown(row: Row[Any], now: datetime) -> Verdict:
    """The verdict on an open attempt that had ended when its number or person was called again (promise 2).

    What it was is lost: its line was, in a power cut or on a full disk. So an operator decides about the contact.
    """
    return Verdict(
        at=now,
        attempt_id=row.id,
        accepted_at=row.accepted_at,
        ringing_at=row.ringing_at,
        answered_at=row.answered_at,
        first_audio_at=row.first_audio_at,
        hung_up_at=row.hung_up_at,
        ended_at=row.over_by,
        originate_reason=None,
        cause=None,
        tech_cause=None,
        disposition=Disposition.UNKNOWN.value,
        counted=True,
        seq=row.seq + 1,
        change=ContactChange(contact_id=row.contact_id, attempts=row.attempts + 1, wave=row.wave + 1, on_hold=True),
    )
