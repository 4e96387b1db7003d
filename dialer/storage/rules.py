"""Who may be called now, as far as lists, caps and the least gap say: asked of the database, judged by the rules.

A claim asks while it holds persons and numbers, so what it is told stays true until its attempts are committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dialer.calls.disposition import Disposition
from dialer.calls.log import event_row
from dialer.contacts.suppress import Calls, CapRules, Caps, DncScope, Found, Moved, Verdict, judge, moved
from dialer.storage import tables
from dialer.storage.bulk import insert_rows

_SCOPES = tuple(DncScope)
"""The widest first."""
_LISTED = "case d.scope " + " ".join(f"when '{one.value}' then {rank}" for rank, one in enumerate(_SCOPES)) + " end"


def _calls(subject: str, column: str) -> str:
    """The latest calls of a number or a person that count, walked backwards along an index, as far as caps ask."""
    nth = ", ".join(
        f"max(begun_at) filter (where nth = cast(:{subject}_{name} as int)) as {name}_at"
        for name in ("day", "week", "month", "ever")
    )
    return f"""(
  select {nth}, max(ended_at) as ended_at
  from (
    select a.submitting_at as begun_at, coalesce(a.ended_at, clock_timestamp()) as ended_at,
           row_number() over (order by a.submitting_at desc) as nth
    from attempt a where a.{column} = asked.{column} and a.counted is not false
    order by a.submitting_at desc limit :{subject}_most
  ) as latest
) as of_{subject}"""


def _found(asked: str) -> TextClause:
    """`asked` gives contact_id, person_id, number, tenant_id and campaign_id."""
    calls = ", ".join(
        f"of_{subject}.{name}_at as {subject}_{name}_at"
        for subject in ("number", "person")
        for name in ("day", "week", "month", "ever", "ended")
    )
    return text(f"""
select asked.contact_id, asked.number, clock_timestamp() as now, listed.scope, listed.for_good, listed.until, {calls}
from {asked} as asked
cross join lateral (
  select min({_LISTED}) as scope, bool_or(d.until is null) as for_good, max(d.until) as until
  from dnc d
  where d.number = asked.number and (d.until is null or d.until > clock_timestamp())
    and (d.scope = 'site' or d.tenant_id = asked.tenant_id)
    and (d.scope <> 'campaign' or d.campaign_id = asked.campaign_id)
) as listed
cross join lateral {_calls("number", "number")}
cross join lateral {_calls("person", "person_id")}
""")


_OF_NEXT = _found("""(
  select d.*, cast(:tenant as text) as tenant_id, cast(:campaign as bigint) as campaign_id
  from unnest(cast(:contacts as bigint[]), cast(:persons as bigint[]), cast(:numbers as text[]))
    as d(contact_id, person_id, number)
)""")
_OF_ALL = _found("""(
  select c.id as contact_id, c.person_id, n.number, n.place, k.tenant_id, c.campaign_id
  from contact c join campaign k on k.id = c.campaign_id
  cross join lateral unnest(c.numbers) with ordinality as n(number, place)
  where c.id = any(:contacts)
  order by c.id, n.place
)""")
_NUMBERS = text("""
select c.id, c.numbers, array(
  select a.number from attempt a where a.contact_id = c.id and a.disposition = any(:dead)
) as dead
from contact c where c.id = any(:contacts)
""")
# What fails over avoids trunks that failed for the old number: they say nothing of another one.
_MOVE = text("""
update contact c set next_number = d.number, waits_for = d.waits_for, closed_as = d.closed_as, seq = c.seq + 1,
  next_attempt_at = case when d.number is not null then greatest(c.next_attempt_at, d.at) end,
  avoid_trunks = case when d.number = c.next_number then c.avoid_trunks end
from unnest(cast(:ids as bigint[]), cast(:numbers as text[]), cast(:ats as timestamptz[]), cast(:waits as text[]),
            cast(:closed as text[])) as d(id, number, at, waits_for, closed_as)
where c.id = d.id
returning c.id, c.seq, c.numbers, c.next_attempt_at, clock_timestamp() as now
""")
_DEAD = [Disposition.INVALID_NUMBER.value, Disposition.NUMBER_CHANGED.value]


def verdicts(connection: Connection, rules: CapRules, contact_ids: Sequence[int]) -> list[Verdict]:
    """What the rules say now of every number of these contacts, in the contacts' own order of them."""
    rows = connection.execute(_OF_ALL, {"contacts": list(contact_ids), **_limits(rules)})
    return _judged(rows, rules)


