"""Reports of calls have equal cells on Spark and on DuckDB, before they are rounded for people; DuckDB does that."""

from __future__ import annotations

import random

import pytest

from etl.engines import duckdb
from etl.engines.sql import inline
from etl.reports import query
from etl.reports.catalogue import REPORTS
from etl.sql.order import BY_NAME
from tests.support.facts import given
from tests.unit.test_report_figures import many

pytestmark = pytest.mark.spark

OF_CALLS = [
    name for name, report in REPORTS.items()
    if report.measures and {"call_fact"} <= set(report.reads) <= {"call_fact", "step_fact", "answer_fact"}
]  # fmt: skip


def test_reports_have_equal_cells(spark_cluster, tmp_path):
    duck = duckdb.open(400, 1, tmp_path / "spill")
    with given(tmp_path, zone="America/Sao_Paulo") as facts:
        many(facts, random.Random(3))
        files = facts.sources().files
        for name in ("call_fact", "step_fact", "answer_fact"):
            for engine in (spark_cluster, duck):
                engine.register(name, files(name, facts.first, facts.last), BY_NAME[name].columns)
        assert len(OF_CALLS) >= 10
        for name in OF_CALLS:
            report, asked = REPORTS[name], facts.wanted(name).question
            if report.most_days is not None:
                slots = inline({"start_us": "BIGINT", "end_us": "BIGINT"}, list(asked.slots(report.period)))
                for engine in (spark_cluster, duck):
                    engine.view("slot", slots)
            cells = query.bound(query.raw(report, asked), asked)
            found = list(duck.rows(cells, {}))
            assert found, name
            assert list(spark_cluster.rows(cells, {})) == found, name
    duck.close()
