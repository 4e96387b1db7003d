"""Enrich: computes a day's facts from its histories, dataset after dataset in their order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

from dialer.errors import DialerError
from etl import opening
from etl.columns import DAY_US, HISTORY, Kind
from etl.lake import day_number
from etl.sql.order import ORDER, Dataset
from etl.stages.work import Work

NAMED = 5
"""So many culprits are named when a dataset is wrong."""


def enrich(work: Work, day: date, kind: Kind, history: Sequence[Path], order: Sequence[Dataset] = ORDER) -> None:
    """Writes every dataset of a kind for a day whose history lies in these files."""
    work.engine.register(f"history_{kind}", history, HISTORY[kind])
    if kind == "ticket":
        # A day more: events may lie a little ahead of the clock that took them in.
        last_day = work.as_of_us // DAY_US + 1
        hours = opening.query(work.settings.opening_hours, work.tenant, day_number(day), last_day)
        work.engine.view("opening", hours)
    ((subjects,),) = work.engine.rows(f"SELECT count(*) FROM history_{kind} WHERE place = 1", {})
    late_after_us = work.settings.etl.late_after_s * 1_000_000
    parameters = {"as_of_us": work.as_of_us, "day": day_number(day), "late_after_us": late_after_us}
    for dataset in order:
        if dataset.kind != kind:
            continue
        work.say(f"{dataset.name} {day}")
        if not dataset.published:
            work.aside(dataset.name, dataset.query, dataset.columns, parameters)
            continue
        with work.ledger.stage("enrich", f"{dataset.name} {day}") as stage:
            written, _ = work.write(
                dataset.name, day, dataset.query, dataset.columns, order_by=dataset.key, parameters=parameters
            )  # fmt: skip
            work.engine.register(dataset.name, written.files, dataset.columns)
            stage.rows_out = written.rows
            if dataset.one_a_subject:
                stage.rows_in = subjects
                if written.rows != subjects:
                    raise DialerError(f"{written.rows} rows for {subjects} subjects; {_culprits(work, dataset)}.")
            else:
                stage.made["computed"] = written.rows


def _culprits(work: Work, dataset: Dataset) -> str:
    """Which subjects have no row, or several."""
    name = dataset.key[-1]
    query = (
        f"SELECT h.subject, count(f.{name}) AS n FROM (SELECT DISTINCT subject FROM history_{dataset.kind}) AS h "
        f"LEFT JOIN {dataset.name} AS f ON f.{name} = h.subject GROUP BY h.subject HAVING count(f.{name}) <> 1 "
        f"ORDER BY h.subject NULLS LAST LIMIT {NAMED}"
    )
    found = [f"{subject} has {rows}" for subject, rows in work.engine.rows(query, {})]
    return "; ".join(found) or f"{name} is not the subject of its events"
