"""Makes batches durable: groups of all tenants in turn go to PostgreSQL, or to this host's disk while it is away."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec
import psycopg

from dialer.storage.direct import Connections
from etl.landing import Batch, Landed, Landing
from etl.metrics import Metrics
from etl.spool import Spool, Torn, records
from etl.wire import Letter, Terms, read_lines

log = logging.getLogger(__name__)

GROUP_EVENTS, GROUP_BYTES = 10_000, 16 * 2**20
WRITERS = 2
"""One prepares its rows while PostgreSQL takes the other's."""
LAND_S = 20.0
"""A group that takes longer goes to the disk: those who wait have waited enough."""
REPLAY_S = 300.0
"""For a group from the disk nobody waits; and if it never came home, nothing behind it would."""


class Unavailable(Exception):
    """Neither PostgreSQL nor the disk took a batch: it must come again."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A batch that is durable."""

    landed: Landed
    spooled: bool = False
    """On this host's disk; what becomes of its events is not known yet."""


class _Spooled(msgspec.Struct, frozen=True, gc=False):
    tenant_id: str
    source: str
    received_at: datetime
    lines: list[tuple[int, bytes]]
    letters: list[Letter]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Spooled).decode
_Waiting = tuple[Batch, asyncio.Future[Stored]]


class Intake:
    """Takes batches from requests, and gives each back when it is durable."""

    def __init__(
        self, connections: Connections, spool: Spool, terms: Callable[[str, datetime], Terms], metrics: Metrics
    ) -> None:
        self._connections, self._spool, self._terms, self._metrics = connections, spool, terms, metrics
        self._landing = Landing()
        self._waiting: dict[str, deque[_Waiting]] = {}
        self._work = asyncio.Event()
        self._spooled: Counter[str] = Counter()
        self._refusing = False
        self.away = False
        """PostgreSQL did not take the last group: those that follow go to the disk until it is asked again."""

    async def put(self, batch: Batch) -> Stored:
        """Returns when a batch is durable. Raises Unavailable."""
        future: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(batch.tenant_id, deque()).append((batch, future))
        self._work.set()
        return await future

    async def run(self) -> None:
        """Writes groups until cancelled."""
        async with asyncio.TaskGroup() as writers:
            for _ in range(WRITERS):
                writers.create_task(self._write())

    async def replay(self) -> bool:
        """Learns that PostgreSQL is there, and brings it the oldest file of the disk; whether there was one.

        Raises psycopg.Error, TimeoutError and OSError.
        """
        async with asyncio.timeout(LAND_S):
            await self._connections.run(_ask)
        paths = await asyncio.to_thread(self._spool.sealed)
        for path in paths[:1]:
            await self._bring_home(path)
        if not paths:
            self._spooled.clear()
        if self.away:
            log.warning("database_back")
        self.away = False
        return bool(paths)

    def spooled(self, tenant_id: str) -> int:
        """Bytes of a tenant that went to the disk since it was empty, or since the start."""
        return self._spooled[tenant_id]

    # -- writers -----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        while True:
            while not self._waiting:
                self._work.clear()
                await self._work.wait()
            group = self._next_group()
            try:
                stored = await self._durable([batch for batch, _ in group])
            except Exception as error:
                if not isinstance(error, OSError):
                    log.exception("group_failed")
                elif not self._refusing:
                    self._refusing = True
                    log.error("disk_refuses", extra={"reason": _first_line(error)})
                for _, future in group:
                    if not future.done():
                        future.set_exception(Unavailable(str(error)))
            else:
                for (_, future), one in zip(group, stored, strict=True):
                    if not future.done():
                        future.set_result(one)

    def _next_group(self) -> list[_Waiting]:
        """Batches of all tenants in turn, so that none waits behind the queue of another."""
        group: list[_Waiting] = []
        events = size = 0
        while self._waiting and events < GROUP_EVENTS and size < GROUP_BYTES:
            tenant_id = next(iter(self._waiting))
            queue = self._waiting.pop(tenant_id)
            group.append(queue.popleft())
            events += len(group[-1][0].events)
            size += _size(group[-1][0])
            if queue:
                self._waiting[tenant_id] = queue
        return group

    async def _durable(self, batches: Sequence[Batch]) -> list[Stored]:
        """Raises OSError when the disk takes no more either."""
        if not self.away:
            try:
                return [Stored(landed=landed) for landed in await self._land(batches, LAND_S)]
            except (psycopg.Error, TimeoutError) as error:
                # Perhaps committed, perhaps not: what is stored already is told from news when it is replayed.
                self.away = True
                log.error("database_away", extra={"reason": _first_line(error)})
        data = [_encode(_spooled(batch)) for batch in batches]
        await asyncio.to_thread(self._spool.append, data)
        self._refusing = False
        for batch, record in zip(batches, data, strict=True):
            self._spooled[batch.tenant_id] += len(record)
        return [Stored(landed=Landed(), spooled=True) for _ in batches]

    async def _land(self, batches: Sequence[Batch], within_s: float) -> list[Landed]:
        with self._metrics.timed("dialer_collect_landing_seconds"):
            async with asyncio.timeout(within_s):
                return await self._connections.run(lambda connection: self._landing.store(connection, batches))

    # -- what the disk holds -------------------------------------------------------------------------------------------

    async def _bring_home(self, path: Path) -> None:
        group: list[Batch] = []
        events = size = 0
        try:
            for record in records(path):
                group.append(self._batch(_decode(record)))
                events, size = events + len(group[-1].events), size + len(record)
                if events >= GROUP_EVENTS or size >= GROUP_BYTES:
                    await self._land_spooled(group)
                    group, events, size = [], 0, 0
        except (Torn, msgspec.DecodeError) as error:
            await self._land_spooled(group)
            log.error("spool_torn", extra={"reason": str(error)})
            await asyncio.to_thread(self._spool.put_aside, path)
        else:
            await self._land_spooled(group)
            await asyncio.to_thread(self._spool.remove, path)

    async def _land_spooled(self, group: Sequence[Batch]) -> None:
        if group:
            for batch, landed in zip(group, await self._land(group, REPLAY_S), strict=True):
                self._metrics.landed(batch.tenant_id, landed)

    def _batch(self, spooled: _Spooled) -> Batch:
        # Those that were taken are not cut, whatever the settings say by now.
        terms = replace(self._terms(spooled.tenant_id, spooled.received_at), longest=sys.maxsize)
        events, letters = read_lines(spooled.lines, terms)
        return Batch(
            tenant_id=spooled.tenant_id, source=spooled.source, received_at=spooled.received_at, events=events,
            letters=(*spooled.letters, *letters),
        )  # fmt: skip


def _size(batch: Batch) -> int:
    return sum(len(event.raw) for event in batch.events)


def _spooled(batch: Batch) -> _Spooled:
    return _Spooled(
        batch.tenant_id, batch.source, batch.received_at, [(event.number, event.raw) for event in batch.events],
        list(batch.letters),
    )  # fmt: skip


async def _ask(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    await connection.execute("select")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
