"""Facts for reports: datasets written as Parquet from rows that say only what matters, and reports made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from dialer.settings import OpeningHours, ReportSettings
from etl import zones
from etl.columns import DAY_US, HISTORY, Columns
from etl.engines import sql
from etl.engines.duckdb import DuckDb
from etl.reports import make
from etl.reports.asking import promised_hours
from etl.reports.catalogue import REPORTS
from etl.reports.database import TABLES
from etl.reports.forms import Table
from etl.reports.make import Sources, Wanted
from etl.reports.query import PERIOD, Question
from etl.sql.order import BY_NAME
from etl.stages.enrich import EVER_US
from tests.support.stories import at

DAY = date(2026, 11, 21)
TENANT = "acme"
Row = Mapping[str, Any]


def columns_of(dataset: str) -> Columns:
    """As the lake declares it, or as PostgreSQL gives it."""
    if dataset.startswith("history_"):
        return HISTORY[dataset.removeprefix("history_")]  # type: ignore[index]
    return BY_NAME[dataset].columns if dataset in BY_NAME else TABLES[dataset].columns


def write_parquet(columns: Columns, rows: Sequence[Row], file: Path) -> None:
    """A file with these rows, in the order given; what a row does not say is NULL."""
    text = file.with_suffix(".json")
    with text.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps({name: row.get(name) for name in columns}) + "\n" for row in rows)
    types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns.items())
    listed = ", ".join(f'"{name}"' for name in columns)
    with duckdb.connect() as connection:
        source = f"read_json('{text}', format = 'newline_delimited', columns = {{{types}}})"
        connection.execute(f"COPY (SELECT {listed} FROM {source}) TO '{file}' (FORMAT parquet)")


def roll_up(dataset: str, calls: Sequence[Row], file: Path) -> Path:
    """The rollup of a day's calls, as a file."""
    facts = file.with_suffix(".calls")
    write_parquet(columns_of("call_fact"), calls, facts)
    values = {"tenant": f"'{TENANT}'", "from_us": f"{-EVER_US}", "to_us": f"{EVER_US}", "campaign": "NULL"}
    query = sql.with_parameters(BY_NAME[dataset].query, lambda name: values[name])
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TEMP VIEW call_fact AS SELECT * FROM read_parquet('{facts}')")
        connection.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return file


