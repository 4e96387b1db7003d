"""A whole night on Spark publishes what the same night on DuckDB publishes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dialer.storage.session import sync_engine
from etl import lanes
from etl.columns import HISTORY
from etl.night_commands import CONNECTIONS, make_night
from etl.sql.order import ORDER
from tests.database.test_etl import Quiet, columns_of, read, require, retold, run
from tests.support.etl_events import T0, call, event, insert, ticket

pytestmark = pytest.mark.spark


class Kept:
    """The shared cluster as a night's engine, which a night closes."""

    def __init__(self, cluster):
        self._cluster = cluster

    def __getattr__(self, name):
        return getattr(self._cluster, name)

    def close(self):
        """It serves the next test too."""


def test_a_night_and_a_restatement_are_equal(database, spark_cluster):
    first = [*ticket("T-1"), *ticket("T-2", start=T0 + timedelta(days=1)), *call("c-1"), *call("c-2")]
    late = [event("ticket.message", "T-2", -86_400, author="customer", visibility="public")]
    engine = sync_engine(database.settings, CONNECTIONS)
    on_spark = replace(make_night(database.settings, engine), open_engine=lambda lane, spill: Kept(spark_cluster))
    duck, spark = retold([*first, *late], "duck"), retold([*first, *late], "spark")
    again = [replace(one, at=one.at + timedelta(seconds=1)) for one in (duck[3], spark[3])]
    for part in (slice(0, len(first)), slice(len(first), None)):
        insert(database.engine, [*duck[part], *spark[part], *(again if part.start else [])])
        require(run(database, "duck"))
        require({one.tenant: one for one in lanes.run_night(on_spark, ["spark"], [], Quiet())})
    engine.dispose()
    for dataset in (*(f"history_{kind}" for kind in HISTORY), *(one for one in ORDER if one.published)):
        name = dataset if isinstance(dataset, str) else dataset.name
        columns = ", ".join(one for one in columns_of(dataset) if one not in ("tenant", "ingested_us"))
        whole = read(database, name, tenant="duck", columns=columns)
        assert read(database, name, tenant="spark", columns=columns) == whole, name
    assert len(read(database, "call_fact", tenant="spark")) == len(read(database, "ticket_fact", tenant="spark")) == 2
