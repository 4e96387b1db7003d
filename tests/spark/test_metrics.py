"""Spark makes of a wild stream what DuckDB and the slow reference make of it, row by row and digest by digest."""

from __future__ import annotations

import pytest

from dialer.settings import OpeningHours
from etl.engines import duckdb
from etl.reports import query
from etl.reports.catalogue import REPORTS
from etl.reports.model import Period
from etl.sql.order import BY_NAME
from tests.support.metric_stream import stream
from tests.support.reference_metrics import facts_of, ticket_facts
from tests.support.reference_queues import agent_facts, queue_facts
from tests.support.report_figures import question
from tests.support.stories import at, computed, digested, placed, write_history

pytestmark = pytest.mark.spark

HOURS = [
    OpeningHours(tenant="acme", time_zone="Europe/Warsaw", open={"mon-fri": "09:00-17:00"}, holidays=("PL",)),
    OpeningHours(tenant="acme", group="first_line", time_zone="America/Sao_Paulo", open={"mon-sat": "07:30-22:00"}),
]
OF_ONE = {"ticket": ticket_facts, "queue_entry": queue_facts, "agent_session": agent_facts}


@pytest.fixture
def duck(tmp_path):
    engine = duckdb.open(600, 2, tmp_path / "spill")
    yield engine
    engine.close()


def assert_equal_everywhere(spark_cluster, duck, folder, kind, events):
    file = folder / f"{kind}.parquet"
    write_history(kind, placed(events), file)
    facts, digests = computed(spark_cluster, kind, [file], folder / "spark", HOURS)
    by_duck, digests_by_duck = computed(duck, kind, [file], folder / "duck", HOURS)
    again = facts_of(events, OF_ONE[kind])
    for dataset, rows in facts.items():
        assert rows == by_duck[dataset], dataset
        if dataset != "ticket_business_fact":
            assert set(rows) == set(again[dataset]), dataset
    assert digests == digests_by_duck


@pytest.mark.slice
def test_a_slice_of_one_minute(spark_cluster, duck, tmp_path):
    """Tickets alone, and digests alone; DuckDB's rows are held to the reference elsewhere."""
    file = tmp_path / "ticket.parquet"
    write_history("ticket", placed(stream("ticket", 21, subjects=60, longest=150)), file)
    assert digested(spark_cluster, "ticket", [file], tmp_path / "spark") == digested(
        duck, "ticket", [file], tmp_path / "duck"
    )


@pytest.mark.parametrize("kind", OF_ONE)
@pytest.mark.parametrize("seed", range(2))
def test_wild_streams(spark_cluster, duck, tmp_path, kind, seed):
    assert_equal_everywhere(spark_cluster, duck, tmp_path, kind, stream(kind, seed, subjects=1500, longest=2000))


def test_a_ticket_of_a_hundred_thousand_events(spark_cluster, duck, tmp_path):
    assert_equal_everywhere(spark_cluster, duck, tmp_path, "ticket", stream("ticket", 7, subjects=20, longest=100_000))


OF_THESE = (
    "ticket_facts", "ticket_cohort_daily", "sla_daily", "messages_daily", "transfers_matrix", "queue_intervals_15m",
    "agent_daily", "agent_intervals",
)  # fmt: skip


def test_reports_have_equal_cells(spark_cluster, duck, tmp_path):
    """The figures before they are rounded for people; DuckDB alone does that."""
    for kind in OF_ONE:
        file = tmp_path / f"{kind}.parquet"
        write_history(kind, placed(stream(kind, 5, subjects=200, longest=200)), file)
        for engine, folder in ((spark_cluster, tmp_path / "spark"), (duck, tmp_path / "duck")):
            computed(engine, kind, [file], folder, HOURS)
    asked = question("America/Sao_Paulo", 4, at("+3d 15:30"))
    for name in OF_THESE:
        assert _cells(spark_cluster, name, asked) == _cells(duck, name, asked), name


def _cells(engine, name, asked):
    report = REPORTS[name]
    if report.most_days is not None and report.period is not Period.WHOLE:
        slots = ", ".join(f"({begin}, {end})" for begin, end in asked.slots(report.period))
        engine.view("slot", f"SELECT start_us, end_us FROM (VALUES {slots}) AS t(start_us, end_us)")
    assert all(dataset in BY_NAME or dataset == "history_ticket" for dataset in report.reads)
    return list(engine.rows(query.bound(query.raw(report, asked), asked), {}))
