"""A dialogue's file: what goes in comes out, one process leads it, and a full or broken disk spoils no line."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.calls.log import event_row
from dialer.calls.results import Answer, DialogueEnd, FlowResult, OptOut, Try, TryOutcome, Writes
from dialer.contacts.suppress import DncScope
from dialer.storage import spool
from dialer.storage.spool import Archive, Kept, Spool, SpoolFile

AT = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
ID = UUID(int=7)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
small = st.integers(1, 9)
moments = st.datetimes(timezones=st.just(UTC))
tries = st.builds(Try, attempt_id=st.uuids(), step=texts, visit=small, try_no=small, keys=texts,
                  outcome=st.sampled_from(TryOutcome), at=moments)  # fmt: skip
answers = st.builds(Answer, attempt_id=st.uuids(), step=texts, visit=small, revision_id=small, keys=texts, value=texts,
                    at=moments)  # fmt: skip
opt_outs = st.builds(OptOut, attempt_id=st.uuids(), scope=st.sampled_from(DncScope), at=moments)
ends = st.builds(DialogueEnd, attempt_id=st.uuids(), result=st.sampled_from(FlowResult), step=st.none() | texts,
                 answers=small, at=moments, detail=st.none() | texts, audio_at=st.none() | moments,
                 callback_at=st.none() | moments, opted_out=st.booleans())  # fmt: skip
events = st.builds(event_row, tenant_id=texts, occurred_at=moments, type=texts, subject_type=texts, subject_id=texts,
                   seq=small, payload=st.dictionaries(texts, st.none() | texts | small))  # fmt: skip
writes_of = st.builds(Writes, tries=st.lists(tries, max_size=3), answers=st.lists(answers, max_size=3),
                      opt_outs=st.lists(opt_outs, max_size=1),
                      ends=st.lists(ends, max_size=1), events=st.lists(events, max_size=3))  # fmt: skip


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def opened(directory: Path, attempt_id: UUID = ID) -> SpoolFile:
    file = Spool(directory).open(attempt_id)
    assert file is not None
    return file


def one_try(try_no: int = 1) -> Writes:
    return Writes(tries=[Try(attempt_id=ID, step="fever", visit=1, try_no=try_no, keys="1",
                             outcome=TryOutcome.ACCEPTED, at=AT)])  # fmt: skip


@given(groups=st.lists(writes_of, max_size=4))
def test_what_goes_into_a_dialogues_file_comes_out(
    tmp_path_factory: pytest.TempPathFactory, groups: list[Writes]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    file = opened(directory)
    file.begin({"language": "pl", "fields": {"first_name": "Łucja\n"}})
    together = Writes()
    for writes in groups:
        file.append(writes)
        together.extend(writes)
    file.close()
    file = opened(directory)
    assert file.read() == Kept(context={"language": "pl", "fields": {"first_name": "Łucja\n"}}, writes=together)
    file.remove()


@given(groups=st.lists(writes_of, max_size=4))
def test_what_goes_into_the_archive_comes_out(tmp_path_factory: pytest.TempPathFactory, groups: list[Writes]) -> None:
    directory = tmp_path_factory.mktemp("journal")
    archive = Archive(directory)
    for writes in groups:
        archive.append(writes, date(2026, 5, 1))
    found = [writes for path in spool.archives(directory) for writes in spool.read_archive(path)]
    assert found == groups


def test_nobody_else_may_read_what_people_said(directory: Path) -> None:
    file = opened(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert next(directory.iterdir()).stat().st_mode & 0o777 == 0o600
    file.close()


def test_a_file_has_one_leader_and_the_next_when_it_lets_go(directory: Path) -> None:
    first, second = Spool(directory), Spool(directory)
    held = first.open(ID)
    assert held is not None
    assert second.open(ID) is None
    held.close()
    again = second.open(ID)
    assert again is not None
    again.remove()
    assert not list(directory.iterdir())


def _lead_and_die(directory: Path) -> None:
    opened(directory).append(one_try())
    os._exit(0)


def test_the_lock_of_a_dead_process_is_free_and_its_rows_are_there(directory: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_lead_and_die, args=(directory,))
    process.start()
    process.join(10)
    assert directory.joinpath(f"{ID}.jsonl").stat().st_size > 0
    opened(directory).close()


def orphans(spool_: Spool) -> list[UUID]:
    found = list(spool_.orphans())
    for file in found:
        file.close()
    return [file.attempt_id for file in found]


def test_an_orphan_is_a_file_that_nobody_holds_and_nobody_touched_since_the_last_look(directory: Path) -> None:
    live, left, young = UUID(int=1), UUID(int=2), UUID(int=3)
    watcher = Spool(directory)
    held = opened(directory, live)
    opened(directory, left).close()
    assert orphans(watcher) == []
    opened(directory, young).close()
    assert orphans(watcher) == [left]
    file = opened(directory, left)
    file.begin({})
    file.close()
    os.utime(directory / f"{left}.jsonl", ns=(1, 1))
    assert sorted(orphans(watcher)) == [young], "the other was touched"
    held.close()


def test_pending_is_what_still_has_a_file(directory: Path) -> None:
    assert spool.pending(directory, [ID]) == set()
    other = uuid4()
    files = [opened(directory, ID), opened(directory, other)]
    (directory / "README").write_text("not a dialogue", encoding="utf-8")
    assert spool.pending(directory, [ID, uuid4()]) == {ID}
    assert spool.pending(directory, []) == set()
    for file in files:
        file.remove()
    assert spool.pending(directory, [ID, other]) == set()


@pytest.mark.parametrize("torn", [b'{"tries": [{"att', b"\0" * 4096])
def test_a_line_without_an_end_is_cut_off(directory: Path, torn: bytes) -> None:
    file = opened(directory)
    file.begin({"language": "pl"})
    file.append(one_try())
    file.close()
    path = directory / f"{ID}.jsonl"
    with path.open("ab") as end:
        end.write(torn)
    file = opened(directory)
    assert file.read().writes == one_try()
    file.append(one_try(2))
    file.close()
    assert [item.try_no for item in opened(directory).read().writes.tries] == [1, 2]


def test_a_file_whose_worker_died_before_the_first_word_has_no_context(directory: Path) -> None:
    assert opened(directory).read() == Kept()


def test_a_spoiled_line_costs_only_itself(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = opened(directory)
    file.begin({})
    file.append(one_try(1))
    file.close()
    with (directory / f"{ID}.jsonl").open("ab") as end:
        end.write(b'{"tries": 3}\n[]\n\0\0\n')
    file = opened(directory)
    assert file.read().writes == one_try(1)
    file.append(one_try(2))
    assert [item.try_no for item in file.read().writes.tries] == [1, 2]
    assert {record.getMessage() for record in caplog.records} == {"spool_line_unreadable"}


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each write finds room for 20 bytes."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    yield
    monkeypatch.undo()


def test_a_disk_that_fills_up_leaves_whole_lines(
    directory: Path, small_disk: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(directory)
    file.begin({})
    with pytest.raises(OSError, match="No space left"):
        file.append(one_try(1))
    monkeypatch.undo()
    file.append(one_try(2))
    assert file.read() == Kept(context={}, writes=one_try(2))


def test_the_archive_keeps_fourteen_days(tmp_path: Path) -> None:
    archive, today = Archive(tmp_path), date(2026, 5, 20)
    for age in (0, 14, 15, 40):
        archive.append(one_try(), today - timedelta(days=age))
    (tmp_path / "attempts-2026-01-01.jsonl").write_text("another's", encoding="utf-8")
    assert archive.tidy(today) == 2
    assert [path.name[10:20] for path in spool.archives(tmp_path)] == ["2026-05-06", "2026-05-20"]
    assert (tmp_path / "attempts-2026-01-01.jsonl").exists()


def test_an_ended_dialogues_file_serves_the_next_one_empty(directory: Path) -> None:
    own = Spool(directory)
    first = own.open(ID)
    assert first is not None
    first.begin({"language": "pl"})
    first.append(one_try())
    inode = (directory / f"{ID}.jsonl").stat().st_ino
    first.remove()
    assert not list(directory.iterdir())
    second = own.open(UUID(int=8))
    assert second is not None
    assert second.read() == Kept()
    assert [(path.name, path.stat().st_ino, path.stat().st_nlink) for path in directory.iterdir()] == [
        (f"{UUID(int=8)}.jsonl", inode, 1)
    ]
    second.remove()


def test_a_spare_never_takes_the_place_of_a_file_that_stands(directory: Path) -> None:
    own = Spool(directory)
    spare = own.open(ID)
    assert spare is not None
    spare.remove()
    left = opened(directory, UUID(int=8))
    left.begin({})
    left.append(one_try())
    left.close()
    again = own.open(UUID(int=8))
    assert again is not None
    assert again.read().writes == one_try()
    again.close()


def test_spares_that_somebody_cleared_are_missed_by_nobody(directory: Path) -> None:
    first, second = Spool(directory), Spool(directory)
    ended = first.open(ID)
    assert ended is not None
    ended.remove()
    files = [second.open(UUID(int=1)), first.open(UUID(int=2))]
    assert all(file is not None for file in files)
    assert len({path.stat().st_ino for path in directory.iterdir()}) == 2
    assert not list(directory.with_name("spool-spare").iterdir())


def test_where_no_spare_can_be_kept_the_file_goes_all_the_same(directory: Path) -> None:
    directory.with_name("spool-spare").write_text("no directory", encoding="utf-8")
    opened(directory).remove()
    assert not list(directory.iterdir())


def test_who_waited_for_a_file_that_is_another_dialogues_now_does_not_get_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, lock = Spool(directory), spool._lock
    held = own.open(ID)
    assert held is not None
    held.begin({})

    def handed_on(descriptor: int) -> bool:
        """Between our open and our lock its owner ends the dialogue, and another dialogue gets the file."""
        monkeypatch.setattr(spool, "_lock", lock)
        held.remove()
        other = own.open(UUID(int=8))
        assert other is not None
        other.close()
        return lock(descriptor)

    monkeypatch.setattr(spool, "_lock", handed_on)
    assert Spool(directory).take(ID) is None
