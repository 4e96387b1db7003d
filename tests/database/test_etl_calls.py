"""Calls on their whole way: from the event log on a real PostgreSQL through nights to facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest

from etl.columns import FROM_PAYLOAD, STEP
from etl.sql.order import BY_NAME
from tests.database.test_etl import read, require, run
from tests.support.call_facts import Stream
from tests.support.etl_events import T0, Event, call, event, insert
from tests.support.reference_calls import answer_facts, call_facts, cleaned, step_facts

CALL = "00000000-0000-0000-0000-000000000001"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def facts(database: Any, dataset: str) -> list[Row]:
    columns = BY_NAME[dataset].columns
    rows = read(database, dataset, columns=", ".join(columns))
    key = BY_NAME[dataset].key
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return sorted(found, key=lambda row: tuple(row[name] for name in key))


def restored() -> Event:
    """What a restore says of the whole of `call`, two days later."""
    moments = {"submitting": 0, "accepted": 0.1, "ringing": 1, "answered": 5, "hung_up": 12.5, "ended": 12.6}
    told = {f"{name}_at": (T0 + timedelta(seconds=after_s)).isoformat() for name, after_s in moments.items()}
    return event(
        "attempt.restored", CALL, 2 * 86400, seq=9, campaign=1, contact=7, wave=1, revision=1, dial=1, number_dial=1,
        node="node-1", trunk="carrier-a", caller_id="+48221234567", state="ended", disposition="completed",
        tech_cause=200, cause=16, **told,
    )  # fmt: skip


@pytest.mark.parametrize(
    "lost", [("attempt.",), ("attempt.answered", "attempt.ended"), ()], ids=["all", "some", "none"]
)
def test_a_restored_attempt_has_the_figures_that_it_had(database: Any, lost: tuple[str, ...]) -> None:
    whole = call(CALL)
    insert(database.engine, whole)
    require(run(database))
    (expected,) = facts(database, "call_fact")
    database.run("truncate event; truncate etl_pointer, etl_output, etl_segment, etl_tenant cascade")
    insert(database.engine, [*(one for one in whole if not one.type.startswith(lost or "-")), restored()])
    require(run(database))
    (found,) = facts(database, "call_fact")
    assert found == expected
    assert found["talk_us"] == 7_500_000


def in_log(flat: Iterable[Row]) -> Iterator[tuple[Row, Event]]:
    """Flat events beside the rows of the log that they come from; steps stand in their dialogue's end."""
    flat = list({one["event_id"]: one for one in flat}.values())
    steps = [one for one in flat if one["type"] == STEP]
    for one in flat:
        if one["type"] == STEP:
            continue
        payload = {key: one[name] for name, key in FROM_PAYLOAD.items() if one[name] is not None}
        if one["hung_up_us"] is not None:
            payload["hung_up_at"] = at(one["hung_up_us"]).isoformat()
        if one["type"] == "dialogue.ended":
            own = sorted((step for step in steps if step["subject"] == one["subject"]), key=lambda step: step["try_no"])
            payload["lasted_ms"] = 10**6
            payload["path"] = [
                [step["step"], 10**6 - (one["occurred_us"] - step["occurred_us"]) // 1000, step["visit"], step["code"]]
                for step in own
            ]
        yield one, Event(
            type=one["type"], subject=one["subject"], at=at(one["occurred_us"]), payload=payload, seq=one["seq"],
            id=UUID(one["event_id"]),
        )  # fmt: skip


def at(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)


def test_a_stream_that_comes_in_two_nights_comes_to_what_the_reference_says(database: Any) -> None:
    flat = Stream(7).events(250)
    told = list(in_log(flat))
    subjects = cleaned(one | {"tenant": "acme"} for one in flat)
    Random(1).shuffle(told)
    middle = len(told) // 2
    for part in (told[:middle], told[middle:]):
        insert(database.engine, [row for _, row in part])
        require(run(database))
    expected = {"call_fact": call_facts(subjects, {}), "answer_fact": answer_facts(subjects),
                "step_fact": step_facts(subjects)}  # fmt: skip
    for dataset, rows in expected.items():
        found = facts(database, dataset)
        wrong = [(a, b) for a, b in zip(found, rows, strict=True) if a != b]
        assert not wrong, (dataset, wrong[0])
