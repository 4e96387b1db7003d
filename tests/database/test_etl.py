"""The nightly run on a real PostgreSQL: what it takes in, what it publishes, and that it may be killed anywhere."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from threading import Event
from uuid import uuid5

import duckdb
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from cli import root
from dialer.errors import DatabaseAway, DialerError
from dialer.storage.session import sync_engine
from etl import event_types, extract, flatten, lanes, night_commands, pipeline
from etl.columns import HISTORY, KNOWN
from etl.lake import Lake
from etl.ledger import Ledger
from etl.leftovers import clear_up
from etl.night_commands import CONNECTIONS, make_night
from etl.sql.order import ORDER
from tests.support.etl_events import SPACE, T0, call, event, insert, ticket

DAY = T0.date()
HISTORIES = tuple(f"history_{kind}" for kind in HISTORY)


class Quiet:
    """A Watch that keeps what it is told."""

    def __init__(self):
        self.said, self.results = [], []

    def say(self, tenant, what):
        self.said.append((tenant, what))

    def done(self, result):
        self.results.append(result)


def run(database, *tenants, again=()):
    """One night; its results by tenant."""
    engine = sync_engine(database.settings, CONNECTIONS)
    try:
        night = make_night(database.settings, engine)
        names = tenants or lanes.tenants(night)
        return {one.tenant: one for one in lanes.run_night(night, names, again, Quiet())}
    finally:
        engine.dispose()


def require(results):
    assert not [one.error for one in results.values() if one.error]
    return results


def read(database, dataset, *, tenant="acme", first=date(2026, 1, 1), last=date(2026, 12, 31), columns="*"):
    """The rows of a dataset that are read now, in a stable order."""
    with database.engine.connect() as connection:
        files = Lake.of(database.settings).files(connection, tenant, dataset, first, last)
    if not files:
        return []
    source = f"read_parquet({list(map(str, files))}, hive_partitioning = false)"
    return duckdb.sql(f"select {columns} from {source} order by all").fetchall()


def columns_of(dataset):
    return HISTORY[dataset.removeprefix("history_")] if isinstance(dataset, str) else dataset.columns


def pointers(database):
    return database.rows(
        "select tenant_id, dataset, day, rows, digest from etl_pointer "
        "join etl_output using (tenant_id, dataset, day, run) order by 1, 2, 3"
    )


def require_nothing_left(database):
    """Every run's folder in the lake is one that PostgreSQL knows."""
    known = {
        run for (run,) in database.rows("select run::text from etl_output union select run::text from etl_segment")
    }
    found = {path.name.removeprefix("run=") for path in Lake.of(database.settings).root.glob("*/*/*/run=*")}
    assert found <= known


def test_tickets_and_calls_become_facts(database):
    insert(database.engine, [*ticket("T-1"), *call("00000000-0000-0000-0000-000000000001")])
    result = require(run(database))["acme"]
    assert result.days == (DAY,)
    assert read(database, "ticket_fact", columns="ticket, status, first_agent, last_agent") == [
        ("T-1", "closed", "joe", "eve")
    ]
    assert read(database, "call_fact", columns="disposition, answers, sip_code") == [("completed", 1, 200)]
    assert read(database, "history_ticket", columns="place, type")[0] == (1, "ticket.created")


def test_a_second_night_without_news_changes_nothing(database):
    insert(database.engine, [*ticket("T-1"), *call("c-1")])
    require(run(database))
    before = pointers(database)
    result = require(run(database))["acme"]
    assert result.days == ()
    assert pointers(database) == before
    # A day that is computed anew from the same events comes out as it stood, and is not kept twice.
    assert require(run(database, again=[DAY]))["acme"].days == ()
    assert pointers(database) == before


def retold(events, tenant):
    return [replace(one, tenant=tenant, id=uuid5(SPACE, f"{place}")) for place, one in enumerate(events)]


