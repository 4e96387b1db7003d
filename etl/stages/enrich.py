"""Enrich: computes a day's facts from its histories, dataset after dataset in their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from dialer.errors import DialerError
from etl import opening
from etl.columns import DAY_US, HISTORY, Kind
from etl.engines.port import Value, Written
from etl.lake import day_number
from etl.ledger import Stage
from etl.sql.order import ORDER, Dataset
from etl.stages.work import Work

EVER_US = 2**62
"""Further away than any instant."""
NAMED = 5
"""So many culprits are named when a dataset is wrong."""


def enrich(
    work: Work, day: date, kind: Kind, histories: Sequence[Written], order: Sequence[Dataset] = ORDER
) -> None:  # fmt: skip
    """Writes every dataset of a kind for a day, portion after portion of its histories; each has whole subjects."""
    if kind == "ticket":
        # A day more: events may lie a little ahead of the clock that took them in.
        last_day = work.as_of_us // DAY_US + 1
        hours = opening.query(work.settings.opening_hours, work.tenant, day_number(day), last_day)
        # A table, not a view: DuckDB reads the text of thousands of hours again wherever a query names them.
        work.aside("opening", hours, opening.COLUMNS)
    datasets = [dataset for dataset in order if dataset.kind == kind and not dataset.of_whole_day]
    written: dict[str, list[Written]] = {dataset.name: [] for dataset in datasets if dataset.published}
    for portion, history in enumerate(histories):
        work.engine.register(f"history_{kind}", history.files, HISTORY[kind])
        ((subjects,),) = work.engine.rows(f"SELECT count(*) FROM history_{kind} WHERE place = 1", {})
        more = portion < len(histories) - 1
        for dataset in datasets:
            work.say(f"{dataset.name} {day}")
            if not dataset.published:
                work.aside(dataset.name, dataset.query, dataset.columns, _parameters(work, day))
                continue
            with work.ledger.stage("enrich", f"{dataset.name} {day}", more=more) as stage:
                found = _write(work, day, dataset, portion)
                written[dataset.name].append(found)
                _count(work, stage, dataset, found, subjects)
    for dataset in datasets:
        if not dataset.published:
            work.engine.forget(dataset.name)
        else:
            files = [file for portion in written[dataset.name] for file in portion.files]
            work.engine.register(dataset.name, files, dataset.columns)
    for dataset in order:
        if dataset.kind == kind and dataset.of_whole_day:
            work.say(f"{dataset.name} {day}")
            with work.ledger.stage("enrich", f"{dataset.name} {day}") as stage:
                written[dataset.name] = [_write(work, day, dataset, 0)]
                _count(work, stage, dataset, written[dataset.name][0], 0)
    for name, portions in written.items():
        work.keep(name, day, portions)


def _parameters(work: Work, day: date) -> Mapping[str, Value]:
    late_after_us = work.settings.etl.late_after_s * 1_000_000
    return {
        "as_of_us": work.as_of_us, "day": day_number(day), "late_after_us": late_after_us, "tenant": work.tenant,
        # Of rollups, whose base is that of reports: all calls of the day, of every campaign.
        "from_us": -EVER_US, "to_us": EVER_US, "campaign": None,
    }  # fmt: skip


def _write(work: Work, day: date, dataset: Dataset, portion: int) -> Written:
    """Computes a portion of a dataset, and lets those after it read it."""
    found = work.write(
        dataset.name, day, dataset.query, dataset.columns, order_by=dataset.lies_by,
        parameters=_parameters(work, day), portion=portion,
    )  # fmt: skip
    work.engine.register(dataset.name, found.files, dataset.columns)
    return found


def _count(work: Work, stage: Stage, dataset: Dataset, found: Written, subjects: int) -> None:
    stage.rows_out += found.rows
    if not dataset.one_a_subject:
        stage.made["computed"] = stage.made.get("computed", 0) + found.rows
        return
    stage.rows_in += subjects
    if found.rows != subjects:
        raise DialerError(f"{found.rows} rows for {subjects} subjects; {_culprits(work, dataset)}.")


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
