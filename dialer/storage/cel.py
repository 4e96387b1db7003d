"""The node's own record of calls in PostgreSQL: records and how far they reach, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.witness import CelPosition, CelRecord
from dialer.storage import leases, tables
from dialer.storage.bulk import insert_rows

_POSITION = text("select inode, byte_offset from cel_position where node = :node")
_MOVE = text("""
insert into cel_position (node, inode, byte_offset) values (:node, :inode, :offset)
on conflict (node) do update set inode = excluded.inode, byte_offset = excluded.byte_offset
""")
# Files follow each other in time, lines within one by their place: CEL's times may stand still within a call.
_OF = text("""
select * from cel_event where attempt_id = any(:ids) order by attempt_id, at, inode, byte_offset
""")


_BEGIN = text("insert into cel_position (node, inode, byte_offset) values (:node, 0, 0) on conflict do nothing")


async def begin(engine: AsyncEngine, node: str) -> None:
    """Notes since when a node's record is followed; nothing when it is already."""
    async with engine.begin() as connection:
        await connection.execute(_BEGIN, {"node": node})


async def position(engine: AsyncEngine, node: str) -> CelPosition | None:
    """How far a node's record is stored."""
    async with engine.connect() as connection:
        row = (await connection.execute(_POSITION, {"node": node})).first()
    return CelPosition(inode=row.inode, offset=row.byte_offset) if row is not None else None


async def store(engine: AsyncEngine, node: str, epoch: int, records: Sequence[CelRecord], reached: CelPosition) -> None:
    """Stores records and the position behind them; doing it again changes nothing. Raises Fenced."""
    rows = [
        {"node": node, "inode": one.inode, "byte_offset": one.offset, "attempt_id": one.attempt_id, "kind": one.kind,
         "at": one.at, "digit": one.digit, "cause": one.cause}
        for one in records
    ]  # fmt: skip
    async with engine.begin() as connection:
        # An engine that was frozen would move the position back.
        await leases.require(connection, node, epoch)
        await insert_rows(connection, tables.cel_event, rows)
        await connection.execute(_MOVE, {"node": node, "inode": reached.inode, "offset": reached.offset})


async def of(engine: AsyncEngine, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
    """What was seen of attempts, oldest first."""
    found: dict[UUID, list[CelRecord]] = {}
    async with engine.connect() as connection:
        for row in await connection.execute(_OF, {"ids": list(attempt_ids)}):
            found.setdefault(row.attempt_id, []).append(
                CelRecord(inode=row.inode, offset=row.byte_offset, attempt_id=row.attempt_id, kind=row.kind, at=row.at,
                          digit=row.digit, cause=row.cause)
            )  # fmt: skip
    return found
