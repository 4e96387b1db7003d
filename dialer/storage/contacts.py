"""People into a campaign: rows stream through COPY into a stage, which is merged with the contacts that are there.

The stage holds the whole file, so that who stands twice is found by the database and not by a set in memory. Contacts
change last: whoever has a verdict to store waits for their rows as short as can be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from dialer.contacts.ingest import Accepted
from dialer.contacts.merge import Change, MergePolicy, too_many_withdrawn
from dialer.contacts.rows import Rejected, RejectReason
from dialer.errors import DialerError
from dialer.storage.tables import contact, contact_import, person

_STAGE = """
create temporary table contact_stage (
    line int, person_key text, numbers text[], zones text, language text, fields jsonb, priority smallint,
    reason text, detail text, number text
) on commit drop
"""
_COPY = (
    "copy contact_stage (line, person_key, numbers, zones, language, fields, priority, reason, detail, number) "
    "from stdin"
)  # fmt: skip

# Sorts and joins of a million rows in memory; the server's usual 4 MB would send each to disk.
_MEMORY = "select set_config('work_mem', '64MB', true)"
# A large file is read before its first row comes, and a spreadsheet unpacked: longer than the 30 s of other sessions.
_PATIENCE = "select set_config('idle_in_transaction_session_timeout', '10min', true)"

# The first good row of a person counts; the others are told, with the line that they repeat.
_REJECT_REPEATED = """
update contact_stage as later set reason = :reason, detail = 'the same person as in line ' || first.line
from (select person_key, min(line) as line from contact_stage where reason is null
      group by person_key having count(*) > 1) as first
where later.person_key = first.person_key and later.line <> first.line and later.reason is null
"""
# Whoever says no in one row and yes in another has not agreed.
_REJECT_DOUBTFUL_CONSENT = """
update contact_stage as other set reason = :reason, detail = 'no consent in line ' || first.line
from (select person_key, min(line) as line from contact_stage where reason = :reason and person_key is not null
      group by person_key) as first
where other.person_key = first.person_key and other.reason is null
"""
# Attempts that never disturbed anybody do not count, as with caps (storage.rules).
_REJECT_CALLED_LATELY = """
update contact_stage as late set reason = :reason, detail = 'another campaign called since ' || :shown
where late.reason is null and late.line in (
    select stage.line from contact_stage as stage cross join lateral unnest(stage.numbers) as n(number)
      join attempt on attempt.number = n.number and attempt.submitting_at > :since
    where attempt.campaign_id <> :campaign and attempt.counted is not false
    union all
    select stage.line from contact_stage as stage
      join person on person.tenant_id = :tenant and person.person_key = stage.person_key
      join attempt on attempt.person_id = person.id and attempt.submitting_at > :since
    where attempt.campaign_id <> :campaign and attempt.counted is not false
  ) and not exists (
    select from person join contact on contact.person_id = person.id and contact.campaign_id = :campaign
    where person.tenant_id = :tenant and person.person_key = late.person_key
  )
"""
# In the order of the keys: two imports at once would else wait for each other's persons in a circle.
_ADD_PERSONS = """
insert into person (tenant_id, person_key)
select :tenant, stage.person_key from contact_stage as stage
where stage.reason is null and not exists (
  select from person where person.tenant_id = :tenant and person.person_key = stage.person_key)
order by stage.person_key collate "C"
on conflict (tenant_id, person_key) do nothing
"""
_ADD_CONTACTS = """
insert into contact (campaign_id, person_id, numbers, zones, language, fields, priority, import_id, line, next_number,
                     next_attempt_at)
select :campaign, person.id, stage.numbers, stage.zones, stage.language, stage.fields, stage.priority, :import,
       stage.line, stage.numbers[1], :now
