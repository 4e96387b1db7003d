"""What DuckDB makes of streams as bad as they come equals the slow reference, row by row, however the input lies."""

from __future__ import annotations

import random

import pytest

from etl.engines import duckdb
from tests.support.metric_stream import stream
from tests.support.reference_metrics import facts_of, ticket_facts
from tests.support.reference_queues import agent_facts, queue_facts
from tests.support.stories import computed, placed, write_history

OF_ONE = {"ticket": ticket_facts, "queue_entry": queue_facts, "agent_session": agent_facts}


@pytest.fixture
def engine(tmp_path):
    engine = duckdb.open(600, 2, tmp_path / "spill")
    yield engine
    engine.close()


def assert_equal(facts, again):
    for dataset, rows in facts.items():
        found, wanted = set(rows), set(again[dataset])
        assert found == wanted, (dataset, sorted(found ^ wanted, key=str)[:6])
        assert len(rows) == len(found), dataset


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("kind", OF_ONE)
def test_figures_equal_the_reference(engine, tmp_path, kind, seed):
    events = stream(kind, seed, subjects=800, longest=400)
    write_history(kind, placed(events), tmp_path / "history.parquet")
    facts, _ = computed(engine, kind, [tmp_path / "history.parquet"], tmp_path / "facts")
    assert_equal(facts, facts_of(events, OF_ONE[kind]))


@pytest.mark.parametrize(("kind", "longest"), [("ticket", 100_000), ("queue_entry", 10_000), ("agent_session", 10_000)])
def test_one_subject_of_very_many_events(engine, tmp_path, kind, longest):
    events = stream(kind, 7, subjects=20, longest=longest)
    write_history(kind, placed(events), tmp_path / "history.parquet")
    facts, _ = computed(engine, kind, [tmp_path / "history.parquet"], tmp_path / "facts")
    assert_equal(facts, facts_of(events, OF_ONE[kind]))


@pytest.mark.parametrize("kind", OF_ONE)
def test_the_order_and_the_parting_of_the_input_change_nothing(engine, tmp_path, kind):
    rows = list(placed(stream(kind, 11, subjects=300, longest=300)))
    write_history(kind, rows, tmp_path / "whole.parquet")
    _, digests = computed(engine, kind, [tmp_path / "whole.parquet"], tmp_path / "whole")
    random.Random(3).shuffle(rows)
    parts = [tmp_path / f"part-{number}.parquet" for number in range(3)]
    for number, part in enumerate(parts):
        write_history(kind, rows[number::3], part)
    _, again = computed(engine, kind, parts, tmp_path / "parted")
    assert again == digests
    for dataset in digests:
        whole, parted = (next((tmp_path / which / dataset).glob("*.parquet")) for which in ("whole", "parted"))
        assert whole.read_bytes() == parted.read_bytes(), dataset
