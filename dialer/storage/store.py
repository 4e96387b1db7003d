"""The engine's store port over PostgreSQL; a database that is away is one kind of error, whatever the driver says."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.results import DialogueEnd
from dialer.calls.witness import CelPosition, CelRecord
from dialer.contacts.contact import ClaimResult, ContactChange, Leftover, Totals
from dialer.errors import DatabaseAway
from dialer.storage import attempts, cel, claims, event_log
from dialer.storage.session import explain

TIMEOUT_S = 15.0


class PostgresStore:
    """Claims, transitions and totals in PostgreSQL. Raises DatabaseAway when it cannot be reached."""

    def __init__(self, engine: AsyncEngine, node: str) -> None:
        self._engine = engine
        self._node = node
        self._lock: AsyncConnection | None = None

    async def hold_node(self) -> bool:
        """Whether this process is the node's one engine: takes or checks a lock that ends with our connection."""
        async with _plain_errors():
            if self._lock is not None:
                try:
                    await self._lock.execute(text("select 1"))
                    await self._lock.commit()
                    return True
                except DBAPIError:
                    await self._lock.invalidate()
                    await self._lock.close()
                    self._lock = None
            connection = await self._engine.connect()
            key = zlib.crc32(f"dialer engine {self._node}".encode())
            taken = (await connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": key})).scalar_one()
            await connection.commit()
            if taken:
                self._lock = connection
            else:
                await connection.close()
            return bool(taken)

    async def ensure_partitions(self, now: datetime) -> None:
        """Makes the event log's partitions for the week ahead."""
        async with _plain_errors(), self._engine.begin() as connection:
            await connection.run_sync(event_log.ensure_partitions, now)

    async def claim(
        self, *, campaign_id: int, revision_id: int, trunk: str, max_concurrent: int, most: int
    ) -> ClaimResult:
        """At most `most` due contacts with their committed attempts."""
        async with _plain_errors():
            return await claims.claim(
                self._engine,
                campaign_id=campaign_id,
                revision_id=revision_id,
                node=self._node,
                trunk=trunk,
                max_concurrent=max_concurrent,
                most=most,
            )

    async def save(
        self, changed: Sequence[Attempt], contacts: Sequence[ContactChange], events: Sequence[dict[str, Any]]
    ) -> None:
        """Stores transitions, their effect on contacts, and their events, together."""
        async with _plain_errors():
            await attempts.save(self._engine, changed, contacts, events)

    async def flow_results(self, attempt_ids: Sequence[UUID]) -> list[DialogueEnd]:
        """Dialogue results that have arrived."""
        async with _plain_errors():
            return await attempts.flow_results(self._engine, attempt_ids)

    async def begin_cel(self) -> None:
        """Notes since when the node's record is followed."""
        async with _plain_errors():
            await cel.begin(self._engine, self._node)

    async def cel_position(self) -> CelPosition | None:
        """How far the node's own record is stored."""
        async with _plain_errors():
            return await cel.position(self._engine, self._node)

    async def store_cel(self, records: Sequence[CelRecord], position: CelPosition) -> None:
        """Stores records and how far they reach, together."""
        async with _plain_errors():
            await cel.store(self._engine, self._node, records, position)

    async def cel_of(self, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
        """What the node itself saw of these attempts."""
        async with _plain_errors():
            return await cel.of(self._engine, attempt_ids)

    async def open_attempts(self) -> list[Leftover]:
        """What an engine before this one left without a verdict."""
        async with _plain_errors():
            return await attempts.open_attempts(self._engine, self._node)

    async def sent_lately(self, within_s: float) -> int:
        """How many attempts were submitted within the last seconds."""
        async with _plain_errors():
            return await attempts.sent_lately(self._engine, self._node, within_s)

    async def totals(self, campaign_id: int, revision_id: int) -> Totals:
        """Where a campaign stands."""
        async with _plain_errors():
            return await attempts.totals(self._engine, campaign_id, revision_id)

    async def dispositions(self, campaign_id: int) -> dict[Disposition, int]:
        """A campaign's verdicts so far."""
        async with _plain_errors():
            return await attempts.dispositions(self._engine, campaign_id)

    async def close(self) -> None:
        """Gives the node's lock back and closes the pool."""
        if self._lock is not None:
            await self._lock.close()
        await self._engine.dispose()


@asynccontextmanager
async def _plain_errors() -> AsyncIterator[None]:
    """Every failure as a DialerError, and none later than TIMEOUT_S: a network that swallows packets tells nobody."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield
    except DBAPIError as error:
        raise explain(error) from error
    except (TimeoutError, SQLAlchemyError) as error:
        raise DatabaseAway(f"PostgreSQL does not answer within {TIMEOUT_S:g} s ({error or 'no answer'}).") from error
