"""The engine's store port over PostgreSQL; a database that is away is one kind of error, whatever the driver says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.results import DialogueEnd, Writes
from dialer.calls.witness import CelPosition, CelRecord
from dialer.campaign.running import Wanted, WantedRun
from dialer.clock import DatabaseClock, monotonic
from dialer.contacts.contact import ClaimOrder, ClaimResult, ContactChange, Leftover, Totals
from dialer.errors import DatabaseAway, DialerError
from dialer.storage import (
    attempts,
    cel,
    claims,
    dialogues,
    engine_runs,
    event_log,
    leases,
    limits,
    restore,
    runs,
    spool,
)
from dialer.storage.session import explain
from dialer.storage.spool import Archive, Spool

TIMEOUT_S = 15.0
LEASE_TIMEOUT_S = 4.0
"""Two tries fit into a lease."""
PROMPT_S = 1.0
"""An answer that took longer does not tell what time it is."""

log = logging.getLogger(__name__)


class PostgresStore:
    """Claims, transitions and totals in PostgreSQL. Raises DatabaseAway when it cannot be reached."""

    def __init__(
        self,
        engine: AsyncEngine,
        node: str,
        spool_dir: Path,
        journal_dir: Path,
        clock: DatabaseClock | None = None,
        lease_engine: AsyncEngine | None = None,
    ) -> None:
        """`spool_dir` holds what the workers of this host could not store yet, `journal_dir` what they stored; `clock`
        is set to the database's time whenever the lease is; `lease_engine` is a pool for the lease alone.
        """
        self._lease_engine = lease_engine or engine
        self._clock = clock or DatabaseClock()
        self._engine, self._node, self._spool_dir = engine, node, spool_dir
        self._spool, self._archive = Spool(spool_dir), Archive(journal_dir)
        self._journal_dir = journal_dir
        self._holder = leases.this_process()
        self.epoch = 0
        """Of our lease of the node; 0 before the first."""

    async def hold_node(self) -> float:
        """For how many seconds from now this process is the node's one engine; 0 while another is.

        Takes the lease, or renews it. Raises Fenced when it was ours and another engine took it.
        """
        asked_at = monotonic()
        async with _plain_errors(LEASE_TIMEOUT_S):
            if self.epoch:
                now = await leases.renew(self._lease_engine, self._node, self.epoch)
                if now is None:
                    raise leases.fenced(self._node)
            else:
                taken = await leases.take(self._lease_engine, self._node, self._holder)
                if taken is None:
                    return 0.0
                self.epoch, now = taken
            if monotonic() - asked_at < PROMPT_S:
                self._clock.set(now)
            return leases.LEASE_S

    def forget_lease(self) -> None:
        """The node is another engine's; it may be taken again when that one is gone."""
        self.epoch = 0

    async def ensure_partitions(self, now: datetime) -> None:
        """Makes the event log's partitions for the week ahead."""
        async with _plain_errors(), self._engine.begin() as connection:
            await connection.run_sync(event_log.ensure_partitions, now)

    async def claim(self, order: ClaimOrder) -> ClaimResult:
        """Due contacts with their committed attempts, within every limit."""
        async with _plain_errors():
            return await claims.claim(self._engine, order, node=self._node, epoch=self.epoch)

    async def save(
        self, changed: Sequence[Attempt], contacts: Sequence[ContactChange], events: Sequence[dict[str, Any]]
    ) -> None:
        """Stores transitions, their effect on contacts, and their events, together."""
        async with _plain_errors():
            now = self._clock.now()
            await attempts.save(self._engine, self._node, self.epoch, changed, contacts, events, now)

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
            await cel.store(self._engine, self._node, self.epoch, records, position)

    async def cel_of(self, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
        """What the node itself saw of these attempts."""
        async with _plain_errors():
            return await cel.of(self._engine, attempt_ids)

    async def open_attempts(self) -> list[Leftover]:
        """What an engine before this one left without a verdict."""
        async with _plain_errors():
            return await attempts.open_attempts(self._engine, self._node)

    async def awaiting_rows(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        """Attempts whose dialogue this host has rows of that are not stored yet.

        Those of dead workers are stored now, and told once more: that there are any proves that the call was answered.
        """
        found = spool.pending(self._spool_dir, attempt_ids)
        for attempt_id in found:
            await self._bring_home(attempt_id)
        return found

    async def _bring_home(self, attempt_id: UUID) -> None:
        """In the place of the workers: none may be left to do it. Raises DatabaseAway."""
        try:
            file = self._spool.take(attempt_id)
            if file is not None:
                async with _plain_errors():
                    await dialogues.bring_home(file, self._write_rows, self._keep_rows)
        except DatabaseAway:
            raise
        except (DialerError, OSError) as error:
            # It stays, and whoever waits for it does so only for a time.
            log.error("rows of a dialogue cannot be stored: %s", error, extra={"event": "spool.refused"})

    async def _write_rows(self, group: Sequence[Writes]) -> None:
        async with self._engine.begin() as connection:
            await dialogues.write(connection, group)

    def _keep_rows(self, rows: Writes) -> None:
        with suppress(OSError):
            # Without space the database alone has them, as it should.
            self._archive.append(rows, self._clock.now().date())

    async def unknown_attempts(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        """Those that the database has never heard of."""
        async with _plain_errors():
            return await attempts.unknown(self._engine, attempt_ids)

    async def forgotten(self) -> str:
        """What this host's journal knows and the database does not, in words; empty, in health."""
        lines = await asyncio.to_thread(restore.last_lines, self._journal_dir)
        async with _plain_errors(), self._engine.connect() as connection:
            ahead = await connection.run_sync(restore.ahead, self._journal_dir, lines)
        return "" if ahead is None else str(ahead)

    async def sent_lately(self, within_s: float, campaign_id: int | None = None) -> dict[str, int]:
        """How many attempts were submitted to this node within the last seconds, by trunk: of a campaign, or of all."""
        async with _plain_errors():
            return await attempts.sent_lately(self._engine, self._node, within_s, campaign_id)

    async def wanted_runs(self, own: Sequence[int] | None) -> list[WantedRun]:
        """What this node is to run: what was ordered since it is ours, and `own`; None: everything."""
        async with _plain_errors():
            return await engine_runs.wanted(self._engine, self._node, self.epoch, own)

    async def set_limits(self, site: int | None, node: int, trunks: Mapping[str, int | None]) -> None:
        """Makes these the limits that every engine keeps: of the site, of this node, of its trunks."""
        async with _plain_errors(), self._engine.begin() as connection:
            changed = await limits.keep(connection, site, (self._node, node), trunks)
        if changed:
            # Hosts with different settings overwrite each other's: a site's limit is gone when one does not name it.
            log.warning("calls at once, by our settings from now on, of every engine: %s", "; ".join(changed),
                        extra={"event": "limits.changed"})  # fmt: skip

    async def report(self, progress: Mapping[int, dict[str, Any]], of_node: dict[str, Any]) -> None:
        """Stores how far campaigns are, and how the node is."""
        async with _plain_errors():
            await engine_runs.report(self._engine, self._node, self.epoch, progress, of_node)

    async def rate_shares(self, campaigns: Sequence[int], *, able: bool) -> dict[int, float]:
        """How many of each campaign's calls a second this node may start from now on; `able`: it can call."""
        async with _plain_errors():
            return await engine_runs.rate_shares(self._engine, self._node, self.epoch, campaigns, able=able)

    async def pause(self, campaign_id: int, tenant_id: str, why: str) -> None:
        """Pauses a running campaign on the engine's own account."""
        async with _plain_errors():
            await engine_runs.pause(self._engine, self._node, self.epoch, campaign_id, tenant_id, why)

    async def refuse(self, campaign_id: int, tenant_id: str, why: str) -> None:
        """Takes this node out of a campaign, which is idle when no other is left."""
        async with _plain_errors():
            last = runs.Order(verb="refused", wanted=Wanted.IDLE, by="dialer", why=why)
            await engine_runs.refuse(self._engine, self._node, self.epoch, campaign_id, tenant_id, last)

    async def finish(self, campaign_id: int, tenant_id: str, verb: str, why: str) -> bool:
        """Makes a campaign idle: nothing of it is left to do, or to be done now. False while others call for it."""
        async with _plain_errors():
            last = runs.Order(verb=verb, wanted=Wanted.IDLE, by="dialer", why=why)
            return await engine_runs.finish(self._engine, self._node, self.epoch, campaign_id, tenant_id, last)

    async def totals(self, campaign_id: int, revision_id: int, prefixes: Sequence[str] = ("",)) -> Totals:
        """Where a campaign stands."""
        async with _plain_errors():
            return await attempts.totals(self._engine, campaign_id, revision_id, prefixes)

    async def dispositions(self, campaign_id: int) -> dict[Disposition, int]:
        """A campaign's verdicts so far, of calls through this node."""
        async with _plain_errors():
            return await attempts.dispositions(self._engine, campaign_id, self._node)

    async def close(self) -> None:
        """Gives the node back and closes the pool."""
        if self.epoch:
            with suppress(DialerError):
                async with _plain_errors():
                    await leases.release(self._lease_engine, self._node, self.epoch, self._holder)
        await self._lease_engine.dispose()
        await self._engine.dispose()


@asynccontextmanager
async def _plain_errors(timeout_s: float = TIMEOUT_S) -> AsyncIterator[None]:
    """Every failure as a DialerError, and none later than that: a network that swallows packets tells nobody."""
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except DBAPIError as error:
        raise explain(error) from error
    except (TimeoutError, SQLAlchemyError) as error:
        raise DatabaseAway(f"PostgreSQL does not answer within {timeout_s:g} s ({error or 'no answer'}).") from error
