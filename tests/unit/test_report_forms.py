"""The forms of a report: CSV that every program reads and no spreadsheet runs, JSON, Parquet, XLSX; equal bytes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from zipfile import ZipFile

import duckdb
import pytest
import python_calamine

from dialer.errors import DialerError
from etl import zones
from etl.reports import forms, make
from etl.reports.columns import Shown, flag, local, mean, money, percent, quantile, seconds, text, utc, whole
from etl.reports.forms import Table
from etl.reports.options import PROFILES, Profile
from etl.reports.scratch import scratch

SHOWN = Shown(zone=zones.zone("Europe/Warsaw", date(2026, 1, 1), date(2026, 12, 31)), campaigns={})
COLUMNS = (text("name"), whole("n"), flag("sure"), utc("at"), local("at"), seconds("took"), money("cost"))
QUERY = """select * from (values
  ('Jan "K", żółć', -5, true, 1792889999999000, 1500499, 12345678),
  (null, null, null, null, null, null),
  ('', 0, false, 1792890000000000, 0, 0)
) as t(name, n, sure, at_us, took_us, cost_micro)"""


@pytest.fixture
def duck(tmp_path):
    with make.workshop(300, 2, tmp_path / "work") as made:
        yield made


def table(query: str = QUERY, columns=COLUMNS) -> Table:
    return Table(query=query, columns=columns, shown=SHOWN)


def written(duck, tmp_path: Path, profile: str = "machine", chosen: Table | None = None) -> bytes:
    (made,) = forms.write_csv(duck, chosen or table(), str(tmp_path / "out.csv"), PROFILES[profile])
    content = (tmp_path / "out.csv").read_bytes()
    assert (made.bytes, made.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    return content


def test_csv_is_as_rfc_4180_has_it(duck, tmp_path):
    assert written(duck, tmp_path).decode().split("\r\n") == [
        "name,n,sure,at_utc,at_local,took_s,cost",
        '"Jan ""K"", żółć",-5,true,2026-10-25T00:59:59.999Z,2026-10-25T02:59:59.999+02:00,1.500,12.345678',
        ",,,,,,",
        '"",0,false,2026-10-25T01:00:00.000Z,2026-10-25T02:00:00.000+01:00,0.000,0.000000',
        "",
    ]


def test_a_cell_with_line_ends_stays_one(duck, tmp_path):
    content = written(duck, tmp_path, chosen=table("select 'a\r\nb' as name", (text("name"),)))
    assert list(csv.reader(io.StringIO(content.decode(), newline=""))) == [["name"], ["a\r\nb"]]


@pytest.mark.parametrize(
    "dangerous",
    ["=1+1", "+48501100101", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠x", " =1", "\u00a0=1",
     "\u3000＝1", "\ufeff=1", "\u200b=1", "  @x", "\tplain"],
)  # fmt: skip
def test_excel_gets_no_formula(duck, tmp_path, dangerous):
    chosen = table(f"select {forms.literal(dangerous)} as name", (text("name"),))
    content = written(duck, tmp_path, "excel", chosen)
    assert content.startswith(b"\xef\xbb\xbf")
    assert list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))[1] == ["'" + dangerous]
    raw = written(duck, tmp_path, "machine", chosen).decode()
    assert list(csv.reader(io.StringIO(raw, newline="")))[1] == [dangerous], "programs get what is there"


@pytest.mark.parametrize("harmless", ["Jan", "żółć", "5 + 5", "a=b", "_", "(x)", "'quoted", "1-2", ""])
def test_what_is_no_formula_stays(duck, tmp_path, harmless):
    chosen = table(f"select {forms.literal(harmless)} as name", (text("name"),))
    content = written(duck, tmp_path, "excel", chosen).decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(content, newline="")))[1] == [harmless]


def test_a_negative_number_is_no_text(duck, tmp_path):
    rows = list(csv.DictReader(io.StringIO(written(duck, tmp_path, "excel").decode("utf-8-sig"), newline="")))
    assert rows[0]["n"] == "-5"


def test_a_semicolon_and_a_comma_where_excel_wants_them(duck, tmp_path):
    lines = written(duck, tmp_path, "excel-semicolon").decode("utf-8-sig").split("\r\n")
    assert lines[0].startswith("name;n;")
    assert lines[1].endswith(";1,500;12,345678")


SEVEN = "select range as n from range(7) order by n", (whole("n"),)


def test_sheets_that_are_full_go_on_in_another_file(duck, tmp_path):
    chosen = table(*SEVEN)
    made = forms.write_csv(duck, chosen, str(tmp_path / "n.csv"), Profile(most_rows=3))
    assert [one.rows for one in made] == [3, 3, 1]
    assert [path.name for path in sorted(tmp_path.glob("n*.csv"))] == ["n-2.csv", "n-3.csv", "n.csv"]
    assert (tmp_path / "n-3.csv").read_text() == "n\n6\n"
    forms.write_csv(duck, chosen, str(tmp_path / "m.csv.gz"), Profile(most_rows=4))
    assert gzip.decompress((tmp_path / "m-2.csv.gz").read_bytes()) == b"n\r\n4\r\n5\r\n6\r\n"


def test_none_of_several_sheets_appears_when_one_fails(duck, tmp_path):
    (tmp_path / "n-3.csv").mkdir()
    with pytest.raises(DialerError, match=r"n-3\.csv: it is a folder"):
        forms.write_csv(duck, table(*SEVEN), str(tmp_path / "n.csv"), Profile(most_rows=3))
    assert {path.name for path in tmp_path.iterdir()} == {"n-3.csv", "work"}


def test_a_stream_has_one_header_however_long_it_is(duck, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE) as reader:
        (made,) = forms.write_csv(duck, table(*SEVEN), str(tmp_path / "pipe"), Profile(most_rows=3))
        assert reader.stdout is not None
        assert (made.rows, reader.stdout.read().split()) == (7, [b"n", *(b"%d" % n for n in range(7))])


def test_what_is_squeezed_has_no_name_and_no_time_in_it(duck, tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        forms.write_csv(duck, table(), str(tmp_path / name), PROFILES["machine"])
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()).startswith(b"name,n,sure")


def test_json_is_an_object_a_line_with_numbers(duck, tmp_path):
    forms.write_json(duck, table(), str(tmp_path / "out.json"))
    lines = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    assert lines[0]["n"] == -5
    assert (lines[0]["sure"], lines[0]["took_s"], lines[0]["cost"]) == (True, 1.5, 12.345678)
    assert set(lines[1].values()) == {None}
    assert list(lines[0]) == ["name", "n", "sure", "at_utc", "at_local", "took_s", "cost"]


def test_parquet_has_types(duck, tmp_path):
    (made,) = forms.write_parquet(duck, table(), str(tmp_path / "out.parquet"))
    assert made.rows == 3
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.sql(f"select * from '{tmp_path}/out.parquet'")
        assert [str(kind) for kind in found.types] == [
            "VARCHAR", "INTEGER", "BOOLEAN", "TIMESTAMP WITH TIME ZONE", "VARCHAR", "DECIMAL(18,3)", "DECIMAL(18,6)",
        ]  # fmt: skip


def test_xlsx_has_no_formula_and_no_time_of_its_own(duck, tmp_path):
    columns = (text("name"), text("other"), text("link"))
    chosen = table("select '=1+1' as name, '{=x}' as other, 'http://x' as link", columns)
    for name in ("a.xlsx", "b.xlsx"):
        forms.write_xlsx(duck, chosen, str(tmp_path / name))
    assert (tmp_path / "a.xlsx").read_bytes() == (tmp_path / "b.xlsx").read_bytes()
    with ZipFile(tmp_path / "a.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=1+1" in sheet


def test_xlsx_has_numbers_and_dates(duck, tmp_path):
    forms.write_xlsx(duck, table(), str(tmp_path / "a.xlsx"))
    with ZipFile(tmp_path / "a.xlsx") as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<v>-5</v>" in sheet
    assert "<v>1.5</v>" in sheet
    assert "<v>46320.04166" in sheet, "an instant is Excel's day, with its fraction"


def test_a_text_that_no_cell_holds_is_cut_and_counted(duck, tmp_path):
    chosen = table("select repeat('x', 40000) as name union all select repeat('y', 32767)", (text("name"),))
    (made,) = forms.write_xlsx(duck, chosen, str(tmp_path / "a.xlsx"))
    assert (made.rows, made.cut) == (2, 1)
    with python_calamine.load_workbook(tmp_path / "a.xlsx") as book:
        assert book.get_sheet_by_index(0).to_python() == [["name"], ["x" * 32767], ["y" * 32767]]


ROUNDED = [
    ("half goes up", 1, 8, "12.50"),
    ("a third", 1, 3, "33.33"),
    ("two thirds", 2, 3, "66.67"),
    ("exactly half a hundredth", 1, 20000, "0.01"),
    ("just below it", 1, 20001, "0.00"),
    ("all", 7, 7, "100.00"),
    ("of nothing", 0, 0, ""),
]


@pytest.mark.parametrize(("what", "part", "of", "shown"), ROUNDED, ids=[one[0] for one in ROUNDED])
def test_ratios_are_rounded_once_half_up(duck, tmp_path, what, part, of, shown):
    chosen = table(f"select {part} as a, {of} as b", (percent("share", "a", "b"),))
    assert written(duck, tmp_path, chosen=chosen).decode().split("\r\n")[1] == shown


def test_means_and_percentiles_are_seconds(duck, tmp_path):
    columns = (mean("each", "sum", "n"), quantile("p"))
    chosen = table("select 10000000000000000 as sum, 3::bigint as n, 150049999 as p_cus", columns)
    assert written(duck, tmp_path, chosen=chosen).decode().split("\r\n")[1] == "3333333333.333,1.500"


def test_a_large_report_is_in_order_and_takes_no_memory(duck, tmp_path):
    chosen = table("select range as n from range(300000) order by n desc", (whole("n"),))
    rows = written(duck, tmp_path, chosen=chosen).decode().split("\r\n")[1:-1]
    assert rows == [str(n) for n in range(299_999, -1, -1)]


def test_too_little_memory_is_told(tmp_path):
    def write() -> None:
        with make.workshop(20, 1, tmp_path) as duck:
            query = "select quantile_cont(range, 0.5)::bigint as n from range(20000000)"
            forms.write_csv(duck, table(query, (whole("n"),)), str(tmp_path / "out.csv"), Profile())

    with pytest.raises(DialerError, match=r"DuckDB needs more memory than etl\.memory_mb gives it"):
        write()


def test_a_full_disk_is_told(duck, monkeypatch):
    full = "No space left on device. Free some space, or name another place"
    with pytest.raises(DialerError, match=f"cannot write /dev/full: {full}"):
        forms.write_csv(duck, table(), "/dev/full", PROFILES["machine"])
    assert Path("/dev/full").is_char_device()
    with Path("/dev/full").open("w") as out:
        monkeypatch.setattr("sys.stdout", out)
        with pytest.raises(DialerError, match=f"cannot write standard output: {full}"):
            forms.write_json(duck, table(), "-")


def test_a_full_disk_is_told_of_a_workbook_too(duck, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(DialerError, match=r"a\.xlsx: File too large\. Name another place\."):
            forms.write_xlsx(duck, table(), str(tmp_path / "a.xlsx"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {"work"}


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet"])
def test_a_place_that_takes_no_report_is_told(duck, tmp_path, form):
    def write(target: Path) -> None:
        arguments = (duck, table(), str(target), *([PROFILES["machine"]] if form == "csv" else []))
        getattr(forms, f"write_{form}")(*arguments)

    with pytest.raises(DialerError, match=r"there is no folder .*/none\. Make it"):
        write(tmp_path / "none" / "out")
    with pytest.raises(DialerError, match=r"it is a folder\. Name a file in it"):
        write(tmp_path)
    if form != "csv":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DialerError, match="this form is no stream; name a file"):
            write(tmp_path / "pipe")
        assert (tmp_path / "pipe").is_fifo(), "what is no file is never replaced"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    write = (
        "from pathlib import Path\n"
        "from tests.unit.test_report_forms import PROFILES, forms, make, table, whole\n"
        f"with make.workshop(300, 1, Path({str(tmp_path)!r})) as duck:\n"
        "    chosen = table('select range as n from range(1000000)', (whole('n'),))\n"
        "    assert forms.write_csv(duck, chosen, '-', PROFILES['machine']) == []\n"
    )
    with subprocess.Popen([sys.executable, "-c", write], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"n\r\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_what_killed_reports_left_goes_with_the_next_and_a_living_ones_stays(tmp_path):
    (tmp_path / "report-killed" / "spill").mkdir(parents=True)
    with scratch(tmp_path) as living:
        (living / "rows").touch()
        with scratch(tmp_path) as other:
            assert {path.name for path in tmp_path.iterdir()} == {living.name, other.name}
            assert (living / "rows").exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_leaves_nothing(tmp_path, number):
    out = tmp_path / "out.csv"
    write = (
        "from pathlib import Path\n"
        "from etl.reports.run import interruptible\n"
        "from tests.unit.test_report_forms import PROFILES, forms, make, table, whole\n"
        f"with interruptible(), make.workshop(300, 1, Path({str(tmp_path / 'work')!r})) as duck:\n"
        "    chosen = table('select range as n from range(1000000000)', (whole('n'),))\n"
        f"    forms.write_csv(duck, chosen, {str(out)!r}, PROFILES['machine'])\n"
    )
    with subprocess.Popen([sys.executable, "-c", write], stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 20
        while not any(path.stat().st_size for path in tmp_path.glob(".out.csv.*")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.read().endswith(b"KeyboardInterrupt\n")
    assert [path.name for path in tmp_path.rglob("*")] == ["work"]


def test_a_file_is_its_owners_alone_and_appears_whole(duck, tmp_path):
    written(duck, tmp_path)
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "out.csv").read_bytes()
    with pytest.raises(duckdb.Error):
        forms.write_csv(duck, table("select error('no') as n", (whole("n"),)), str(tmp_path / "out.csv"), Profile())
    assert (tmp_path / "out.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name != "work"] == ["out.csv"]
