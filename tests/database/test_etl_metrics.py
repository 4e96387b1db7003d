"""Tickets, queues and agents on their whole way: from the event log on a real PostgreSQL through nights to facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from dialer.settings import OpeningHours, ReportSettings
from etl.columns import FROM_PAYLOAD
from etl.reports import make
from etl.reports.asking import Machine
from etl.reports.catalogue import REPORTS
from etl.reports.options import Options
from etl.sql.order import BY_NAME
from tests.database.test_etl import read, require, run
from tests.support.etl_events import Event, insert, ticket
from tests.support.facts import shown
from tests.support.metric_stream import stream
from tests.support.reference_metrics import Event as Told
from tests.support.reference_metrics import Facts, facts_of, ticket_facts
from tests.support.reference_queues import agent_facts, queue_facts

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_log(told: Told) -> Event:
    said = {key: told[name] for name, key in FROM_PAYLOAD.items() if told.get(name) is not None}
    return Event(
        type=told["type"], subject=told["subject"], at=EPOCH + timedelta(microseconds=told["occurred_us"]),
        payload=said, seq=told["seq"], id=UUID(told["event_id"]),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "of_one"), [("ticket", ticket_facts), ("queue_entry", queue_facts), ("agent_session", agent_facts)]
)
def test_facts_after_three_nights_equal_the_reference(
    database: Any, kind: Any, of_one: Callable[[list[Told]], Facts]
) -> None:
    events = list({told["event_id"]: told for told in stream(kind, 31, subjects=120, longest=150)}.values())
    Random(5).shuffle(events)
    third = len(events) // 3
    nights = events[:third], events[third : 2 * third], events[2 * third :]
    # Sent again on the next night, and dated anew: what came first holds.
    again = [told | {"occurred_us": told["occurred_us"] + 5_000_000} for told in nights[0][::10]]
    for night in (nights[0], [*nights[1], *again], nights[2]):
        insert(database.engine, map(in_log, night))
        require(run(database))
    for dataset, wanted in facts_of(events, of_one).items():
        # When they came in is the database's to say, and with it what is late.
        columns = [name for name in BY_NAME[dataset].columns if name != "late"]
        places = [list(BY_NAME[dataset].columns).index(name) for name in columns]
        found = read(database, dataset, columns=", ".join(columns))
        assert len(found) == len(wanted), dataset
        assert set(found) == {tuple(row[place] for place in places) for row in wanted}, dataset


def test_opening_hours_of_the_settings_hold(database: Any) -> None:
    """The ticket lives from 09:00 to 10:00 UTC of a Monday; it is assigned after a minute, and solved after 50."""
    hours = OpeningHours(tenant="acme", group="first", time_zone="Europe/Warsaw", open={"mon": "11:30-19:00"})
    targets = ReportSettings(sla_hours="opening", first_response_within_s=60)
    settings = database.settings.model_copy(update={"opening_hours": (hours,), "reports": targets})
    insert(database.engine, ticket("T-1"))
    require(run(replace(database, settings=settings)))
    found = read(database, "ticket_business_fact", columns="hours_of, first_assignment_us, first_resolution_us")
    assert found == [("first", 0, 20 * 60_000_000)]
    # Answered after two minutes, none of which was one of theirs; by all hours that is too late.
    with database.engine.connect() as connection:
        machine = Machine(settings, connection)
        with machine.workshop() as duck:
            wanted = machine.wanted(REPORTS["sla_daily"], Options(tenant="acme", time_zone="UTC"))
            table = make.table(duck, machine.sources("acme"), wanted)
            rows = shown(duck, table, ("target", "group", "hours", "met", "breached"))
    assert rows == [("first_response", "first", "opening", 1, 0), ("full_resolution", "first", "opening", 1, 0)]
