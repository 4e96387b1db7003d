"""From a report and what is asked of it to the text of its query: cells, single rows behind a cell, or events.

The query of the cells holds raw columns alone and runs on every engine. Values stand in it as `:name`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dialer.settings import ReportSettings
from etl.columns import DAY_US
from etl.engines import sql
from etl.engines.port import Value
from etl.reports.columns import Column, Kind, Shown, literal, quoted
from etl.reports.model import Measure, Period, Report, text_of
from etl.reports.rollups import ROLLUPS
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


def bound(query: str, question: Question, more: Mapping[str, Value] | None = None) -> str:
    """A query with the values of its `:name` in it: DuckDB then knows them when it plans which files to read."""
    values = sql.given(query, {**question.parameters, **(more or {})})
    return sql.with_parameters(query, lambda name: _literal(values[name]))


def _literal(value: Value) -> str:
    return "NULL" if value is None else literal(value) if isinstance(value, str) else str(value)


def raw(report: Report, question: Question, *, on_duckdb: bool = False) -> str:
    """The report with raw columns: `tenant`, `start_us`, `end_us`, `tz`, its keys, its measures.

    `on_duckdb` says the same in its words where that saves memory: it keeps all values of a percentile, once a list.
    """
    if not report.measures:
        return _rows(report)
    counted = {one.name: _aggregate(one, report, on_duckdb) for one in report.measures if one.sql}
    cell = _cell(report, question.zone, report.query, counted)
    return _told(report, question.zone, cell, counted, [text_of(f"sql/{report.beside}")] if report.beside else [], {})


def rolled(report: Report, question: Question, *, quick: bool, sets: bool) -> str:
    """The same on DuckDB from the report's rollup; what does not add up is told by its quick query, or from facts.

    `sets`: the ids of contacts lie close enough to count them as bits; `:span` is how far they lie apart at most.
    """
    there = next(one for one in ROLLUPS if one.name == report.rollup).measures
    added, last, rest = dict[str, str](), dict[str, str](), list[Measure]()
    for one in report.measures:
        if one.up_to:
            last[one.name] = one.adds_up
        elif one in there or one.adds_up == one.sql != "":
            added[one.name] = one.adds_up
        else:
            rest.append(one)
    cell = _cell(report, question.zone, _OF_ROLLUP.format(report.rollup), added)
    beside = [text_of(f"duckdb/{report.quick}")] if quick else []
    if report.beside and not quick:
        beside.append(text_of(f"sql/{report.beside}"))
    rest = [one for one in rest if one.sql and (report.beside or not quick)]
    if sets and rest:
        beside.append(_sets(report, rest))
    elif rest:
        beside.append(
            _cell(report, question.zone, report.query, {one.name: _aggregate(one, report, True) for one in rest})
        )
    return _told(report, question.zone, cell, added, beside, last)


_OF_ROLLUP = """SELECT * FROM {}
WHERE tenant = :tenant AND at_us >= :from_us AND at_us < :to_us AND (:campaign IS NULL OR campaign = :campaign)"""


def _sets(report: Report, measures: Sequence[Measure]) -> str:
    """How many different contacts there are, of the whole period: each call sets one bit, its contact's, in one set.

    The table `low` has each campaign's first contact. What measures are about is told apart by further sets.
    """
    assert all(one.distinct_of == "contact" for one in measures), "only contacts are bits of sets"
    keys = ", ".join(key.of for key in report.keys)
    conditions = "".join(f", COALESCE({one.where or 'TRUE'}, FALSE) AS of_{one.name}" for one in measures)
    counts = ", ".join(
        f"COALESCE(bit_count(bit_or(people) FILTER (WHERE of_{one.name})), 0) AS {one.name}" for one in measures
    )
    return f"""SELECT {keys}, {counts} FROM (
SELECT {", ".join(f"facts.{key.of}" for key in report.keys)}{conditions},
  bitstring_agg(contact - least_contact, 0, :span) AS people
FROM (
{report.query}
) AS facts JOIN low ON low.campaign = facts.campaign
WHERE contact IS NOT NULL
GROUP BY ALL
) AS of_set GROUP BY {keys}"""


def _aggregate(measure: Measure, report: Report, on_duckdb: bool) -> str:
    if not (on_duckdb and measure.percentile_of):
        return measure.sql
    of = measure.percentile_of
    percents = [one.percent for one in report.measures if one.percentile_of == of]
    listed = ", ".join(str(percent / 100) for percent in percents)
    place = percents.index(measure.percent) + 1
    return f"CAST(floor(quantile_cont({of}, [{listed}])[{place}] * 100 + 0.5) AS BIGINT)"


def _cell(report: Report, zone: Zone, base: str, measures: Mapping[str, str]) -> str:
    """The rows of a base that are equal in period and keys, as one row with some measures."""
    grouped = ", ".join([*([] if report.period is Period.WHOLE else ["period_us"]), *(key.of for key in report.keys)])
    listed = "".join(f",\n  {sql} AS {name}" for name, sql in measures.items())
    return f"""WITH base AS (
{base}
), timed AS (
SELECT base.*, {_period(report.period, zone)} AS period_us FROM base
)
SELECT {grouped}{listed}
FROM timed
GROUP BY {grouped}"""


def _told(
    report: Report, zone: Zone, cell: str, counted: Collection[str], beside: Sequence[str], last: Mapping[str, str]
) -> str:  # fmt: skip
    """The report of its cells, where those measures are `counted`, of what the queries `beside` say of their keys, and
    of what is told `last`, of all rows."""
    keys = [key.of for key in report.keys]
    start, end = _bounds(report.period, zone)
    order = report.order or ([] if report.period is Period.WHOLE else ["period_us"]) + keys
    shared = keys if report.period is Period.WHOLE else ["period_us", *keys]
    others = "".join(
        f"\nLEFT JOIN (\n{one}\n) AS beside_{n}"
        f" ON {' AND '.join(f'beside_{n}.{key} IS NOT DISTINCT FROM cell.{key}' for key in shared)}"
        for n, one in enumerate(beside)
    )
    joined = "".join(
        f", COALESCE({one.name}, 0) AS {one.name}" if one.adds_up else f", {one.name}"
        for one in report.measures
        if one.name not in counted and one.name not in last
    )
    measures = ", ".join(f"{last[one.name]} AS {one.name}" if one.name in last else one.name for one in report.measures)
    return f"""WITH cell AS (
{cell}
), told AS (
SELECT cell.*{joined}
FROM cell{others}
)
SELECT :tenant AS tenant, {start} AS start_us, {end} AS end_us, :tz AS tz, {", ".join(keys)},
  {measures}
FROM told
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
    conditions = [
        _equal(key, said, shown, smaller=counted is not None and counted.up_to == key.of)
        for key, said in keys
        if counted is None or counted.over is None or key in PERIOD or key.of in (*counted.over, counted.up_to)
    ]
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


def _equal(key: Column, said: str, shown: Shown, *, smaller: bool) -> str:
    text = f"COALESCE(CAST({key.sql('csv', shown)} AS VARCHAR), '')"
    if smaller and said.isdecimal():
        return f"{quoted(key.of)} <= {int(said)}"
    return f"{text} = {literal(said)}"


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
    return f"""SELECT told.*, {", ".join(f"known.field_{n}" for n in range(1, len(fields) + 1))}
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