async def sift(
    connection: AsyncConnection, rules: CapRules, tenant_id: str, campaign_id: int, due: Sequence[Row[Any]]
) -> set[int]:
    """Moves those of the due contacts who may not be called now out of the way; the ids of these.

    `due` rows have id, person_id and next_number. The caller holds the contacts, their persons and these numbers: what
    is not moved may be called until the transaction ends. A contact gets another number or a later time, or is closed,
    and the event log says by which rules.
    """
    if not due:
        return set()
    asked = {
        "contacts": [row.id for row in due], "persons": [row.person_id for row in due],
        "numbers": [row.next_number for row in due], "tenant": tenant_id, "campaign": campaign_id,
    }  # fmt: skip
    rows = await connection.execute(_OF_NEXT, asked | _limits(rules))
    held = {one.contact_id: one for one in _judged(rows, rules) if not one.allowed}
    if held:
        moves = await _moves(connection, rules, held)
        await _move(connection, tenant_id, campaign_id, held, moves)
    return set(held)


async def _moves(connection: AsyncConnection, rules: CapRules, held: Mapping[int, Verdict]) -> dict[int, Moved]:
    """Where these contacts go; their other numbers are looked at only when this one is no use."""
    useless = [one.contact_id for one in held.values() if one.dnc is not None or one.for_good]
    others: dict[int, dict[str, Verdict]] = {contact_id: {} for contact_id in useless}
    known: dict[int, Row[Any]] = {}
    if useless:
        rows = await connection.execute(_OF_ALL, {"contacts": useless, **_limits(rules)})
        for one in _judged(rows, rules):
            others[one.contact_id][one.number] = one
        lists = await connection.execute(_NUMBERS, {"contacts": useless, "dead": _DEAD})
        known = {row.id: row for row in lists}
    return {
        contact_id: moved(
            known[contact_id].numbers if contact_id in known else (verdict.number,),
            verdict.number,
            {**others.get(contact_id, {}), verdict.number: verdict},
            known[contact_id].dead if contact_id in known else (),
        )
        for contact_id, verdict in held.items()
    }


async def _move(
    connection: AsyncConnection, tenant_id: str, campaign_id: int, held: Mapping[int, Verdict],
    moves: Mapping[int, Moved],
) -> None:  # fmt: skip
    values = {
        "ids": list(moves), "numbers": [one.number for one in moves.values()],
        "ats": [one.at for one in moves.values()],
        "waits": [one.waits_for.value if one.waits_for else None for one in moves.values()],
        "closed": [one.closed_by.value if one.closed_by else None for one in moves.values()],
    }  # fmt: skip
    rows = (await connection.execute(_MOVE, values)).all()
    events = [_event(tenant_id, campaign_id, row, held[row.id], moves[row.id]) for row in rows]
    await insert_rows(connection, tables.event, events)


def _event(tenant_id: str, campaign_id: int, row: Row[Any], verdict: Verdict, move: Moved) -> dict[str, Any]:
    """Numbers as their places among the contact's, from 1: the log holds none."""

    def place(number: str | None) -> int | None:
        return row.numbers.index(number) + 1 if number in row.numbers else None

    return event_row(
        tenant_id=tenant_id,
        occurred_at=row.now,
        type="contact.suppressed",
        subject_type="contact",
        subject_id=str(row.id),
        seq=row.seq,
        payload={
            "campaign": campaign_id,
            "rules": [hold.rule for hold in verdict.holds],
            "number": place(verdict.number),
            "next_number": place(move.number),
            "next_attempt_at": _iso(row.next_attempt_at),
            "closed_as": move.closed_by.value if move.closed_by else None,
        },
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _limits(rules: CapRules) -> dict[str, int | None]:
    values: dict[str, int | None] = {}
    for subject, caps in (("number", rules.number), ("person", rules.person)):
        values |= {f"{subject}_{name}": cap for name, cap in asdict(caps).items()}
        values[f"{subject}_most"] = _most(caps, rules.gap_s)
    return values


def _most(caps: Caps, gap_s: int) -> int:
    return max(caps.most, 1 if gap_s else 0)


def _judged(rows: Iterable[Row[Any]], rules: CapRules) -> list[Verdict]:
    return [judge(_as_found(row), rules) for row in rows]


def _as_found(row: Row[Any]) -> Found:
    return Found(
        contact_id=row.contact_id,
        number=row.number,
        now=row.now,
        listed=_SCOPES[row.scope] if row.scope is not None else None,
        listed_until=None if row.for_good else row.until,
        of_number=Calls(
            day_at=row.number_day_at, week_at=row.number_week_at, month_at=row.number_month_at,
            ever_at=row.number_ever_at, ended_at=row.number_ended_at,
        ),
        of_person=Calls(
            day_at=row.person_day_at, week_at=row.person_week_at, month_at=row.person_month_at,
            ever_at=row.person_ever_at, ended_at=row.person_ended_at,
        ),
    )  # fmt: skip
