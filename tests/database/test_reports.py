"""Reports hold every attempt and answer as the database does, in a stable order, as CSV that any program reads."""

import csv
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import pytest

import cli
from dialer.campaign.load import load_campaign
from dialer.storage import campaigns
from dialer.storage.prepare import prepare
from dialer.storage.reading import reading
from etl.reports.answers import answers
from etl.reports.calls import calls
from etl.reports.table import Report, write_csv, write_json

NOW = datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, person: id, numbers: [mobile], fields: [name, city]}
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
def campaign(database, tmp_path):
    """Two people; Jan was busy, then answered both questions, the first one twice."""
    (tmp_path / "people.csv").write_text(
        'id,mobile,name,city\n1,+48501100101,"Jan ""K"", zażółć",Łódź\n2,+48501100102,Ewa,\n', encoding="utf-8"
    )
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN, encoding="utf-8")
    prepared = prepare(database.engine, load_campaign(path), NOW)
    for attempt, at, disposition, answered, sip, cause in (
        (FIRST, NOW, "busy", None, 486, 17),
        (SECOND, NOW + timedelta(minutes=5), "completed", NOW + timedelta(minutes=5, seconds=3), None, 16),
    ):
        database.run(
            "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, "
            "state, submitting_at, answered_at, hung_up_at, ended_at, slot_until, tech_cause, cause, disposition, seq) "
            "select :id, campaign_id, :revision, contact.id, person_id, next_number, 1, 'node-1', 'carrier-a', "
            "'ended', :at, :answered, :end, :end, :end, :sip, :cause, :disposition, 1 "
            "from contact join person on person.id = person_id where person_key = '1'",
            id=attempt, revision=prepared.revision_id, at=at, answered=answered,
            end=at + timedelta(seconds=30), sip=sip, cause=cause, disposition=disposition,
        )  # fmt: skip
    for step, visit, keys, value, tries in (
        ("fever", 1, "2", "no", 1),
        ("fever", 2, "1", "yes", 2),
        ("people", 1, "3", "3", 1),
    ):
        at = NOW + timedelta(minutes=5, seconds=10 * visit, milliseconds=tries)
        database.run(
            "insert into answer values (:attempt, :step, :visit, :revision, :keys, :value, :at)",
            attempt=SECOND, step=step, visit=visit, revision=prepared.revision_id, keys=keys, value=value, at=at,
        )  # fmt: skip
        for number in range(1, tries + 1):
            database.run(
                "insert into answer_try values (:attempt, :step, :visit, :number, :keys, :outcome, :at)",
                attempt=SECOND, step=step, visit=visit, number=number, at=at, keys=keys if number == tries else "",
                outcome="accepted" if number == tries else "silence",
            )  # fmt: skip
    database.run("insert into flow_result values (:id, 'completed', 'people', 3, null, :at)", id=SECOND, at=NOW)
    return path


def written(database, report, write) -> str:
    out = io.StringIO(newline="")
    with reading(database.engine) as connection:
        write(report(connection, campaigns.require(connection, "health-check")), out)
    return out.getvalue()


def test_calls_has_a_row_an_attempt(database, campaign):
    text = written(database, calls, write_csv)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["attempt_id"] for row in rows] == [str(FIRST), str(SECOND)]
    assert rows[0] == {
        "attempt_id": "00000000-0000-0000-0000-000000000001", "campaign": "health-check", "person": "1",
        "number": "+48501100101", "wave": "1", "node": "node-1", "trunk": "carrier-a",
        "submitted_at": "2026-03-02T09:00:00.123456Z", "ringing_at": "", "answered_at": "",
        "hung_up_at": "2026-03-02T09:00:30.123456Z", "ended_at": "2026-03-02T09:00:30.123456Z", "disposition": "busy",
        "sip_code": "486", "cause": "17", "flow_result": "", "step": "", "answers": "0",
        "answer_fever": "", "answer_people": "", "answer_when": "",
    }  # fmt: skip
    assert {key: rows[1][key] for key in ("flow_result", "step", "answers", "answer_fever", "answer_people")} == {
        "flow_result": "completed", "step": "people", "answers": "3", "answer_fever": "yes", "answer_people": "3",
    }  # fmt: skip


def test_answers_has_a_row_an_answer_with_the_persons_fields(database, campaign):
    text = written(database, answers, write_csv)
    assert text.splitlines()[0].split(",") == [
        "person", "number", "step", "visit", "value", "keys", "at", "tries", "revision", "attempt_id", "field_name",
        "field_city",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [(row["step"], row["visit"], row["value"], row["keys"], row["tries"]) for row in rows] == [
        ("fever", "1", "no", "2", "1"),
        ("people", "1", "3", "3", "1"),
        ("fever", "2", "yes", "1", "2"),
    ]
    assert {(row["field_name"], row["field_city"]) for row in rows} == {('Jan "K", zażółć', "Łódź")}


def test_lines_end_as_rfc_4180_says(database, campaign):
    lines = written(database, answers, write_csv).split("\r\n")
    assert len(lines) == 5
    assert lines[-1] == ""
    assert '"Jan ""K"", zażółć"' in lines[1]


def test_the_same_state_gives_the_same_bytes(database, campaign):
    assert written(database, calls, write_csv) == written(database, calls, write_csv)


def test_json_holds_numbers_and_nulls(database, campaign):
    first = json.loads(written(database, calls, write_json).splitlines()[0])
    assert (first["sip_code"], first["answered_at"], first["answers"]) == (486, None, 0)


def test_a_question_of_an_older_revision_keeps_its_column(database, campaign):
    changed = CAMPAIGN.replace("fever:", "cough:").replace("name, city", "city").replace("{name}", "")
    campaign.write_text(changed, encoding="utf-8")
    prepare(database.engine, load_campaign(campaign), NOW)
    header = written(database, calls, write_csv).splitlines()[0]
    assert header.endswith(",answer_cough,answer_people,answer_when,answer_fever")
    assert written(database, answers, write_csv).splitlines()[0].endswith(",field_city,field_name"), "new, then old"


def test_a_report_streams():
    given = iter(range(10**9))

    class Full(Exception):
        pass

    class Narrow(io.StringIO):
        def write(self, text: str) -> int:
            if self.tell() > 1000:
                raise Full
            return super().write(text)

    with pytest.raises(Full):
        write_csv(Report(columns=("n",), rows=((n,) for n in given)), Narrow(newline=""))
    assert next(given) < 1000


@pytest.mark.parametrize("target", ["out.csv", "-"])
def test_the_command_writes_what_the_report_says(database, campaign, monkeypatch, capfd, tmp_path, target):
    settings = database.settings.model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "dialer.yaml").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dialer", "report", "answers", "health-check", "--csv", target])
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = capfd.readouterr().out
    got = out if target == "-" else Path(target).read_bytes().decode()
    assert end.value.code in (None, 0)
    assert got == written(database, answers, write_csv)
