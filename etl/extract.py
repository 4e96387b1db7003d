"""Extract: dumps what has come in since the last time from PostgreSQL into Parquet, one tenant a file.

What is new is told by transactions, never by ids or times: all of transactions that had ended before this one began,
none that may still commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from etl.flatten import Flat

CHUNK_BYTES = 96 << 20
"""Of the dump as text: so much is made a file of the segment at once, while the next is read."""
MARGIN = "interval '1 day'"
"""So much earlier may what is new have come in by its own word, for the database's clock may be put back."""
# What is written later, and was begun before, carries the moment of its beginning as that of its coming in. Sessions of
# others who may write show it only to roles that may read all statistics; without, nothing is pruned.
_NOW = text(f"""
select (select system_identifier::text from pg_control_system()) as cluster,
       pg_snapshot_xmin(pg_current_snapshot())::text as next_xid,
       pg_snapshot_xmax(pg_current_snapshot())::text as strange_xid,
       (case when bool_or(state is null) then '-infinity' else least(now(), min(xact_start)) end
        - {MARGIN})::text as since
from pg_stat_activity where datname = current_database() and has_table_privilege(usesysid, 'event', 'insert')
""")
_DUMP = """
copy (
  select event_id, occurred_at at time zone 'UTC', ingested_at at time zone 'UTC', type, subject_id, seq, schema_v,
         source, payload
  from event
  where tenant_id = %(tenant)s and ingested_at >= %(since)s
    and ingest_xid >= %(from)s::xid8 and (ingest_xid < %(next)s::xid8 or ingest_xid >= %(strange)s::xid8)
) to stdout
"""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How far a tenant's events are extracted: etl_tenant."""

    cluster: str
    """Whose transactions are counted: PostgreSQL's system identifier."""
    next_xid: str
    since: str
    """Nothing that is not extracted was ingested before; PostgreSQL's text, which may be -infinity."""


BEGINNING = Mark(cluster="", next_xid="0", since="-infinity")
_LAST_XID = str(2**64 - 1)


def extract(
    connection: Connection, tenant: str, mark: Mark, folder: Path, scratch: Path, memory_mb: int,
    seen: Callable[[int], None] = lambda events: None,
) -> tuple[Mark, Flat]:  # fmt: skip
    """Dumps a tenant's new events into a new folder, in a read-only transaction of the connection.

    Returns from where the next extract goes on, and what was dumped.

    `scratch` is a folder for what passes through; `seen` is told how many events have been read so far.
    """
    connection.execute(text("set transaction isolation level repeatable read, read only"))
    # Whoever is shown some tenants alone (tenant_reader) is refused, instead of finding nothing new for ever.
    connection.execute(text("set local row_security = off"))
    now = connection.execute(_NOW).one()
    following = Mark(cluster=now.cluster, next_xid=now.next_xid, since=now.since)
    values = {"tenant": tenant, "since": mark.since, "from": mark.next_xid, "next": now.next_xid, "strange": _LAST_XID}
    if mark.cluster != now.cluster:
        # The first time; or the database was restored into another cluster, which counts its transactions anew, while
        # rows keep the numbers of the old one. What is dumped a second time for that is dropped as repeated.
        values |= {"from": "0", "strange": now.strange_xid}
        following = replace(following, since=mark.since)
    # Here, because it brings DuckDB, which every other command would load as well.
    from etl.flatten import Flatten

    flatten = Flatten(tenant, folder, scratch, memory_mb)
    try:
        for chunk in _chunks(connection, values, scratch, seen):
            flatten.take(chunk)
        # Its snapshot is needed no more, and whoever idles in a transaction is ended.
        connection.rollback()
        return following, flatten.finish()
    finally:
        flatten.close()


def _chunks(
    connection: Connection, values: Mapping[str, str], scratch: Path, seen: Callable[[int], None]
) -> Iterator[tuple[Path, int]]:
    """The dump as files of text, each with its number of events."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    rows = _rows(driver.pgconn, psycopg.ClientCursor(driver).mogrify(_DUMP, values))
    number = events = before = 0
    last = False
    try:
        while not last:
            path, size = scratch / f"dump-{number}.tsv", 0
            with path.open("wb", buffering=1 << 20) as file:
                for row in rows:
                    size += file.write(row)
                    events += 1
                    if size >= CHUNK_BYTES:
                        break
                else:
                    last = True
            if events > before:
                yield path, events - before
            seen(events)
            number, before = number + 1, events
    except BaseException:
        # In the middle of a COPY it is of no use to anybody.
        connection.invalidate()
        raise


def _rows(server: psycopg.pq.abc.PGconn, statement: str) -> Iterator[memoryview]:
    """The lines of a COPY. Straight from libpq: psycopg's own loop costs twice as much, as much as the server."""
    begun = server.exec_(statement.encode())
    if begun.status != psycopg.pq.ExecStatus.COPY_OUT:
        raise psycopg.errors.error_from_result(begun)
    while True:
        size, row = server.get_copy_data(0)
        if size < 0:
            break
        yield row
    ended = server.get_result()
    if ended is not None and ended.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(ended)
    while server.get_result() is not None:
        pass
