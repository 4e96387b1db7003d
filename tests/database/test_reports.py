"""Reports of a real database: a night makes the facts, PostgreSQL gives names and numbers, the command writes files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from textwrap import dedent
from uuid import UUID

import pytest
from click.testing import CliRunner

import cli
from dialer.campaign.load import load_campaign
from dialer.storage.prepare import prepare
from etl.reports.catalogue import REPORTS
from tests.database.test_etl import require, run
from tests.support.etl_events import Event, event, insert

NOW = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, person: id, numbers: [mobile], fields: [name, city, Name]}
    calling: {window: any}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow:
      hello: {say: "Hello {name}."}
      fever: {ask: "Fever?", keys: {1: yes, 2: no}}
      people: {ask: "How many?", digits: 1-2}
      when: {callback: "When?"}
      later: {callback: "Later.", after: 2h}
    """
)
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def prepared(database, tmp_path):
    """A campaign of two people."""
    (tmp_path / "people.csv").write_text(
        'id,mobile,name,city,Name\n1,+48501100101,"=Jan ""K"", zażółć",Łódź,J\n2,+48501100102,Ewa,,\n', encoding="utf-8"
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN, encoding="utf-8")
    return prepare(database.engine, load_campaign(path), NOW)


@pytest.fixture
def campaign(database, prepared):
    """Jan was busy, then answered both questions, the first one twice. The night has been."""
    (contact,) = database.rows(
        "select contact.id from contact join person p on p.id = person_id where p.person_key = '1'"
    )
    values = {"campaign": prepared.campaign_id, "contact": contact[0], "wave": 1}
    for dial, (attempt, at, disposition) in enumerate(
        ((FIRST, NOW, "busy"), (SECOND, NOW + timedelta(minutes=5), "completed")), 1
    ):
        database.run(
            "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, "
            "state, submitting_at, hung_up_at, ended_at, slot_until, disposition, seq, caller_id) "
            "select :id, campaign_id, :revision, contact.id, person_id, next_number, 1, 'node-1', 'carrier-a', "
            "'ended', :at, :end, :end, :end, :disposition, 1, '+48221234567' "
            "from contact join person on person.id = person_id where person_key = '1'",
            id=attempt, revision=prepared.revision_id, at=at, end=at + timedelta(seconds=30), disposition=disposition,
        )  # fmt: skip
        trunk = {"node": "node-1", "trunk": "carrier-a", "dial": dial, "revision": 1}
        ended = {"disposition": disposition, "cause": 17 if dial == 1 else 16, "tech_cause": 486 if dial == 1 else None,
                 "hung_up_at": (at + timedelta(seconds=30)).isoformat()}  # fmt: skip
        told = (
            ("attempt.submitting", 0, values | trunk),
            ("attempt.accepted", 1, values),
            ("attempt.ended", 30, values | ended),
        )
        insert(database.engine, [
            event(type_, str(attempt), after_s, start=at, tenant="default", **said) for type_, after_s, said in told
        ])  # fmt: skip
    insert(database.engine, dialogue(values))
    require(run(database))


def dialogue(values) -> list[Event]:
    """What was said in the second call."""
    path = [["hello", 0, 1, "say"], ["fever", 900, 1, "ask"], ["people", 5000, 1, "ask"], ["fever", 9000, 2, "ask"]]
    given = [("fever", 1, "2", "no"), ("people", 1, "3", "3"), ("fever", 2, "1", "yes")]
    told = [("attempt.answered", 3, values), ("dialogue.started", 3, {"revision": 1, "language": "en"})]
    told += [
        ("dialogue.answered", 5 + place, {"step": step, "visit": visit, "keys": keys, "value": value, "revision": 1})
        for place, (step, visit, keys, value) in enumerate(given)
    ]
    told.append(
        (
            "dialogue.ended",
            25,
            {"result": "completed", "step": "fever", "answers": 3, "path": path, "lasted_ms": 20_000},
        )
    )
    return [
        event(type_, str(SECOND), after_s, start=NOW + timedelta(minutes=5), tenant="default", **payload)
        for type_, after_s, payload in told
    ]


