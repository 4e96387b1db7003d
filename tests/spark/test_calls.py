"""Spark makes of a stream of calls what DuckDB and the plain reference make of it, row by row."""

from __future__ import annotations

import pytest

from dialer.settings import TrunkSettings
from etl import tariffs
from etl.engines import duckdb
from etl.sql.order import ORDER
from tests.support.call_facts import Stream, facts
from tests.support.reference_calls import Price, answer_facts, call_facts, cleaned, step_facts

pytestmark = pytest.mark.spark

TRUNK = TrunkSettings.model_validate({
    "name": "a", "node": "node-1", "host": "127.0.0.1",
    "tariff": [{"from": "2026-01-01", "currency": "EUR", "per_minute": "0.0115", "increment": 6}],
})  # fmt: skip
PRICES = {"a": [Price(from_us=0, currency="EUR", connect="0", per_minute="0.0115", initial_s=6, increment_s=6)]}


@pytest.fixture
def duck(tmp_path):
    engine = duckdb.open(600, 2, tmp_path / "spill")
    yield engine
    engine.close()


def assert_equal_everywhere(spark_cluster, duck, folder, seed, calls):
    subjects = cleaned(Stream(seed).events(calls))
    tariff = tariffs.query([TRUNK])
    by_spark = facts(spark_cluster, subjects, tariff, folder / "spark")
    assert by_spark == facts(duck, subjects, tariff, folder / "duck")
    again = {
        "call_fact": call_facts(subjects, PRICES), "answer_fact": answer_facts(subjects),
        "step_fact": step_facts(subjects),
    }  # fmt: skip
    assert {name: by_spark[name] for name in again} == again
    assert all(by_spark[one.name] for one in ORDER if one.of_whole_day)


@pytest.mark.slice
def test_a_slice(spark_cluster, duck, tmp_path):
    assert_equal_everywhere(spark_cluster, duck, tmp_path, 11, 150)


@pytest.mark.parametrize("seed", [12, 13])
def test_streams(spark_cluster, duck, tmp_path, seed):
    assert_equal_everywhere(spark_cluster, duck, tmp_path, seed, 3000)
