"""The journal: on the disk before anything is sent, whole after a crash, and gone after two weeks."""

from __future__ import annotations

import errno
import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from uuid import UUID, uuid4

import pytest

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.contacts.contact import ContactChange
from dialer.errors import DialerError
from dialer.settings import KEPT_ON_HOST
from dialer.storage import journal
from dialer.storage.journal import Claimed, Journal, Verdict
from tests.support.engine_parts import T0, make_claim


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "state" / "journal"


def written(directory):
    return list(journal.read_all(directory))


def ended(claim):
    attempt = replace(
        claim.attempt, state=State.ENDED, disposition=Disposition.BUSY, first_audio_at=T0 + timedelta(seconds=2),
        hung_up_at=T0 + timedelta(seconds=3), ended_at=T0 + timedelta(seconds=4), cause=17, tech_cause=486, seq=4,
    )  # fmt: skip
    change = ContactChange(
        contact_id=7, attempts=1, wave=2, next_attempt_at=T0 + timedelta(minutes=5), next_number=attempt.number,
        avoid_trunks=("a", "b"),
    )  # fmt: skip
    return attempt, change


def test_what_is_written_is_read(directory):
    claim, now = make_claim(), T0 + timedelta(seconds=1)
    claim = replace(
        claim, contact=replace(claim.contact, person_key="żółw"), attempt=replace(claim.attempt, epoch=3, boot="b")
    )
    attempt, change = ended(claim)
    kept = Journal(directory, "node-1", lambda: now)
    kept.claimed("autumn", [claim])
    kept.ended([(attempt, change)])
    first, second = written(directory)
    assert first == Claimed(
        at=now, attempt_id=attempt.id, tenant_id="t", campaign="autumn", revision_id=1, person_key="żółw",
        number=attempt.number, attempts=0, wave=1, node="n", trunk="a", submitting_at=T0, epoch=3, boot="b",
        caller_id="+48221234567",
    )  # fmt: skip
    assert second == Verdict(
        at=now, attempt_id=attempt.id, accepted_at=None, ringing_at=None, answered_at=None,
        first_audio_at=attempt.first_audio_at, hung_up_at=attempt.hung_up_at, ended_at=attempt.ended_at,
        originate_reason=None, cause=17, tech_cause=486, disposition="busy", seq=4, change=change,
    )  # fmt: skip


def test_lines_of_a_release_without_trunks_in_turn_are_read(directory):
    """A day's file may have been begun before an upgrade."""
    at = "2026-05-04T09:00:00+00:00"
    claimed = {
        "at": at, "attempt_id": str(UUID(int=1)), "tenant_id": "t", "campaign": "c", "revision_id": 1,
        "person_key": "7", "number": "+48501000001", "attempts": 0, "wave": 1, "node": "n", "trunk": "a",
        "submitting_at": at, "epoch": 1, "boot": "b",
    }  # fmt: skip
    change = {"contact_id": 7, "attempts": 1, "wave": 2, "next_attempt_at": None, "next_number": None,
              "closed_as": "completed", "on_hold": False}  # fmt: skip
    ended = {
        "at": at, "attempt_id": str(UUID(int=1)), "accepted_at": at, "ringing_at": None, "answered_at": at,
        "hung_up_at": at, "ended_at": at, "originate_reason": 4, "cause": 16, "tech_cause": None,
        "disposition": "completed", "seq": 5, "change": change,
    }  # fmt: skip
    directory.mkdir(parents=True)
    text = "".join(json.dumps(one) + "\n" for one in ({"claimed": claimed}, {"ended": ended}))
    (directory / "calls-2026-05-04-n.jsonl").write_text(text, encoding="utf-8")
    first, second = written(directory)
    assert (first.trunk, first.caller_id) == ("a", "")
    assert (second.disposition, second.first_audio_at, second.change.avoid_trunks) == ("completed", None, ())


def test_claims_are_on_the_disk_when_the_call_returns_and_verdicts_wait_for_no_disk(directory, monkeypatch):
    done = []
    monkeypatch.setattr(os, "fdatasync", lambda file: done.append(os.fstat(file).st_size))
    monkeypatch.setattr(os, "fsync", lambda file: done.append("directory"))
    kept = Journal(directory, "n", lambda: T0)
    kept.claimed("c", [make_claim(1), make_claim(2)])
    (path,) = journal.files(directory)
    assert done == ["directory", "directory", path.stat().st_size], "the new names, then both lines at once"
    kept.ended([ended(make_claim(1))])
    kept.claimed("c", [make_claim(3)])
    assert done[3:] == [path.stat().st_size]


