"""`dialer explain` and `dialer calendar` over a real database: where everybody stands, and one person's whole trail."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from textwrap import dedent
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from dialer.calendar_command import calendar_command
from dialer.campaign.load import load_campaign
from dialer.clock import utc_now
from dialer.errors import InvalidInput
from dialer.explain_command import explain_command, number_of
from dialer.storage.prepare import prepare

CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, person: id, numbers: [mobile, home], region: PL}
    calling:
      window: any
      caps: {number: {day: 2}, person: {week: 5}}
      gap: 4h
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    retry: {busy: {after: 5m, times: 3}}
    flow: {hello: {say: "Hello."}}
    """
)
PEOPLE = "id,mobile,home\n1,501100101,\n2,501100102,226210001\n3,501100103,\n4,12,\n"


@pytest.fixture
def settings_file(database, tmp_path):
    path = tmp_path / "dialer.yaml"
    path.write_text(
        f"database: {database.settings.database}\nmac_key_file: {database.settings.mac_key_file}\n"
        'caller_ids: ["+48221234567"]\n'
        "nodes: [{name: node-1, ami: {secret_file: ami.secret}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def ask(settings_file) -> Callable[..., str]:
    def run(command, *words: str) -> str:
        done = CliRunner().invoke(command, [*words, "--settings", str(settings_file)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    return run


@pytest.fixture
def campaign(database, tmp_path) -> int:
    (tmp_path / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    return prepare(database.engine, load_campaign(tmp_path / "campaign.yaml"), utc_now()).campaign_id


def call(database, number: str, ago: str, disposition: str = "busy") -> None:
    """The contact at a number was called so long ago, and is due again five minutes after that."""
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, ringing_at, hung_up_at, ended_at, slot_until, tech_cause, cause, disposition, seq, counted) "
        "select gen_random_uuid(), c.campaign_id, r.id, c.id, c.person_id, :number, 1, 'node-1', 'carrier-a', 'ended', "
        "at, at + interval '2 s', at + interval '20 s', at + interval '20 s', at + interval '21 s', 486, 17, "
        ":disposition, 3, true from contact c join revision r on r.campaign_id = c.campaign_id, "
        "(select now() - cast(:ago as interval) as at) as moment where :number = any(c.numbers)",
        number=number, ago=ago, disposition=disposition,
    )  # fmt: skip
    database.run(
        "update contact set attempts = attempts + 1, dials = dials + 1, wave = wave + 1, "
        "next_attempt_at = now() - cast(:ago as interval) + interval '320 s' where :number = any(numbers)",
        number=number, ago=ago,
    )  # fmt: skip


def test_the_funnel_of_a_campaign_that_waits_for_its_run(ask, campaign):
    page = ask(explain_command, "health-check")
    assert "health-check, revision 1" in page
    assert "3  may be called now: it is idle" in page
    assert "1  rows of the last import, rejected" in page
    assert page.splitlines()[-1].split() == ["3", "contacts,", "and", "1", "rows", "that", "are", "no", "contacts"]


def test_the_funnel_for_programs_adds_up(ask, database, campaign):
    database.run("update contact set closed_as = 'completed', next_attempt_at = null, next_number = null "
                 "where '+48501100103' = any(numbers)")  # fmt: skip
    data = json.loads(ask(explain_command, "health-check", "--json"))
    assert (data["contacts"], data["rejected"], data["totals"]) == (3, 1, {"closed": 1, "due": 2, "rejected": 1})
    assert sum(one["people"] for one in data["buckets"]) == data["contacts"] + data["rejected"]
    assert {(one["bucket"], one["detail"]) for one in data["buckets"]} == {
        ("closed", "completed"), ("due", "idle"), ("rejected", ""),
    }  # fmt: skip


def test_the_contacts_of_a_bucket_as_csv(ask, campaign):
    rows = list(csv.DictReader(io.StringIO(ask(explain_command, "health-check", "--csv", "due"))))
    assert [(row["person"], row["numbers"], row["line"]) for row in rows] == [
        ("1", "+48501100101", "2"), ("2", "+48501100102 +48226210001", "3"), ("3", "+48501100103", "4"),
    ]  # fmt: skip
    assert all(row["file"].endswith("people.csv") for row in rows)


def test_the_trail_of_somebody_who_was_called_often_enough(ask, database, campaign):
    call(database, "+48501100102", "20 hours", "no_answer")
    call(database, "+48501100102", "3 hours")
    page = ask(explain_command, "+48 501 100 102")
    assert "people.csv line 3" in page
    for said in (
        "allows: +48501100102 is on no list", "forbids: 2 of 2 calls in 24 h", "allows: 2 of 5 calls in 7 days",
        "4 h must lie between two", "carrier-a carries it", "SIP 486", "Q.850 17", "rang after 2.0 s",
        "5 min after busy", '`retry.busy: {"after": "5m", "times": 3}`',
    ):  # fmt: skip
        assert said in page, said
    data = json.loads(ask(explain_command, "+48501100102", "--json"))
    (contact,) = data["contacts"]
    forbids = {one["rule"] for one in contact["rules"] if not one["allows"]}
    assert {"cap number.day", "gap number", "gap person"} <= forbids
    assert "cap person.week" not in forbids
    assert [one["disposition"] for one in contact["calls"]] == ["no_answer", "busy"]
    assert [one["revision"] for one in contact["calls"]] == [1, 1]


def test_the_trail_names_the_list_that_a_number_is_on(ask, database, campaign):
    database.run(
        "insert into dnc (number, scope, tenant_id, source, reason, added_by) "
        "values ('+48226210001', 'tenant', 'default', 'call', 'pressed 9', 'dialer')"
    )
    page = ask(explain_command, "+48501100102")
    assert "forbids: +48226210001 is on the list of the tenant" in page
    assert "pressed 9" in page
    assert "allows: +48501100102 is on no list" in page


def test_a_number_that_stands_in_no_campaign_may_stand_on_a_list(ask, database):
    database.run(
        "insert into dnc (number, scope, source, added_by) values ('+48501100109', 'site', 'import', 'ann@host')"
    )
    page = ask(explain_command, "+48501100109")
    assert "stands in no campaign" in page
    assert "on the do-not-call list of everybody" in page


@pytest.mark.parametrize("text", ["+", "+12", "+48 501 abc", "+48501100101234567", "+48501;drop"])
def test_what_is_no_number_is_said(text):
    with pytest.raises(InvalidInput, match="no telephone number"):
        number_of(text)


def test_the_coming_calls_by_hour_as_table_csv_and_picture(ask, database, campaign, tmp_path):
    database.run("update contact set next_attempt_at = now() + interval '3 hours' where '+48501100103' = any(numbers)")
    page = ask(calendar_command, "health-check")
    assert "3 to be called" in page
    assert "Forecast: done about" in page
    rows = list(csv.DictReader(io.StringIO(ask(calendar_command, "health-check", "--csv"))))
    assert [(row["zones"], row["people"]) for row in rows] == [("Europe/Warsaw", "2"), ("Europe/Warsaw", "1")]
    assert ask(calendar_command, "health-check", "--svg", str(tmp_path / "week.svg")) == ""
    ElementTree.parse(tmp_path / "week.svg")
    data = json.loads(ask(calendar_command, "health-check", "--json"))
    assert sum(one["people"] for one in data["hours"]) == 3
    assert data["forecast"]["done_at"] > data["at"]


def test_the_calendar_of_a_number_names_its_next_call(ask, campaign):
    assert "next call at" in ask(calendar_command, "+48501100101")
    (row, *_) = list(csv.DictReader(io.StringIO(ask(calendar_command, "+48501100101", "--csv"))))
    assert (row["campaign"], row["number"], row["why"]) == (
        "health-check",
        "+48501100101",
        "never called: due since its import",
    )
    assert row["opens_at"] < row["closes_at"]


def test_an_unknown_campaign_is_told_with_the_known_ones(settings_file, campaign):
    for command in (explain_command, calendar_command):
        with pytest.raises(InvalidInput, match="Known are: health-check"):
            CliRunner().invoke(command, ["helth", "--settings", str(settings_file)], catch_exceptions=False)


def test_a_number_without_its_plus_sign_is_told_so(settings_file, campaign):
    for command in (explain_command, calendar_command):
        with pytest.raises(InvalidInput, match="begins with a plus sign"):
            CliRunner().invoke(command, ["48501100101", "--settings", str(settings_file)], catch_exceptions=False)
