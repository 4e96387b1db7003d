"""What collectors share through PostgreSQL: the credentials that are good, and what each tenant has sent today."""

from __future__ import annotations

from dialer.storage.direct import Connection
from etl.access import Kind, Token
from etl.quota import Sent, Usage


async def exchange(connection: Connection, unstored: Sent) -> tuple[list[Token], Sent]:
    """Adds to the counts; returns the credentials and the counts of all collectors together. Raises psycopg.Error."""
    async with connection.transaction(), connection.cursor() as cursor:
        if unstored:
            # In the order of the key, so that two collectors do not wait for each other in a circle.
            rows = [(*key, unstored[key].events, unstored[key].bytes) for key in sorted(unstored)]
            await cursor.execute(_ADD, [list(column) for column in zip(*rows, strict=True)])
        await cursor.execute(_USAGE)
        sent = {(row[0], row[1]): Usage(events=row[2], bytes=row[3]) for row in await cursor.fetchall()}
        await cursor.execute(_TOKENS)
        tokens = [
            Token(id=row[0], tenant_id=row[1], source=row[2], kind=Kind(row[3]), sha256=row[4])
            for row in await cursor.fetchall()
        ]
    return tokens, sent


_ADD = """
insert into collect_usage (tenant_id, day, events, bytes)
select * from unnest(%s::text[], %s::date[], %s::bigint[], %s::bigint[])
on conflict (tenant_id, day) do update set
    events = collect_usage.events + excluded.events, bytes = collect_usage.bytes + excluded.bytes
"""
_USAGE = "select tenant_id, day, events, bytes from collect_usage where day >= current_date - 1"
_TOKENS = "select id, tenant_id, source, kind, sha256 from collect_token where revoked_at is null"
