"""The collector's disk: what was acknowledged is read again, whatever the machine did meanwhile."""

from __future__ import annotations

import os
from itertools import islice

import pytest

from dialer.errors import DialerError
from etl import spool as spool_module
from etl.spool import Spool, Torn, records

MIB = 2**20


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path / "collect", MIB)
    yield made
    made.close()


def test_records_come_back_in_their_order_over_files_and_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, "FILE_BYTES", 64)
    kept = [f"record {number}".encode() * 3 for number in range(7)]
    first = Spool(tmp_path, MIB)
    for record in kept[:4]:
        first.append([record])
    first.close()
    second = Spool(tmp_path, MIB)
    second.append(kept[4:])
    paths = second.sealed()
    assert len(paths) > 2
    assert [record for path in paths for record in records(path)] == kept
    assert second.size == sum(path.stat().st_size for path in paths)
    for path in paths:
        second.remove(path)
    assert (second.size, second.sealed()) == (0, [])
    second.append([b"again"])
    assert [list(records(path)) for path in second.sealed()] == [[b"again"]]
    second.close()


TORN = [
    # what                     does to the bytes                                           whole records
    ("cut in the record",      lambda data: data[:-3],                                     2),
    ("cut in the head",        lambda data: data + b"\0\0\0",                              3),
    ("zeros",                  lambda data: data[:-9] + bytes(9),                          2),
    ("zeros behind",           lambda data: data + bytes(4096),                            3),
    ("another byte",           lambda data: data[:-1] + bytes([data[-1] ^ 1]),             2),
    ("a length beyond",        lambda data: data + b"\xff\xff\xff\xff\0\0\0\0rest",      3),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "whole"), [row[1:] for row in TORN], ids=[row[0] for row in TORN])
def test_reading_ends_at_a_torn_end(spool, damage, whole):
    spool.append([b"first record", b"second record"])
    spool.append([b"third record"])
    (path,) = spool.sealed()
    path.write_bytes(damage(path.read_bytes()))
    found = []

    def read():
        found.extend(islice(records(path), whole))
        list(islice(records(path), whole + 1))

    with pytest.raises(Torn, match=path.name):
        read()
    assert found == [b"first record", b"second record", b"third record"][:whole]
    spool.put_aside(path)
    assert spool.sealed() == []


def test_what_was_put_aside_stays_when_the_next_process_puts_aside(tmp_path):
    for _ in range(2):
        spool = Spool(tmp_path, MIB)
        spool.append([b"torn"])
        spool.put_aside(*spool.sealed())
        spool.close()
    assert len(list(tmp_path.glob("*.torn"))) == 2


def test_a_full_spool_takes_nothing_more_and_what_is_there_stays(spool):
    spool.append([b"x" * MIB])
    assert spool.full
    with pytest.raises(OSError, match="full"):
        spool.append([b"one more"])
    (path,) = spool.sealed()
    assert [len(record) for record in records(path)] == [MIB]
    spool.remove(path)
    assert not spool.full


def test_a_disk_without_space_leaves_no_half_of_a_record(spool, monkeypatch):
    spool.append([b"before"])
    write = os.write

    def full(descriptor, data):
        write(descriptor, bytes(data[:5]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.append([b"lost, and never acknowledged"])
    monkeypatch.undo()
    spool.append([b"after"])
    assert [record for path in spool.sealed() for record in records(path)] == [b"before", b"after"]


def test_the_directory_belongs_to_one_process(spool, tmp_path):
    with pytest.raises(DialerError, match="another collector"):
        Spool(tmp_path / "collect", MIB)
