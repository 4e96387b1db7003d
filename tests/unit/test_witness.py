"""The engine's witness: when the record counts as complete, and what it knows that the database does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from dialer.ami import cel
from dialer.calls.witness import CelPosition, CelRecord
from dialer.engine.witness import Witness
from tests.support.engine_parts import FakeClock
from tests.unit.test_cel import ID, line

MARK, OTHER = UUID(int=77), UUID(int=78)


def mark_line(mark: UUID) -> bytes:
    return line("CHAN_START", channel=f"m-{mark}")


class Shelf:
    """The store, as far as the witness needs it."""

    def __init__(self, known: Sequence[UUID] = ()) -> None:
        self.known = set(known)
        self.position: CelPosition | None = CelPosition(inode=0, offset=0)
        self.records: list[CelRecord] = []

    async def begin_cel(self) -> None:
        pass

    async def cel_position(self) -> CelPosition | None:
        return self.position

    async def store_cel(self, records: Sequence[CelRecord], position: CelPosition) -> None:
        self.records += records
        self.position = position

    async def unknown_attempts(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        return set(attempt_ids) - self.known


class BusyClock(FakeClock):
    """Does something once, while somebody sleeps."""

    def __init__(self, after_s: float, act: Callable[[], object]) -> None:
        super().__init__()
        self._after_s, self._act = after_s, act

    async def sleep(self, seconds: float) -> None:
        before = self.passed_s
        await super().sleep(seconds)
        if before < self._after_s <= self.passed_s:
            self._act()


def witness(shelf: Shelf, path: Path, clock: FakeClock | None = None) -> Witness:
    return Witness(shelf, lambda position: cel.read(path, position), clock or FakeClock())


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


async def test_the_record_is_complete_when_the_mark_is_in_it_and_all_before_it_is_stored(tmp_path):
    path, shelf = tmp_path / "cel.jsonl", Shelf()
    path.write_bytes(line("CHAN_START"))
    clock = BusyClock(1.5, lambda: append(path, line("HANGUP") + mark_line(OTHER) + mark_line(MARK)))
    assert await witness(shelf, path, clock).complete(MARK, 5)
    assert [record.kind for record in shelf.records] == ["CHAN_START", "HANGUP"]
    assert clock.passed_s == pytest.approx(1.6)


async def test_a_mark_that_was_read_on_another_way_counts(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(mark_line(MARK))
    one = witness(Shelf(), path)
    await one.catch_up()
    assert await one.complete(MARK, 0)


@pytest.mark.parametrize("there", [b"", line("CHAN_START"), mark_line(OTHER), mark_line(MARK)[:-1], None])
async def test_without_the_mark_nothing_is_complete(tmp_path, there):
    path, clock = tmp_path / "cel.jsonl", FakeClock()
    if there is not None:
        path.write_bytes(there)
    assert not await witness(Shelf(), path, clock).complete(MARK, 3)
    assert clock.passed_s == pytest.approx(3, abs=0.3)


async def test_a_record_that_cannot_be_seen_is_never_complete():
    assert not await Witness(Shelf(), None, FakeClock()).complete(MARK, 3)


async def test_absence_proves_nothing_once_a_part_of_the_record_was_lost(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START") * 3)
    one = witness(Shelf(), path)
    await one.catch_up()
    path.write_bytes(mark_line(MARK))
    assert not await one.complete(MARK, 3)


async def test_calls_that_the_database_forgot_are_named_and_nothing_is_stored(tmp_path):
    path, shelf = tmp_path / "cel.jsonl", Shelf(known=[ID])
    path.write_bytes(line("HANGUP", channel=f"d-{UUID(int=1)}"))
    shelf.position = cel.read(path, None).position
    forgotten = line("CHAN_START", channel=f"d-{OTHER}") + line("HANGUP", channel=f"d-{OTHER}")
    append(path, line("CHAN_START") + forgotten + mark_line(MARK))
    one = witness(shelf, path)
    assert list(await one.unknown_calls()) == [OTHER]
    assert shelf.records == []
    await one.catch_up()
    assert len(shelf.records) == 3
    assert await one.unknown_calls() == {}
