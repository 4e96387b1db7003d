"""Reports over many facts: 100 M calls, a month of them, and rows of CSV; beside reading or copying the same files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.measure import memory
from dialer.clock import monotonic, to_us
from dialer.settings import ReportSettings
from etl import zones
from etl.engines import sql
from etl.engines.duckdb import PARQUET, DuckDb
from etl.reports import forms, make
from etl.reports.catalogue import REPORTS
from etl.reports.make import Sources, Wanted
from etl.reports.options import PROFILES
from etl.reports.query import Question
from etl.sql.order import BY_NAME, ORDER
from etl.stages.enrich import EVER_US

CALLS, CALLS_A_DAY, ROWS = 100_000_000, 100_000, 1_000_000
ALL_S, MONTH_S, ROWS_A_S = 3.0, 0.3, 1_000_000
MEMORY_MB, THREADS = 4096, 2
LONG_S = 15
TEN = 10
FIRST = date(2023, 11, 1)
NAMES = (
    "attempts_by_hour", "campaign_summary", "campaign_by_attempt", "hangup_causes", "trunk_quality", "cost_summary",
    "survey_outcomes",
)  # fmt: skip
"""What counts calls; those of one row a call are measured as rows of CSV."""
_MADE = (BY_NAME["call_fact"], *(one for one in ORDER if one.of_whole_day))
_DAY = """
COPY (
  SELECT 'acme' AS tenant, CAST(uuid() AS VARCHAR) AS call, CAST(contact % 50 AS BIGINT) + 1 AS campaign,
    contact % 50 * 1000000 + contact // 50 AS contact,
    CAST(1 AS BIGINT) AS revision, CAST(1 AS BIGINT) AS wave, CAST({dial} AS BIGINT) AS dial,
    'node-' || (c % 2 + 1) AS node, 'carrier-' || (c % 4 + 1) AS trunk, s AS submitted_us, s + 90000 AS accepted_us,
    CASE WHEN v < 85 THEN s + pdd END AS ringing_us, CASE WHEN v < 45 THEN s + pdd + 6000000 END AS answered_us,
    CASE WHEN v < 45 THEN s + pdd + 6300000 END AS audio_us, s + pdd + 6000000 + talk AS hung_up_us,
    s + pdd + 6100000 + talk AS ended_us,
    CASE WHEN v < 25 THEN 'completed' WHEN v < 35 THEN 'partial' WHEN v < 45 THEN 'hung_up' WHEN v < 70 THEN 'no_answer'
      WHEN v < 85 THEN 'busy' ELSE 'invalid_number' END AS disposition,
    CASE WHEN v < 45 THEN 200 WHEN v < 70 THEN 487 WHEN v < 85 THEN 486 ELSE 404 END AS sip_code,
    CASE WHEN v < 45 THEN 16 WHEN v < 70 THEN 19 WHEN v < 85 THEN 17 ELSE 1 END AS cause,
    CAST(NULL AS VARCHAR) AS refusal, CASE WHEN v < 25 THEN 'completed' END AS result,
    CASE WHEN v < 45 THEN 'goodbye' END AS last_step, CASE WHEN v < 25 THEN 3 ELSE 0 END AS answers, 'pl' AS language,
    TRUE AS is_seizure, v < 45 AS is_answered, v < 45 AS is_human, v < 85 AS is_ner,
    CASE WHEN v < 85 THEN pdd END AS pdd_us, CASE WHEN v < 85 THEN CAST(6000000 AS BIGINT) END AS ring_us,
    CASE WHEN v < 45 THEN talk END AS talk_us, CASE WHEN v < 45 THEN talk // 1000000 + 1 ELSE 0 END AS billed_s,
    CASE WHEN v < 45 THEN (talk // 1000000 + 1) * 250 ELSE 0 END AS cost_micro, FALSE AS clock_skew, FALSE AS is_open,
    CAST({dial} AS BIGINT) AS number_dial,
    CASE WHEN v < 45 THEN 'answer' WHEN v < 70 THEN 'ring_no_answer' WHEN v < 85 THEN 'user_busy' ELSE 'network' END
      AS ner_class,
    'EUR' AS currency
  FROM (
    SELECT {first} + range AS contact, hash({first} + range) % 1000 AS c, hash(range * 7 + {begin}) % 100 AS v,
      {begin} + 28800000000 + CAST(hash(range + {begin}) % 43200000000 AS BIGINT) AS s,
      CAST(1000000 + hash(range * 5 + {begin}) % 4000000 AS BIGINT) AS pdd,
      CAST(CASE WHEN hash(range * 7 + {begin}) % 100 < 45 THEN hash(range * 3 + {begin}) % 90000000 ELSE 0 END
        AS BIGINT) AS talk
    FROM range({calls})
  ) ORDER BY {order}
) TO '{file}' ({form})
"""


def report_100m(folder: Path, size: Size) -> Result:
    """Every report that counts calls, over 100 M of them, of which a day is a file; beside reading its columns."""
    calls = size.calls or CALLS
    days = max(1, calls // CALLS_A_DAY)
    return _measured(folder, days, min(calls, CALLS_A_DAY), FIRST, FIRST + timedelta(days=days - 1), ALL_S)


def report_month(folder: Path, size: Size) -> Result:
    """The same of one month out of them: 31 days with 100,000 calls each."""
    calls_a_day = (size.calls or 31 * CALLS_A_DAY) // 31
    return _measured(folder, 33, calls_a_day, FIRST + timedelta(days=1), FIRST + timedelta(days=31), MONTH_S)


def csv_rows(folder: Path, size: Size) -> Result:
    """Rows of `call_detail` a second into a file, as programs and as Excel want them; beside a plain COPY."""
    calls = size.calls or ROWS
    facts = _Facts(folder, days=10, calls_a_day=calls // 10)
    figures = []
    with facts.opened() as duck:
        asked = facts.asked("call_detail", FIRST, FIRST + timedelta(days=9))
        table = make.table(duck, facts.sources(), asked)
        target = str(folder / "out.csv")
        excel = replace(PROFILES["excel"], most_rows=None)
        narrow = replace(table, columns=table.columns[:TEN])
        for name, chosen, profile in (("ten columns, for programs", narrow, PROFILES["machine"]),
                                      ("ten columns, for Excel", narrow, excel),
                                      ("all columns, for programs", table, PROFILES["machine"]),
                                      ("all columns, for Excel", table, excel)):  # fmt: skip
            ceiling_s = _best(partial(duck.connection.execute, _plain(len(chosen.columns), target)))
            took_s = _best(partial(forms.write_csv, duck, chosen, target, profile))
            figures.append(rounded(f"rows a second, {name}", "1/s", calls / took_s, calls / ceiling_s))
            figures.append(rounded("  of the file", "MB/s", Path(target).stat().st_size / took_s / 1e6))
    conditions: Conditions = {
        "ceiling column": "COPY of as many raw columns in the same order", "aim 1/s": ROWS_A_S,
        "columns": len(table.columns),
    }  # fmt: skip
    return figures, conditions


def _plain(columns: int, target: str) -> str:
    listed = ", ".join(list(BY_NAME["call_fact"].columns)[:columns])
    return f"COPY (SELECT {listed} FROM call_fact ORDER BY submitted_us, call) TO '{target}' (FORMAT csv)"


def _measured(folder: Path, days: int, calls_a_day: int, first: date, last: date, aim_s: float) -> Result:
    facts = _Facts(folder, days=days, calls_a_day=calls_a_day)
    figures = []
    with facts.opened() as duck:
        for name in NAMES:
            asked = facts.asked(name, first, last)
            ceiling = _best(partial(_read, duck, facts, asked))
            took_s = _best(partial(_write, duck, facts, asked, folder / "out.csv"))
            figures.append(rounded(name, "s", took_s, ceiling))
    figures.append(Figure(name="peak memory", value=round((memory(os.getpid(), "VmHWM:") or 0) / 1e6), unit="MB"))
    conditions: Conditions = {
        "ceiling column": "reading the columns that the report reads", "aim s": aim_s, "days": days,
        "calls a day": calls_a_day, "GB of Parquet": round(facts.bytes / 1e9, 2),
    }  # fmt: skip
    return figures, conditions


def _write(duck: DuckDb, facts: _Facts, asked: Wanted, target: Path) -> None:
    forms.write_csv(duck, make.table(duck, facts.sources(), asked), str(target), PROFILES["machine"])


def _read(duck: DuckDb, facts: _Facts, asked: Wanted) -> None:
    """Looks at every value of the columns that stand in the report's query."""
    make.table(duck, facts.sources(), asked)
    text = asked.report.query + " ".join(one.sql for one in asked.report.measures)
    text += " ".join(key.of for key in asked.report.keys)
    columns = [name for name in BY_NAME["call_fact"].columns if name in text and name not in ("tenant", "call")]
    question = asked.question
    duck.connection.execute(
        f"SELECT {', '.join(f'max({name})' for name in columns)} FROM call_fact "
        f"WHERE submitted_us >= {question.from_us} AND submitted_us < {question.to_us}"
    ).fetchall()


class _Facts:
    """Days of calls, and of what is made of all calls of a day, as the nightly run leaves them."""

    def __init__(self, folder: Path, *, days: int, calls_a_day: int) -> None:
        self._folder = folder
        self._files: dict[str, dict[date, Path]] = {one.name: {} for one in _MADE}
        with self.opened() as duck:
            for number in range(days):
                self._make(duck, number, calls_a_day)

    def _make(self, duck: DuckDb, number: int, calls: int) -> None:
        day = FIRST + timedelta(days=number)
        begin = to_us(datetime(day.year, day.month, day.day, tzinfo=UTC))
        # Everybody is called on three days in a row; a campaign's list was imported at once, so its ids lie together.
        first, dial = number // 3 * calls, number % 3 + 1
        for one in _MADE:
            file = self._files[one.name][day] = self._folder / f"{one.name}-{day}.parquet"
            order = ", ".join(one.lies_by or one.key)
            if one.of_whole_day:
                values = {"tenant": "'acme'", "from_us": str(-EVER_US), "to_us": str(EVER_US), "campaign": "NULL"}
                query = sql.with_parameters(one.query, values.__getitem__)
                duck.connection.execute(f"COPY ({query} ORDER BY {order}) TO '{file}' ({PARQUET})")
            else:
                duck.connection.execute(
                    _DAY.format(first=first, dial=dial, begin=begin, calls=calls, file=file, order=order, form=PARQUET)
                )
                duck.register(one.name, [file], one.columns)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.stat().st_size for files in self._files.values() for file in files.values())

    @contextmanager
    def opened(self) -> Iterator[DuckDb]:
        """A DuckDB as reports have it."""
        with make.workshop(MEMORY_MB, THREADS, self._folder / "work") as duck:
            yield duck

    def asked(self, name: str, first: date, last: date) -> Wanted:
        """A report of days."""
        zone = zones.zone("Europe/Warsaw", first, last)
        question = Question(
            tenant="acme", zone=zone, from_us=zone.day_us(first), to_us=zone.day_us(last + timedelta(days=1)),
            as_of_us=zone.day_us(last + timedelta(days=2)), targets=ReportSettings(),
        )  # fmt: skip
        return Wanted(report=REPORTS[name], question=question, campaigns={n: f"campaign-{n}" for n in range(1, 51)})

    def sources(self) -> Sources:
        """The files of the days asked for; nobody's names."""

        def files(dataset: str, first: date, last: date) -> Sequence[Path]:
            return [file for day, file in self._files[dataset].items() if first <= day <= last]

        def carry(duck: DuckDb, name: str, question: Question, fields: Sequence[str]) -> None:
            duck.connection.execute(
                "CREATE OR REPLACE TEMP TABLE dialled AS SELECT call, 'P-' || contact AS person, "
                "'+4850' || lpad(CAST(contact % 10000000 AS VARCHAR), 7, '0') AS number, '+48221234567' AS caller_id "
                "FROM call_fact"
            )

        return Sources(files=files, carry=carry)


def _best(work: Callable[[], object]) -> float:
    """The least time of three, in seconds: what the files' pages cost the first time is not the report's.

    What takes long is done once or twice.
    """
    took: list[float] = []
    while len(took) < 3 and sum(took) < LONG_S:
        began = monotonic()
        work()
        took.append(monotonic() - began)
    return min(took)
