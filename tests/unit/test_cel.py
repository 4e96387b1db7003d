"""The node's own record: read through rotation and cut lines, and compared with what our tables say."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.ami import cel
from dialer.calls.disposition import Disposition
from dialer.calls.witness import CelPosition, CelRecord, Told, disagreements

ID = UUID(int=5)
T0 = datetime(2026, 5, 4, 9, tzinfo=UTC)


def line(kind: str, channel: str = f"d-{ID}", **extra: object) -> bytes:
    said = {"eventtype": kind, "eventtime": "1795295557.718745", "uniqueid": channel, "eventextra": json.dumps(extra)}
    return json.dumps(said).encode() + b"\n"


def read_all(path: Path, position: CelPosition | None = None) -> tuple[list[str], CelPosition]:
    kinds: list[str] = []
    while True:
        reading = cel.read(path, position)
        kinds += [record.kind for record in reading.records]
        if reading.position == position:
            return kinds, position
        position = reading.position


def test_what_the_lab_writes_is_read(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("DTMF", digit="5", duration_ms=100) + line("HANGUP", hangupcause=17))
    dtmf, hangup = cel.read(path, None).records
    assert (dtmf.attempt_id, dtmf.digit, hangup.cause) == (ID, "5", 17)
    assert dtmf.at == datetime.fromtimestamp(1795295557.718745, UTC)
    assert hangup.offset == len(line("DTMF", digit="5", duration_ms=100))


def test_a_line_on_its_way_is_read_when_it_is_whole(tmp_path):
    path, whole = tmp_path / "cel.jsonl", line("ANSWER")
    path.write_bytes(line("CHAN_START") + whole[:20])
    kinds, position = read_all(path)
    assert kinds == ["CHAN_START"]
    path.write_bytes(line("CHAN_START") + whole)
    assert read_all(path, position)[0] == ["ANSWER"]


def test_rotation_loses_nothing(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START"))
    _, position = read_all(path)
    with path.open("ab") as file:
        file.write(line("ANSWER"))
    path.rename(tmp_path / "cel.jsonl.1")
    path.write_bytes(line("HANGUP"))
    assert read_all(path, position)[0] == ["ANSWER", "HANGUP"]


def test_a_file_emptied_in_place_begins_anew(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START") * 3)
    _, position = read_all(path)
    path.write_bytes(line("HANGUP"))
    assert read_all(path, position)[0] == ["HANGUP"]


def test_files_that_were_rotated_meanwhile_are_read_in_their_order(tmp_path):
    path = tmp_path / "cel.jsonl"
    for number, kind in enumerate(("CHAN_START", "ANSWER", "HANGUP")):
        path.write_bytes(line(kind))
        os.utime(path, (number, number))
        if kind == "CHAN_START":
            _, position = read_all(path)
        path.rename(tmp_path / f"cel.jsonl.{3 - number}")
    (tmp_path / "cel.jsonl.4.gz").write_bytes(b"packed")
    path.write_bytes(line("CHAN_END"))
    os.utime(path, (0, 0))
    assert read_all(path, position)[0] == ["ANSWER", "HANGUP", "CHAN_END"]


@pytest.mark.parametrize("loss", ["removed", "emptied", "emptied and grown"])
def test_a_lost_part_of_the_record_is_told(tmp_path, loss):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START") * 3)
    first = cel.read(path, None)
    if loss == "removed":
        path.rename(tmp_path / "elsewhere")
    path.write_bytes(line("HANGUP") * (9 if loss == "emptied and grown" else 1))
    second = cel.read(path, first.position)
    assert (first.unbroken, second.unbroken) == (True, False)
    assert second.records[0].offset == 0
    assert cel.read(path, second.position).unbroken


def test_marks_are_found_and_are_no_calls(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START", f"m-{ID}") + line("CHAN_START", f"m-{ID};2") + line("HANGUP", f"m-{ID}"))
    reading = cel.read(path, None)
    assert (reading.records, reading.marks) == ((), {ID})


@given(st.integers(min_value=0), st.sampled_from([b"", b"\n"]))
def test_a_cut_line_loses_nothing_but_itself(tmp_path_factory, cut, end):
    """A full disk cuts a line anywhere, mostly without its end: the next one then stands behind it."""
    path = tmp_path_factory.mktemp("cel") / "cel.jsonl"
    half = line("DTMF", digit="5", duration_ms=100)[:-1]
    half = half[: cut % len(half)]
    path.write_bytes(line("CHAN_START") + half + end + line("ANSWER") + line("HANGUP", hangupcause=16))
    records = cel.read(path, None).records
    assert [record.kind for record in records] == ["CHAN_START", "ANSWER", "HANGUP"]
    assert records[1].offset == len(line("CHAN_START") + half + end)
    assert records[2].cause == 16


def test_a_whole_line_without_its_end_counts_too(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("CHAN_START")[:-1] + line("ANSWER"))
    assert read_all(path)[0] == ["CHAN_START", "ANSWER"]


def test_more_than_a_megabyte_without_an_end_does_not_stop_the_reader(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(b"\0" * (2 * cel.MAX_BYTES + 7) + line("ANSWER"))
    assert read_all(path)[0] == ["ANSWER"]


@pytest.mark.parametrize(
    "extra", [{"digit": "\0"}, {"digit": "55"}, {"hangupcause": 1 << 70}, {"hangupcause": -1}, {"hangupcause": "16"}]
)
def test_what_the_database_would_not_take_is_left_out(tmp_path, extra):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("HANGUP", **extra) + line("HANG\0UP") + line("x" * 99))
    (record,) = cel.read(path, None).records
    assert (record.digit, record.cause) == (None, None)


@given(st.binary(max_size=400))
def test_garbage_is_passed_over_and_what_follows_is_read(tmp_path_factory, garbage):
    path = tmp_path_factory.mktemp("cel") / "cel.jsonl"
    path.write_bytes(garbage + b"\n" + line("CHAN_END") + line("ANSWER", channel="1795.5"))
    assert read_all(path)[0] == ["CHAN_END"]


@pytest.mark.parametrize(
    ("disposition", "answered", "keys", "seen", "expected"),
    [
        ("completed", True, "1", "CHAN_START ANSWER DTMF-1 HANGUP", []),
        ("completed", True, "12#", "CHAN_START ANSWER DTMF-9 DTMF-1 DTMF-2 DTMF-# HANGUP", []),
        ("completed", True, "1", "CHAN_START ANSWER HANGUP", ["keys '1' are stored, the node heard ''"]),
        ("completed", True, "12", "CHAN_START ANSWER DTMF-2 DTMF-1 HANGUP",
         ["keys '12' are stored, the node heard '21'"]),
        ("busy", False, "", "CHAN_START HANGUP", []),
        ("busy", False, "", "CHAN_START ANSWER HANGUP", ["the node saw an answer that we did not"]),
        ("busy", False, "", "", ["judged as busy, but the node never made a channel"]),
        ("not_placed", False, "", "", []),
        ("not_placed", False, "", "CHAN_START HANGUP", ["judged as not placed, but the node made a channel"]),
        ("returned", False, "", "CHAN_START", ["judged as not placed, but the node made a channel"]),
        ("completed", True, "", "CHAN_START HANGUP", ["we saw an answer, the node none"]),
        ("no_answer", False, "", "CHAN_START", ["the node saw no hangup"]),
        ("unknown", False, "", "CHAN_START", []),
    ],
)  # fmt: skip
def test_what_does_not_agree(disposition, answered, keys, seen, expected):
    records = []
    for offset, word in enumerate(seen.split()):
        kind, _, digit = word.partition("-")
        records.append(
            CelRecord(inode=1, offset=offset, attempt_id=ID, kind=kind, at=T0, digit=digit or None, cause=None)
        )
    told = Told(disposition=Disposition(disposition), answered=answered, keys=keys)
    assert disagreements(told, records) == expected
