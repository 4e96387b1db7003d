"""The quick way to a report of calls: rollups where they are whole, contacts as bits of a set where ids lie close."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, timedelta
from pathlib import Path

from etl.columns import Columns
from etl.engines import sql
from etl.engines.duckdb import DuckDb
from etl.reports import query
from etl.reports.model import Report, text_of
from etl.reports.query import Question
from etl.reports.rollups import QUARTER_US
from etl.sql.order import BY_NAME
from etl.zones import from_us

Files = Callable[[str, date, date], Sequence[Path]]

MOST_BITS = 2**32
"""Of all sets of contacts together: half a gigabyte, and as much again for a second thread."""
MOST_IN_SET = 10**9
"""Bits of one set, as DuckDB has it."""
SETS_A_CELL = 8
"""So many are made for a row of the report, about: of verdicts, or of calls within the period and before it."""
_SPREAD = """
SELECT campaign, MIN(least_contact) AS least, MAX(most_contact) AS most, COUNT(DISTINCT ({1})) AS cells
FROM {0} WHERE tenant = :tenant GROUP BY campaign"""
_MEETING = """
WITH quarter AS (
-- :quarter
), best AS (
  SELECT node, trunk, COALESCE(MAX(calls_before + rise), -1) AS calls, COALESCE(MAX(begun_in_second), -1) AS begun
  FROM quarter WHERE days = 1 AND at_us >= :from_us GROUP BY node, trunk
)
SELECT DISTINCT q.at_us FROM quarter AS q
LEFT JOIN best AS b ON b.node IS NOT DISTINCT FROM q.node AND b.trunk IS NOT DISTINCT FROM q.trunk
WHERE q.days > 1 AND q.at_us >= :from_us
  AND (q.calls_before + q.rise > COALESCE(b.calls, -1) OR q.begun_in_second > COALESCE(b.begun, -1))
ORDER BY q.at_us"""


def whole(report: Report, question: Question, facts: Sequence[Path], rollup: Sequence[Path]) -> bool:
    """Whether the rollup says all of the period: each of its days is there, and the clock counts whole quarters.

    Facts that an earlier release has computed have none, until their day is computed again.
    """
    edges = [question.from_us, question.to_us, *(one.ahead_us for one in question.zone.offsets)]
    return (
        bool(report.rollup)
        and not any(edge % QUARTER_US for edge in edges)
        and {_day(file) for file in facts} <= {_day(file) for file in rollup}
    )


def _day(file: Path) -> str:
    return next((part for part in file.parts if part.startswith("day=")), "")


def asked(duck: DuckDb, report: Report, question: Question, files: Files) -> str:
    """The query of a report whose rollup is registered, ready to run."""
    if report.beside:
        # The load of trunks is known of all campaigns together only.
        quick = question.campaign is None
        if quick:
            _register_meetings(duck, report, question, files)
        return query.bound(query.rolled(report, question, quick=quick, sets=False), question)
    sets = report.quick or any(one.distinct_of for one in report.measures)
    span = _register_least(duck, report, question) if sets else None
    near = span is not None
    return query.bound(
        query.rolled(report, question, quick=near and bool(report.quick), sets=near), question, {"span": span}
    )


def _register_least(duck: DuckDb, report: Report, question: Question) -> int | None:
    """Makes the table `low` of each campaign's first contact, and says how far the ids of one lie apart at most.

    None if sets of them would be too large.
    """
    keys = ", ".join(key.of for key in report.keys)
    found = list(duck.rows(query.bound(_SPREAD.format(report.rollup, keys), question), {}))
    known = [(campaign, least) for campaign, least, _, _ in found if campaign is not None and least is not None]
    low: Columns = {"campaign": "BIGINT", "least_contact": "BIGINT"}
    duck.connection.execute(f"CREATE OR REPLACE TEMP TABLE low AS {sql.inline(low, known)}")
    span = max((most - least for _, least, most, _ in found if least is not None), default=0)
    cells = sum(cells for *_, cells in found)
    return int(span) if span < MOST_IN_SET and cells * SETS_A_CELL * span <= MOST_BITS else None


def _register_meetings(duck: DuckDb, report: Report, question: Question, files: Files) -> None:
    """Makes the table `met`: the load of quarters in which calls of two days meet, where it may be the most."""
    shape = BY_NAME["call_fact"].columns
    duck.connection.execute(
        "CREATE OR REPLACE TEMP TABLE met "
        "(node VARCHAR, trunk VARCHAR, at_us BIGINT, calls_at_once BIGINT, begun_in_second BIGINT)"
    )
    meeting = query.bound(_MEETING.replace("-- :quarter", text_of("sql/parts/quarter")), question)
    for (at_us,) in list(duck.rows(meeting, {})):
        day = from_us(at_us).astimezone(UTC).date()
        duck.register("call_fact", files("call_fact", day - timedelta(days=1), day + timedelta(days=1)), shape)
        one = replace(question, from_us=at_us, to_us=at_us + QUARTER_US)
        load = query.bound(text_of(f"sql/{report.beside}"), one)
        values = f"node, trunk, {at_us}, peak_channels, peak_cps"
        duck.connection.execute(f"INSERT INTO met SELECT {values} FROM ({load})")