@pytest.fixture
def dialer(database, tmp_path, monkeypatch):
    """Runs a command line in the folder of the settings."""
    settings = database.settings.model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "dialer.yaml").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run_it(*arguments: str):
        return CliRunner().invoke(cli.root, list(arguments), catch_exceptions=False)

    return run_it


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_an_old_name_still_works_and_shows_whom_and_what(dialer, campaign):
    done = dialer("report", "calls", "health-check", "--csv", "-")
    assert done.exit_code == 0, done.stderr
    busy, completed = rows(done.stdout)
    wanted = {
        "tenant": "default", "call": str(FIRST), "campaign": "health-check", "person": "1", "number": "+48501100101",
        "caller_id": "+48221234567", "dial": "1", "node": "node-1", "trunk": "carrier-a", "disposition": "busy",
        "submitted_utc": "2026-03-02T09:00:00.123Z", "answered_utc": "", "hung_up_utc": "2026-03-02T09:00:30.123Z",
        "sip_code": "486", "q850_cause": "17", "flow_result": "", "answer_fever": "", "answer_people": "",
        "answer_when": "", "is_open": "false",
    }  # fmt: skip
    assert {name: busy[name] for name in wanted} == wanted
    wanted = {"flow_result": "completed", "talk_s": "27.000", "answers": "3", "answer_fever": "yes",
              "answer_people": "3", "language": "en"}  # fmt: skip
    assert {name: completed[name] for name in wanted} == wanted
    assert dialer("report", "calls", "health-check", "--csv", "-").stdout == done.stdout, (
        "the same state, the same bytes"
    )


def test_a_contact_has_one_row_with_its_fields(dialer, campaign):
    done = dialer("report", "answers", "health-check", "--csv", "-")
    (only,) = rows(done.stdout)
    wanted = {"person": "1", "number": "+48501100101", "calls": "2", "disposition": "completed", "answer_fever": "yes",
              "answer_people": "3", "field_city": "Łódź", "field_name": '=Jan "K", zażółć',
              "field_Name_2": "J"}  # fmt: skip
    assert {name: only[name] for name in wanted} == wanted
    guarded = dialer("report", "survey_responses", "--campaign", "health-check", "--csv", "-", "--profile", "excel")
    assert rows(guarded.stdout.lstrip("\ufeff"))[0]["field_name"] == '\'=Jan "K", zażółć'
    assert rows(guarded.stdout.lstrip("\ufeff"))[0]["number"] == "'+48501100101"


def test_a_file_has_a_side_car_that_says_what_it_is(dialer, campaign, tmp_path):
    arguments = ("report", "question_answers", "--campaign", "health-check", "--from", "2026-03-02", "--to",
                 "2026-03-02", "--tz", "Europe/Warsaw")  # fmt: skip
    assert dialer(*arguments, "--csv", "out.csv").exit_code == 0
    content = (tmp_path / "out.csv").read_bytes()
    said = json.loads((tmp_path / "out.csv.json").read_bytes())
    wanted = {"report": "question_answers", "tenant": "default", "campaign": "health-check", "tz": "Europe/Warsaw",
              "rows": 3, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content),
              "late_events": 16}  # fmt: skip
    assert {name: said[name] for name in wanted} == wanted
    assert len(said["runs"]) == 1
    assert said["watermark_utc"]
    assert [column["name"] for column in said["columns"]] == content.decode().split("\r\n")[0].split(",")
    chosen = {(row["step"], row["answer"]): (row["given"], row["reached"]) for row in rows(content.decode())}
    assert chosen == {("fever", ""): ("0", "1"), ("fever", "yes"): ("1", "1"), ("people", "3"): ("1", "1")}


def test_every_report_is_written_in_every_form(dialer, campaign, tmp_path):
    for name, report in REPORTS.items():
        whose = ("--campaign", "health-check") if "call_fact" in report.reads else ()
        for form in ("csv", "xlsx", "parquet"):
            done = dialer("report", name, *whose, f"--{form}", f"out.{form}")
            assert done.exit_code == 0, (name, done.stderr)
            assert json.loads((tmp_path / f"out.{form}.json").read_bytes())["report"] == name


