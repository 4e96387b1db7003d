"""People into a campaign: rows stream through COPY into a stage, then become persons and contacts.

The stage holds the whole file, so that who stands twice is found by the database and not by a set in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError

from dialer.contacts.ingest import Accepted, Rejected, RejectReason
from dialer.storage.tables import contact, contact_import, person

_STAGE = """
create temporary table contact_stage (
    line bigint not null, person_key text, numbers text[], zones text, language text, fields jsonb,
    reason text, detail text, number text
) on commit drop
"""
_COPY = (
    "copy contact_stage (line, person_key, numbers, zones, language, fields, reason, detail, number) from stdin"
)  # fmt: skip

# The first good row of a person counts; the others are told, with the line that they repeat.
_REJECT_REPEATED = """
update contact_stage as later set reason = :reason, detail = 'the same person as in line ' || first.line
from (select person_key, min(line) as line from contact_stage where reason is null group by person_key) as first
where later.person_key = first.person_key and later.line <> first.line and later.reason is null
"""
# In the order of the keys: two imports at once would else wait for each other's persons in a circle.
_ADD_PERSONS = """
insert into person (tenant_id, person_key)
select :tenant, person_key from contact_stage where reason is null order by person_key
on conflict (tenant_id, person_key) do nothing
"""
_ADD_CONTACTS = """
insert into contact (campaign_id, person_id, numbers, zones, language, fields, next_number, next_attempt_at)
select :campaign, person.id, stage.numbers, stage.zones, stage.language, stage.fields, stage.numbers[1], :now
from contact_stage as stage
join person on person.tenant_id = :tenant and person.person_key = stage.person_key
where stage.reason is null
order by stage.line
on conflict (campaign_id, person_id) do nothing
"""
_COUNTS = """
select count(*) filter (where reason is null) as good,
       count(*) filter (where reason is not null and reason <> :note) as rejected,
       count(*) filter (where reason = :note) as notes
from contact_stage
"""
_REJECTS = "select line, reason, detail, number from contact_stage where reason is not null order by line, reason"


_STREAMED = {"yield_per": 1000}
"""A server-side cursor: the rows never stand in memory together."""


@dataclass(frozen=True, kw_only=True)
class ImportCounts:
    """What an import came to, in rows of the file (`left_out` in numbers)."""

    accepted: int
    """New contacts, due at once."""
    duplicates: int
    """People who are in the campaign already; nothing about them changed."""
    rejected: int
    left_out: int
    """Numbers that are not dialled, of people who are."""


def import_rows(
    connection: Connection, campaign_id: int, tenant_id: str, rows: Iterable[Accepted | Rejected], now: datetime
) -> ImportCounts:
    """Adds the people who are new to the campaign; they are due at `now`, at their first number.

    Runs in the caller's transaction. What was rejected can be read with `rejects` until that ends.
    """
    connection.execute(text(_STAGE))
    _copy(connection, rows)
    connection.execute(text("analyze contact_stage"))
    connection.execute(text(_REJECT_REPEATED), {"reason": RejectReason.DUPLICATE_PERSON.value})
    counts = connection.execute(text(_COUNTS), {"note": RejectReason.NUMBER_LEFT_OUT.value}).one()
    connection.execute(text(_ADD_PERSONS), {"tenant": tenant_id})
    values = {"campaign": campaign_id, "tenant": tenant_id, "now": now}
    accepted = connection.execute(text(_ADD_CONTACTS), values).rowcount
    return ImportCounts(
        accepted=accepted, duplicates=counts.good - accepted, rejected=counts.rejected, left_out=counts.notes
    )  # fmt: skip


def rejects(connection: Connection) -> Iterator[Sequence[Any]]:
    """Line, reason, detail and masked number of what `import_rows` of this transaction rejected, by line; streamed."""
    with connection.execute(text(_REJECTS), execution_options=_STREAMED) as result:
        yield from result


def _copy(connection: Connection, rows: Iterable[Accepted | Rejected]) -> None:
    # SQLAlchemy has no COPY: this is psycopg's own, whose errors are given the shape that `plain_errors` knows.
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in rows:
                for values in _staged(row):
                    copy.write_row(values)
    except psycopg.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg.Error, dialect=connection.dialect) from error


def _staged(row: Accepted | Rejected) -> Iterator[tuple[Any, ...]]:
    if isinstance(row, Rejected):
        yield (row.line, None, None, None, None, None, row.reason.value, row.detail, row.number)
        return
    fields = json.dumps(row.fields, ensure_ascii=False)
    yield (row.line, row.person_key, list(row.numbers), row.zones, row.language, fields, None, None, None)
    for note in row.left_out:
        yield from _staged(note)


# -- files that were imported -------------------------------------------------------------------------------------


def wait_for_other_imports(connection: Connection, campaign_id: int) -> None:
    """Lets one transaction at a time import people into a campaign."""
    connection.execute(
        text("select pg_advisory_xact_lock(hashtextextended('contact_import', :campaign))"), {"campaign": campaign_id}
    )


def was_imported(connection: Connection, campaign_id: int, sha256: str) -> bool:
    """Whether this very file was imported into the campaign, read in the same way."""
    found = select(contact_import.c.id).where(
        contact_import.c.campaign_id == campaign_id, contact_import.c.sha256 == sha256
    )  # fmt: skip
    return connection.execute(found).first() is not None


def record_import(
    connection: Connection, campaign_id: int, sha256: str, path: str, counts: ImportCounts, now: datetime
) -> None:
    """Remembers a file, so that importing it again changes nothing."""
    connection.execute(
        insert(contact_import).values(
            campaign_id=campaign_id,
            sha256=sha256,
            path=path,
            accepted=counts.accepted,
            rejected=counts.rejected,
            imported_at=now,
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