@dataclass(kw_only=True)
class Given:
    """Datasets of one tenant, and what is asked of reports about them."""

    folder: Path
    duck: DuckDb
    rows: dict[str, list[Row]] = field(default_factory=dict)
    campaigns: dict[int, str] = field(default_factory=lambda: {1: "spring", 2: "autumn"})
    zone: str = "UTC"
    first: date = DAY
    last: date = DAY
    as_of: str = "23:59"
    campaign: int | None = None
    steps: Sequence[str] = ()
    fields: Sequence[str] = ()
    hours: Sequence[OpeningHours] = ()
    rolled: bool = True
    """Whether there are rollups."""

    def add(self, dataset: str, *rows: Row) -> None:
        """Rows of a dataset; the tenant's, if they do not say another."""
        self.rows.setdefault(dataset, []).extend({"tenant": TENANT, **row} for row in rows)

    def wanted(self, name: str) -> Wanted:
        """A report of the days from `first` to `last`."""
        zone = zones.zone(self.zone, self.first, self.last)
        question = Question(
            tenant=TENANT, zone=zone, from_us=zone.day_us(self.first), to_us=zone.day_us(self.last + timedelta(days=1)),
            as_of_us=at(self.as_of), campaign=self.campaign,
            targets=ReportSettings(sla_hours="opening" if self.hours else "calendar"),
        )  # fmt: skip
        return Wanted(
            report=REPORTS[name], question=question, campaigns=self.campaigns, steps=self.steps, fields=self.fields
        )  # fmt: skip

    def sources(self) -> Sources:
        """Everything that was added, as files."""

        def files(dataset: str, first: date, last: date) -> list[Path]:
            if dataset in BY_NAME and BY_NAME[dataset].of_whole_day and self.rolled:
                return self._rollup(dataset)
            if dataset not in self.rows:
                return []
            file = self.folder / f"{dataset}.parquet"
            write_parquet(columns_of(dataset), self.rows[dataset], file)
            return [file]

        def carry(duck: DuckDb, name: str, question: Question, fields: Sequence[str]) -> None:
            if name == "opening":
                promised_hours(duck, self.hours, question)
                return
            columns = dict(TABLES[name].columns) | {f"field_{n}": "STRING" for n in range(1, len(fields) + 1)}
            file = self.folder / f"{name}.parquet"
            write_parquet(columns, self.rows.get(name, ()), file)
            duck.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM read_parquet('{file}')")

        return Sources(files=files, carry=carry)

    def _rollup(self, dataset: str) -> list[Path]:
        """As the night computes it of each day's calls."""
        days: dict[int, list[Row]] = {}
        for row in self.rows.get("call_fact", ()):
            days.setdefault(row["submitted_us"] // DAY_US, []).append(row)
        return [roll_up(dataset, rows, self.folder / f"{dataset}-{day}.parquet") for day, rows in days.items()]

    def table(self, name: str) -> Table:
        """The report, ready to be written."""
        return make.table(self.duck, self.sources(), self.wanted(name))

    def report(self, name: str, *columns: str) -> list[Any]:
        """Its rows as JSON has them: tuples of some columns, or dicts of all."""
        return shown(self.duck, self.table(name), columns)

    def behind(self, name: str, measure: str, **keys: str) -> list[dict[str, Any]]:
        """What a cell counted."""
        report = REPORTS[name]
        by_name = {column.name: column for column in (*PERIOD, *report.keys)}
        chosen = [(by_name[key], value) for key, value in keys.items()]
        return shown(self.duck, make.rows_behind(self.duck, self.sources(), self.wanted(name), chosen, measure), ())


def shown(duck: DuckDb, table: Table, columns: Sequence[str]) -> list[Any]:
    """The rows of a report, with its own column names."""
    names = [column.name for column in table.columns]
    rows = [dict(zip(names, row, strict=True)) for row in duck.connection.execute(table.select("json")).fetchall()]
    return [tuple(row[name] for name in columns) for row in rows] if columns else rows


@contextmanager
def given(folder: Path, **said: Any) -> Iterator[Given]:
    """An empty lake of one tenant in a folder."""
    with make.workshop(400, 2, folder / "work") as duck:
        yield Given(folder=folder, duck=duck, **said)


_HUMAN = {"completed", "partial", "refused", "no_input", "hung_up", "dialogue_error"}
_RANG = {"no_answer", "busy", "rejected"}


def call(number: int, submitted: str, disposition: str | None = "completed", **said: Any) -> Row:
    """A call: by its verdict answered 5 s after it was submitted and hung up 35 s after, or not."""
    begin = at(submitted)
    answered = begin + 5_000_000 if disposition in _HUMAN else None
    ended = begin + (35_000_000 if answered else 20_000_000) if disposition is not None else None
    seized = disposition not in ("not_placed", "returned")
    return {
        "call": f"00000000-0000-0000-0000-{number:012}", "campaign": 1, "contact": number, "revision": 1, "wave": 1,
        "dial": 1, "node": "node-1", "trunk": "carrier-a", "submitted_us": begin, "accepted_us": begin + 100_000,
        "ringing_us": begin + 1_000_000 if answered or disposition in _RANG else None, "answered_us": answered,
        "audio_us": answered + 300_000 if answered else None, "hung_up_us": ended, "ended_us": ended,
        "disposition": disposition, "cause": 16 if answered else 17, "answers": 0, "is_seizure": seized,
        "is_answered": answered is not None, "is_human": answered is not None,
        "is_ner": answered is not None or disposition in _RANG,
        "pdd_us": 900_000 if answered or disposition in _RANG else None,
        "talk_us": 30_000_000 if answered else None, "clock_skew": False, "is_open": disposition is None,
        "ner_class": "answer" if answered else "ring_no_answer", **said,
    }  # fmt: skip
