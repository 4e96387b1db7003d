"""Ships the node's own record of calls into the store, so that it outlives the node's disk and can be asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import datetime
from uuid import UUID

from dialer.calls.witness import CelPosition, CelReading
from dialer.clock import Clock
from dialer.engine.ports import Store

log = logging.getLogger(__name__)

POLL_S = 0.2

ReadCel = Callable[[CelPosition | None], CelReading]
"""What stands behind a position; raises OSError when there is nothing to read."""


class Witness:
    """One node's record, followed."""

    def __init__(self, store: Store, read: ReadCel | None, clock: Clock) -> None:
        """`read` is None where this machine cannot see the node's disk; then there is no witness."""
        self._store, self._read, self._clock = store, read, clock
        self._turn = asyncio.Lock()
        self._marks: set[UUID] = set()
        self._unbroken = True
        self._missing = False

    @property
    def exists(self) -> bool:
        """There is a record that this machine can see."""
        return self._read is not None

    @property
    def is_away(self) -> bool:
        """There is a record, and when it was last looked at it could not be read."""
        return self._missing

    async def begin(self) -> None:
        """To be called before the first call: what comes after it is in the record. Raises DatabaseAway."""
        if self._read is not None:
            await self._store.begin_cel()

    async def catch_up(self) -> None:
        """Stores everything that stands in the record by now. Raises DatabaseAway."""
        async with self._turn, aclosing(self._unstored()) as readings:
            async for reading in readings:
                await self._store.store_cel(reading.records, reading.position)
                # Only what is stored counts as seen.
                self._marks |= reading.marks

    async def complete(self, mark: UUID, within_s: float) -> bool:
        """Whether everything that the node did before it made this mark is stored; waits for that so long.

        False also when a part of the record was lost before we read it: then absence proves nothing. Raises
        DatabaseAway.
        """
        if self._read is None:
            return False
        deadline = self._clock.monotonic() + within_s
        await self.catch_up()
        while mark not in self._marks:
            if self._clock.monotonic() >= deadline:
                return False
            await self._clock.sleep(POLL_S)
            await self.catch_up()
        self._marks.discard(mark)
        return self._unbroken

    async def unknown_calls(self) -> dict[UUID, datetime]:
        """Attempts that the node saw behind the stored position and that the store does not know, and when first.

        There are none unless the database was put back to an earlier state. Stores nothing. Raises DatabaseAway.
        """
        unknown: dict[UUID, datetime] = {}
        async with self._turn, aclosing(self._unstored()) as readings:
            async for reading in readings:
                seen = {record.attempt_id: record.at for record in reversed(reading.records)}
                strange = await self._store.unknown_attempts(list(seen)) if seen else set()
                unknown = {one: seen[one] for one in strange} | unknown
        return unknown

    async def _unstored(self) -> AsyncGenerator[CelReading, None]:
        if self._read is None:
            return
        position = await self._store.cel_position()
        while True:
            try:
                reading = await asyncio.to_thread(self._read, position)
            except OSError as error:
                self._note_missing(error)
                return
            self._missing = False
            if reading.position == position:
                return
            # Inode 0 stands for a record of which nothing was read yet.
            if not reading.unbroken and position is not None and position.inode:
                self._note_broken()
            yield reading
            position = reading.position

    def _note_missing(self, error: OSError) -> None:
        if not self._missing:
            log.error("the node's record of calls cannot be read: %s", error, extra={"event": "cel.missing"})
        self._missing = True

    def _note_broken(self) -> None:
        if self._unbroken:
            log.error(
                "a part of the node's record of calls is gone; calls without a trace stay unknown",
                extra={"event": "cel.broken"},
            )
        self._unbroken = False
