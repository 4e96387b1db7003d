"""The figures of tickets, by stories whose figures were computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from etl.engines import duckdb
from etl.sql.order import BY_NAME
from tests.support.reference_metrics import facts_of, ticket_facts
from tests.support.stories import at, computed, placed, told, write_history
from tests.support.ticket_stories import STORIES, Story

INSTANTS = {"created_us", "solved_us", "closed_us", "one_touch_final_us"}


NAMES = [story.name for story in STORIES]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tickets")
    file = folder / "history.parquet"
    write_history("ticket", placed(event for one in STORIES for event in told("ticket", one.name, one.story)), file)
    engine = duckdb.open(400, 1, folder / "spill")
    try:
        return computed(engine, "ticket", [file], folder)[0]
    finally:
        engine.close()


def of(facts, dataset: str, story: Story) -> list[dict[str, Any]]:
    rows = [dict(zip(BY_NAME[dataset].columns, row, strict=True)) for row in facts[dataset]]
    return [row for row in rows if row["ticket"] == story.name]


def us(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1_000_000)


def when(clock: str | None) -> int | None:
    return None if clock is None else at(clock)


@pytest.mark.parametrize("story", STORIES, ids=NAMES)
def test_figures(facts, story):
    (row,) = of(facts, "ticket_fact", story)
    wanted = {
        name: when(value) if name in INSTANTS else us(value) if name.endswith("_us") else value
        for name, value in story.figures.items()
    }
    assert {name: row[name] for name in wanted} == wanted


def rows(facts, dataset: str, story: Story, *columns: str) -> list[tuple[Any, ...]]:
    return sorted(
        (tuple(row[name] for name in columns) for row in of(facts, dataset, story)),
        key=lambda row: [(value is None, value) for value in row],
    )


LISTS = [
    ("sessions", "ticket_session_fact", ("agent", "group_name", "begin_us", "end_us"), (2, 3)),
    ("stays", "ticket_stay_fact", ("group_name", "begin_us", "end_us", "queue_us"), (1, 2)),
    ("waits", "ticket_wait_fact", ("asked_us", "answered_us", "agent"), (0, 1)),
    ("moves", "ticket_move_fact", ("at_us", "what", "from_name", "to_name"), (0,)),
    ("work", "ticket_work_fact", ("agent", "begin_us", "end_us"), (1, 2)),
    ("spans", "ticket_span_fact", ("status", "begin_us", "end_us"), (1, 2)),
]


@pytest.mark.parametrize("story", STORIES, ids=NAMES)
def test_stretches(facts, story):
    for name, dataset, columns, instants in LISTS:
        told_rows = getattr(story, name)
        if told_rows is None:
            continue
        wanted = [
            tuple(
                when(value) if place in instants else us(value) if columns[place] == "queue_us" else value
                for place, value in enumerate(row)
            )
            for row in told_rows
        ]
        found = rows(facts, dataset, story, *columns)
        assert found == sorted(wanted, key=lambda row: [(value is None, value) for value in row]), name


def test_the_reference_tells_the_same(facts):
    told_again = facts_of((event for one in STORIES for event in told("ticket", one.name, one.story)), ticket_facts)
    for dataset, found in facts.items():
        assert set(found) == set(told_again[dataset]), dataset
