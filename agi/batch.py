"""Group work: one task takes all that many callers queued meanwhile, does it in one go, and answers each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from dialer.errors import DatabaseAway

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """`work` gets the queued items and returns their results in the same order.

    Groups begin at least `pause_s` apart: alone an item is done at once, under load a group gathers meanwhile, and
    its statements and its commit are shared. Without that, a fast database makes every item its own transaction.

    When a group fails its members are tried one by one, so that one bad row fails alone; when the database is away all
    of them fail at once. `timeout_s` is how long who asks will wait: a group under way goes on without them, because
    what it writes may yet be stored; an item that is still queued is taken back.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        most: int,
        pause_s: float,
        timeout_s: float,
    ) -> None:
        self._work, self._most, self._pause_s, self._timeout_s = work, most, pause_s, timeout_s
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def do(self, item: Item) -> Result:
        """The item's result, as soon as its group is done. Raises what `work` raised for it; DatabaseAway when late."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        patience = loop.call_later(self._timeout_s, self._late, future)
        try:
            return await future
        finally:
            patience.cancel()

    async def close(self, within_s: float) -> None:
        """Returns when nothing is queued or under way, or when the time is over."""
        if self._running is not None:
            await asyncio.wait([self._running], timeout=within_s)

    async def _run(self) -> None:
        try:
            while self._waiting:
                wanted = [member for member in self._waiting if not member[1].done()]
                group, self._waiting = wanted[: self._most], wanted[self._most :]
                if group:
                    await self._settle(group)
                    await asyncio.sleep(self._pause_s)
        finally:
            self._running = None

    async def _settle(self, group: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._work([item for item, _ in group])
        except DatabaseAway as error:
            _fail(group, error)
        except Exception as error:
            if len(group) == 1:
                _fail(group, error)
            else:
                for member in group:
                    await self._settle([member])
        else:
            for (_, future), result in zip(group, results, strict=True):
                # Who was cancelled or lost patience waits no more.
                if not future.done():
                    future.set_result(result)

    def _late(self, future: asyncio.Future[Result]) -> None:
        if not future.done():
            future.set_exception(DatabaseAway(f"PostgreSQL did not answer within {self._timeout_s:g} s."))


def _fail(group: list[tuple[Item, asyncio.Future[Result]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
