"""`dialer run` between its file and its first call: what an impatient operator has ordered, and what not."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dialer import run
from dialer.errors import DatabaseAway
from tests.support.engine_parts import CAMPAIGN


class Desk:
    """A desk whose import takes as long as the test wants."""

    def __init__(self) -> None:
        self.importing, self.imported = threading.Event(), threading.Event()
        self.begun = 0
        self.drains: list[bool] = []
        self.away = 0

    def prepare(self, *, elsewhere: bool):
        self.importing.set()
        assert self.imported.wait(10)
        return CAMPAIGN

    def begin(self, *, elsewhere: bool) -> None:
        self.begun += 1

    def drain(self) -> None:
        self.drains.append(self.away == 0)
        if self.away:
            self.away -= 1
            raise DatabaseAway("PostgreSQL does not answer.")


class View:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


async def test_who_interrupts_the_import_has_ordered_nothing():
    desk = Desk()
    ordering = asyncio.create_task(run._ordered(desk, elsewhere=True))
    await asyncio.to_thread(desk.importing.wait, 10)
    ordering.cancel()
    desk.imported.set()
    with pytest.raises(asyncio.CancelledError):
        await ordering
    assert not desk.begun


async def test_who_waits_for_the_import_has_ordered_the_campaign():
    desk = Desk()
    desk.imported.set()
    assert await run._ordered(desk, elsewhere=True) is CAMPAIGN
    assert desk.begun == 1


async def test_an_order_to_drain_is_given_until_it_is_stored(monkeypatch):
    monkeypatch.setattr(run, "WATCH_EVERY_S", 0.01)
    desk, view = Desk(), View()
    desk.away = 2
    await run._told(desk, view)
    assert desk.drains == [False, False, True]
    assert view.notes == ["Not drained yet: PostgreSQL does not answer."]
