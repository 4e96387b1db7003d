"""A spreadsheet is read in a process of its own: hostile ones end that process, and are refused in words."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from dialer.errors import InvalidInput
from dialer.storage.sheet_process import read_apart
from tests.support.sheets import write_ods, write_xlsx

SHEET = "xl/worksheets/sheet1.xml"
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    # what it is             the part of the archive, what it is replaced by
    "two far corners": (SHEET, '<c r="A1"><v>1</v></c>', '<c r="A1"><v>1</v></c><c r="XFD1048576"><v>1</v></c>'),
    "a corner beyond": (SHEET, '<c r="A1"><v>1</v></c>', '<c r="A1"><v>1</v></c><c r="ZZZZZZ4294967295"><v>1</v></c>'),
    "billion laughs": (SHEET, "<worksheet", f'<!DOCTYPE x [<!ENTITY e0 "ha">{ENTITIES}]><worksheet a="&e9;"'),
    "half a tag": (SHEET, "</sheetData></worksheet>", "</sheet"),
    "a file from outside": (SHEET, "<worksheet", '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><worksheet'),
    "cells repeated": (
        "content.xml", "<table:table-row><table:table-cell",
        '<table:table-row table:number-rows-repeated="1000000000">'
        '<table:table-cell table:number-columns-repeated="1000000000"',
    ),
}  # fmt: skip


def read(path: Path, sheet: str | None = None) -> tuple[list[str], list[object]]:
    with path.open("rb") as file, read_apart(file, path.name, sheet) as table:
        return table.header, list(table.records)


def edited(path: Path, part: str, old: str, new: str) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    text = parts[part].decode()
    assert old in text
    parts[part] = text.replace(old, new).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_what_comes_through_is_what_stands_in_the_sheet(tmp_path, write):
    path = tmp_path / "-people\n"
    write(path, [["id", "name"], ["1", "Łucja\n\u2028"], [2, "x"]])
    assert read(path, "Sheet1") == (["id", "name"], [(2, ["1", "Łucja\n\u2028"]), (3, ["2", "x"])])
    with pytest.raises(InvalidInput) as caught:
        read(path, "Others")
    assert caught.value.problems[0].code == "no-such-sheet"


def outcome(path: Path) -> str:
    """The code of the refusal, or the rows."""
    try:
        return str(read(path)[1])
    except InvalidInput as error:
        return error.problems[0].code


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_sheet_is_refused_or_gives_what_it_says(tmp_path, kind):
    part, old, new = HOSTILE[kind]
    path = tmp_path / "people"
    (write_xlsx if part == SHEET else write_ods)(path, [[1, 2], [3, 4]])
    edited(path, part, old, new)
    assert outcome(path) in ("too-large", "not-a-spreadsheet", "[(2, ['3', '4'])]")


def test_a_file_that_needs_more_memory_than_there_is_for_it_is_refused(tmp_path):
    path = tmp_path / "people.xlsx"
    write_xlsx(path, [[1]])
    edited(path, *HOSTILE["two far corners"])
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert caught.value.problems[0].code == "too-large"


def test_who_stops_reading_ends_the_process(tmp_path):
    path = tmp_path / "people.xlsx"
    write_xlsx(path, [["id"], *([str(n)] for n in range(20_000))])
    with path.open("rb") as file, read_apart(file, path.name, None) as table:
        assert next(table.records) == (2, ["0"])
