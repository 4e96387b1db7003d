"""The node's own record: read through rotation and cut lines, and compared with what our tables say."""

from __future__ import annotations

import json
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
        records, after = cel.read(path, position)
        kinds += [record.kind for record in records]
        if after == position:
            return kinds, after
        position = after


def test_what_the_lab_writes_is_read(tmp_path):
    path = tmp_path / "cel.jsonl"
    path.write_bytes(line("DTMF", digit="5", duration_ms=100) + line("HANGUP", hangupcause=17))
    (dtmf, hangup), _ = cel.read(path, None)
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
