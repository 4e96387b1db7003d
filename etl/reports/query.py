"""From a report and what is asked of it to the text of its query: cells, single rows behind a cell, or events.

The query of the cells holds raw columns alone and runs on every engine. Values stand in it as `:name`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dialer.settings import ReportSettings
from etl.columns import DAY_US
from etl.engines import sql
from etl.engines.port import Value
from etl.reports.columns import Column, Kind, Shown, literal, quoted
from etl.reports.model import Measure, Period, Report
from etl.zones import Zone

HOUR_US = 3_600_000_000
STEP_US = {Period.HOUR: HOUR_US, Period.QUARTER: HOUR_US // 4}
PERIOD = (
    Column(name="tenant", kind=Kind.TEXT, of="tenant"),
    Column(name="period_start_local", kind=Kind.LOCAL, of="start_us"),
    Column(name="period_end_local", kind=Kind.LOCAL, of="end_us"),
    Column(name="tz", kind=Kind.TEXT, of="tz"),
)
"""Every report begins with these."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a report: whose facts, of which instants, in which zone, as of when."""

    tenant: str
    zone: Zone
    from_us: int
    to_us: int
    """The first instant that does not belong to the period."""
    as_of_us: int
    """What is not over counts up to then."""
    campaign: int | None = None
    targets: ReportSettings

    @property
    def parameters(self) -> Mapping[str, Value]:
        """The values of every `:name` that reports use."""
        targets = self.targets
        return {
            "tenant": self.tenant, "tz": self.zone.name, "from_us": self.from_us, "to_us": self.to_us,
            "as_of_us": self.as_of_us, "campaign": self.campaign, "service_us": targets.answer_within_s * 10**6,
            "short_us": targets.short_abandon_s * 10**6,
            "first_response_us": targets.first_response_within_s * 10**6,
            "next_response_us": targets.next_response_within_s * 10**6,
            "resolution_us": targets.resolution_within_s * 10**6,
        }  # fmt: skip

    def slots(self, period: Period) -> Iterator[tuple[int, int]]:
        """Begin and end of each of a report's rows, for those whose facts are cut by them."""
        if period is Period.DAY:
            return self.zone.days(self.zone.date_of(self.from_us), self.zone.date_of(self.to_us - 1))
        return self.zone.steps(self.from_us, self.to_us, STEP_US[period])


def bound(query: str, question: Question) -> str:
    """A query with the values of its `:name` in it: DuckDB then knows them when it plans which files to read."""
    values = sql.given(query, question.parameters)
    return sql.with_parameters(query, lambda name: _literal(values[name]))


def _literal(value: Value) -> str:
    return "NULL" if value is None else literal(value) if isinstance(value, str) else str(value)


def raw(report: Report, question: Question, *, on_duckdb: bool = False) -> str:
    """The report with raw columns: `tenant`, `start_us`, `end_us`, `tz`, its keys, its measures.

    `on_duckdb` says the same in its words where that saves memory: it keeps all values of a percentile, once a list.
    """
    return _cells(report, question.zone, on_duckdb) if report.measures else _rows(report)


def _aggregate(measure: Measure, report: Report, on_duckdb: bool) -> str:
    if not (on_duckdb and measure.percentile_of):
        return measure.sql
    of = measure.percentile_of
    percents = [one.percent for one in report.measures if one.percentile_of == of]
    listed = ", ".join(str(percent / 100) for percent in percents)
    place = percents.index(measure.percent) + 1
    return f"CAST(floor(quantile_cont({of}, [{listed}])[{place}] * 100 + 0.5) AS BIGINT)"


def _cells(report: Report, zone: Zone, on_duckdb: bool) -> str:
    keys = [key.of for key in report.keys]
    grouped = [*([] if report.period is Period.WHOLE else ["period_us"]), *keys]
    measures = ",\n  ".join(
        f"{_aggregate(measure, report, on_duckdb)} AS {measure.name}" for measure in report.measures
    )  # fmt: skip
    start, end = _bounds(report.period, zone)
    order = report.order or grouped
    return f"""WITH base AS (
{report.query}
), timed AS (
SELECT base.*, {_period(report.period, zone)} AS period_us FROM base
), cell AS (
SELECT {", ".join(grouped)},
  {measures}
FROM timed
GROUP BY {", ".join(grouped)}
)
SELECT :tenant AS tenant, {start} AS start_us, {end} AS end_us, :tz AS tz, {", ".join(keys)},
  {", ".join(measure.name for measure in report.measures)}
FROM cell
ORDER BY {", ".join(f"{name} NULLS LAST" for name in order)}"""


