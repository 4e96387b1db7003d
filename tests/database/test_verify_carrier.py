"""`dialer verify --carrier` as an operator types it: a campaign in PostgreSQL, the carrier's file beside it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from dialer.verify_command import verify

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
PEOPLE = [f"+4850110010{index}" for index in range(6)]


@pytest.fixture
def campaigns(database):
    """The campaign `c` that called five of its six people, and `other` that called one of them in between."""
    for name in ("c", "other"):
        database.run("insert into campaign (tenant_id, name, created_at) values ('t', :name, now())", name=name)
        database.run(
            "insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
            "select id, 1, 'x', :document, '/', now() from campaign where name = :name",
            name=name, document='{"contacts": {"region": "PL"}}',
        )  # fmt: skip
        database.run("update campaign set revision_id = (select max(id) from revision) where name = :name", name=name)
    for number in PEOPLE:
        database.run("insert into person (tenant_id, person_key) values ('t', :n)", n=number)
        database.run(
            "insert into contact (campaign_id, person_id, numbers, zones, fields) "
            "select c.id, p.id, array[:n], 'Europe/Warsaw', '{}' from campaign c, person p where p.person_key = :n",
            n=number,
        )
    for minute, number in enumerate(PEOPLE[:5]):
        call(database, "c", number, minute * 60, "busy" if minute % 2 else "completed", None if minute % 2 else 42)
    call(database, "other", PEOPLE[0], 100, "completed", 10)


def call(database, campaign: str, number: str, at_s: float, disposition: str, seconds: float | None, trunk="a") -> None:
    answered_at = T0 + timedelta(seconds=at_s + 8)
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, answered_at, hung_up_at, ended_at, slot_until, disposition, seq) "
        "select gen_random_uuid(), p.id, p.revision_id, c.id, c.person_id, :number, 1, 'n', :trunk, 'ended', :at, "
        ":answered, :end, :end, :end, :disposition, 1 "
        "from campaign p join contact c on c.campaign_id = p.id and c.numbers = array[:number] "
        "where p.name = :campaign",
        campaign=campaign, number=number, trunk=trunk, disposition=disposition, at=T0 + timedelta(seconds=at_s),
        answered=answered_at if seconds is not None else None, end=answered_at + timedelta(seconds=seconds or 0),
    )  # fmt: skip


def carriers_rows() -> list[list[str]]:
    """What the carrier has in health: whole seconds, other traffic, and the other campaign's call."""
    rows = [[number, at(minute * 60), "0" if minute % 2 else "42"] for minute, number in enumerate(PEOPLE[:5])]
    return [*rows, [PEOPLE[0], at(100), "10"], ["+48600000000", at(7), "3"], [PEOPLE[5], at(-90_000), "3"]]


def at(seconds: float) -> str:
    return (T0 + timedelta(seconds=seconds + 1)).isoformat()


@pytest.fixture
def compared(database, campaigns, tmp_path):
    """Runs the command over the carrier's rows."""

    def run(rows: list[list[str]], *options: str) -> Result:
        settings = tmp_path / "dialer.yaml"
        document = database.settings.model_dump(mode="json", exclude_defaults=True)
        settings.write_text(json.dumps(document), encoding="utf-8")
        path = tmp_path / "cdr.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=";").writerows([["called", "start", "billed"], *rows])
        columns = ("number=called", "started_at=start", "seconds=billed")
        mapped = [part for column in columns for part in ("--map", column)]
        return CliRunner().invoke(
            verify, ["c", "--settings", str(settings), "--carrier", str(path), *mapped, *options], prog_name="dialer"
        )

    return run


def test_in_health_nothing_is_printed(compared):
    done = compared(carriers_rows())
    assert (done.stdout, done.exit_code) == ("", 0)
    assert done.stderr.splitlines()[-1] == (
        "carrier: 5 calls, 3 answered, 126 s; ours: 5 calls, 3 answered, 126 s; 0 differences; "
        "3 rows outside of the campaign"
    )


def test_each_difference_is_a_line_the_gravest_first(compared):
    rows = carriers_rows()
    rows[0][2], rows[1][2], rows[2][2] = "45", "5", "0"
    del rows[3]
    rows.append([PEOPLE[5], at(30), "0"])
    done = compared(rows)
    assert done.exit_code == 1
    said = [line.split(": ", 1)[1].partition(";")[0] for line in done.stdout.splitlines()]
    assert said == [
        "the carrier has a call that we do not know of",
        "answered at the carrier, not with us (our verdict: busy)",
        "answered with us, not at the carrier (our verdict: completed)",
        "the carrier does not have our call (our verdict: busy)",
        "45.0 s at the carrier, 42.0 s with us (our verdict: completed)",
    ]
    assert done.stdout.startswith(f"{PEOPLE[5]} 2026-05-04T09:00:31+00:00: ")


def test_programs_read_the_same(compared):
    done = compared([*carriers_rows(), [PEOPLE[5].removeprefix("+48"), at(30), "0"]], "--json")
    found, totals = map(json.loads, done.stdout.splitlines())
    assert (found["found"], found["number"], found["line"], found["attempt"]) == ("unknown_call", PEOPLE[5], 10, None)
    assert totals["carrier"] == {"calls": 6, "answered": 3, "seconds": 126}
    assert totals["outside"] == 3


def test_a_call_that_leaves_long_after_the_last_verdict_is_looked_at(compared):
    done = compared([*carriers_rows(), [PEOPLE[5], at(3000), "0"]])
    assert "do not know of" in done.stdout


def test_calls_through_another_trunk_are_another_carriers(compared, database):
    call(database, "c", PEOPLE[5], 20, "busy", None, trunk="b")
    assert "does not have our call" in compared(carriers_rows()).stdout
    assert compared(carriers_rows(), "--trunk", "a").exit_code == 0


def test_a_wrong_time_zone_is_named_instead_of_a_list_of_every_call(compared):
    local = [[number, start.removesuffix("+00:00"), billed] for number, start, billed in carriers_rows()]
    assert compared(local).exit_code == 0
    done = compared(local, "--timezone", "America/New_York")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "14401.0 s ahead of ours" in str(done.exception)


@pytest.mark.parametrize(
    "option", [["--map", "call=x"], ["--timezone", "Mars"], ["--region", "XX"], ["--tolerance", "-1"]]
)
def test_wrong_options_are_named(compared, option):
    done = compared([], *option)
    assert done.exit_code == 2
    assert option[1].partition("=")[0] in done.stderr
