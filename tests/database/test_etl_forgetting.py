"""What the stores forget: old days, replaced runs, and people; and what a restatement changed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from cli import root
from dialer.clock import utc_now
from dialer.errors import InvalidInput, RefusedBySafety
from dialer.settings import OpeningHours
from dialer.storage.session import sync_engine
from etl import diff_command, pipeline, status
from etl import erase as erase_module
from etl import retain as retain_module
from etl.erase import Whom, erase
from etl.lake import Lake
from etl.night_commands import CONNECTIONS, make_night
from etl.retain import retain
from tests.database.test_etl import DAY, read, require, run, write_settings
from tests.support.etl_events import T0, call, event, insert, ticket

CALL = str(UUID(int=1))


@pytest.fixture
def night(database):
    engine = sync_engine(database.settings, CONNECTIONS)
    yield make_night(database.settings, engine)
    engine.dispose()


def forget(night, days: int):
    """A retention so many days after the events."""
    return retain(night, ["acme"], T0 + timedelta(days=days), lambda what: None)


def partitions(database):
    found = database.rows("select relname from pg_class where relname like 'event\\_2026050%' order by 1")
    return [name for (name,) in found if not name.endswith(("idx", "pkey"))]


def test_a_day_of_events_leaves_only_when_the_lake_holds_it(database, night):
    insert(database.engine, [*ticket("T-1"), *call(CALL), event("parcel.sent", "P-1")])
    require(run(database))
    assert forget(night, 80).partitions == []
    insert(database.engine, [event("ticket.message", "T-1", 7000, author="customer", visibility="public")])
    done = forget(night, 100)
    assert (done.partitions, len(done.kept_back)) == ([], 1)
    assert "20 events of tenant 'acme', and the lake holds 19" in done.kept_back[0]
    require(run(database))
    done = forget(night, 100)
    assert (done.partitions, done.kept_back) == (["event_20260504"], [])
    assert partitions(database) == []
    # The facts stay. What was dumped goes when no backup that is still of use knows the day either.
    assert len(read(database, "ticket_fact")) == 1
    assert database.rows("select count(*) from etl_segment") == [(2,)]
    forget(night, 110)
    assert database.rows("select count(*) from etl_segment") == [(0,)]
    assert not list(Lake.of(database.settings).of_tenant("acme").glob("dataset=segment/*"))


def test_replaced_runs_and_old_days_leave_the_lake(database, night):
    insert(database.engine, ticket("T-1"))
    require(run(database))
    insert(database.engine, ticket("T-2"))
    require(run(database))
    lake = Lake.of(database.settings)

    def runs(dataset):
        return len(list(lake.of_tenant("acme").glob(f"dataset={dataset}/day={DAY}/run=*")))

    assert runs("ticket_fact") == 2
    # What counts is since when something newer is read, whenever the older was written, and its events occurred.
    (ended,) = database.rows("select max(ended_at) from etl_run")[0]
    database.run("update etl_run set ended_at = ended_at - interval '60 days' where ended_at < :ended", ended=ended)
    retain(night, ["acme"], ended + timedelta(days=13), lambda what: None)
    assert runs("ticket_fact") == 2
    retain(night, ["acme"], ended + timedelta(days=15), lambda what: None)
    assert runs("ticket_fact") == 1
    assert len(read(database, "ticket_fact")) == 2
    retain(night, ["acme"], T0 + timedelta(days=800), lambda what: None)
    assert runs("ticket_fact") == runs("history_ticket") == 0
    assert read(database, "ticket_fact") == []


def test_what_holds_a_day_of_events_keeps_nothing_else_back(database, night, monkeypatch):
    monkeypatch.setattr(retain_module, "LOCK_TIMEOUT", "100ms")
    insert(database.engine, ticket("T-1"))
    require(run(database))
    with database.engine.connect() as backup:
        backup.execute(text("select count(*) from event"))
        done = forget(night, 1000)
    assert done.partitions == []
    assert "event_20260504 stays" in done.kept_back[0]
    assert read(database, "ticket_fact") == []
    assert "event_20260504" in forget(night, 1000).partitions


def test_lines_that_were_no_events_leave_when_they_come_no_more(database, night):
    database.run("insert into event_dead (tenant_id, letter_id, source, reason, detail, raw, first_at, last_at) "
                 "select name, gen_random_uuid(), 'desk', 'schema', '', '', :at, :at + days * interval '1 day' "
                 "from (values ('acme', 0), ('globex', 0), ('acme', 2)) as letter (name, days)", at=T0)  # fmt: skip
    assert forget(night, 90).letters == 0
    assert forget(night, 91).letters == 2
    assert database.rows("select tenant_id from event_dead") == [("acme",)]


def test_what_a_restored_database_does_not_know_leaves_the_lake(database, night):
    insert(database.engine, ticket("T-1"))
    run_id = require(run(database))["acme"].run
    files = sorted(Lake.of(database.settings).of_tenant("acme").rglob("*.parquet"))
    strange = {Path(str(path).replace(str(run_id), str(UUID(int=7)))) for path in files}
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    retain(night, ["acme"], utc_now() + timedelta(days=13), lambda what: None)
    assert all(path.exists() for path in strange)
    retain(night, ["acme"], utc_now() + timedelta(days=15), lambda what: None)
    assert not any(path.exists() for path in strange)
    assert all(path.exists() for path in files if "dataset=segment" not in str(path))


def place_call(database, name, state):
    ended = state == "ended"
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, ended_at, disposition, slot_until, seq) values (:id, 1, 1, 1, 1, '+48501000001', 1, 'node-1', "
        "'carrier-a', :state, :at, :ended_at, :disposition, :ended_at, 1)",
        id=name, state=state, at=T0, ended_at=T0 if ended else None, disposition="completed" if ended else None,
    )  # fmt: skip


def person_with_call(database, *, state="ended"):
    """One person of tenant acme with one call, as the engine stores them."""
    database.run("insert into campaign (tenant_id, name, created_at) values ('acme', 'c', now())")
    database.run("insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
                 "values (1, 1, 'x', '{}', '.', now())")  # fmt: skip
    database.run("insert into person (tenant_id, person_key) values ('acme', 'HC-1')")
    database.run("insert into contact (campaign_id, person_id, numbers, zones, fields) "
                 "values (1, 1, '{+48501000001}', 'Europe/Warsaw', '{\"name\": \"Ann\"}')")  # fmt: skip
    place_call(database, CALL, state)
    database.run("insert into answer (attempt_id, step, visit, revision_id, keys, value, at) "
                 "values (:id, 'feel', 1, 1, '1', 'secret', :at)", id=CALL, at=T0)  # fmt: skip


def test_a_person_is_forgotten_everywhere_and_nothing_else_is(database, night):
    person_with_call(database)
    insert(database.engine, [*call(CALL, value="secret"), *call(str(UUID(int=2)), value="kept")])
    require(run(database))
    insert(database.engine, [event("dialogue.answered", CALL, 10, step="more", visit=1, keys="7", value="secret")])
    done = erase(night, "acme", Whom(number="+48501000001"), "ann@host", "asked", lambda what: None)
    assert (done.people, done.calls, done.events, done.days) == (1, 1, 3, (DAY,))
    assert read(database, "answer_fact", columns="call, value, keys") == [
        (CALL, None, None),
        (str(UUID(int=2)), "kept", "1"),
    ]
    assert database.rows("select keys, value from answer") == [("", "")]
    assert database.rows("select number from attempt") == [("erased",)]
    assert database.rows("select numbers, fields, closed_as from contact") == [([], {}, "withdrawn")]
    assert database.rows("select person_key from person") == [("erased-1",)]
    assert database.rows("select who, what, why from audit") == [("ann@host", "person.erase", "asked")]
    require(run(database))
    # No file of the lake and no row of the log says what they answered; what was not dumped yet does not either.
    for file in Lake.of(database.settings).of_tenant("acme").rglob("*.parquet"):
        assert b"secret" not in file.read_bytes(), file
    assert database.rows("select count(*) from event where payload::text like '%secret%'") == [(0,)]
    assert len(read(database, "call_fact")) == 2
    with pytest.raises(InvalidInput, match="knows nobody"):
        erase(night, "acme", Whom(number="+48501000001"), "ann@host", "asked", lambda what: None)


class Killed(BaseException):
    """As kill -9: nothing is put right on the way out."""


@pytest.mark.parametrize("at", ["publish", "_forget_unread"])
def test_an_erasure_that_is_killed_is_done_again(database, night, monkeypatch, at):
    def fall(*_):
        raise Killed

    person_with_call(database)
    insert(database.engine, [*call(CALL, value="secret"), *call(str(UUID(int=2)), value="kept")])
    require(run(database))
    # Files of the day on which the call was thought to have begun, and a segment that waits to be taken in.
    said = {"step": "more", "visit": 1, "keys": "7", "value": "secret"}
    insert(database.engine, [event("dialogue.answered", CALL, -86_400, **said)])
    require(run(database))
    insert(database.engine, [event("dialogue.answered", CALL, 11, **said | {"visit": 2})])
    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "keep", lambda *_: 1 / 0)
        assert run(database)["acme"].error
    with monkeypatch.context() as patched:
        patched.setattr(erase_module, at, fall)
        with pytest.raises(Killed):
            erase(night, "acme", Whom(person="HC-1"), "ann@host", "asked", lambda what: None)
    require(run(database))
    erase(night, "acme", Whom(person="HC-1"), "ann@host", "asked", lambda what: None)
    require(run(database))
    for file in Lake.of(database.settings).of_tenant("acme").rglob("*.parquet"):
        assert b"secret" not in file.read_bytes(), file
    assert len(read(database, "history_call", columns="event_id")) == 9 + 3 + 2 + 9 + 3
    assert read(database, "answer_fact", columns="value") == [("kept",)] + [(None,)] * 3


def test_who_is_called_meanwhile_is_not_forgotten(database, night, monkeypatch):
    person_with_call(database)
    insert(database.engine, call(CALL, value="secret"))
    require(run(database))

    def called(*_):
        place_call(database, str(UUID(int=3)), "submitting")

    monkeypatch.setattr(erase_module, "_forget_unread", called)
    with pytest.raises(RefusedBySafety):
        erase(night, "acme", Whom(person="HC-1"), "ann@host", "asked", lambda what: None)
    assert database.rows("select person_key from person") == [("HC-1",)]


def test_a_person_is_forgotten_of_whom_no_night_knows(database, night):
    person_with_call(database)
    database.run("insert into person (tenant_id, person_key) values ('acme', 'HC-2')")
    database.run("insert into contact (campaign_id, person_id, numbers, zones, fields) "
                 "values (1, 2, '{+48501000001}', 'Europe/Warsaw', '{}')")  # fmt: skip
    # Whoever shares a telephone has not asked for anything.
    with pytest.raises(InvalidInput, match="HC-1, HC-2"):
        erase(night, "acme", Whom(number="+48501000001"), "ann@host", "asked", lambda what: None)
    assert erase(night, "acme", Whom(person="HC-1"), "ann@host", "asked", lambda what: None).people == 1
    assert database.rows("select person_key from person order by id") == [("erased-1",), ("HC-2",)]


def test_nobody_is_forgotten_in_the_middle_of_a_call(database, night):
    person_with_call(database, state="answered")
    with pytest.raises(RefusedBySafety):
        erase(night, "acme", Whom(person="HC-1"), "ann@host", "asked", lambda what: None)
    assert database.rows("select person_key from person") == [("HC-1",)]


def test_a_requester_is_forgotten(database, night):
    insert(database.engine, ticket("T-1"))
    letters = {
        "not_json": "x ann@example.com y",
        "schema": '{"requester": "ann@example.com"}',
        "too_old": '{"requester": "joann@example.com"}',
    }
    for reason, raw in letters.items():
        database.run("insert into event_dead (tenant_id, letter_id, source, reason, detail, raw, first_at, last_at) "
                     "values ('acme', gen_random_uuid(), 'desk', :reason, '', :raw, now(), now())",
                     reason=reason, raw=raw.encode())  # fmt: skip
    done = erase(night, "acme", Whom(requester="ann@example.com"), "ann@host", "asked", lambda what: None)
    assert (done.events, done.letters) == (1, 2)
    assert database.rows("select reason from event_dead") == [("too_old",)]
    assert database.rows("select count(*) from event where payload ? 'requester'") == [(0,)]
    with pytest.raises(InvalidInput, match="empty"):
        erase(night, "acme", Whom(requester=""), "ann@host", "asked", lambda what: None)


def test_a_restatement_is_told_row_by_row_with_its_cause(database, tmp_path, monkeypatch):
    insert(database.engine, [*ticket("T-1"), *ticket("T-2")])
    first = require(run(database))["acme"].run
    insert(database.engine, [
        event("ticket.message", "T-1", 90, author="agent", visibility="public", agent="eve"),
        *ticket("T-3"),
    ])  # fmt: skip
    second = require(run(database))["acme"].run
    settings = str(write_settings(database, tmp_path))
    told = CliRunner().invoke(root, ["report", "diff", str(DAY), str(first), str(second), "--settings", settings])
    assert told.exit_code == 0, told.output
    assert "ticket_fact: 1 new, 1 changed" in told.output
    assert "~ T-1: first_response_us 120000000 → 90000000" in told.output
    assert "+10 ticket." not in told.output
    assert "+2 ticket.message from desk" in told.output
    same = CliRunner().invoke(root, ["report", "diff", str(DAY), str(second), str(second), "--settings", settings])
    assert "no fact differs" in same.output
    hours = OpeningHours(tenant="acme", time_zone="UTC", open={"mon": "08:00-16:00"})
    by_hours = replace(database, settings=database.settings.model_copy(update={"opening_hours": (hours,)}))
    third = require(run(by_hours, again=[DAY]))["acme"].run
    compared = ["report", "diff", str(DAY), str(second), str(third), "--settings", settings]
    told = CliRunner().invoke(root, compared)
    assert "why:\n  what the settings say is another" in told.output
    assert "ticket_business_fact: 3 new" in told.output
    lines = [json.loads(line) for line in CliRunner().invoke(root, [*compared, "--json"]).output.splitlines()]
    assert [(one["dataset"], one["was"], one["now"]["ticket"]) for one in lines] == [
        ("ticket_business_fact", None, f"T-{n}") for n in (1, 2, 3)
    ]
    monkeypatch.setattr(diff_command, "SHOWN", 1)
    assert "… and 2 more (--all)" in CliRunner().invoke(root, compared).output


def test_the_commands_say_how_it_stands(database, night, tmp_path):
    settings = str(write_settings(database, tmp_path))
    insert(database.engine, ticket("T-1"))
    done = CliRunner().invoke(root, ["etl", "run", "--settings", settings, "--retain"])
    assert done.exit_code == 0, done.output
    assert f"acme: {DAY} written" in done.stderr
    state = database.settings.state_dir
    assert [(state / name).stat().st_mode & 0o777 for name in ("lake", "etl")] == [0o700, 0o700]
    (run_id,) = database.rows("select run::text from etl_run")[0]
    # The first night cannot tell since when, for its rows may come from another cluster.
    require(run(database))
    with database.engine.connect() as connection:
        (stood,) = status.standings(connection, "acme")
    assert stood.taken_in_since is not None
    assert utc_now() - stood.taken_in_since < timedelta(minutes=5)
    for arguments in ([], ["--run", run_id], ["--json"], ["--tenant", "nobody"]):
        shown = CliRunner().invoke(root, ["etl", "status", "--settings", settings, *arguments])
        assert shown.exit_code == 0, shown.output
    assert CliRunner().invoke(root, ["etl", "run", "--settings", settings, "--tenant", "nobody"]).exception
    # Another run is at it, by hand: nothing is wrong.
    with pipeline.turn(night, "acme"):
        done = CliRunner().invoke(root, ["etl", "run", "--settings", settings, "--retain"])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("another run is at tenant 'acme' now") == 2
    assert datetime.fromisoformat("2026-05-04").date() == DAY