def test_shuffled_split_and_repeated_events_make_the_same_facts(database):
    told = [
        one
        for n in range(20)
        for one in [*ticket(f"T-{n}", start=T0 + timedelta(minutes=n)), *call(f"c-{n}", start=T0 + timedelta(hours=n))]
    ]
    insert(database.engine, retold(told, "whole"))
    parts = retold(told, "parts")
    # Sent again and dated anew, as some producers do.
    again = [replace(one, at=one.at + timedelta(seconds=1)) for one in parts[::7]]
    Random(7).shuffle(parts)
    for night in (parts[:200], parts[200:210], [*parts[210:], *again]):
        insert(database.engine, night)
        require(run(database, "parts"))
    require(run(database, "whole"))
    for dataset in (*HISTORIES, *(one for one in ORDER if one.published)):
        name = dataset if isinstance(dataset, str) else dataset.name
        columns = [column for column in columns_of(dataset) if column not in ("tenant", "ingested_us")]
        picked = ", ".join(columns)
        whole = read(database, name, tenant="whole", columns=picked)
        assert whole == read(database, name, tenant="parts", columns=picked), name
    assert len(read(database, "ticket_fact", tenant="parts")) == len(read(database, "call_fact", tenant="parts")) == 20


def test_a_late_beginning_moves_its_ticket_to_the_day_before(database):
    news = ticket("T-1")
    insert(database.engine, [*news, *ticket("T-2")])
    require(run(database))
    insert(database.engine, [event("ticket.message", "T-1", -86_400, author="customer", visibility="public")])
    result = require(run(database))["acme"]
    before = DAY - timedelta(days=1)
    assert result.days == (before, DAY)
    assert [row for (row,) in read(database, "ticket_fact", first=before, last=before, columns="ticket")] == ["T-1"]
    assert [row for (row,) in read(database, "ticket_fact", first=DAY, last=DAY, columns="ticket")] == ["T-2"]
    assert len(read(database, "history_ticket", first=before, last=before)) == len(news) + 1
    # The whole of it, though what came is one event.
    assert read(database, "subject_index", columns="subject, day - first_us // 86400000000") == [("T-1", 0), ("T-2", 0)]


def test_what_no_metric_reads_is_counted_and_kept(database):
    insert(
        database.engine,
        [
            *ticket("T-1"),
            event("ticket.created", "T-9", schema_v=99, channel="fax"),
            event("parcel.sent", "P-1", weight=3),
            event("campaign.run", "1", seq=1, by="ann"),
        ],
    )
    require(run(database))
    ledger = dict(database.rows("select what, dropped from etl_stage where stage = 'filter'"))
    assert ledger == {"segment": {"newer_version": 1, "no_metric": 1, "unknown_type": 1}}
    for rows_in, made, dropped, rows_out in database.rows("select rows_in, made, dropped, rows_out from etl_stage"):
        assert rows_in + sum(made.values()) == rows_out + sum(dropped.values())


def test_text_comes_through_whatever_stands_in_it(database):
    odd = 'a\\b "c", \\N 日本 \\t'
    insert(database.engine, [event("ticket.created", odd, channel="email", group=odd, agent="x\ty\nz\r\\")])
    require(run(database))
    assert read(database, "history_ticket", columns="subject, group_name, agent") == [(odd, odd, "x\ty\nz\r\\")]


def test_what_is_odd_in_an_event_stops_nobody(database):
    insert(database.engine, [
        *call("c-1"),
        event("dialogue.ended", "c-2", 5, lasted_ms="long", path=[["a", "soon", "x"], "b", [], {"c": 1}, None]),
        event("dialogue.ended", "c-3", 5, path="none", answers=[], step={"a": 1}),
        event("attempt.restored", "c-4", 5, submitting_at="yesterday", ended_at=T0.isoformat(), campaign=10**30),
    ])  # fmt: skip
    require(run(database))
    assert read(database, "call_fact", columns="call") == [(f"c-{n}",) for n in (1, 2, 3, 4)]


def test_the_steps_of_a_dialogue_are_dated_by_its_path(database):
    insert(database.engine, call("c-1"))
    require(run(database))
    began_us = int(T0.timestamp() * 1_000_000)
    rows = read(
        database, "history_call", columns=f"place, step, visit, code, try_no, (occurred_us - {began_us}) // 1000"
    )
    steps = [row[1:] for row in rows if row[3]]
    assert steps == [("hello", 1, "say", 1, 5200), ("feel", 1, "ask", 2, 7200), ("bye", 1, "say", 3, 9200)]


