"""A report as data: which facts it counts, by which keys, over which periods, and what stands in its columns.

The rows of a report's file `sql/BASE.sql` are what it counts: calls, tickets, pieces of time. Without measures each is
a row of the report. With measures the rows of equal period and keys become one cell; which of them a measure counts is
said by its condition, so that `--rows` can show exactly those.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from etl.columns import Kind
from etl.reports.columns import Column

FOLDER = Path(__file__).parent / "sql"


def text_of(name: str) -> str:
    """A query by the path of its file here; a line `-- :NAME` in it stands for the text of `sql/parts/NAME.sql`."""
    text = (FOLDER.parent / f"{name}.sql").read_text(encoding="utf-8").strip()
    return _PART.sub(lambda found: text_of(f"sql/parts/{found[1]}"), text)


_PART = re.compile(r"^-- :(\w+)$", re.MULTILINE)


class Period(Enum):
    """What one row of a report covers, in the report's time zone."""

    WHOLE = "the whole period"
    DAY = "a day"
    HOUR = "an hour"
    QUARTER = "a quarter of an hour"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A raw column of a cell: an aggregate, and which of the base's rows it is about."""

    name: str
    sql: str
    where: str = ""
    """The rows behind it, for `--rows`; all of them if there is no condition."""
    value: str = "NULL"
    """What each of them adds, for `--rows`."""
    percentile_of: str = ""
    """Of what it is a percentile, and which; DuckDB computes all of one thing at once."""
    percent: int = 0
    distinct_of: str = ""
    """Of what it counts different values."""
    adds_up: str = ""
    """The same aggregate of the measure's values in a rollup; empty: what it counts cannot be told from parts."""
    over: tuple[str, ...] | None = None
    """The keys whose rows it counts, when it looks beyond its cell: raw columns. None: all keys."""
    up_to: str = ""
    """The key of which it counts smaller values too."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """One report. Its columns stand behind tenant, period_start_local, period_end_local and tz, which all have."""

    name: str
    says: str
    """One sentence: what a row is."""
    basis: str
    """Which instant decides to what period something belongs."""
    base: str
    reads: tuple[str, ...] = ()
    """Datasets of the lake."""
    database: tuple[str, ...] = ()
    """Tables that are no datasets of the lake: of PostgreSQL, by their names in `database.TABLES`, or `opening`, of the
    settings."""
    kind: Kind | None = None
    """What the base's column `subject` names: `--rows` of a subject shows its events."""
    period: Period = Period.WHOLE
    keys: tuple[Column, ...] = ()
    measures: tuple[Measure, ...] = ()
    columns: tuple[Column, ...] = ()
    order: tuple[str, ...] = ()
    """Raw columns that order the rows, unique together; a report with measures has its keys' order without this."""
    reach_days: int = 1
    """How long before something happens its subject may have begun: so many cohort days more are read."""
    most_days: int | None = None
    """The longest period, for reports that read the table `slot`: a row for each of their rows' periods."""
    one_campaign: bool = False
    """It has columns of one campaign's own: `--campaign` must be said."""
    beside: str = ""
    """A query `sql/BESIDE.sql` of the measures without an aggregate, by the keys, of the whole period."""
    rollup: str = ""
    """A dataset with the measures that add up, by the keys and quarters of an hour (`rollups`): DuckDB reads that."""
    quick: str = ""
    """DuckDB's query `duckdb/QUICK.sql` of what does not add up, by the keys; empty: that is told from the facts."""
    answers_by: str = ""
    """A raw column; a column `answer_STEP` a question is joined to it."""
    fields: bool = False
    """A column `field_NAME` a field of the campaign's contacts."""
    version: int = 1
    """Raised when figures of equal facts become others."""

    @property
    def query(self) -> str:
        """The base as its file has it."""
        return text_of(f"sql/{self.base}")

    def measure(self, name: str) -> Measure | None:
        """The measure that a column, or a raw column, of this name shows."""
        of = next((column.of for column in self.columns if column.name == name), name)
        return next((measure for measure in self.measures if measure.name == of), None)


def count(name: str, where: str = "") -> Measure:
    """Rows, or those for which something holds."""
    sql = f"COUNT(CASE WHEN {where} THEN 1 END)" if where else "COUNT(*)"
    return Measure(name=name, sql=sql, where=where, adds_up=_sum(name))


def total(name: str, of: str = "", where: str = "") -> Measure:
    """A sum, of all rows or of some; 0 for none."""
    of = of or name
    some = f"CASE WHEN {where} THEN {of} END" if where else of
    return Measure(name=name, sql=_sum(some), where=where, value=of, adds_up=_sum(name))


def _sum(of: str) -> str:
    return f"CAST(COALESCE(SUM({of}), 0) AS BIGINT)"


def distinct(name: str, of: str, where: str = "") -> Measure:
    """How many different values."""
    some = f"CASE WHEN {where} THEN {of} END" if where else of
    return Measure(name=name, sql=f"COUNT(DISTINCT {some})", where=where, distinct_of=of)


def most(name: str, of: str, where: str = "") -> Measure:
    """The largest value."""
    return Measure(name=name, sql=f"MAX({of})", where=where, value=of)


def percentile(name: str, of: str, percent: int, where: str = "") -> Measure:
    """An exact percentile (`percentile_cont`, NULLs left out) in hundredths, as an integer.

    Between two integers it is a multiple of a hundredth; so rounding to these makes the engines' floating point, which
    differs by less than 1e-3, exact again.
    """
    some = f"CASE WHEN {where} THEN {of} END" if where else of
    sql = f"CAST(floor(percentile_cont({percent / 100}) WITHIN GROUP (ORDER BY {some}) * 100 + 0.5) AS BIGINT)"
    return Measure(
        name=name, sql=sql, where=where or f"{of} IS NOT NULL", value=of, percentile_of=some, percent=percent
    )  # fmt: skip


def all_of(name: str, one: Measure, keys: Sequence[str]) -> Measure:
    """A measure over all rows of the report that are equal in some of the keys: a question's calls over its answers."""
    sql = f"CAST(SUM({one.sql}) OVER (PARTITION BY {', '.join(keys)}) AS BIGINT)"
    return Measure(name=name, sql=sql, where=one.where, value=one.value, over=tuple(keys))


def so_far(name: str, one: Measure, keys: Sequence[str], order: str) -> Measure:
    """The running sum of a measure in the order of one key."""

    def summed(of: str) -> str:
        return (
            f"CAST(SUM({of}) OVER (PARTITION BY {', '.join(keys)} ORDER BY {order} NULLS LAST "
            "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT)"
        )

    return Measure(
        name=name, sql=summed(one.sql), where=one.where, value=one.value, adds_up=summed(f"COALESCE({one.name}, 0)"),
        over=tuple(keys), up_to=order,
    )  # fmt: skip
