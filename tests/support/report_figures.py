"""The figures of a report over facts that lie in files, as its CSV has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dialer.settings import ReportSettings
from etl.columns import DAY_US
from etl.engines.duckdb import DuckDb
from etl.reports import make
from etl.reports.catalogue import REPORTS
from etl.reports.make import Sources, Wanted
from etl.reports.query import Question
from etl.zones import zone
from tests.support.stories import START_US


def question(zone_name: str, days: int, as_of_us: int, tenant: str = "acme") -> Question:
    """Of so many local days, from 2026-11-21 on."""
    first = date(2026, 11, 21)
    of = zone(zone_name, first, first + timedelta(days=days))
    return Question(
        tenant=tenant, zone=of, from_us=of.day_us(first), to_us=of.day_us(first + timedelta(days=days)),
        as_of_us=as_of_us, targets=ReportSettings(),
    )  # fmt: skip


def report(duck: DuckDb, name: str, asked: Question, files: Mapping[str, Sequence[Path]]) -> list[dict[str, Any]]:
    """Its rows: every value by the name of its column. `files` are those of each dataset."""
    sources = Sources(files=lambda dataset, first, last: files[dataset], carry=lambda *_: None)
    table = make.table(duck, sources, Wanted(report=REPORTS[name], question=asked, campaigns={}))
    found = duck.connection.execute(table.select("csv"))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def one_day(as_of_us: int = START_US + 2 * DAY_US) -> Question:
    return question("UTC", 1, as_of_us)