from contact_stage as stage
join person on person.tenant_id = :tenant and person.person_key = stage.person_key
where stage.reason is null
order by stage.line
on conflict (campaign_id, person_id) do nothing
"""
# Contacts that are closed for another reason are history. Who returns is due when they were due, at the earliest now.
# A number that is due stays due while the base has it; a trigger sees to the rest (migration 0005).
_CHANGE = """
with differing as materialized (
  select c.id, c.closed_as is not null as returned, s.line, s.person_key, s.numbers, s.zones, s.language, s.fields,
    s.priority, concat_ws(', ',
      case when c.numbers <> s.numbers then 'numbers' end, case when c.zones <> s.zones then 'time zone' end,
      case when c.language is distinct from s.language then 'language' end,
      case when c.fields <> s.fields then 'fields' end, case when c.priority <> s.priority then 'priority' end
    ) as what
  from contact_stage as s
  join person as p on p.tenant_id = :tenant and p.person_key = s.person_key
  join contact as c on c.campaign_id = :campaign and c.person_id = p.id
  where s.reason is null and (c.closed_as is null or c.closed_as = :withdrawn)
    and (c.withdrawn_at is not null or (c.numbers, c.zones, c.language, c.fields, c.priority)
           is distinct from (s.numbers, s.zones, s.language, s.fields, s.priority))
  order by c.id for no key update of c
), changed as (
  update contact as c set numbers = d.numbers, zones = d.zones, language = d.language, fields = d.fields,
    priority = d.priority, import_id = :import, line = d.line, withdrawn_at = null, resumes_at = null, closed_as = null,
    next_attempt_at = case when c.closed_as is not null then greatest(:now, c.resumes_at) else c.next_attempt_at end,
    next_number = case when c.closed_as is not null then d.numbers[1]
                       when c.next_number is null or c.next_number = any(d.numbers) then c.next_number
                       else d.numbers[1] end
  from differing as d where c.id = d.id
)
insert into contact_stage (line, person_key, reason, detail)
select line, person_key, case when returned then :returned else :changed end, what from differing
"""
# In a call they are only marked: the trigger closes them when the verdict would make them due again. Whose row is
# rejected, for want of consent or of a good number, is withdrawn even where missing people are kept.
_WITHDRAW = """
with gone as materialized (
  select c.id, p.person_key from contact as c join person as p on p.id = c.person_id
  where c.campaign_id = :campaign and c.closed_as is null and c.withdrawn_at is null
    and not exists (select from contact_stage as s where s.person_key = p.person_key and s.reason is null)
    and (:missing or exists (
      select from contact_stage as s where s.person_key = p.person_key and s.reason <> :note and s.line is not null))
  order by c.id for no key update of c
), marked as (
  update contact as c set withdrawn_at = :now from gone where c.id = gone.id
)
insert into contact_stage (person_key, reason, detail)
select gone.person_key, :withdrawn,
       coalesce('line ' || refused.line || ' is rejected: ' || refused.reason, 'not in this delivery')
from gone left join lateral (
  select s.line, s.reason from contact_stage as s
  where s.person_key = gone.person_key and s.reason <> :note and s.line is not null order by s.line limit 1
) as refused on true
"""
_OPEN = """
select count(*) from contact where campaign_id = :campaign and closed_as is null and withdrawn_at is null
"""
# Of contacts that came in a moment ago the planner knows nothing: without this it reads the stage for each of them, and
# whatever else is joined to them must be looked up by an index as well.
_BY_PERSON = "create index on contact_stage using hash (person_key)"
_ANYBODY = "select exists (select from contact where campaign_id = :campaign)"
_COUNTS = """
select count(*) filter (where reason is null) as good,
       count(*) filter (where reason is not null and reason <> :note) as rejected,
       count(*) filter (where reason = :note) as notes
