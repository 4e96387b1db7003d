"""Rows on their way into PostgreSQL: sent in groups that share a commit, again and again until they are there."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from dialer.calls.results import Writes
from dialer.errors import DialerError

log = logging.getLogger(__name__)

MAX_GROUP = 200
PAUSE_S = 0.08
"""Between groups. Nobody hears so short a wait; at 100 calls a second this figure, doubled from 40 ms, saves a fifth of
a worker's CPU."""
PATIENCE_S = 1.0
"""A person waits in silence meanwhile; then the spool must do."""
GROUP_S = 10.0
"""A connection that stands still for so long is given up. What it carried may be stored all the same."""
RETRY_S = 0.5
REFUSED_S = 5.0


class RowsRefused(DialerError):
    """PostgreSQL works, and will not have these rows: their attempt is not there, after a restore perhaps."""


@dataclass(kw_only=True, eq=False)
class _Parcel:
    writes: Writes
    stored: Callable[[], None]
    soon: asyncio.Future[bool]
    refused: bool = False


class Shipper:
    """Calls `write` with groups of rows until each is committed; the same rows again change nothing.

    Rows that are refused go on alone, so that they keep nobody else's back. While PostgreSQL is `away` nobody waits:
    it is so when a group failed, or when rows were not committed within a second, and until a group is committed.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Writes]], Awaitable[None]],
        *,
        pause_s: float = PAUSE_S,
        patience_s: float = PATIENCE_S,
        retry_s: float = RETRY_S,
        refused_s: float = REFUSED_S,
    ) -> None:
        self._write = write
        self._pause_s, self._patience_s, self._retry_s, self._refused_s = pause_s, patience_s, retry_s, refused_s
        self._queue: deque[_Parcel] = deque()
        self._running: asyncio.Task[None] | None = None
        self._apart: set[asyncio.Task[None]] = set()
        self._left = 0
        self._nothing_left = asyncio.Event()
        self._nothing_left.set()
        self.away = False

    async def ship(self, writes: Writes, stored: Callable[[], None]) -> bool:
        """Whether the rows were committed at once. If not, they will be; then, as always, `stored` is called."""
        soon = self.send(writes, stored)
        patience = asyncio.get_running_loop().call_later(self._patience_s, self._late, soon)
        try:
            return await soon
        finally:
            patience.cancel()

    def send(self, writes: Writes, stored: Callable[[], None]) -> asyncio.Future[bool]:
        """Takes rows over; `stored` is called when they are committed. The future says what is known soon."""
        parcel = _Parcel(writes=writes, stored=stored, soon=asyncio.get_running_loop().create_future())
        self._left += 1
        self._nothing_left.clear()
        self._put([parcel])
        if self.away:
            _tell(parcel, False)
        return parcel.soon

    async def close(self, within_s: float) -> None:
        """Returns when all is committed, or when the time is over; nothing is sent after that."""
        try:
            async with asyncio.timeout(within_s):
                await self._nothing_left.wait()
        except TimeoutError:
            log.error("rows_not_shipped", extra={"parcels": self._left})
        tasks = [task for task in (self._running, *self._apart) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _put(self, parcels: Sequence[_Parcel]) -> None:
        self._queue.extend(parcels)
        if self._queue and self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._queue:
                group = list(islice(self._queue, MAX_GROUP))
                left = await self._settle(group)
                for _ in group:
                    self._queue.popleft()
                self._queue.extendleft(reversed(left))
                await asyncio.sleep(self._retry_s if left else self._pause_s)
        finally:
            self._running = None

    async def _settle(self, group: Sequence[_Parcel]) -> Sequence[_Parcel]:
        """Those of a group that must be sent again, because PostgreSQL is away."""
        try:
            async with asyncio.timeout(GROUP_S):
                await self._write([parcel.writes for parcel in group])
        except RowsRefused as error:
            return await self._one_by_one(group, error)
        except (DialerError, TimeoutError) as error:
            self._gone(str(error) or f"no commit within {GROUP_S:g} s")
            return group
        except Exception as error:
            log.exception("rows_not_written")
            return await self._one_by_one(group, error)
        if self.away:
            self.away = False
            log.warning("database_back")
        for parcel in group:
            self._stored(parcel)
        return ()

    async def _one_by_one(self, group: Sequence[_Parcel], error: Exception) -> Sequence[_Parcel]:
        if len(group) == 1:
            self._refused(group[0], error)
            return ()
        for number, parcel in enumerate(group):
            if await self._settle([parcel]):
                return group[number:]
        return ()

    def _stored(self, parcel: _Parcel) -> None:
        _tell(parcel, True)
        self._left -= 1
        if not self._left:
            self._nothing_left.set()
        try:
            parcel.stored()
        except Exception:
            # The rows are safe, and the other parcels' owners must hear so of theirs.
            log.exception("stored_but_not_noted", extra={"attempts": parcel.writes.attempts()})

    def _refused(self, parcel: _Parcel, error: Exception) -> None:
        _tell(parcel, False)
        if not parcel.refused:
            parcel.refused = True
            log.error("rows_refused", extra={"attempts": parcel.writes.attempts(), "reason": str(error)})
        task = asyncio.get_running_loop().create_task(self._send_apart(parcel))
        self._apart.add(task)
        task.add_done_callback(self._apart.discard)

    async def _send_apart(self, parcel: _Parcel) -> None:
        await asyncio.sleep(self._refused_s)
        self._put(await self._settle([parcel]))

    def _late(self, soon: asyncio.Future[bool]) -> None:
        if not soon.done():
            self._gone(f"no commit within {self._patience_s:g} s")

    def _gone(self, reason: str) -> None:
        if not self.away:
            self.away = True
            log.error("database_away", extra={"reason": reason, "parcels": self._left})
        for parcel in self._queue:
            _tell(parcel, False)


def _tell(parcel: _Parcel, stored: bool) -> None:
    # Who was cancelled waits no more.
    if not parcel.soon.done():
        parcel.soon.set_result(stored)
