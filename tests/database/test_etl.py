"""The nightly run on a real PostgreSQL: what it takes in, what it publishes, and that it may be killed anywhere."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from dialer.storage.session import sync_engine
from etl import lanes
from etl.lake import Lake
from etl.night_commands import CONNECTIONS, make_night
from tests.support.etl_events import T0, call, event, insert, ticket

DAY = T0.date()


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
    return duckdb.sql(f"select {columns} from read_parquet({list(map(str, files))}) order by all").fetchall()


def pointers(database):
    return database.rows(
        "select dataset, day, rows, digest from etl_pointer join etl_output using (tenant_id, dataset, day, run) order by 1, 2"
    )


def test_tickets_and_calls_become_facts(database):
    insert(database.engine, [*ticket("T-1"), *call("00000000-0000-0000-0000-000000000001")])
    result = require(run(database))["acme"]
    assert result.days == (DAY,)
    assert read(database, "ticket_fact", columns="ticket, status, first_agent, last_agent") == [
        ("T-1", "closed", "joe", "eve")
    ]
    assert read(database, "call_fact", columns="disposition, answers, sip_code") == [("completed", 1, 200)]
    assert read(database, "history_ticket", columns="place, type")[0] == (1, "ticket.created")