def test_a_cell_leads_to_its_calls_and_a_call_to_its_events(dialer, campaign):
    summary = json.loads(dialer("report", "campaign_summary", "--json").stdout)
    assert (summary["attempts"], summary["completed"]) == (2, 1)
    behind = dialer("report", "campaign_summary", "--rows", "campaign=health-check", "--rows", "completed", "--json")
    (only,) = map(json.loads, behind.stdout.splitlines())
    assert only["subject"] == str(SECOND)
    events = dialer("report", "campaign_summary", "--rows", f"subject={SECOND}", "--json")
    assert [json.loads(line)["type"] for line in events.stdout.splitlines()][:3] == [
        "attempt.submitting", "attempt.accepted", "attempt.answered",
    ]  # fmt: skip


def test_without_days_a_report_begins_on_the_clocks_day_of_the_first_fact(database, dialer, prepared):
    at = datetime(2026, 3, 2, 1, tzinfo=UTC)
    said = {
        "campaign": prepared.campaign_id,
        "contact": 1,
        "wave": 1,
        "node": "n",
        "trunk": "t",
        "dial": 1,
        "revision": 1,
    }
    insert(database.engine, [event("attempt.submitting", str(FIRST), start=at, tenant="default", **said)])
    require(run(database))
    (only,) = rows(dialer("report", "attempts_by_hour", "--tz", "America/Sao_Paulo", "--csv", "-").stdout)
    assert only["period_start_local"] == "2026-03-01T22:00:00.000-03:00"


WRONG = [
    (("calls", "nothing", "--csv", "-"), "there is no campaign 'nothing'. Known are: health-check"),
    (("survey_responses", "--csv", "-"), "say which with --campaign NAME"),
    (("call_detail", "--tenant", "x", "--csv", "-"), "there is no tenant 'x'. Known are: default"),
    (("call_detail", "--tz", "Mars/Base", "--csv", "-"), "there is no time zone 'Mars/Base'"),
    (("call_detail", "--from", "2026-03-02", "--to", "2026-03-01", "--csv", "-"), "ends before it begins"),
    (("calls_at_once", "--from", "2020-01-01", "--csv", "-"), "at most 366 days at a time"),
    (("call_detail", "--from", "0001-01-01", "--csv", "-"), "years go from 1971 to 2100"),
    (("call_detail", "--from", "2090-01-01", "--csv", "-"), "nothing is known of 2090-01-01 yet: facts end on"),
    (("agent_daily", "--campaign", "x", "--csv", "-"), "No such option '--campaign'"),
    (("dead_letters", "--rows", "subject=1", "--csv", "-"), "nothing stands behind a row of dead_letters"),
    (("campaign_summary", "--rows", "colour=red", "--csv", "-"), "has no cell 'colour=red'"),
    (("call_detail", "--rows", "completed", "--csv", "-"), "is one subject already: say --rows subject=ID"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(one[0]) for one in WRONG])
def test_a_mistake_is_told(dialer, prepared, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr("sys.argv", ["dialer", "report", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert (end.value.code, message in capsys.readouterr().err) == (2, True)


def test_before_the_first_night_a_report_is_empty_and_says_so(dialer):
    done = dialer("report", "campaign_summary", "--csv", "-")
    assert (done.exit_code, len(rows(done.stdout))) == (0, 0)
    assert "`dialer etl run` does it" in done.stderr


def test_a_page_shows_the_campaign_and_loads_nothing(dialer, campaign, tmp_path):
    assert dialer("report", "html", "--campaign", "health-check", "--out", "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "")
    for said in (
        "Calls by hour",
        "How calls ended",
        "completed",
        "Answers to fever",
        "yes",
        "The way through the call",
    ):
        assert said in page
    assert dialer("report", "html", "--day", "2026-03-02", "--out", "day.html").exit_code == 0
    assert "ceiling of the site" in (tmp_path / "day.html").read_text(encoding="utf-8")