def test_an_uncommitted_event_is_left_for_the_next_night(database):
    insert(database.engine, ticket("T-1"))
    with database.engine.connect() as slow:
        slow.execute(text("select pg_current_xact_id()"))
        insert(database.engine, ticket("T-2"))
        slow.execute(text(
            "insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, schema_v, payload) "
            "values (gen_random_uuid(), 'acme', '2026-05-04T10:00:00Z', 'ticket.created', 'ticket', 'T-3', 1, "
            "'{\"channel\": \"email\"}')"
        ))  # fmt: skip
        require(run(database))
        # Those of later transactions wait with it.
        assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1"]
        slow.commit()
    require(run(database))
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1", "T-2", "T-3"]


def test_a_writer_whose_beginning_is_hidden_prunes_nothing(database, tmp_path):
    database.run("drop role if exists etl_alone")
    database.run("create role etl_alone")
    try:
        with database.engine.connect() as writer, database.engine.connect() as connection:
            writer.execute(text("select pg_current_xact_id()"))
            assert connection.execute(extract._NOW).one().since != "-infinity"
            connection.execute(text("set role etl_alone"))
            assert connection.execute(extract._NOW).one().since == "-infinity"
        # Nor does a role that sees some tenants alone find that there is nothing new.
        database.run("grant select on event to etl_alone")
        with database.engine.connect() as connection:
            connection.execute(text("set role etl_alone"))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                extract.extract(connection, "acme", extract.BEGINNING, tmp_path, tmp_path, 256)
    finally:
        database.run("drop owned by etl_alone; drop role etl_alone")


def test_a_tenant_whose_lake_is_damaged_fails_alone(database):
    for tenant in ("acme", "brook"):
        insert(database.engine, ticket("T-1", tenant=tenant))
    require(run(database))
    before = pointers(database)
    for file in Lake.of(database.settings).of_tenant("acme").glob("dataset=history_ticket/**/*.parquet"):
        file.write_bytes(b"not a file of ours")
    for tenant in ("acme", "brook"):
        insert(database.engine, ticket("T-2", tenant=tenant))
    results = run(database)
    assert "history_ticket" in results["acme"].error
    assert not results["brook"].error
    assert [row for row in pointers(database) if row not in before]
    # Reports of the first read what they read before, and its news waits.
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1"]
    assert database.rows("select tenant_id from etl_segment where taken_by is null") == [("acme",)]
    require_nothing_left(database)


def test_a_tenant_whose_run_cannot_begin_fails_alone(database, monkeypatch):
    for tenant in ("acme", "brook"):
        insert(database.engine, ticket("T-1", tenant=tenant))
    begin = Ledger.open

    def refuse(page):
        if page.tenant == "acme":
            raise DatabaseAway("PostgreSQL does not answer.")
        begin(page)

    monkeypatch.setattr(Ledger, "open", refuse)
    assert {tenant: one.error for tenant, one in run(database).items()} == {
        "acme": "PostgreSQL does not answer.", "brook": "",
    }  # fmt: skip

    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pipeline, "dump", fill)
    error = run(database, "brook")["brook"].error
    assert f"below {database.settings.state_dir}" in error
    assert "No space left" in error


def test_a_run_that_lost_its_turn_publishes_nothing(database, monkeypatch):
    insert(database.engine, ticket("T-1"))
    require(run(database))
    before = pointers(database)
    insert(database.engine, ticket("T-2"))
    engine = sync_engine(database.settings, CONNECTIONS)
    night = make_night(database.settings, engine)

    def lose(point):
        if point == "computed":
            # The connection that held the lock dies, and the next one clears up.
            database.run("select pg_terminate_backend(l.pid) from pg_locks l join pg_stat_activity a using (pid) "
                         "where locktype = 'advisory' and datname = current_database()")  # fmt: skip
            with pipeline.turn(night, "acme"):
                page = Ledger(engine, "acme", "duckdb")
                page.open()
                clear_up(night, "acme", page.killed())
                page.fail("nothing to do")

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "reach", lose)
        assert "lost its turn" in run(database)["acme"].error
    engine.dispose()
    assert pointers(database) == before
    require(run(database))
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1", "T-2"]
    require_nothing_left(database)


