"""What bad input gets, through the commands as a user types them: one clear message, the exit code, no traceback."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

import cli

DIALER = Path(sys.executable).parent / "dialer"
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, numbers: [mobile], region: PL, fields: [name]}
    calling: {window: any}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello {name}."}}
    """
)
GOOD_PEOPLE = "mobile,name\n501100101,Jan\n"


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def folder(database, tmp_path, monkeypatch) -> Path:
    """The current folder: settings, a good campaign and its people."""
    settings = {
        **database.settings.model_dump(mode="json", exclude_defaults=True),
        "state_dir": str(tmp_path / "var"),
    }
    (tmp_path / "dialer.yaml").write_text(json.dumps(settings), encoding="utf-8")
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (tmp_path / "people.csv").write_text(GOOD_PEOPLE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dialer(folder, monkeypatch, capfd) -> Command:
    """Runs `dialer` in this process; any error that is not one clear message fails the test."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["dialer", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return Done(returncode=int(end.value.code or 0), stdout=out, stderr=err)

    return run


@pytest.fixture
def dialer_process(folder) -> Command:
    """Runs `dialer` as a process of its own, with other environment variables."""

    def run(*arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [str(DIALER), *arguments], capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Done(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)

    return run


@pytest.fixture
def stored(database) -> Callable[[], tuple[int, int]]:
    """How many campaigns and contacts the database holds."""
    return lambda: database.rows("select (select count(*) from campaign), (select count(*) from contact)")[0]


ALIASES = "a: &a " + "x" * 90 + "\nb: [" + "*a, " * 500_000 + "]\n"
SMALL_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
BAD_FILES = {
    # what it is                content                                                     what is said
    "unknown key": (CAMPAIGN + "colour: red\n", "campaign.yaml:6: colour: there is no key `colour` here"),
    "wrong type": (CAMPAIGN.replace(": 10", ": ten"), "campaign.yaml:4: capacity.max_concurrent: must be a whole"),
    "duplicate key": (CAMPAIGN + "campaign: b\n", "campaign.yaml:6: campaign: `campaign` stands here again; line 1"),
    "empty file": ("", "campaign.yaml: the file is empty [empty]"),
    "2 MB of aliases": (ALIASES, "campaign.yaml: the file has more than 1,000,000 bytes [too-large]"),
    "few aliases, many values": (SMALL_BOMB, "the file grows too large"),
    "non-UTF-8": (CAMPAIGN.encode() + b"title: \xff\n", "campaign.yaml:6: byte"),
    "not built yet": (CAMPAIGN + "follow_ups: []\n", "campaign.yaml:6: follow_ups: follow-ups are not built yet"),
}  # fmt: skip


@pytest.mark.parametrize("command", [("validate",), ("contacts", "import"), ("run",)], ids=" ".join)
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_campaign_file_ends_with_2_and_starts_nothing(dialer, stored, tmp_path, kind, command):
    content, said = BAD_FILES[kind]
    (tmp_path / "campaign.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = dialer(*command, "campaign.yaml")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "fix: " in done.stderr
    assert stored() == (0, 0)


@pytest.mark.parametrize("command", [("validate",), ("contacts", "import"), ("run",)], ids=" ".join)
@pytest.mark.parametrize(("file", "said"), [(".", "this is a directory"), ("no.yaml", "the file cannot be read")])
def test_a_directory_or_no_file_ends_with_2(dialer, file, said, command):
    done = dialer(*command, file)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_a_file_that_cannot_be_read_ends_with_2(dialer):
    # Opens, and fails at the first byte, for root too.
    done = dialer("validate", "/proc/self/mem")
    assert (done.returncode, "the file cannot be read: Input/output error" in done.stderr) == (2, True), done.stderr


def test_every_problem_is_listed_once_and_for_programs(dialer, tmp_path):
    bad = CAMPAIGN.replace("health-check", "Health").replace(": 10", ": ten").replace("carrier-a", "carrier-x")
    (tmp_path / "campaign.yaml").write_text(bad, encoding="utf-8")
    done = dialer("validate", "campaign.yaml", "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    assert [(one["line"], one["key"], one["code"]) for one in answer["problems"]] == [
        (1, "campaign", "wrong-form"),
        (4, "capacity.max_concurrent", "wrong-type"),
    ]


def test_validate_also_looks_at_the_columns_and_the_settings(dialer, tmp_path):
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN.replace("carrier-a", "carier-a"), encoding="utf-8")
    (tmp_path / "people.csv").write_text("Mobile,name\n501100101,Jan\n", encoding="utf-8")
    done = dialer("validate", "campaign.yaml")
    assert done.returncode == 2
    assert "campaign.yaml:4: capacity.trunks[0]: the settings know no trunk 'carier-a' [unknown-trunk]" in done.stderr
    assert "did you mean carrier-a?" in done.stderr
    assert "people.csv:1: mobile: there is no column 'mobile'; there are: Mobile, name [missing-column]" in done.stderr
    assert "did you mean 'Mobile'?" in done.stderr


BAD_CSV = {
    # what it is              content                                          what is said
    "missing column": ("phone,name\n501100101,Jan\n", "there is no column 'mobile'; there are: phone, name"),
    "no rows": ("mobile,name\n", "there are no rows below the header"),
    "an empty file": ("", "the file has no header and no rows"),
    "bad numbers alone": ("mobile,name\n12,Jan\n999,Ewa\n", "all 2 rows are rejected"),
    "a picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)), "is this the right file, with a header?"),
    "a cut-off file": ("mobile,name\n501100101,Jan\n5011001", "people.csv:3: the file ends in the middle of this row"),
    "a cut-off spreadsheet": (b"PK\x03\x04" + b"\0" * 60, "the file is damaged or cut off"),
    "an old spreadsheet": (b"\xd0\xcf\x11\xe0" + b"\0" * 60, "an old or a password-protected Excel file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_CSV)
def test_a_csv_without_a_good_row_ends_with_2(dialer, stored, tmp_path, kind):
    content, said = BAD_CSV[kind]
    (tmp_path / "people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = dialer("contacts", "import", "campaign.yaml")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert stored() == (0, 0)


BAD_ROWS = [
    # row                                  reason
    (b"12,Short", "invalid_number"),
    (b"call me,Letters", "not_a_number"),
    (b"1-800-FLOWERS,Letters", "not_a_number"),
    (b"701100101,Premium", "costly_number"),
    (b",Nobody", "no_number"),
    (b"5011\x0000103,Nul", "nul_byte"),
    (b"501100104,\xff\xfe", "wrong_encoding"),
    (b"501100105", "wrong_number_of_cells"),
    (b"501100106,a,b", "wrong_number_of_cells"),
    (b'501100107,"a"b', "malformed"),
    (b"501 100 101,Again", "duplicate_person"),
]


@pytest.mark.parametrize("delimiter", [b",", b";", b"\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_good_rows_come_in_and_bad_ones_are_listed(dialer, database, tmp_path, delimiter, end):
    rows = [b"mobile,name", b"501100101,Jan", *(row for row, _ in BAD_ROWS), b'501100102,"two""\nlines, Ewa"']
    content = b"\xef\xbb\xbf" + end.join(rows).replace(b",", delimiter)
    (tmp_path / "people.csv").write_bytes(content)
    done = dialer("contacts", "import", "campaign.yaml")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "people.csv.report.csv").open(encoding="utf-8", newline="") as file:
        rejected = [(int(line), reason) for line, _, reason, _, _ in list(csv.reader(file))[1:]]
    assert rejected == [(line, reason) for line, (_, reason) in enumerate(BAD_ROWS, 3)]
    names = [row[0] for row in database.rows("select fields->>'name' from contact order by id")]
    assert names == ["Jan", 'two"\nlines, Ewa'.replace(",", delimiter.decode())]
    again = dialer("contacts", "import", "campaign.yaml")
    assert (again.returncode, "nothing changed" in again.stdout) == (0, True)


HOSTILE = {
    # what it is                          content, what comes in                         reasons in the report
    "carriage returns alone": (b"mobile,name\r501100101,Jan\r12,x\r", ["Jan"], ["invalid_number"]),
    "UTF-16 without its mark": ("mobile,name\n501100101,Łucja\n".encode("utf-16-le"), ["Łucja"], []),
    "a mark of UTF-8": (b"\xef\xbb\xbfmobile,name\n501100101,Jan\n", ["Jan"], []),
    "UTF-8 among windows-1250": (
        "mobile,name\n501100101,Łucja\n501100103,Zażółć\n".encode("cp1250") + "501100102,Łucja\n".encode(),
        ["Łucja", "Zażółć"], ["wrong_encoding"],
    ),
    "windows-1250 among UTF-8": (
        "mobile,name\n501100101,Łucja\n501100103,Zażółć\n".encode() + "501100102,Łucja\n".encode("cp1250"),
        ["Łucja", "Zażółć"], ["wrong_encoding"],
    ),
    "a formula": (b"mobile,name\n501100101,\"=cmd|'/c calc'!A1\"\n", ["=cmd|'/c calc'!A1"], []),
    "NUL bytes": (b"mobile,name\n501100101,Jan\n501100102," + bytes(100_000) + b"\n", ["Jan"], ["nul_byte"]),
    "a line of 100 MB": (
        b"mobile,name\n501100101,Jan\n501100102," + b"x" * 100_000_000 + b"\n12,\n", ["Jan"],
        ["too_long", "invalid_number"],
    ),
    "a line of 100 MB without an end": (
        b"mobile,name\n501100101,Jan\n501100102," + b"x" * 100_000_000, ["Jan"], ["too_long"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_of_a_strange_file_the_good_rows_come_in_and_the_others_are_told(dialer, database, tmp_path, kind):
    content, names, reasons = HOSTILE[kind]
    (tmp_path / "people.csv").write_bytes(content)
    done = dialer("contacts", "import", "campaign.yaml")
    assert done.returncode == 0, done.stderr
    assert [row[0] for row in database.rows("select fields->>'name' from contact order by id")] == names
    path = tmp_path / "people.csv.report.csv"
    with path.open(encoding="utf-8", newline="") if reasons else io.StringIO("header") as file:
        told = list(csv.reader(file))[1:]
    assert [row[2] for row in told] == reasons
    if "100 MB" in kind:
        assert [int(row[0]) for row in told] == [3, 4][: len(reasons)]


def test_a_pipe_is_no_file_of_people(dialer, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = dialer("contacts", "import", "campaign.yaml", "--delivery", "pipe")
    assert (done.returncode, "it is a folder, a pipe or a device" in done.stderr) == (2, True), done.stderr


def test_a_file_whose_disk_fails_is_told(dialer):
    # Opens, is said to be a file, and fails at the first byte, for root too.
    done = dialer("contacts", "import", "campaign.yaml", "--delivery", "/proc/self/mem")
    assert (done.returncode, "cannot be read to its end: Input/output error" in done.stderr) == (1, True), done.stderr


BASE = CAMPAIGN.replace("people.csv", '"base/base-{date}.csv"')


def test_a_broken_delivery_is_put_aside_and_is_trouble_on_the_status_page(dialer, stored, tmp_path):
    (tmp_path / "campaign.yaml").write_text(BASE, encoding="utf-8")
    done = dialer("contacts", "import", "campaign.yaml")
    assert (done.returncode, "there is no folder" in done.stderr) == (2, True), done.stderr
    base = tmp_path / "base"
    base.mkdir()
    assert "no delivery of the base has come yet" in dialer("contacts", "import", "campaign.yaml").stdout
    assert "nothing new in base/base-{date}.csv" in dialer("contacts", "deliver", "health-check").stdout
    for day, rows in ((1, GOOD_PEOPLE), (2, "mobile,name\n501100101,Jan\n5011001")):
        (base / f"base-2026-03-0{day}.csv").write_text(rows, encoding="utf-8")
        (base / f"base-2026-03-0{day}.csv.done").touch()
        done = dialer("contacts", "deliver", "health-check")
        assert done.returncode == (0 if day == 1 else 2), done.stderr
        assert stored() == (1, 1)
    assert "base-2026-03-02.csv:3: the file ends in the middle of this row [cut-off]" in done.stderr
    assert "fix: " in done.stderr
    assert sorted(one.name for one in (base / "aside").iterdir()) == [
        "base-2026-03-02.csv", "base-2026-03-02.csv.done", "base-2026-03-02.csv.why.txt",
    ]  # fmt: skip
    said = dialer("status", "health-check").stdout
    assert [line for line in said.splitlines() if line.startswith("!") and "a delivery was refused" in line], said


STRANGE = [
    'say "hi", you',
    "two\r\nlines",
    "${SHELL(id)}",
    "x" * 10_000,
    "zażółć gęślą",
    "مرحبا",
    "😀",
    "=1+1",
    "{name}",
]


def test_strange_fields_are_listed_as_they_are(dialer_process, tmp_path):
    with (tmp_path / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("mobile", "name"))
        writer.writerows((f"5011001{place:02}", text) for place, text in enumerate(STRANGE))
    assert dialer_process("contacts", "import", "campaign.yaml", LC_ALL="C", PYTHONUTF8="0").returncode == 0
    done = dialer_process("contacts", "list", "health-check", "--json", LC_ALL="C", PYTHONUTF8="0")
    assert [json.loads(line)["fields"]["name"] for line in done.stdout.splitlines()] == STRANGE


def test_unknown_campaigns_and_settings_end_with_2(dialer):
    done = dialer("report", "calls", "nothing", "--csv", "-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no campaign 'nothing'. Known are: none yet" in done.stderr
    assert dialer("report", "calls", "nothing").returncode == 2, "neither --csv nor --json"
    assert dialer("contacts", "list", "x", "--settings", "no.yaml").returncode == 2


@pytest.mark.parametrize(
    "command",
    [
        ("contacts", "import", "campaign.yaml"),
        ("contacts", "list", "health-check"),
        ("db", "upgrade"),
        ("report", "answers", "health-check", "--csv", "-"),
    ],
    ids=" ".join,
)
def test_no_postgresql_is_one_sentence_and_exit_1(dialer, monkeypatch, tmp_path, command):
    monkeypatch.setenv("DIALER_DATABASE", f"postgresql:///dialer?host={tmp_path}")
    done = dialer(*command)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "Start it, or correct `database` in the settings file." in done.stderr


def test_a_run_without_postgresql_ends_in_the_same_way(dialer_process, tmp_path):
    done = dialer_process("run", "campaign.yaml", DIALER_DATABASE=f"postgresql:///dialer?host={tmp_path}")
    assert done.returncode == 1
    assert "Start it, or correct `database` in the settings file." in done.stderr


def test_a_database_without_tables_is_told_what_to_run(dialer, database):
    database.run("drop table alembic_version")
    done = dialer("contacts", "import", "campaign.yaml")
    assert (done.returncode, "Run `dialer db upgrade`." in done.stderr) == (1, True), done.stderr


def test_a_report_leaves_no_half_file_behind(dialer, tmp_path):
    assert dialer("contacts", "import", "campaign.yaml").returncode == 0
    done = dialer("report", "calls", "health-check", "--csv", "nowhere/calls.csv")
    assert (done.returncode, "cannot write nowhere/calls.csv: there is no folder" in done.stderr) == (1, True), (
        done.stderr
    )
    assert dialer("report", "calls", "health-check", "--csv", "calls.csv").returncode == 0
    assert sorted(path.name for path in tmp_path.glob("*calls*")) == ["calls.csv", "calls.csv.json"]


def test_a_full_disk_is_told_and_a_device_is_not_replaced(dialer):
    assert dialer("contacts", "import", "campaign.yaml").returncode == 0
    done = dialer("report", "calls", "health-check", "--csv", "/dev/full")
    assert (done.returncode, done.stderr.count("No space left on device. Free some space")) == (1, 1), done.stderr
    assert Path("/dev/full").is_char_device()
