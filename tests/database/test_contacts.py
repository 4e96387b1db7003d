"""A campaign's people come in as they stand in the CSV; what cannot be called is told, and nothing comes in twice."""

import csv
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from dialer.campaign.load import load_campaign
from dialer.errors import DialerError, InvalidInput
from dialer.storage import campaigns, contacts
from dialer.storage.contacts import ImportCounts
from dialer.storage.prepare import prepare
from tests.support.sheets import write_ods, write_xlsx

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, person: id, numbers: [mobile, home], region: PL, language: lang, fields: [name]}
    calling: {window: any}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello."}}
    """
)
HEADER = "id,mobile,home,lang,name\n"


@pytest.fixture
def imported(database, tmp_path):
    """Imports a CSV into the campaign and returns the summary."""
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN, encoding="utf-8")

    def run(people: str | bytes, now: datetime = NOW):
        content = people if isinstance(people, bytes) else people.encode()
        (tmp_path / "people.csv").write_bytes(content)
        return prepare(database.engine, load_campaign(path), now, rejects_dir=tmp_path / "rejects").import_summary

    return run


def report(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def peak_kib(reset: bool = False) -> int:
    """The most memory that this process held since the last reset (proc(5): clear_refs, VmHWM)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def test_people_come_in_due_at_their_first_number(database, imported):
    summary = imported(HEADER + "1,501 100 101,22 621 00 01,pl,Jan\n2,,+48501100102,,Ewa\n")
    assert str(summary).endswith("people.csv (utf-8): 2 new contacts")
    assert database.rows(
        "select person_key, numbers, zones, language, next_number, next_attempt_at, fields, attempts, wave "
        "from contact join person on person.id = person_id order by contact.id"
    ) == [
        ("1", ["+48501100101", "+48226210001"], "Europe/Warsaw", "pl", "+48501100101", NOW, {"name": "Jan"}, 0, 1),
        ("2", ["+48501100102"], "Europe/Warsaw", None, "+48501100102", NOW, {"name": "Ewa"}, 0, 1),
    ]  # fmt: skip


def test_the_same_file_again_changes_nothing_and_says_so(database, imported, tmp_path):
    people = HEADER + "1,501100101,,pl,Jan\nx,letters,,pl,Bad\n"
    assert not imported(people).unchanged
    before = database.rows("select * from contact"), database.rows("select * from revision")
    (tmp_path / "people.csv.report.csv").unlink()
    again = imported(people, NOW + timedelta(days=1))
    assert again.unchanged
    assert "nothing changed" in str(again)
    assert (database.rows("select * from contact"), database.rows("select * from revision")) == before
    assert not (tmp_path / "people.csv.report.csv").exists()


def test_bad_rows_are_listed_with_line_and_reason_and_good_ones_come_in(database, imported, tmp_path):
    summary = imported(
        b"\xef\xbb\xbf" + HEADER.encode() + b"1,501100101,,pl,Jan\n2,abc,,pl,Letters\n3,701100103,,pl,Premium\n"
        b'1,501100104,,pl,"Again"\n4,501100105,12,pl,OneBad\n5,5011\x0000106,,pl,Nul\n6,501100107,,pl,\xff\n7,501100108\n'
    )
    assert (summary.counts.accepted, summary.counts.rejected, summary.counts.left_out) == (2, 6, 1)
    assert summary.report_file == tmp_path / "people.csv.report.csv"
    assert report(summary.report_file) == [
        ["line", "person", "reason", "detail", "number"],
        ["3", "2", "not_a_number", "mobile: not_a_number, home: no_number", "***"],
        ["4", "3", "costly_number", "mobile: costly_number, home: no_number", "701100***"],
        ["5", "1", "duplicate_person", "the same person as in line 2", ""],
        ["6", "4", "number_left_out", "home: invalid_number", "***"],
        ["7", "", "nul_byte", "the row holds a NUL byte", "5011 00***"],
        ["8", "", "wrong_encoding", "the row is not text in the encoding of the file", "501100***"],
        ["9", "", "wrong_number_of_cells", "2 cells; the header has 5", "501100***"],
    ]
    assert database.rows("select accepted, rejected from contact_import") == [(2, 6)]


def test_rejects_go_to_the_state_directory_when_the_folder_cannot_be_written(database, tmp_path):
    people = tmp_path / "real.csv"
    people.write_text(HEADER + "1,501100101,,pl,Jan\n2,abc,,pl,Bad\n", encoding="utf-8")
    path = tmp_path / "campaign.yaml"
    with people.open(encoding="utf-8") as file:
        # A folder in which not even root can make a file.
        path.write_text(CAMPAIGN.replace("people.csv", f"/proc/self/fd/{file.fileno()}"), encoding="utf-8")
        summary = prepare(database.engine, load_campaign(path), NOW, rejects_dir=tmp_path / "rejects").import_summary
    assert summary.report_file is not None
    assert summary.report_file.parent == tmp_path / "rejects"
    assert len(report(summary.report_file)) == 2


@pytest.mark.parametrize("rows", ["", "1,abc,,pl,Jan\n2,,,pl,Ewa\n"])
def test_a_file_without_a_good_row_is_refused_and_leaves_nothing(database, imported, rows):
    with pytest.raises(InvalidInput, match="nobody") as caught:
        imported(HEADER + rows)
    assert [problem.code for problem in caught.value.problems] == ["nobody-to-call"]
    assert database.rows("select name from campaign") == []


