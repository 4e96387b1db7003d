"""What is known of one number: its contacts in all campaigns, attempts, list entries, and the calls that caps count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text


@dataclass(frozen=True, kw_only=True)
class ContactFacts:
    """A contact as it is stored, and where it came from."""

    id: int
    campaign_id: int
    campaign: str
    tenant_id: str
    person_id: int
    person: str
    """The number base's key of the person."""
    numbers: tuple[str, ...]
    zones: str
    """Its calendar key."""
    language: str | None
    priority: int
    attempts: int
    dials: int
    wave: int
    next_number: str | None
    next_attempt_at: datetime | None
    closed_as: str | None
    on_hold: bool
    waits_for: str | None
    file: str | None
    """The import's; None: stored by a release that did not keep it."""
    line: int | None
    imported_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class AttemptFacts:
    """One attempt, and what became of it."""

    id: UUID
    contact_id: int
    at: datetime
    revision: int
    number: str
    wave: int
    node: str
    trunk: str
    state: str
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    disposition: str | None
    cause: int | None
    """Q.850."""
    tech_cause: int | None
    """SIP."""
    result: str | None
    """How the dialogue ended."""
    step: str | None
    answers: int | None
    callback_at: datetime | None
    opted_out: bool | None
    given: dict[str, str]
    """The answers by step, the last visit's."""


@dataclass(frozen=True, kw_only=True)
class ListEntry:
    """An entry of the do-not-call lists."""

    number: str
    scope: str
    tenant_id: str | None
    campaign: str | None
    source: str
    reason: str | None
    added_at: datetime
    added_by: str
    until: datetime | None


@dataclass(frozen=True, kw_only=True)
class CallCounts:
    """How many calls caps count, in the windows that end now."""

    day: int
    week: int
    month: int
    ever: int
    last_ended_at: datetime | None


# No index holds the numbers of contacts, which would make every import dearer: this one question reads the list.
_CONTACTS = text("""
select c.id, c.campaign_id, k.name as campaign, k.tenant_id, c.person_id, p.person_key as person, c.numbers, c.zones,
  c.language, c.priority, c.attempts, c.dials, c.wave, c.next_number, c.next_attempt_at, c.closed_as, c.on_hold,
  c.waits_for, i.path as file, c.line, i.imported_at
from contact c join campaign k on k.id = c.campaign_id join person p on p.id = c.person_id
  left join contact_import i on i.id = c.import_id
where c.numbers @> array[cast(:number as text)] order by c.id
""")
_ATTEMPTS = text("""
select a.id, a.contact_id, a.submitting_at as at, r.number as revision, a.number, a.wave, a.node, a.trunk, a.state,
  a.ringing_at, a.answered_at, a.ended_at, a.disposition, a.cause, a.tech_cause, f.result, f.step, f.answers,
  f.callback_at, f.opted_out, coalesce(
    (select jsonb_object_agg(g.step, g.value order by g.visit) from answer g where g.attempt_id = a.id), '{}') as given
from attempt a join revision r on r.id = a.revision_id left join flow_result f on f.attempt_id = a.id
where a.contact_id = any(:contacts) order by a.submitting_at, a.id
""")
_ENTRIES = text("""
select d.number, d.scope, d.tenant_id, k.name as campaign, d.source, d.reason, d.added_at, d.added_by, d.until
from dnc d left join campaign k on k.id = d.campaign_id
where d.number = any(:numbers) and (d.until is null or d.until > clock_timestamp()) order by d.number, d.added_at
""")
_CALLS = """
select count(*) filter (where submitting_at > cast(:at as timestamptz) - interval '24 hours') as day,
  count(*) filter (where submitting_at > cast(:at as timestamptz) - interval '7 days') as week,
  count(*) filter (where submitting_at > cast(:at as timestamptz) - interval '30 days') as month,
  count(*) as ever, max(coalesce(ended_at, :at)) as last_ended_at
from attempt where {} and counted is not false
"""
_OF_NUMBER = text(_CALLS.format("number = :subject"))
_OF_PERSON = text(_CALLS.format("person_id = :subject"))


def contacts_of(connection: Connection, number: str) -> list[ContactFacts]:
    """The contacts, of all campaigns, that have this number (E.164) among theirs."""
    return [ContactFacts(**_plain(row._mapping)) for row in connection.execute(_CONTACTS, {"number": number})]


def attempts_of(connection: Connection, contact_ids: Sequence[int]) -> list[AttemptFacts]:
    """Every attempt of these contacts, the oldest first."""
    rows = connection.execute(_ATTEMPTS, {"contacts": list(contact_ids)})
    return [AttemptFacts(**row._mapping) for row in rows]


def list_entries(connection: Connection, numbers: Sequence[str]) -> list[ListEntry]:
    """What stands now on the do-not-call lists of these numbers, whosever list it is."""
    rows = connection.execute(_ENTRIES, {"numbers": list(numbers)})
    return [ListEntry(**row._mapping) for row in rows]


def calls_of_number(connection: Connection, number: str, at: datetime) -> CallCounts:
    """The calls of a number that caps count, over all campaigns."""
    return _counts(connection.execute(_OF_NUMBER, {"subject": number, "at": at}).one()._mapping)


def calls_of_person(connection: Connection, person_id: int, at: datetime) -> CallCounts:
    """The calls of a person that caps count, over all campaigns and numbers."""
    return _counts(connection.execute(_OF_PERSON, {"subject": person_id, "at": at}).one()._mapping)


def _counts(row: Any) -> CallCounts:
    return CallCounts(**{one.name: row[one.name] for one in fields(CallCounts)})


def _plain(row: Any) -> dict[str, Any]:
    return {**row, "numbers": tuple(row["numbers"])}
