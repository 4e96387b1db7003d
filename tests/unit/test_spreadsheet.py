"""XLSX and ODS give the rows that a CSV of the same sheet would; what is broken or too much is refused."""

from __future__ import annotations

import zipfile

import pytest

from dialer.contacts import spreadsheet
from dialer.contacts.spreadsheet import sheet_table
from dialer.errors import InvalidInput
from tests.support.sheets import write_ods, write_xlsx

WRITERS = {"xlsx": write_xlsx, "ods": write_ods}
ROWS = [
    ["", "", ""],
    ["id", "mobile", "name"],
    ["1", 501100101, "Łucja"],
    ["", "", ""],
    [2.0, "+48 501 100 102", "x & <y>"],
    ["3", 0.5, ""],
]


@pytest.fixture(params=WRITERS)
def written(request, tmp_path):
    """Writes rows to a spreadsheet of either kind and returns its path."""

    def write(rows, sheet="Sheet1"):
        path = tmp_path / f"people.{request.param}"
        WRITERS[request.param](path, rows, sheet)
        return path

    return write


def read(path, sheet=None):
    with path.open("rb") as file:
        table = sheet_table(file, path.name, sheet)
        return table.header, table.line, list(table.records)


def refusal(path, sheet=None):
    with pytest.raises(InvalidInput) as caught:
        read(path, sheet)
    return caught.value.problems[0].code


def test_rows_have_the_lines_of_the_sheet_and_numbers_no_fraction(written):
    header, line, records = read(written(ROWS))
    assert (header, line) == (["id", "mobile", "name"], 2)
    assert [record for record in records if any(record[1])] == [
        (3, ["1", "501100101", "Łucja"]),
        (5, ["2", "+48 501 100 102", "x & <y>"]),
        (6, ["3", "0.5", ""]),
    ]


def test_a_sheet_by_its_name(written):
    path = written(ROWS, "People")
    assert read(path, "People")[0] == ["id", "mobile", "name"]
    assert refusal(path, "Others") == "no-such-sheet"


def test_what_is_cut_off_or_empty_is_refused(written):
    path = written(ROWS)
    assert refusal(written([])) == "empty"
    raw = written(ROWS).read_bytes()
    for length in (4, len(raw) // 2, len(raw) - 10):
        path.write_bytes(raw[:length])
        assert refusal(path) == "not-a-spreadsheet"


def test_a_zip_that_is_no_spreadsheet_is_refused(tmp_path):
    path = tmp_path / "people.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert refusal(path) == "not-a-spreadsheet"


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(written, monkeypatch):
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_BYTES", 500)
    assert refusal(written(ROWS)) == "too-large"
