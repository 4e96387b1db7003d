"""PostgreSQL without SQLAlchemy, for the few statements that workers send again and again: a fifth of the CPU each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg

from dialer.settings import Settings
from dialer.storage.session import connect_arguments

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]


class Connections:
    """A worker's connections, `most` at once. Each statement is its own transaction, in one round trip."""

    def __init__(self, settings: Settings, most: int = 6) -> None:
        self._settings = settings
        self._turns = asyncio.Semaphore(most)
        self._idle: list[Connection] = []

    async def run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What `work` gives; it is done a second time when its connection had died since its last use.

        Whatever the first time has stored, doing it again must change nothing. Raises psycopg.Error.
        """
        async with self._turns:
            if self._idle:
                connection = self._idle.pop()
                try:
                    return await self._use(connection, work)
                except psycopg.OperationalError:
                    if not connection.closed:
                        raise
                    # PostgreSQL was restarted: the others are dead too.
                    await self.close()
            return await self._use(await self._connect(), work)

    async def close(self) -> None:
        """Closes those that nobody uses."""
        while self._idle:
            await self._idle.pop().close()

    async def _connect(self) -> Connection:
        arguments = connect_arguments(self._settings, idle_s=5)
        return await psycopg.AsyncConnection.connect(self._settings.database, autocommit=True, **arguments)

    async def _use(self, connection: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            return await work(connection)
        finally:
            # One that died, or whose user was cancelled before the server answered, serves nobody any more.
            if connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
