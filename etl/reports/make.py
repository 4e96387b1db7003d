"""Makes a report ready to be written: its files and tables laid out for DuckDB, its query bound, its columns named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from etl.columns import HISTORY, Columns
from etl.engines import duckdb
from etl.engines.duckdb import DuckDb
from etl.engines.sql import inline
from etl.reports import query, quick
from etl.reports.columns import Column, Kind, Shown, distinct, local, text, utc, whole
from etl.reports.forms import Table
from etl.reports.model import Period, Report
from etl.reports.query import PERIOD, Question
from etl.sql.order import BY_NAME

_EVENT = {"BIGINT": whole, "STRING": text}
_COLUMNS: Mapping[str, Columns] = {
    **{name: dataset.columns for name, dataset in BY_NAME.items()},
    **{f"history_{kind}": columns for kind, columns in HISTORY.items()},
}


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where facts and tables come from."""

    files: Callable[[str, date, date], Sequence[Path]]
    """The lake's files of a dataset, from a cohort day to another."""
    carry: Callable[[DuckDb, str, Question, Sequence[str]], None]
    """Makes a table of PostgreSQL one of DuckDB (`database.carry`)."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A report with what it is asked."""

    report: Report
    question: Question
    campaigns: dict[int, str]
    steps: Sequence[str] = ()
    """Questions of the campaign, for a column each."""
    fields: Sequence[str] = ()
    """Fields of its contacts, for a column each."""

    @property
    def shown(self) -> Shown:
        """What its columns are shown by."""
        return Shown(zone=self.question.zone, campaigns=self.campaigns)


@contextmanager
def workshop(memory_mb: int, threads: int | None, folder: Path) -> Iterator[DuckDb]:
    """A DuckDB of its own for reports; what it spills lies below `folder` and goes with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="report-", dir=folder) as spill:
        duck = duckdb.open(memory_mb, threads or os.cpu_count() or 1, Path(spill) / "spill")
        try:
            # Rows stand in the order of their query.
            duck.connection.execute("SET preserve_insertion_order = true")
            # A thousand days are a thousand files, and each query of a report would open all of them.
            duck.connection.execute("SET parquet_metadata_cache = true")
            with duckdb.plain_errors():
                yield duck
        finally:
            duck.close()


def table(duck: DuckDb, sources: Sources, wanted: Wanted) -> Table:
    """The report itself."""
    report, question = wanted.report, wanted.question
    asked = _asked(duck, sources, wanted)
    added: list[Column] = []
    if report.answers_by and wanted.steps:
        duck.register("answer_fact", _files(sources, report, question, "answer_fact"), BY_NAME["answer_fact"].columns)
        asked = query.with_answers(report, question, asked, wanted.steps)
        added += [text(f"answer_{step}") for step in wanted.steps]
    if report.fields and wanted.fields:
        asked = query.with_fields(report, asked, wanted.fields)
        names = distinct(f"field_{name}" for name in wanted.fields)
        added += [text(name, f"field_{n}") for n, name in enumerate(names, 1)]
    return Table(query=asked, columns=(*PERIOD, *report.keys, *report.columns, *added), shown=wanted.shown)


def _asked(duck: DuckDb, sources: Sources, wanted: Wanted) -> str:
    """The report's query, from its rollup if that is there; and all that it reads."""
    report, question = wanted.report, wanted.question
    rollup = _files(sources, report, question, report.rollup) if report.rollup else ()
    facts = _files(sources, report, question, "call_fact") if report.rollup else ()
    if not quick.whole(report, question, facts, rollup):
        _lay_out(duck, sources, wanted, report.reads)
        return query.bound(query.raw(report, question, on_duckdb=True), question)
    duck.register(report.rollup, rollup, BY_NAME[report.rollup].columns)
    if report.beside:
        duck.register(
            "load_quarter", _files(sources, report, question, "load_quarter"), BY_NAME["load_quarter"].columns
        )
    asked = quick.asked(duck, report, question, sources.files)
    _lay_out(duck, sources, wanted, report.reads)
    return asked


def rows_behind(
    duck: DuckDb, sources: Sources, wanted: Wanted, keys: Sequence[tuple[Column, str]], measure: str
) -> Table:
    """What a cell counted: the subjects, when, and what each adds to the measure."""
    report, question = wanted.report, wanted.question
    _lay_out(duck, sources, wanted, report.reads)
    asked = query.bound(query.behind(report, question, wanted.shown, keys, measure), question)
    counted = report.measure(measure)
    is_time = counted is not None and counted.value.endswith("_us")
    value = Column(
        name="value_s" if is_time else "value", kind=Kind.NUMBER if is_time else Kind.WHOLE, of="counted_value",
        by=10**6, decimals=3,
    )  # fmt: skip
    columns = (*PERIOD, *report.keys, text("subject"), utc("at"), local("at"), value)
    return Table(query=asked, columns=columns, shown=wanted.shown)


def events_of(duck: DuckDb, sources: Sources, wanted: Wanted, subject: str) -> Table:
    """The cleaned events of one subject of a report."""
    report, question = wanted.report, wanted.question
    assert report.kind is not None
    name = f"history_{report.kind}"
    columns: Columns = HISTORY[report.kind]
    duck.register(name, _files(sources, report, question, name), columns)
    asked = query.bound(query.events(report, subject), question)
    listed = [
        utc(column.removesuffix("_us")) if column.endswith("_us") else _EVENT[kind](column)
        for column, kind in columns.items()
        if column != "tenant"
    ]
    return Table(query=asked, columns=(*PERIOD, *listed), shown=wanted.shown)


def _lay_out(duck: DuckDb, sources: Sources, wanted: Wanted, datasets: Sequence[str]) -> None:
    report, question = wanted.report, wanted.question
    for name in datasets:
        duck.register(name, _files(sources, report, question, name), _COLUMNS[name])
    for name in report.database:
        sources.carry(duck, name, question, wanted.fields if report.fields else ())
    if report.most_days is not None and report.period is not Period.WHOLE:
        slots = list(question.slots(report.period))
        duck.view("slot", inline({"start_us": "BIGINT", "end_us": "BIGINT"}, slots))


def _files(sources: Sources, report: Report, question: Question, dataset: str) -> Sequence[Path]:
    first = question.zone.date_of(question.from_us) - timedelta(days=report.reach_days)
    last = question.zone.date_of(question.to_us - 1) + timedelta(days=1)
    return sources.files(dataset, first, last)