def test_only_the_owner_may_read_it(directory):
    Journal(directory, "n", lambda: T0).claimed("c", [make_claim()])
    (path,) = journal.files(directory)
    assert (stat.S_IMODE(directory.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


def test_each_utc_day_and_node_has_its_file_and_all_are_read_in_the_order_of_writing(directory):
    at = [datetime(2026, 5, 4, 23, 59, 59, tzinfo=UTC)]
    one, two = Journal(directory, "node-1", lambda: at[0]), Journal(directory, "node-2", lambda: at[0])
    claims = [make_claim(number) for number in range(4)]
    for kept, claim in zip((one, two, one, two), claims, strict=True):
        kept.claimed("c", [claim])
        at[0] += timedelta(seconds=1)
    assert [path.name.removeprefix("calls-") for path in journal.files(directory)] == [
        "2026-05-04-node-1.jsonl", "2026-05-05-node-1.jsonl", "2026-05-05-node-2.jsonl",
    ]  # fmt: skip
    assert [line.attempt_id for line in written(directory)] == [claim.attempt.id for claim in claims]


def test_a_full_disk_is_told_and_the_next_line_begins_anew(directory, monkeypatch):
    kept, real = Journal(directory, "n", lambda: T0), os.write
    first, second, third = (make_claim(number) for number in range(3))
    kept.claimed("c", [first])

    def full(file: int, data: bytes) -> int:
        if not data.startswith(b"{"):
            raise OSError(errno.ENOSPC, "no space left")
        return real(file, data[:20])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space left"):
        kept.claimed("c", [second])
    monkeypatch.setattr(os, "write", real)
    kept.claimed("c", [third])
    assert [line.attempt_id for line in written(directory)] == [first.attempt.id, third.attempt.id]


def test_a_disk_that_fails_is_told(directory, monkeypatch):
    def fail(file: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    kept = Journal(directory, "n", lambda: T0)
    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(OSError, match="input/output"):
        kept.claimed("c", [make_claim()])


@pytest.mark.parametrize("rest", [b'{"claimed":{"at":"20', b"\0\0\0\0", b'{"ended":{"at":"2026-05-04T09:00:00+00:00"}'])
def test_a_line_that_a_crash_cut_is_skipped(directory, rest):
    first, second = make_claim(1), make_claim(2)
    Journal(directory, "n", lambda: T0).claimed("c", [first])
    (path,) = journal.files(directory)
    with path.open("ab") as file:
        file.write(rest)
    Journal(directory, "n", lambda: T0).claimed("c", [second])
    assert [line.attempt_id for line in written(directory)] == [first.attempt.id, second.attempt.id]
    assert [line.attempt_id for line in journal.tail(path, 10)] == [first.attempt.id, second.attempt.id]


@pytest.mark.parametrize("line", ['{"claimed":{"at":"2026-05-04T09:00:00+00:00"}}', '{"other":{}}', "[]", "7"])
def test_a_line_of_another_release_is_not_passed_over(directory, line):
    directory.mkdir(parents=True)
    (directory / "calls-2026-05-04-n.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DialerError, match="not of this release"):
        written(directory)


@pytest.mark.parametrize("most", [1, 2, 3, 50, 1000])
def test_the_tail_is_the_end(directory, most):
    kept = Journal(directory, "n", lambda: T0)
    kept.claimed("c", [make_claim(number) for number in range(60)])
    (path,) = journal.files(directory)
    assert journal.tail(path, most) == list(journal.read(path))[-most:]


def test_a_file_that_somebody_removed_is_made_again(directory):
    kept = Journal(directory, "n", lambda: T0)
    kept.claimed("c", [make_claim(1)])
    journal.files(directory)[0].unlink()
    second = make_claim(2)
    kept.claimed("c", [second])
    assert [line.attempt_id for line in written(directory)] == [second.attempt.id]


def test_a_journal_that_may_not_be_read_is_not_taken_for_none(directory):
    assert journal.files(directory) == []
    Journal(directory, "n", lambda: T0).claimed("c", [make_claim()])
    (path,) = journal.files(directory)
    path.rename(path.with_suffix(".kept"))
    path.mkdir()
    with pytest.raises(DialerError, match="cannot be read"):
        written(directory)
    (directory.parent / "file").write_text("", encoding="utf-8")
    with pytest.raises(DialerError, match="cannot be read"):
        journal.files(directory.parent / "file")


def test_threads_do_not_mix_their_lines(directory):
    kept = Journal(directory, "n", lambda: T0)
    groups = [[replace(make_claim(n), attempt=replace(make_claim(n).attempt, id=uuid4())) for n in range(50)]] * 4
    threads = [Thread(target=kept.claimed, args=("c", group)) for group in groups]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written(directory)) == 200


def test_a_verdict_does_not_wait_for_a_disk_that_takes_its_time(directory, monkeypatch):
    kept, begun, go_on = Journal(directory, "n", lambda: T0), Event(), Event()
    monkeypatch.setattr(os, "fdatasync", lambda file: (begun.set(), go_on.wait(10)))
    claims = Thread(target=kept.claimed, args=("c", [make_claim(1)]))
    claims.start()
    assert begun.wait(10)
    kept.ended([ended(make_claim(2))])
    assert claims.is_alive()
    go_on.set()
    claims.join()
    assert len(written(directory)) == 2


def test_two_weeks_are_kept(directory):
    for days in (15, 14, 0):
        at = T0 - timedelta(days=days)
        kept = Journal(directory, "n", lambda at=at: at)
        kept.claimed("c", [make_claim()])
        kept.close()
        if days == 15:
            assert journal.put_aside(directory, at) is not None
            assert journal.files(directory) == []
            kept.claimed("c", [make_claim()])
    kept.forget(T0 - KEPT_ON_HOST)
    assert sorted(path.name for path in directory.iterdir()) == ["calls-2026-04-20-n.jsonl", "calls-2026-05-04-n.jsonl"]
