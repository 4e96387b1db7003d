"""Rows of dialogues that ended while they could not be stored: kept in memory, and tried again until they are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

from dialer.calls.results import Writes
from dialer.errors import DialerError

log = logging.getLogger(__name__)

MAX_ROWS = 10_000
"""About 10 MB, and more than a worker's live dialogues can leave behind at once."""
RETRY_S = (0.5, 1.0, 2.0, 5.0)
"""The last, again and again, is shorter than the time that a worker has when it stops (agi.worker)."""


class Leftovers:
    """Calls `save` with what it was given, each dialogue's rows by themselves, until that succeeds.

    One bad row therefore keeps nobody else's back. The same rows again change nothing, so rows whose first try
    succeeded unseen are no danger.
    """

    def __init__(self, save: Callable[[Writes], Awaitable[None]]) -> None:
        self._save = save
        self._rows = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, writes: Writes) -> None:
        """Takes rows over. When there are too many already they are lost, and the log says whose."""
        if self._rows + len(writes) > MAX_ROWS:
            log.critical("answers_lost", extra={"rows": len(writes), "attempts": writes.attempts(), "why": "too_many"})
            return
        log.warning("rows_kept", extra={"rows": len(writes), "attempts": writes.attempts()})
        self._rows += len(writes)
        task = asyncio.get_running_loop().create_task(self._store(writes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, within_s: float) -> None:
        """Waits until all is stored; what is not stored in time is lost, and the log says how much."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in self._tasks:
            task.cancel()
        if self._rows:
            log.critical("answers_lost", extra={"rows": self._rows, "why": "stopped"})

    async def _store(self, writes: Writes) -> None:
        for pause_s in chain(RETRY_S, repeat(RETRY_S[-1])):
            await asyncio.sleep(pause_s)
            try:
                await self._save(writes)
                break
            except DialerError as error:
                log.debug("rows_still_kept", extra={"attempts": writes.attempts(), "reason": str(error)})
        self._rows -= len(writes)
        log.info("rows_stored_late", extra={"rows": len(writes), "attempts": writes.attempts()})
