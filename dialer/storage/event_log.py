"""The append-only event log: one row an event, in the transaction of what it tells; partitioned by day.

Consumers follow `ingest_xid < pg_snapshot_xmin(pg_current_snapshot())`, never the order of ids: transactions commit
out of order. Types and payloads stand in docs/events.md.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text

DAYS_AHEAD = 7
"""No run starts before these stand: an event without a partition would lose an answer."""

_THERE = text("select relname from pg_class where relname = any(:names)")

_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtext('dialer event partitions'))")


def ensure_partitions(connection: Connection, now: datetime) -> None:
    """Makes the partitions from yesterday to a week ahead that are missing. Events carry UTC days."""
    today = now.astimezone(UTC).date()
    days = [today + timedelta(days=offset) for offset in range(-1, DAYS_AHEAD + 1)]
    names = {"names": [_name(day) for day in days]}
    if len(connection.execute(_THERE, names).all()) == len(days):
        return
    # Engines start side by side, and `if not exists` alone does not keep two from making one table at once.
    connection.execute(_ONE_AT_A_TIME)
    there = set(connection.execute(_THERE, names).scalars())
    # A new partition locks the whole log; waiting for that behind a long reader (pg_dump) would stop every writer.
    connection.execute(text("set local lock_timeout = '500ms'"))
    for day in days:
        if _name(day) in there:
            continue
        connection.execute(
            text(
                f"create table if not exists {_name(day)} partition of event "
                f"for values from ('{day}T00:00:00Z') to ('{day + timedelta(days=1)}T00:00:00Z')"
            )
        )


def _name(day: date) -> str:
    return f"event_{day:%Y%m%d}"
