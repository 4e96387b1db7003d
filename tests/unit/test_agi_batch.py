"""Group work: shared when there is much to do, alone when there is little, and nobody pays for another's mistake."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from agi.batch import Batcher
from dialer.errors import DatabaseAway


class Work:
    """Doubles numbers; 13 is a bad one, and while `away` nothing works."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        await self.open.wait()
        self.groups.append(list(items))
        if self.away:
            raise DatabaseAway("away")
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]


def batcher(work: Work, *, timeout_s: float = 5, pause_s: float = 0) -> Batcher[int, int]:
    return Batcher(work, most=4, pause_s=pause_s, timeout_s=timeout_s)


async def test_what_is_queued_while_a_group_works_makes_the_next_group() -> None:
    work = Work()
    many = batcher(work)
    work.open.clear()
    first = asyncio.create_task(many.do(1))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(many.do(number)) for number in range(2, 8)]
    await asyncio.sleep(0)
    work.open.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8, 10, 12, 14]
    assert work.groups == [[1], [2, 3, 4, 5], [6, 7]]


async def test_a_bad_item_fails_alone() -> None:
    work = Work()
    many = batcher(work)
    results = await asyncio.gather(*(many.do(number) for number in (1, 13, 2)), return_exceptions=True)
    assert [result if isinstance(result, int) else type(result) for result in results] == [2, ValueError, 4]


async def test_when_the_database_is_away_nobody_waits_for_the_others() -> None:
    work = Work()
    work.away = True
    many = batcher(work)
    results = await asyncio.gather(*(many.do(number) for number in range(4)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseAway] * 4
    assert len(work.groups) == 1


async def test_who_waits_too_long_is_told_and_the_group_goes_on_without_them() -> None:
    work = Work()
    work.open.clear()
    slow = batcher(work, timeout_s=0.02)
    with pytest.raises(DatabaseAway, match="within"):
        await slow.do(1)
    assert work.groups == []
    work.open.set()
    await slow.close(5)
    assert work.groups == [[1]], "what was under way is done"


async def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    work = Work()
    work.open.clear()
    slow = batcher(work, timeout_s=0.02)
    results = await asyncio.gather(*(slow.do(number) for number in range(6)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseAway] * 6
    work.open.set()
    await slow.close(5)
    assert work.groups == [[0, 1, 2, 3]], "the second group had not begun"


async def test_who_gave_up_disturbs_nobody() -> None:
    work = Work()
    many = batcher(work)
    work.open.clear()
    quitter, stayer = asyncio.create_task(many.do(1)), asyncio.create_task(many.do(2))
    await asyncio.sleep(0)
    quitter.cancel()
    work.open.set()
    assert await stayer == 4
    await many.close(5)


async def test_closing_waits_for_what_is_queued() -> None:
    work = Work()
    many = batcher(work)
    task = asyncio.create_task(many.do(1))
    await asyncio.sleep(0)
    await many.close(5)
    assert task.done() or await task == 2
    assert work.groups == [[1]]


async def test_closing_waits_no_longer_than_allowed() -> None:
    work = Work()
    work.open.clear()
    many = batcher(work)
    task = asyncio.create_task(many.do(1))
    await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await many.close(0.02)
    work.open.set()
    assert await task == 2
