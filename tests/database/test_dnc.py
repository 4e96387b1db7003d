"""`dialer dnc` as an operator meets it: what it keeps, what it says, what the audit says of it."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from sqlalchemy.exc import DBAPIError

from dialer.dnc_command import dnc_group
from dialer.errors import InvalidInput
from dialer.storage import audit
from tests.support.claiming import make_campaign

A, B, C = "+48501100101", "+48501100102", "+48501100103"
ALL = "select number, scope, tenant_id, campaign_id, source, reason, until from dnc order by id"


@pytest.fixture
def dnc(database):
    """Runs a command on the test's database."""
    path = database.settings.state_dir.parent / "dialer.yaml"
    path.write_text(json.dumps(database.settings.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")

    def run(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(dnc_group, [command, *arguments, f"--settings={path}"])

    return run


def said(result: Result) -> tuple[int, str, str]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def audited(database) -> list[tuple[object, ...]]:
    return database.rows("select what, tenant_id, campaign_id, why, detail from audit order by id")


# -- add, check, remove ----------------------------------------------------------------------------------------------


def test_a_number_is_added_once_and_audited(database, dnc):
    assert said(dnc("add", "+48 501 100 101", B, "--why", "by letter")) == (0, "2 added to the list of the site\n", "")
    again = dnc("add", "501100101", "--region", "PL")
    assert said(again) == (0, "0 added to the list of the site, 1 stood there already\n", "")
    assert database.rows(ALL) == [
        (A, "site", None, None, "command", "by letter", None), (B, "site", None, None, "command", "by letter", None),
    ]  # fmt: skip
    first = audited(database)[0]
    assert first == ("dnc.add", None, None, "by letter",
                     {"list": "the list of the site", "numbers": [A, B], "until": None})  # fmt: skip


def test_lists_of_tenants_and_campaigns_stand_beside_each_other(database, dnc):
    campaign_id = make_campaign(database, "autumn", [C])
    for options in ((), ("--tenant", "t"), ("--campaign", "autumn")):
        assert dnc("add", A, *options).exit_code == 0
    assert [row[1:4] for row in database.rows(ALL)] == [
        ("site", None, None), ("tenant", "t", None), ("campaign", "t", campaign_id)
    ]  # fmt: skip
    code, out, _ = said(dnc("check", A, B))
    lines = out.splitlines()
    assert (code, lines[0], lines[4:]) == (0, A, [B, "  on no list"])
    assert [line.split(" since ")[0] for line in lines[1:4]] == [
        "  on the list of the site", "  on the list of the tenant t", "  on the list of the campaign autumn",
    ]  # fmt: skip
    entries = json.loads(dnc("check", A, "--json").stdout)[A]
    assert [(one["scope"], one["campaign"], one["expired"]) for one in entries] == [
        ("site", None, False), ("tenant", None, False), ("campaign", "autumn", False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("2031-01-31", datetime(2031, 2, 1, 12, tzinfo=UTC)),
        ("2031-01-31T18:00+01:00", datetime(2031, 1, 31, 17, tzinfo=UTC)),
    ],
)
def test_an_entry_may_hold_for_a_time_and_the_longer_one_wins(database, dnc, until, expected):
    def kept() -> object:
        return database.rows(ALL)[0][-1]

    dnc("add", A, "--until", until)
    assert kept() == expected
    dnc("add", A, "--until", "2030-01-31")
    assert kept() == expected
    dnc("add", A)
    dnc("add", A, "--until", until)
    assert kept() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "501100101"), "not_a_number"),
        (("add", "+4850110"), "Nothing was changed"),
        (("add", A, "--region", "Poland"), "no country"),
        (("add", A, "--tenant", "x"), "there is no tenant 'x'"),
        (("add", A, "--campaign", "x"), "there is no campaign 'x'"),
        (("add", A, "--tenant", "t", "--campaign", "autumn"), "not both"),
        (("add", A, "--until", "tomorrow"), "neither a day"),
        (("add", A, "--until", "2020-01-31"), "2020-01-31 is over"),
        (("add", A, "--until", "2031-01-31T18:00"), "no time zone"),
    ],
)
def test_a_mistake_changes_nothing(database, dnc, arguments, message):
    make_campaign(database, "autumn", [C])
    result = dnc(*arguments)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
    assert (database.rows(ALL), audited(database)) == ([], [])


def test_a_number_leaves_only_the_list_that_is_named(database, dnc):
    make_campaign(database, "autumn", [C])
    dnc("add", A)
    dnc("add", A, "--campaign", "autumn")
    assert said(dnc("remove", A, B, "--why", "a mistake")) == (
        1, "1 taken off the list of the site\n", f"not on it: {B}; `dialer dnc check` says where a number is\n"
    )  # fmt: skip
    assert [row[1] for row in database.rows(ALL)] == ["campaign"]
    assert audited(database)[-1][0::3] == ("dnc.remove", "a mistake")
    assert dnc("remove", A).exit_code == 2, "people relied on it: the reason must be given"


