"""Ships the node's own record of calls into the store, so that it outlives the node's disk and can be asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dialer.calls.witness import CelPosition, CelRecord
from dialer.engine.ports import Store

log = logging.getLogger(__name__)

ReadCel = Callable[[CelPosition | None], tuple[list[CelRecord], CelPosition]]
"""Records after a position and the new position; raises OSError when there is nothing to read."""


class Witness:
    """One node's record, followed."""

    def __init__(self, store: Store, read: ReadCel | None) -> None:
        """`read` is None where this machine cannot see the node's disk; then there is no witness."""
        self._store, self._read = store, read
        self._turn = asyncio.Lock()
        self._missing = False

    async def begin(self) -> None:
        """To be called before the first call: what comes after it is in the record. Raises DatabaseAway."""
        if self._read is not None:
            await self._store.begin_cel()

    async def catch_up(self) -> None:
        """Stores everything that stands in the record by now. Raises DatabaseAway."""
        if self._read is None:
            return
        async with self._turn:
            position = await self._store.cel_position()
            while True:
                try:
                    records, after = await asyncio.to_thread(self._read, position)
                except OSError as error:
                    self._note_missing(error)
                    return
                self._missing = False
                if after == position:
                    return
                await self._store.store_cel(records, after)
                position = after

    def _note_missing(self, error: OSError) -> None:
        if not self._missing:
            log.error("the node's record of calls cannot be read: %s", error, extra={"event": "cel.missing"})
        self._missing = True