def _rows(report: Report) -> str:
    return f"""WITH base AS (
{report.query}
)
SELECT base.*, :from_us AS start_us, :to_us AS end_us, :tz AS tz
FROM base
ORDER BY {", ".join(f"base.{name} NULLS LAST" for name in report.order)}"""


def behind(
    report: Report, question: Question, shown: Shown, keys: Sequence[tuple[Column, str]], measure: str
) -> str:  # fmt: skip
    """DuckDB's query of what a cell counted: the base's rows with these texts as keys, those the measure is about."""
    start, end = _bounds(report.period, question.zone)
    counted = report.measure(measure) if measure else None
    named = ", ".join(f"raw.{key.of}" for key in report.keys)
    conditions = [f"COALESCE(CAST({key.sql('csv', shown)} AS VARCHAR), '') = {literal(said)}" for key, said in keys]
    conditions += [f"({counted.where})"] if counted and counted.where else []
    return f"""WITH base AS (
{report.query}
), timed AS (
SELECT base.*, {_period(report.period, question.zone)} AS period_us FROM base
), raw AS (
SELECT timed.*, {start} AS start_us, {end} AS end_us FROM timed
)
SELECT :tenant AS tenant, start_us, end_us, :tz AS tz, {named}, subject, at_us,
  {counted.value if counted else "NULL"} AS counted_value
FROM raw
WHERE {" AND ".join(conditions) or "TRUE"}
ORDER BY at_us NULLS LAST, subject NULLS LAST"""


def events(report: Report, subject: str) -> str:
    """The cleaned events of one subject, in their order."""
    return f"""SELECT h.*, :from_us AS start_us, :to_us AS end_us, :tz AS tz
FROM history_{report.kind} AS h
WHERE h.tenant = :tenant AND h.subject = {literal(subject)}
ORDER BY h.place NULLS LAST"""


def with_answers(report: Report, question: Question, query: str, steps: Sequence[str]) -> str:
    """DuckDB's query with a column `answer_STEP` a question: the last valid answer of the call, or of the contact."""
    by = report.answers_by
    given = ", ".join(
        f"arg_max(a.value, a.answered_us) FILTER (WHERE a.step = {literal(step)}) AS {quoted(f'answer_{step}')}"
        for step in steps
    )
    chosen = bound(_CHOSEN, question)
    return f"""SELECT told.*, {", ".join(quoted(f"answer_{step}") for step in steps)}
FROM ({query}) AS told
LEFT JOIN (SELECT a.{by} AS answered_by, {given} {chosen} GROUP BY a.{by}) AS given ON given.answered_by = told.{by}
ORDER BY {", ".join(f"told.{name} NULLS LAST" for name in report.order)}"""


_CHOSEN = """
FROM answer_fact AS a JOIN call_fact AS c ON c.tenant = a.tenant AND c.call = a.call
WHERE c.tenant = :tenant AND a.is_last AND c.campaign = :campaign
  AND c.submitted_us >= :from_us AND c.submitted_us < :to_us
"""


def with_fields(report: Report, query: str, fields: Sequence[str]) -> str:
    """DuckDB's query with a column `field_NAME` a field of the contacts."""
    return f"""SELECT told.*, {", ".join(f"known.{quoted(f'field_{name}')}" for name in fields)}
FROM ({query}) AS told LEFT JOIN respondent AS known ON known.contact = told.contact
ORDER BY {", ".join(f"told.{name} NULLS LAST" for name in report.order)}"""


def _period(period: Period, zone: Zone) -> str:
    """To what a moment belongs: a day by the clock's midnight, a part of an hour by its first instant.

    An hour that the clock shows twice is two; an instant tells them apart, the clock does not.
    """
    if period is Period.WHOLE:
        return ":from_us"
    clock = zone.local("base.at_us")
    return f"{clock} - {clock} % {DAY_US}" if period is Period.DAY else f"base.at_us - {clock} % {STEP_US[period]}"


def _bounds(period: Period, zone: Zone) -> tuple[str, str]:
    if period is Period.WHOLE:
        return ":from_us", ":to_us"
    if period is Period.DAY:
        return zone.utc("period_us"), zone.utc(f"(period_us + {DAY_US})")
    return "period_us", f"period_us + {STEP_US[period]}"