def test_who_adds_a_number_is_told_of_the_call_that_began_before(database, dnc):
    campaign_id = make_campaign(database, "autumn", [A])
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, seq) select gen_random_uuid(), campaign_id, 1, id, person_id, :a, 1, 'node-1', 'a', 'ringing', "
        "now(), 2 from contact where campaign_id = :id",
        a=A, id=campaign_id,
    )  # fmt: skip
    assert said(dnc("add", A))[2] == "1 of them is in a call that was begun before\n"


# -- import, list ----------------------------------------------------------------------------------------------------


def test_a_file_is_imported_whole_and_again_changes_nothing(database, dnc, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(f"phone;reason\n{A};by letter\n501 100 102;\n{A};\n", encoding="utf-8")
    done = dnc("import", str(file), "--region", "PL", "--why", "national list")
    assert said(done)[:2] == (
        0, f"{file}: 2 added to the list of the site, 0 stood there already, 1 repeated, 0 unreadable\n"
    )  # fmt: skip
    assert [(row[0], *row[4:6]) for row in database.rows(ALL)] == [
        (A, "import", "by letter"), (B, "import", "national list")
    ]  # fmt: skip
    again = json.loads(dnc("import", str(file), "--region", "PL", "--json").stdout)
    assert (again["added"], again["known"], again["repeated"]) == (0, 2, 1)
    ((what, sha256), _) = database.rows("select what, sha256 from audit order by id")
    assert (what, len(sha256)) == ("dnc.import", 64)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1250"])
def test_a_file_is_read_in_its_own_encoding(database, dnc, tmp_path, encoding):
    file = tmp_path / "list.csv"
    file.write_bytes(f"numer;reason\n{A};życzenie\n".encode(encoding))
    assert dnc("import", str(file), "--region", "PL").exit_code == 0
    assert [row[5] for row in database.rows(ALL)] == ["życzenie"]


def test_lines_without_a_number_are_told_and_the_others_count(database, dnc, tmp_path):
    file = tmp_path / "list.txt"
    file.write_text(f"{A}\nnobody\n{B}\n" + "x1\n" * 30, encoding="utf-8")
    code, out, err = said(dnc("import", str(file)))
    assert (code, "2 added" in out, "31 unreadable" in out) == (1, True, True)
    assert err.splitlines()[0].startswith("Line 2: 'nob***' is refused as not_a_number")
    assert err.splitlines()[-1] == "and 11 lines more"
    assert len(database.rows(ALL)) == 2


@pytest.mark.parametrize(
    "content", [b"", b"name,age\nAnn,7\n", b"\x00\x01\x02\xff\xfe" * 1000, b"nobody\n", b"PK\x03\x04+48501100101\n"]
)
def test_a_file_without_numbers_changes_nothing(database, dnc, tmp_path, content):
    file = tmp_path / "list.csv"
    file.write_bytes(content)
    result = dnc("import", str(file))
    assert isinstance(result.exception, InvalidInput)
    assert "nothing was changed" in str(result.exception)
    assert (database.rows(ALL), audited(database)) == ([], [])
    assert isinstance(dnc("import", str(tmp_path / "none.csv")).exception, InvalidInput)


def test_a_line_without_an_end_is_read_where_it_begins(database, dnc, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text(f"{A},{'x' * 2_000_000}{B}\n{'9' * 3_000_000},{B}\n{C},\n", encoding="utf-8")
    code, out, err = said(dnc("import", str(file), "--column", "1"))
    assert (code, "2 added" in out, "1 unreadable" in out) == (1, True, True)
    assert err.startswith("Line 2: ")
    assert [row[0] for row in database.rows(ALL)] == [A, C]


def test_lists_are_printed_as_they_can_be_read_again(database, dnc, tmp_path):
    make_campaign(database, "autumn", [C])
    dnc("add", B, "--why", 'said "no", twice')
    dnc("add", A, "--campaign", "autumn")
    rows = list(csv.DictReader(io.StringIO(dnc("list", "--csv").stdout)))
    assert [(row["number"], row["scope"], row["campaign"], row["reason"]) for row in rows] == [
        (A, "campaign", "autumn", ""), (B, "site", "", 'said "no", twice')
    ]  # fmt: skip
    (line,) = dnc("list", "--site", "--json").stdout.splitlines()
    assert json.loads(line)["number"] == B
    assert dnc("list", "--campaign", "autumn").stdout.startswith(f"{A}  on the list of the campaign autumn")
    again = tmp_path / "again.csv"
    again.write_text(dnc("list", "--csv").stdout, encoding="utf-8")
    assert dnc("import", str(again), "--tenant", "t").exit_code == 0


# -- the audit -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["update audit set who = 'nobody'", "delete from audit", "truncate audit"])
def test_the_audit_is_only_added_to(database, change):
    with database.engine.begin() as connection:
        audit.record(connection, who="ann@host", what="test", why="because", sha256="0" * 64, detail={"one": 1})
    with pytest.raises(DBAPIError, match="only ever added to"):
        database.run(change)
    assert database.rows("select who, what, why, detail from audit") == [("ann@host", "test", "because", {"one": 1})]