def test_fields_are_kept_as_they_are(database, imported):
    texts = [
        'say "hi", you',
        "two\r\nlines",
        "${SHELL(id)}",
        "x" * 10_000,
        "zażółć",
        "مرحبا",
        "😀",
        "\\N",
        "\t",
        ";",
        "'; --",
    ]
    quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
    rows = [f"{n},5011001{n:02},,pl,{text}\r\n" for n, text in enumerate(quoted)]
    imported(HEADER.replace("\n", "\r\n") + "".join(rows))
    assert [row[0] for row in database.rows("select fields->>'name' from contact order by id")] == texts


def test_the_report_holds_no_formula_for_a_spreadsheet(imported):
    persons = ("=1+1", "+48 22", "-2+3", "@SUM(A1)")
    summary = imported(HEADER + "1,501100101,,pl,Jan\n" + "".join(f"{person},12,,pl,x\n" for person in persons))
    assert [row[1] for row in report(summary.report_file)[1:]] == ["'=1+1", "+48 22", "'-2+3", "'@SUM(A1)"]


def test_a_file_that_is_written_to_while_it_is_read_is_not_imported(database, imported, tmp_path, monkeypatch):
    merge_rows = contacts.merge_rows

    def slowly(*arguments):
        with (tmp_path / "people.csv").open("a", encoding="utf-8") as file:
            file.write("2,501100102,,pl,Ewa\n")
        return merge_rows(*arguments)

    monkeypatch.setattr(contacts, "merge_rows", slowly)
    with pytest.raises(DialerError, match="was written to while it was read"):
        imported(HEADER + "1,501100101,,pl,Jan\n")
    assert database.rows("select count(*) from contact") == [(0,)]


def test_a_name_on_disk_may_be_no_text(database, tmp_path):
    people = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv"))
    people.write_text(HEADER + "1,501100101,,pl,Jan\n", encoding="utf-8")
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN, encoding="utf-8")
    (tmp_path / "people.csv").touch()
    summary = prepare(database.engine, load_campaign(path), NOW, delivery=people).import_summary
    assert str(summary).endswith("\\udcff.csv (utf-8): 1 new contacts")


def test_nothing_is_half_imported(database, imported):
    imported(HEADER + "1,501100101,,pl,Jan\n")
    tables = ("contact", "person", "contact_import", "audit", "revision")
    before = [database.rows(f"select * from {table} order by 1") for table in tables]
    with pytest.raises(InvalidInput, match="cannot be imported"):
        imported(HEADER + "".join(f"{n},+48501{n:06},,pl,Name\n" for n in range(5000)) + "x,5011")
    assert [database.rows(f"select * from {table} order by 1") for table in tables] == before


def test_an_import_is_in_the_audit(database, imported):
    imported(HEADER + "1,501100101,,pl,Jan\n")
    imported(HEADER + "1,501100101,,pl,Jan\n")
    ((sha256, detail),) = database.rows("select sha256, detail from audit where what = 'contacts.import'")
    assert database.rows("select sha256 from contact_import") == [(sha256,)]
    assert detail["accepted"] == 1


ENCODINGS = [("cp1250", "windows-1250"), ("utf-16", "utf-16"), ("utf-8", "utf-8"), ("utf-8-sig", "utf-8")]


@pytest.mark.parametrize(("codec", "named"), ENCODINGS)
def test_encodings_are_found(database, imported, codec, named):
    assert imported((HEADER + "1,501100101,,pl,Łucja\r\n").encode(codec)).form == named
    assert database.rows("select fields from contact") == [({"name": "Łucja"},)]


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_spreadsheets_come_in_as_a_csv_does(database, imported, tmp_path, write):
    path = tmp_path / "sheet"
    write(path, [HEADER.strip().split(","), ["1", 501100101, "", "pl", "Łucja"], ["2", "x", "", "", ""]])
    summary = imported(path.read_bytes())
    assert (summary.form, summary.counts) == ("spreadsheet", ImportCounts(accepted=1, rejected=1))
    assert database.rows("select numbers, fields from contact") == [(["+48501100101"], {"name": "Łucja"})]


def test_two_imports_at_once_are_one(database, imported, tmp_path):
    with pytest.raises(InvalidInput):
        imported(HEADER)
    content = HEADER + "".join(f"{n},+48501{n:06},,pl,Name\n" for n in range(2_000))
    (tmp_path / "people.csv").write_text(content, encoding="utf-8")
    loaded = load_campaign(tmp_path / "campaign.yaml")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: prepare(database.engine, loaded, NOW).import_summary, range(2)))
    assert sorted(summary.unchanged for summary in done) == [False, True]
    assert database.rows("select count(*) from contact") == [(2_000,)]
    assert database.rows("select count(*) from revision") == [(1,)]


def test_two_campaigns_share_a_person(database, imported, tmp_path):
    imported(HEADER + "1,501100101,,pl,Jan\n")
    other = tmp_path / "other.yaml"
    other.write_text(CAMPAIGN.replace("health-check", "other"), encoding="utf-8")
    prepare(database.engine, load_campaign(other), NOW)
    assert database.rows("select count(*), count(distinct person_id) from contact") == [(2, 1)]


def test_a_hundred_thousand_rows_take_neither_a_minute_nor_the_memory(database, imported):
    content = HEADER + "".join(f"{n},+48501{n:06},,pl,Name {n}\n" for n in range(100_000))
    imported(HEADER + "0,+48501000000,,pl,First\n")
    before = peak_kib(reset=True)
    started = datetime.now(UTC)
    summary = imported(content)
    assert summary.counts.accepted == 99_999
    assert (datetime.now(UTC) - started) < timedelta(seconds=40)
    assert peak_kib() - before < 20_000, "a list of the rows would take 80,000"
    with database.engine.connect() as connection:
        stored = campaigns.require(connection, "health-check")
        assert sum(1 for _ in contacts.listed(connection, stored.campaign_id)) == 100_000
