"""Which names in a folder are deliveries, and which of them is the newest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialer.contacts.sources import is_pattern, pattern_of
from dialer.storage.folder import deliveries, newest, put_aside

NAMES = [
    # pattern                name                        date, or None: no delivery
    ("base/",                "people.csv",               ""),
    ("base/",                "people.XLSX",              ""),
    ("base/",                "people.ods",               ""),
    ("base/",                "people.pdf",               None),
    ("base/",                "people.csv.report.csv",    None),
    ("base/",                ".people.csv",              None),
    ("base/*.csv",           "a.csv",                    ""),
    ("base/*.csv",           "a.csv.done",               None),
    ("base/*.csv",           "a.csv.report.csv",         None),
    ("base/base-{date}.csv", "base-2026-03-02.csv",      "20260302"),
    ("base/base-{date}.csv", "base-20260302.csv",        "20260302"),
    ("base/base-{date}.csv", "base-2026-3-2.csv",        None),
    ("base/base-{date}.csv", "base-2026-03-02.csv.tmp",  None),
    ("base/b?se.csv",        "base.csv",                 ""),
    ("base/b.se*",           "base.csv",                 None),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "name", "date"), NAMES)
def test_names(pattern, name, date):
    assert is_pattern(pattern)
    assert pattern_of(Path("/x"), pattern).date_of(name) == date


@pytest.mark.parametrize("pattern", ["b*/people.csv", "{date}/people.csv", "base/[ab].csv", "{date}-{date}.csv", "*/"])
def test_patterns_that_are_refused(pattern):
    with pytest.raises(ValueError, match="pattern"):
        pattern_of(Path("/x"), pattern)


def test_one_file_is_no_pattern():
    assert not is_pattern("base/people.csv")


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()

    def write(name: str, content: str = "x", age_s: int = 0) -> Path:
        path = folder / name
        path.write_text(content, encoding="utf-8")
        os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
        return path

    return write


def names(tmp_path, pattern):
    return [stamp.path.name for stamp in deliveries(tmp_path, pattern)]


def test_the_date_in_the_name_goes_before_the_age(base, tmp_path):
    base("b-2026-03-02.csv", age_s=5)
    base("b-2026-03-01.csv")
    base("b-2026-02-28.csv", age_s=1)
    found = names(tmp_path, "base/b-{date}.csv")
    assert found == ["b-2026-03-02.csv", "b-2026-03-01.csv", "b-2026-02-28.csv"]
    assert names(tmp_path, "base/*.csv") == ["b-2026-03-01.csv", "b-2026-02-28.csv", "b-2026-03-02.csv"]
    assert names(tmp_path, "nowhere/") == []


def test_complete_is_what_rests_or_says_so(base, tmp_path):
    base("old.csv", age_s=100)
    new = base("new.csv")
    stamps = deliveries(tmp_path, "base/*.csv")
    assert newest(stamps, lambda stamp: stamp.path != new).path.name == "old.csv"
    assert newest(stamps, lambda stamp: False) is None
    base("new.csv.done")
    assert newest(stamps, lambda stamp: False).path == new
    base("new.csv", content="", age_s=50)
    (tmp_path / "base" / "new.csv.done").unlink()
    assert newest(deliveries(tmp_path, "base/new.csv*"), lambda stamp: True) is None, "an empty file is not complete"


def test_put_aside_with_the_reason_and_never_over_another(base):
    for number in (1, 2):
        path = base("bad.csv", content=str(number))
        base("bad.csv.done")
        put_aside(path, f"reason {number}")
        assert not path.exists()
    aside = path.parent / "aside"
    assert sorted(one.name for one in aside.iterdir()) == [
        "bad.2.csv", "bad.2.csv.done", "bad.2.csv.why.txt", "bad.csv", "bad.csv.done", "bad.csv.why.txt",
    ]  # fmt: skip
    assert (aside / "bad.2.csv.why.txt").read_text(encoding="utf-8") == "reason 2\n"