def test_two_nights_at_once_have_one_result(database):
    insert(database.engine, [one for n in range(50) for one in [*ticket(f"T-{n}"), *call(f"c-{n}")]])
    with ThreadPoolExecutor(3) as pool:
        results = [one.result()["acme"] for one in [pool.submit(run, database, "acme") for _ in range(3)]]
    assert not [one.error for one in results if one.error and not one.elsewhere]
    require(run(database))
    assert len(read(database, "ticket_fact")) == len(read(database, "call_fact")) == 50
    assert database.rows("select count(*), count(distinct event_id) from event") == [(900, 900)]
    assert database.rows("select sum(rows)::int from etl_segment") == [(900 + 150,)]
    assert len(read(database, "history_ticket")) == 450


def write_settings(database, tmp_path):
    path = tmp_path / "dialer.yaml"
    path.write_text(database.settings.model_dump_json(exclude_unset=True), encoding="utf-8")
    return path


@pytest.mark.parametrize("point", ["dumping", "dumped", "cleaned", "computed", "loading", "loaded"])
def test_a_night_that_is_killed_is_as_if_it_had_not_been(database, tmp_path, point):
    insert(database.engine, [*ticket("T-1"), *call("c-1")])
    require(run(database))
    insert(database.engine, [*ticket("T-2"), *call("c-2", start=T0 - timedelta(days=1))])
    before = pointers(database)
    command = [sys.executable, "-P", "-m", "cli", "etl", "run", "--settings", str(write_settings(database, tmp_path))]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command, env={**os.environ, "DLR_CRASH_AT": point, "PYTHONPATH": str(root)}, cwd=tmp_path, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    if point != "loaded":
        assert pointers(database) == before
    require(run(database))
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1", "T-2"]
    assert sorted(row for (row,) in read(database, "call_fact", columns="call")) == ["c-1", "c-2"]
    assert database.rows("select count(*)::int from event") == [(36,)]
    assert database.rows("select sum(rows)::int from etl_segment") == [(36 + 6,)]
    require_nothing_left(database)
    assert point == "loaded" or not list((database.settings.state_dir / "etl").iterdir())


def test_ctrl_c_ends_a_night_at_once(database, tmp_path):
    insert(database.engine, ticket("T-1"))
    require(run(database))
    insert(database.engine, ticket("T-2"))
    command = [sys.executable, "-P", "-m", "cli", "etl", "run", "--settings", str(write_settings(database, tmp_path))]
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    with database.engine.begin() as holder:
        holder.execute(text("select 1 from etl_pointer for update"))
        night = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, cwd=tmp_path,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while not database.rows(waiting):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        night.send_signal(signal.SIGINT)
        _, said = night.communicate(timeout=20)
    assert (night.returncode, "nothing of it is read" in said) == (130, True), said
    require(run(database))
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1", "T-2"]


def test_an_older_version_is_read_as_the_newest(database, monkeypatch):
    def second(payload):
        return {**payload, "group": payload["team"].lower()}

    newer = replace(event_types.TYPES["ticket.created"], upcasters=(second,))
    monkeypatch.setattr(event_types, "TYPES", {**event_types.TYPES, "ticket.created": newer})
    monkeypatch.setattr(flatten, "KNOWN", {**KNOWN, "ticket.created": replace(KNOWN["ticket.created"], version=2)})
    monkeypatch.setattr(flatten, "_KNOWN", flatten._KNOWN.replace("'ticket', 0, 1)", "'ticket', 0, 2)"))
    insert(database.engine, [
        event("ticket.created", "T-1", channel="email", team="FIRST"),
        event("ticket.created", "T-2", channel="email", group="second", schema_v=2),
        event("ticket.created", "T-3", channel="email"),
        event("ticket.created", "T-4", channel="email", team=4),
    ])  # fmt: skip
    require(run(database))
    assert read(database, "history_ticket", columns="subject, group_name") == [("T-1", "first"), ("T-2", "second")]
    assert database.rows("select dropped from etl_stage where stage = 'filter'") == [({"upcast_failed": 2},)]