from contact_stage
"""
_REPORT = """
select line, person_key, reason, detail, number from contact_stage where reason is not null
order by line nulls last, reason, person_key
"""


_STREAMED = {"yield_per": 1000}
"""A server-side cursor: the rows never stand in memory together."""


@dataclass(frozen=True, kw_only=True)
class ImportCounts:
    """What an import came to, in rows of the file (`left_out` in numbers, `withdrawn` in contacts)."""

    accepted: int = 0
    """New contacts, due at once."""
    changed: int = 0
    """Contacts whose numbers, fields or the like are others now, and those who are back."""
    unchanged: int = 0
    withdrawn: int = 0
    """Contacts who are not in this delivery: not called any more."""
    rejected: int = 0
    left_out: int = 0
    """Numbers that are not dialled, of people who are."""


@dataclass(frozen=True, kw_only=True)
class Into:
    """Where people are imported to, and under which import they stand."""

    campaign_id: int
    tenant_id: str
    import_id: int
    policy: MergePolicy


class ShrunkBase(DialerError):
    """The delivery lacks so many contacts that it is taken for a part of one."""

    def __init__(self, withdrawn: int, open_before: int) -> None:
        super().__init__(f"{withdrawn} of {open_before} open contacts are not in it")


def merge_rows(
    connection: Connection, into: Into, rows: Iterable[Accepted | Rejected], now: datetime
) -> ImportCounts:  # fmt: skip
    """Adds who is new, due at `now` at their first number; changes who is different; withdraws who is missing.

    Runs in the caller's transaction; what `report` gives can be read until that ends. Raises ShrunkBase.
    """
    connection.execute(text(_MEMORY))
    connection.execute(text(_STAGE))
    _copy(connection, rows)
    connection.execute(text("analyze contact_stage"))
    values = {"campaign": into.campaign_id, "tenant": into.tenant_id, "import": into.import_id, "now": now}
    _reject(connection, into, now)
    counts = connection.execute(text(_COUNTS), {"note": RejectReason.NUMBER_LEFT_OUT.value}).one()
    connection.execute(text(_ADD_PERSONS), values)
    others = connection.execute(text(_ANYBODY), values).scalar_one()
    open_before = connection.execute(text(_OPEN), values).scalar_one() if others else 0
    accepted = connection.execute(text(_ADD_CONTACTS), values).rowcount
    changed = withdrawn = 0
    if others and counts.good:
        connection.execute(text(_BY_PERSON))
        words: dict[str, Any] = {change.name.lower(): change.value for change in Change}
        changed = connection.execute(text(_CHANGE), values | words).rowcount
        words |= {"note": RejectReason.NUMBER_LEFT_OUT.value, "missing": into.policy.missing == "withdraw"}
        withdrawn = connection.execute(text(_WITHDRAW), values | words).rowcount
        if too_many_withdrawn(withdrawn, open_before, into.policy):
            raise ShrunkBase(withdrawn, open_before)
    return ImportCounts(
        accepted=accepted, changed=changed, unchanged=counts.good - accepted - changed, withdrawn=withdrawn,
        rejected=counts.rejected, left_out=counts.notes,
    )  # fmt: skip


def _reject(connection: Connection, into: Into, now: datetime) -> None:
    """What only the database knows against a row."""
    connection.execute(text(_REJECT_DOUBTFUL_CONSENT), {"reason": RejectReason.NO_CONSENT.value})
    connection.execute(text(_REJECT_REPEATED), {"reason": RejectReason.DUPLICATE_PERSON.value})
    if into.policy.not_called_within_s is not None:
        since = now - timedelta(seconds=into.policy.not_called_within_s)
        connection.execute(
            text(_REJECT_CALLED_LATELY),
            {
                "reason": RejectReason.CALLED_LATELY.value, "since": since, "campaign": into.campaign_id,
                "shown": since.strftime("%Y-%m-%d %H:%MZ"), "tenant": into.tenant_id,
            },
        )  # fmt: skip


def report(connection: Connection) -> Iterator[Sequence[Any]]:
    """Line, person, reason, detail and masked number of what `merge_rows` of this transaction rejected, left out,
    changed or withdrew; by line, streamed."""
    with connection.execute(text(_REPORT), execution_options=_STREAMED) as result:
        yield from result


def _copy(connection: Connection, rows: Iterable[Accepted | Rejected]) -> None:
    # SQLAlchemy has no COPY: this is psycopg's own, whose errors are given the shape that `plain_errors` knows.
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            write = copy.write_row
            for row in rows:
                if isinstance(row, Rejected):
                    write(_rejected(row))
                    continue
                # E.164 needs no quotes in the text of an array.
                numbers = f"{{{','.join(row.numbers)}}}"
                write((
                    row.line, row.person_key, numbers, row.zones, row.language, _json(row.fields), row.priority, None,
                    None, None,
                ))  # fmt: skip
                for note in row.left_out:
                    write(_rejected(note))
    except psycopg.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg.Error, dialect=connection.dialect) from error


_json = json.JSONEncoder(ensure_ascii=False).encode


def _rejected(row: Rejected) -> tuple[Any, ...]:
    return (row.line, row.person_key, None, None, None, None, None, row.reason.value, row.detail, row.number)


# -- files that were imported -------------------------------------------------------------------------------------


def wait_for_other_imports(connection: Connection, campaign_id: int) -> None:
    """Lets one transaction at a time import people into a campaign, and take its time over the file."""
    connection.execute(text(_PATIENCE))
    connection.execute(
        text("select pg_advisory_xact_lock(hashtextextended('contact_import', :campaign))"), {"campaign": campaign_id}
    )


def was_imported(connection: Connection, campaign_id: int, sha256: str, *, last: bool) -> bool:
    """Whether this very file, read in the same way, was imported into the campaign: ever, or as the `last` one."""
    found = (
        select(contact_import.c.sha256)
        .where(contact_import.c.campaign_id == campaign_id)
        .order_by(contact_import.c.imported_at.desc(), contact_import.c.id.desc())
    )
    found = found.limit(1) if last else found.where(contact_import.c.sha256 == sha256)
    return connection.execute(found).scalars().first() == sha256


def begin_import(connection: Connection, campaign_id: int, sha256: str, path: str, now: datetime) -> int:
    """Remembers a file, so that importing it again changes nothing. Returns the import's id."""
    found = text("""
        insert into contact_import (campaign_id, sha256, path, accepted, rejected, imported_at)
        values (:campaign, :sha256, :path, 0, 0, :now)
        on conflict (campaign_id, sha256) do update set path = excluded.path, imported_at = excluded.imported_at
        returning id
    """)
    values = {"campaign": campaign_id, "sha256": sha256, "path": path, "now": now}
    return int(connection.execute(found, values).scalar_one())


def end_import(connection: Connection, import_id: int, counts: ImportCounts) -> None:
    """Notes what an import came to."""
    connection.execute(
        contact_import.update()
        .where(contact_import.c.id == import_id)
        .values(
            accepted=counts.accepted,
            rejected=counts.rejected,
            changed=counts.changed,
            unchanged=counts.unchanged,
            withdrawn=counts.withdrawn,
        )
    )


# -- reading ------------------------------------------------------------------------------------------------------


def listed(connection: Connection, campaign_id: int) -> Iterator[dict[str, Any]]:
    """Every contact of a campaign in the order of import, streamed."""
    statement = (
        select(
            person.c.person_key.label("person"),
            contact.c.numbers,
            contact.c.zones,
            contact.c.language,
            contact.c.priority,
            contact.c.attempts,
            contact.c.wave,
            contact.c.next_number,
            contact.c.next_attempt_at,
            contact.c.closed_as,
            contact.c.on_hold,
            contact.c.fields,
        )
        .join(person, person.c.id == contact.c.person_id)
        .where(contact.c.campaign_id == campaign_id)
        .order_by(contact.c.id)
    )
    with connection.execute(statement, execution_options=_STREAMED) as result:
        for row in result.mappings():
            yield dict(row)
