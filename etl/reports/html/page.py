"""`dialer report html`: a day, or a campaign, on one page; every figure on it is a cell of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2
from sqlalchemy import text

from dialer.clock import to_us
from etl.engines.duckdb import DuckDb
from etl.reports import make
from etl.reports.asking import Machine
from etl.reports.catalogue import REPORTS
from etl.reports.html.blocks import Facts, blocks, tiles
from etl.reports.make import Wanted
from etl.reports.options import Options
from etl.reports.query import Question
from etl.reports.sidecar import Standing

TEMPLATES = Path(__file__).parent / "templates"
_LIMIT = text("select max_concurrent from campaign_run where campaign_id = :id")
_LIVED = text(
    "select min(submitting_at) as first_at, max(submitting_at) as last_at from attempt where campaign_id = :id"
)  # fmt: skip


def drawn(machine: Machine, options: Options) -> str:
    """The page as HTML. Raises InvalidInput."""
    names = ["campaign_summary", "attempts_by_hour", "calls_at_once", "question_answers", "ivr_funnel"]
    if options.campaign is None:
        names.append("queue_intervals_15m")
    if options.first is None:
        options = _its_days(machine, options) if options.campaign else _last_day(machine, options)
    wanted = machine.wanted(REPORTS["calls_at_once"], options)
    question = wanted.question
    zone = question.zone
    with machine.workshop() as duck:
        rows = {name: _rows(machine, duck, wanted, name) for name in names}
    facts = Facts(
        rows=rows, question=question, first=zone.date_of(question.from_us), last=zone.date_of(question.to_us - 1),
        ceiling=_ceiling(machine, question),
    )  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=_title(facts, options), tenant=question.tenant, tz=zone.name, tiles=tiles(facts), blocks=blocks(facts),
        standing=_standing(machine.standing(question.tenant)), period=_period(facts),
        arguments=_arguments(facts, options), nothing=_nothing(options),
    )  # fmt: skip


def _rows(machine: Machine, duck: DuckDb, wanted: Wanted, name: str) -> list[Mapping[str, Any]]:
    asked = Wanted(report=REPORTS[name], question=wanted.question, campaigns=wanted.campaigns)
    table = make.table(duck, machine.sources(wanted.question.tenant), asked)
    names = [column.name for column in table.columns]
    found = duck.connection.execute(table.select("json")).fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def _last_day(machine: Machine, options: Options) -> Options:
    """The day that the facts end on."""
    question = machine.wanted(REPORTS["calls_at_once"], options).question
    last = question.zone.date_of(question.to_us - 1)
    return replace(options, first=last, last=last)


def _its_days(machine: Machine, options: Options) -> Options:
    """From the day of the campaign's first call to that of its last; of a longer one than a report takes, the end."""
    question = machine.wanted(REPORTS["calls_at_once"], options).question
    row = machine.connection.execute(_LIVED, {"id": question.campaign}).one()
    if row.first_at is None:
        return options
    first, last = (question.zone.date_of(to_us(at)) for at in (row.first_at, row.last_at))
    first = max(first, last - timedelta(days=(REPORTS["calls_at_once"].most_days or 366) - 1))
    return replace(options, first=first, last=last)


def _ceiling(machine: Machine, question: Question) -> tuple[int, str] | None:
    if question.campaign is not None:
        limit = machine.connection.execute(_LIMIT, {"id": question.campaign}).scalar()
        return (limit, "ceiling of the campaign") if limit is not None else None
    nodes = sum(node.max_concurrent for node in machine.settings.nodes)
    return min(nodes, machine.settings.limits.max_concurrent or nodes), "ceiling of the site"


def _title(facts: Facts, options: Options) -> str:
    if options.campaign:
        return f"Campaign {options.campaign}"
    what = " and ".join(name for name, rows in (("calls", facts.calls), ("queues", facts.waits)) if rows) or "calls"
    return f"{what.capitalize()} of {facts.first:%d %B %Y}"


def _period(facts: Facts) -> str:
    if facts.first == facts.last:
        return f"{facts.first:%A, %d %B %Y}"
    return f"{facts.first:%d %B %Y} to {facts.last:%d %B %Y}"


def _standing(standing: Standing) -> str:
    if standing.as_of is None:
        return "Nothing has been computed yet."
    late = f"; {standing.late_events:,} events of the last run came late" if standing.late_events else ""
    return f"Made of all events that came in before {standing.as_of:%Y-%m-%d %H:%M:%S} UTC{late}."


def _arguments(facts: Facts, options: Options) -> str:
    whose = f"--campaign {options.campaign}" if options.campaign else f"--tenant {facts.question.tenant}"
    return f"--from {facts.first} --to {facts.last} --tz {facts.question.zone.name} {whose} --csv -"


def _nothing(options: Options) -> str:
    return "There were no calls." if options.campaign else "There were no calls, and nobody waited in a queue."