def test_a_database_that_was_restored_elsewhere_is_read_on(database):
    insert(database.engine, ticket("T-1"))
    require(run(database))
    # As pg_dump leaves it: rows keep the transactions of the old cluster, which were more than the new one has had;
    # some had come in after the last night.
    database.run("update event set ingest_xid = '999999999'")
    database.run("update etl_tenant set next_xid = '1000000000', cluster = 'another'")
    insert(database.engine, ticket("T-2"))
    database.run("update event set ingest_xid = '1000000001' where subject_id = 'T-2'")
    insert(database.engine, ticket("T-3"))
    require(run(database))
    assert [row for (row,) in read(database, "ticket_fact", columns="ticket")] == ["T-1", "T-2", "T-3"]
    assert len(read(database, "history_ticket")) == 27
    for number in (1, 2):
        insert(database.engine, [event("ticket.updated", "T-3", 100 + number, priority="high")])
        require(run(database))
        assert len(read(database, "history_ticket")) == 27 + number


def test_another_hosts_lake_is_not_written(database, tmp_path):
    settings = str(write_settings(database, tmp_path))
    assert CliRunner().invoke(root, ["etl", "run", "--settings", settings]).exit_code == 0
    Lake.of(database.settings).root.rename(tmp_path / "elsewhere")
    refused = CliRunner().invoke(root, ["etl", "run", "--settings", settings])
    assert isinstance(refused.exception, DialerError)
    assert f"it was made at {socket.gethostname()}:{database.settings.state_dir}" in str(refused.exception)


def test_a_small_tenant_does_not_wait_behind_a_large_one(database, monkeypatch):
    monkeypatch.setattr(lanes, "QUICK_ROWS", 20)
    insert(database.engine, [one for n in range(5) for one in ticket(f"T-{n}", tenant="a-large")])
    insert(database.engine, ticket("T-1", tenant="small"))
    small_is_done, order = Event(), []

    class Told(Quiet):
        def done(self, result):
            order.append(result.tenant)
            if result.tenant == "small":
                small_is_done.set()

    def open_engine(lane, spill):
        assert lane == "quick" or small_is_done.wait(60), "the large one was waited for"
        return night_commands.open_engine(database.settings, lane, spill)

    engine = sync_engine(database.settings, CONNECTIONS)
    night = replace(make_night(database.settings, engine), open_engine=open_engine)
    results = lanes.run_night(night, ["a-large", "small"], [], Told())
    engine.dispose()
    assert order == ["small", "a-large"]
    assert not [one.error for one in results if one.error]
    assert dict(database.rows("select tenant_id, lane from etl_run")) == {"a-large": "patient", "small": "quick"}


def test_a_day_in_portions_is_the_day_at_once(database, monkeypatch):
    told = [
        one
        for n in range(30)
        for one in [
            *ticket(f"T-{n}", start=T0 + timedelta(minutes=n)),
            *call(f"c-{n}", start=T0 + timedelta(minutes=n)),
        ]
    ]
    late = [
        event("ticket.message", f"T-{n}", -86_400 * (n % 3), author="customer", visibility="public") for n in range(9)
    ]
    again = [replace(told[5], at=told[5].at + timedelta(seconds=1))]
    for tenant, rows in (("whole", pipeline.ROWS_A_MB), ("parts", 0.2)):
        monkeypatch.setattr(pipeline, "ROWS_A_MB", rows)
        monkeypatch.setattr(flatten, "UNDIVIDED_EVENTS", rows * 100)
        events = retold([*told, *late], tenant)
        same = [replace(again[0], tenant=tenant, id=events[5].id)]
        for night in (events[: len(told)], [*events[len(told) :], *same]):
            insert(database.engine, night)
            require(run(database, tenant))
    for dataset in (*HISTORIES, *(one for one in ORDER if one.published)):
        name = dataset if isinstance(dataset, str) else dataset.name
        picked = ", ".join(column for column in columns_of(dataset) if column not in ("tenant", "ingested_us"))
        whole = read(database, name, tenant="whole", columns=picked)
        assert whole == read(database, name, tenant="parts", columns=picked), name
    files = dict(database.rows("select tenant_id, max(cardinality(files)) from etl_output group by 1"))
    assert files["whole"] == 1
    assert files["parts"] > 3
    segments = dict(database.rows("select tenant_id, max(cardinality(files)) from etl_segment group by 1"))
    assert segments == {"whole": 1, "parts": flatten.DIVIDED}
