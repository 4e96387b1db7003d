"""The append-only event log: one row an event, in the transaction of what it tells; partitioned by day.

Consumers follow `ingest_xid < pg_snapshot_xmin(pg_current_snapshot())`, never the order of ids: transactions commit
out of order. Types and payloads stand in docs/events.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text

DAYS_AHEAD = 7
"""No run starts before these stand: an event without a partition would lose an answer."""

_THERE = text("select relname from pg_class where relname = any(:names)")


def ensure_partitions(connection: Connection, now: datetime) -> None:
    """Makes the partitions from yesterday to a week ahead that are missing. Events carry UTC days."""
    today = now.astimezone(UTC).date()
    days = [today + timedelta(days=offset) for offset in range(-1, DAYS_AHEAD + 1)]
    there = set(connection.execute(_THERE, {"names": [_name(day) for day in days]}).scalars())
    if missing := [day for day in days if _name(day) not in there]:
        connection.execute(text(partitions(missing)))


def partitions(days: Iterable[date]) -> str:
    """The statement that makes the partitions of these days, where they are missing, in the caller's transaction.

    Made and then attached, not made as partitions: that would lock the whole log, behind a long reader (the nightly
    extract, pg_dump) and before every writer. Attaching lets both go on (PostgreSQL's manual on CREATE TABLE).
    """
    listed = ", ".join(f"'{day}'" for day in sorted(set(days)))
    return _MAKE % listed


# Engines and collectors start side by side, and neither `if not exists` nor to_regclass, which remembers its answer,
# keeps two from making one table at once. Nothing is waited for that holds the log itself, as a migration does.
_MAKE = """
do $$
declare day date; name text;
begin
    foreach day in array array[%s]::date[] loop
        name := to_char(day, '"event_"YYYYMMDD');
        continue when to_regclass(name) is not null;
        perform pg_advisory_xact_lock(hashtext('dialer event partitions'));
        continue when exists (select from pg_class where relname = name);
        set local lock_timeout = '500ms';
        execute format('create table %%I (like event including all)', name);
        -- Whoever may read all tables reads no tenant's days past the policies of the log.
        execute format('alter table %%I enable row level security', name);
        execute format(
            'alter table event attach partition %%I for values from (%%L) to (%%L)',
            name, day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
        );
        set local lock_timeout to default;
    end loop;
end $$
"""


def _name(day: date) -> str:
    return f"event_{day:%Y%m%d}"
