"""The reports of tickets, queues and agents over a wild stream equal exact fractions, cell by cell."""

from __future__ import annotations

from datetime import date

import pytest

from dialer.settings import OpeningHours, ReportSettings
from etl.columns import HISTORY
from etl.engines import duckdb
from tests.support import reference_agents, reference_reports
from tests.support.metric_stream import stream
from tests.support.reference_metrics import cleaned, facts_of, ticket_facts
from tests.support.reference_queues import agent_facts, queue_facts
from tests.support.reference_reports import Asked, Shop
from tests.support.report_figures import question, report
from tests.support.stories import at, computed, placed, write_history

OF_ONE = {"ticket": ticket_facts, "queue_entry": queue_facts, "agent_session": agent_facts}
OPEN = ("first_line", "back_office")
HOURS = [
    OpeningHours(tenant="acme", group=group, time_zone="Europe/Warsaw", open={"mon-sun": "08:00-18:00"})
    for group in OPEN
]
DAYS = 4
AS_OF_US = at("+3d 15:30")
"""In the midst of the days, so that promises, backlogs and times at work are not over; and some have not begun."""
TARGETS = ReportSettings()
KEYS = {
    "ticket_cohort_daily": ("period_start_local", "channel", "group"),
    "sla_daily": ("period_start_local", "target", "channel", "group", "hours"),
    "messages_daily": ("period_start_local", "channel", "group"),
    "transfers_matrix": ("what", "from", "to"),
    "queue_intervals_15m": ("period_start_local", "queue", "channel"),
    "agent_daily": ("period_start_local", "agent"),
    "agent_intervals": ("period_start_local", "agent", "state", "code"),
}
AGAIN = {
    "ticket_cohort_daily": reference_reports.ticket_cohort_daily,
    "sla_daily": lambda facts, asked: reference_reports.sla_daily(
        facts, asked,
        {
            "first_response": TARGETS.first_response_within_s * 10**6,
            "next_response": TARGETS.next_response_within_s * 10**6,
            "full_resolution": TARGETS.resolution_within_s * 10**6,
        },
        {group: Shop("Europe/Warsaw", 8, 18) for group in OPEN},
    ),
    "messages_daily": reference_reports.messages_daily,
    "transfers_matrix": reference_reports.transfers_matrix,
    "queue_intervals_15m": lambda facts, asked: reference_reports.queue_intervals_15m(
        facts, asked, TARGETS.answer_within_s * 10**6, TARGETS.short_abandon_s * 10**6
    ),
    "agent_daily": reference_agents.agent_daily,
    "agent_intervals": reference_agents.agent_intervals,
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The engine, the files of each dataset, and the same facts by the reference."""
    folder = tmp_path_factory.mktemp("reports")
    engine = duckdb.open(600, 2, folder / "spill")
    files, again = {}, {}
    for kind, of_one in OF_ONE.items():
        events = stream(kind, 5, subjects=300, longest=300)
        write_history(kind, placed(events), folder / f"{kind}.parquet")
        facts, _ = computed(engine, kind, [folder / f"{kind}.parquet"], folder, HOURS)
        files |= {dataset: sorted((folder / dataset).glob("*.parquet")) for dataset in facts}
        # Opening hours have a reference of their own: test_business_hours.
        again |= {"ticket_business_fact": facts.get("ticket_business_fact", [])} if kind == "ticket" else {}
        again |= facts_of(events, of_one)
        if kind == "ticket":
            files["history_ticket"] = [folder / "ticket.parquet"]
            again["history_ticket"] = [tuple(map(one.get, HISTORY[kind])) for one in cleaned(events)]
    yield engine, files, again
    engine.close()


@pytest.mark.parametrize("zone", ["UTC", "America/Sao_Paulo", "Asia/Kathmandu"])
@pytest.mark.parametrize("name", AGAIN)
def test_figures_of_reports_equal_the_reference(made, name, zone):
    engine, files, facts = made
    found = report(engine, name, question(zone, DAYS, AS_OF_US), files)
    wanted = AGAIN[name](facts, Asked(zone, date(2026, 11, 21), DAYS, AS_OF_US))
    cells = {tuple(row[key] for key in KEYS[name]): row for row in found}
    assert len(cells) == len(found)
    assert set(cells) == set(wanted)
    for key, figures in wanted.items():
        assert {column: cells[key][column] for column in figures} == figures, key
