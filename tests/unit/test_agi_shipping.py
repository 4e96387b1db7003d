"""Rows on their way: shared commits, nobody waits for a database that is away, and nobody for another's bad row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from agi.shipping import RowsRefused, Shipper
from dialer.calls.results import DialogueEnd, FlowResult, Writes
from dialer.errors import DatabaseAway, DialerError

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
BAD = 13


def end(number: int) -> Writes:
    return Writes(ends=[DialogueEnd(attempt_id=UUID(int=number), result=FlowResult.COMPLETED, step=None, answers=0,
                                    at=AT)])  # fmt: skip


@dataclass
class Database:
    """Takes rows, unless it is told to raise an error, to refuse the bad ones, or to stand still."""

    error: Exception | None = None
    refuses: bool = True
    groups: list[list[int]] = field(default_factory=list)
    moves: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, group: Sequence[Writes]) -> None:
        await self.moves.wait()
        if self.error is not None:
            raise self.error
        numbers = [writes.ends[0].attempt_id.int for writes in group]
        if self.refuses and BAD in numbers:
            raise RowsRefused("no such attempt")
        self.groups.append(numbers)

    @property
    def taken(self) -> list[int]:
        return [number for group in self.groups for number in group]


@dataclass
class Post:
    """A shipper with a database behind it, and whose rows it says are stored."""

    database: Database
    shipper: Shipper
    stored: list[int] = field(default_factory=list)

    async def ship(self, number: int) -> bool:
        return await self.shipper.ship(end(number), lambda: self.stored.append(number))

    async def all_stored(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.stored) < count:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def post(patience_s: float = 5) -> AsyncIterator[Post]:
    database = Database()
    database.moves.set()
    shipper = Shipper(database.write, pause_s=0, patience_s=patience_s, retry_s=0.01, refused_s=0.01)
    yield Post(database, shipper)
    await shipper.close(0)


async def test_rows_that_wait_meanwhile_share_a_commit() -> None:
    async with post() as mail:
        mail.database.moves.clear()
        waiting = [asyncio.create_task(mail.ship(number)) for number in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        mail.database.moves.set()
        assert await asyncio.gather(*waiting) == [True] * 4
        assert len(mail.database.groups) <= 2
        assert sorted(mail.stored) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [DatabaseAway("gone"), DialerError("no space left"), TimeoutError()])
async def test_while_the_database_is_away_nobody_waits_and_all_is_stored_later(error: Exception) -> None:
    async with post() as mail:
        mail.database.error = error
        assert not await mail.ship(1)
        assert mail.shipper.away
        mail.database.moves.clear()
        assert not await asyncio.wait_for(mail.ship(2), 0.1), "it is known to be away"
        mail.database.error = None
        mail.database.moves.set()
        await mail.all_stored(2)
        assert mail.database.taken == [1, 2]
        assert not mail.shipper.away
        assert await mail.ship(3)


async def test_a_database_that_stands_still_is_taken_for_away_after_a_moment() -> None:
    async with post(patience_s=0.02) as mail:
        mail.database.moves.clear()
        assert not any(await asyncio.gather(mail.ship(1), mail.ship(2)))
        assert mail.shipper.away
        mail.database.moves.set()
        await mail.all_stored(2)
        assert sorted(mail.database.taken) == [1, 2], "each once: the group under way went on"
        assert not mail.shipper.away


async def test_bad_rows_keep_nobody_elses_back_and_are_tried_again() -> None:
    async with post() as mail:
        results = await asyncio.gather(*(mail.ship(number) for number in (1, BAD, 2)))
        assert results == [True, False, True]
        assert not mail.shipper.away
        mail.database.refuses = False
        await mail.all_stored(3)
        assert sorted(mail.database.taken) == [1, 2, BAD]


async def test_a_bug_in_writing_rows_counts_as_theirs() -> None:
    async with post() as mail:
        mail.database.error = ZeroDivisionError()
        assert not await mail.ship(1)
        assert not mail.shipper.away
        mail.database.error = None
        assert await mail.ship(2)
        await mail.all_stored(2)


async def test_who_waits_no_more_has_its_rows_stored_all_the_same() -> None:
    async with post() as mail:
        mail.database.moves.clear()
        waiting = asyncio.create_task(mail.ship(1))
        await asyncio.sleep(0)
        waiting.cancel()
        mail.database.moves.set()
        await mail.all_stored(1)


async def test_closing_waits_for_rows_and_not_for_ever() -> None:
    async with post() as mail:
        mail.database.error = DatabaseAway("gone")
        assert not await mail.ship(1)
        mail.database.error = None
        await mail.shipper.close(5)
        assert mail.stored == [1]
    async with post() as mail:
        mail.database.error = DatabaseAway("gone")
        assert not await mail.ship(1)
        await asyncio.wait_for(mail.shipper.close(0.01), 1)
        assert mail.stored == []
