"""The do-not-call lists: of the site, of tenants, of campaigns. The claim reads them; commands and calls write them.

A change holds from its commit on: it waits for the claims that began before it, so that no claim that has not seen it
commits after it, and whoever made it can be told of the calls that were claimed before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from dialer.contacts.suppress import DncScope, DncSource

_KEY = "hashtextextended('do-not-call lists', 0)"
READ_LOCK = f"pg_advisory_xact_lock_shared({_KEY})"
"""In the select list of what a claim asks before it judges: held until it commits."""
_WRITE_LOCK = text(f"select pg_advisory_xact_lock({_KEY})")

_STAGE = "create temporary table dnc_stage (number text not null, reason text) on commit drop"
_COPY = "copy dnc_stage (number, reason) from stdin"
# In the order of the numbers: two imports at once would else wait for each other's rows in a circle. What holds for
# longer wins; who adds what stands already changes nothing.
_ADD = text("""
with added as (
  insert into dnc (number, scope, tenant_id, campaign_id, source, reason, added_by, until)
  select d.number, :scope, cast(:tenant as text), cast(:campaign as bigint), :source,
         coalesce(min(d.reason), cast(:reason as text)), :by, cast(:until as timestamptz)
  from dnc_stage as d group by d.number order by d.number
  on conflict (number, scope, tenant_id, campaign_id) do update set
    until = excluded.until, source = excluded.source, reason = excluded.reason, added_by = excluded.added_by,
    added_at = excluded.added_at
  where dnc.until is not null and (excluded.until is null or excluded.until > dnc.until)
  returning 1
)
select (select count(*) from added) as added, count(distinct number) as numbers, count(*) as lines from dnc_stage
""")
_REMOVE = text("""
delete from dnc
where number = any(:numbers) and scope = :scope and tenant_id is not distinct from cast(:tenant as text)
  and campaign_id is not distinct from cast(:campaign as bigint)
returning number
""")
_ENTRIES = """
select d.number, d.scope, d.tenant_id, k.name as campaign, d.source, d.reason, d.added_at, d.added_by, d.until,
  coalesce(d.until <= clock_timestamp(), false) as expired
from dnc d left join campaign k on k.id = d.campaign_id
"""
_OF_NUMBERS = text(_ENTRIES + "where d.number = any(:numbers) order by d.number, d.id")
_OF_LIST = text(
    _ENTRIES
    + """
where (cast(:scope as text) is null or d.scope = :scope)
  and (cast(:tenant as text) is null or d.tenant_id = :tenant)
  and (cast(:campaign as bigint) is null or d.campaign_id = :campaign)
order by d.number, d.id
"""
)
_OPEN_CALLS = text("""
select count(*) from attempt a join campaign k on k.id = a.campaign_id
where a.state <> 'ended' and a.number = any(:numbers)
  and (cast(:tenant as text) is null or k.tenant_id = :tenant)
  and (cast(:campaign as bigint) is null or a.campaign_id = :campaign)
""")
_STREAMED = {"yield_per": 1000}


@dataclass(frozen=True, kw_only=True)
class DncList:
    """One list: the site's, a tenant's, or a campaign's (whose tenant is named too)."""

    scope: DncScope
    tenant_id: str | None = None
    campaign_id: int | None = None
    campaign: str | None = None
    """Its name."""

    def __str__(self) -> str:
        name = {DncScope.SITE: "", DncScope.TENANT: f" {self.tenant_id}", DncScope.CAMPAIGN: f" {self.campaign}"}
        return f"the list of the {self.scope.value}{name[self.scope]}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number on one list."""

    number: str
    scope: DncScope
    tenant_id: str | None
    campaign: str | None
    """Its name."""
    source: DncSource
    reason: str | None
    added_at: datetime
    added_by: str
    until: datetime | None
    """None: for good."""
    expired: bool

    @property
    def on(self) -> DncList:
        """The list that it stands on."""
        return DncList(scope=self.scope, tenant_id=self.tenant_id, campaign=self.campaign)


@dataclass(frozen=True, kw_only=True)
class AddCounts:
    """What adding came to, in numbers."""

    added: int
    """New, or for longer than before."""
    known: int
    """They stood on the list already."""
    repeated: int
    """Lines that name a number once more."""


def add(
    connection: Connection,
    to: DncList,
    numbers: Iterable[tuple[str, str | None]],
    *,
    source: DncSource,
    by: str,
    reason: str | None = None,
    until: datetime | None = None,
) -> AddCounts:
    """Puts E.164 numbers, each with a reason of its own or None, on a list; streamed, all or nothing.

    Runs in the caller's transaction, whose last step must be `hold_claims`.
    """
    connection.execute(text(_STAGE))
    _copy(connection, numbers)
    connection.execute(text("analyze dnc_stage"))
    row = connection.execute(
        _ADD, {**_where(to), "source": source.value, "reason": reason, "by": by, "until": until}
    ).one()  # fmt: skip
    return AddCounts(added=row.added, known=row.numbers - row.added, repeated=row.lines - row.numbers)


def hold_claims(connection: Connection) -> None:
    """Waits for the claims under way and keeps others out until the commit, which must follow at once.

    The last step of every change that keeps people from being called: whoever holds this lock may wait for nothing.
    """
    connection.execute(_WRITE_LOCK)


def remove(connection: Connection, of: DncList, numbers: Sequence[str]) -> list[str]:
    """Takes numbers off one list; those that stood on it. A contact that was closed for it stays closed."""
    rows = connection.execute(_REMOVE, {**_where(of), "numbers": list(numbers)})
    return sorted(row.number for row in rows)


def find(connection: Connection, numbers: Sequence[str]) -> list[Entry]:
    """Every entry of these numbers, on whatever list, those that have expired among them."""
    return [_entry(row) for row in connection.execute(_OF_NUMBERS, {"numbers": list(numbers)})]


def listed(connection: Connection, of: DncList | None) -> Iterator[Entry]:
    """The entries of one list, or of all, in the order of their numbers; streamed."""
    values = {"scope": None, "tenant": None, "campaign": None} if of is None else _where(of)
    with connection.execute(_OF_LIST, values, execution_options=_STREAMED) as result:
        for row in result:
            yield _entry(row)


def tenants(connection: Connection) -> list[str]:
    """Every tenant that has a campaign, in the order of the alphabet."""
    return list(connection.execute(text("select distinct tenant_id from campaign order by 1")).scalars())


def calls_under_way(connection: Connection, of: DncList, numbers: Sequence[str]) -> int:
    """How many calls to these numbers were claimed before and have no verdict yet, of those that the list is about."""
    values = _where(of) | {"numbers": list(numbers)}
    return int(connection.execute(_OPEN_CALLS, values).scalar_one())


def _where(of: DncList) -> dict[str, Any]:
    return {"scope": of.scope.value, "tenant": of.tenant_id, "campaign": of.campaign_id}


def _copy(connection: Connection, numbers: Iterable[tuple[str, str | None]]) -> None:
    # SQLAlchemy has no COPY: this is psycopg's own, whose errors are given the shape that `plain_errors` knows.
    driver: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    try:
        with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
            for row in numbers:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(_COPY, None, error, psycopg.Error, dialect=connection.dialect) from error


def _entry(row: Any) -> Entry:
    return Entry(
        number=row.number, scope=DncScope(row.scope), tenant_id=row.tenant_id, campaign=row.campaign,
        source=DncSource(row.source), reason=row.reason, added_at=row.added_at, added_by=row.added_by, until=row.until,
        expired=row.expired,
    )  # fmt: skip
