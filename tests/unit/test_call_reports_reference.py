"""Reports on a random stream of calls against a plain reckoning of their figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from dialer.clock import to_us
from etl import tariffs
from etl.engines import duckdb
from tests.support import reference_call_reports as reference
from tests.support.call_facts import MIDNIGHT_US, Stream, facts
from tests.support.facts import Given, given
from tests.support.reference_calls import cleaned
from tests.support.stories import at
from tests.unit.test_call_facts import TRUNKS

DAY = date(2026, 6, 21)
FROM_US, TO_US = MIDNIGHT_US, MIDNIGHT_US + 86_400_000_000
Row = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Given, dict[str, list[Row]]]]:
    """A lake of some 2,500 calls within two hours of a day, and what lies in it."""
    folder = tmp_path_factory.mktemp("calls")
    events = [
        one
        | {name: MIDNIGHT_US + (one[name] - MIDNIGHT_US) // 20 for name in ("occurred_us", "hung_up_us") if one[name]}
        for one in Stream(21).events(2500)
    ]
    engine = duckdb.open(512, 2, folder / "spill")
    found = facts(engine, cleaned(events), tariffs.query(TRUNKS), folder / "facts")
    engine.close()
    found = {name: [row | {"tenant": "acme"} for row in rows] for name, rows in found.items()}
    (folder / "lake").mkdir()
    names = {1: "spring", 2: "summer", 3: "autumn"}
    with given(folder / "lake", first=DAY, last=DAY, campaigns=names) as lake:
        for name, rows in found.items():
            lake.add(name, *rows)
        yield lake, found


def assert_equal(rows: list[Row], keys: tuple[str, ...], expected: Mapping[tuple[Any, ...], Row]) -> None:
    """Cell by cell."""
    names = {"spring": 1, "summer": 2, "autumn": 3}
    found = {
        tuple(names.get(row[key], row[key]) if key == "campaign" else row[key] for key in keys): row for row in rows
    }
    assert found.keys() == expected.keys()
    wrong = [
        (key, name, found[key][name], value)
        for key, cell in expected.items()
        for name, value in cell.items()
        if _plain(found[key][name]) != _plain(value)
    ]
    assert not wrong, wrong[:5]


def _plain(value: Any) -> Any:
    return None if value is None else Decimal(str(value))


def test_trunks(made: Any) -> None:
    lake, found = made
    expected = reference.trunk_quality(found["call_fact"], FROM_US, TO_US, at(lake.as_of))
    assert_equal(lake.report("trunk_quality"), ("node", "trunk"), expected)
    assert max(row["peak_channels"] or 0 for row in expected.values()) > 20


def test_campaigns(made: Any) -> None:
    lake, found = made
    assert_equal(lake.report("campaign_summary"), ("campaign",), reference.campaign_summary(found["call_fact"]))


def test_causes(made: Any) -> None:
    lake, found = made
    keys = ("campaign", "node", "trunk", "sip_code", "q850_cause", "disposition")
    assert_equal(lake.report("hangup_causes"), keys, reference.hangup_causes(found["call_fact"]))


def test_costs(made: Any) -> None:
    lake, found = made
    keys = ("campaign", "node", "trunk", "currency")
    assert_equal(lake.report("cost_summary"), keys, reference.cost_summary(found["call_fact"]))


def test_steps(made: Any) -> None:
    lake, found = made
    keys = ("campaign", "revision", "step")
    assert_equal(lake.report("ivr_funnel"), keys, reference.ivr_funnel(found["step_fact"]))


def test_questions(made: Any) -> None:
    lake, found = made
    keys = ("campaign", "revision", "step", "answer")
    assert_equal(lake.report("question_answers"), keys, reference.question_answers(found["answer_fact"]))


def test_hours(made: Any) -> None:
    lake, found = made
    expected = reference.calls_at_once(found["call_fact"], FROM_US, TO_US, at(lake.as_of))
    rows = [
        row | {"hour": to_us(datetime.fromisoformat(row["period_start_local"]))} for row in lake.report("calls_at_once")
    ]  # fmt: skip
    assert_equal(rows, ("hour", "campaign"), expected)
