"""Transforms and reports keep to the dialect that every engine understands alike (docs/etl.md, Engines)."""

from __future__ import annotations

import pytest

from etl.reports import query
from etl.reports.catalogue import REPORTS
from etl.reports.model import FOLDER
from etl.sql.order import TEXTS
from tests.support.dialect import faults
from tests.support.report_figures import question

HAS_NO_REST = ("increment_s * 1000000", "% 120) / 120", "% (increment_s")
"""Of the cost of a call: divisions that come out whole, by what is never 0."""


def unexcused(text):
    return [fault for fault in faults(text) if not any(known in fault for known in HAS_NO_REST)]


@pytest.mark.parametrize("name", TEXTS)
def test_every_transform_keeps_to_it(name):
    assert unexcused(TEXTS[name]) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.sql")))
def test_every_base_of_a_report_keeps_to_it(name):
    assert unexcused((FOLDER / f"{name}.sql").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [name for name, report in REPORTS.items() if report.measures])
def test_every_cell_of_a_report_keeps_to_it(name):
    asked = question("America/Sao_Paulo", 30, 0)
    assert unexcused(query.raw(REPORTS[name], asked)) == []


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("SELECT a::BIGINT FROM t", "a cast by ::"),
        ("SELECT TRY_CAST(a AS BIGINT) FROM t", "a cast that forgives"),
        (r"SELECT a FROM t WHERE b = '\' AND c = \d", "a backslash"),
        ('SELECT "a" FROM t', "a name between quotes"),
        ("SELECT [1, 2] AS a FROM t", "a list"),
        ("SELECT list(a) AS a FROM t", "a list"),
        ("SELECT a ->> 'b' AS c FROM t", "JSON"),
        ("SELECT json_extract(a, 'b') AS c FROM t", "JSON"),
        ("SELECT a FROM t QUALIFY n = 1", "QUALIFY"),
        ("SELECT * EXCLUDE (a) FROM t", "EXCLUDE"),
        ("SELECT DISTINCT ON (a) a, b FROM t", "DISTINCT ON"),
        ("SELECT a, count(*) FROM t GROUP BY ALL", "ALL for"),
        ("SELECT a FROM t ASOF JOIN u ON t.b > u.b", "a join of one engine"),
        ("SELECT a // 2 AS a FROM t", "a whole division"),
        ("SELECT a div 2 AS a FROM t", "a whole division"),
        ("SELECT a FROM t WHERE b ILIKE 'x%'", "a pattern"),
        ("SELECT CAST(a AS TIMESTAMP) FROM t", "a time"),
        ("SELECT extract(hour FROM a) FROM t", "a clock"),
        ("SELECT a + INTERVAL '1 day' FROM t", "a time"),
        ("SELECT now() AS a", "a clock"),
        ("SELECT random() AS a", "chance"),
        ("SELECT any_value(a) FROM t", "any of several"),
        ("SELECT string_agg(a, ',') FROM t", "values in the order"),
        ("SELECT median(a) FROM t", "a percentile of one engine"),
        ("SELECT quantile_cont(a, 0.5) FROM t", "a percentile of one engine"),
        ("SELECT ifnull(a, b) FROM t", "a function of one engine"),
        ("SELECT a FROM t LIMIT 5", "some rows"),
        ("SELECT round(a) AS a FROM t", "a float"),
        ("SELECT CAST(a AS VARCHAR) FROM t", "a type that is none of ours"),
        ("SELECT a FROM t ORDER BY a, b NULLS LAST", "where NULLs stand: a"),
        ("SELECT row_number() OVER (PARTITION BY a ORDER BY b DESC) AS n FROM t", "where NULLs stand: b DESC"),
        ("SELECT max(a) OVER (ORDER BY b NULLS LAST) AS n FROM t", "without a frame"),
        ("SELECT max(a) FILTER (WHERE c) OVER w AS n FROM t WINDOW w AS (ORDER BY b NULLS LAST)", "window of max"),
        ("SELECT sum(a) AS a FROM t", "a sum that is not cast"),
        ("SELECT CAST(floor(a / b) AS BIGINT) AS a FROM t", "a divisor that may be 0"),
        ("SELECT a % b AS a FROM t", "a divisor that may be 0"),
        ("SELECT CAST(a / 2 AS BIGINT) AS a FROM t", "a fraction that is not cut off"),
    ],
)  # fmt: skip
def test_what_engines_understand_differently_is_found(said, rule):
    assert any(rule in fault for fault in faults(said)), list(faults(said))


@pytest.mark.parametrize(
    "said",
    [
        "SELECT 'a::b / c \"d\" now()' AS a -- sum(x) // [1]",
        "SELECT CAST(floor(a / CAST(86400000000 AS DOUBLE)) AS BIGINT) AS day FROM t",
        "SELECT CAST(floor(a / NULLIF(b, 0)) AS BIGINT) AS a, a % 7 AS b FROM t",
        "SELECT CAST(coalesce(sum(a) FILTER (WHERE b), 0) AS BIGINT) AS a FROM t",
        "SELECT lag(a) OVER w AS a FROM t WINDOW w AS (PARTITION BY b ORDER BY c NULLS LAST)",
        "SELECT max(a) OVER (ORDER BY b NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS a FROM t",
        "SELECT CAST(floor(percentile_cont(0.5) WITHIN GROUP (ORDER BY a) * 100 + 0.5) AS BIGINT) AS a FROM t",
    ],
)
def test_what_they_understand_alike_is_not(said):
    assert list(faults(said)) == []
