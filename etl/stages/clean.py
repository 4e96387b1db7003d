"""Clean: a day's subjects with all that is known of them, earlier and new; each event once, in its subject's order."""

from __future__ import annotations

from datetime import date

from etl.columns import ERASED, HISTORY, SUBJECT_INDEX, Columns, Kind
from etl.engines.port import Written
from etl.lake import day_number
from etl.sql.order import TEXTS
from etl.stages.group import Affected
from etl.stages.work import INDEX, Work

_REPEATED = TEXTS["repeated"]
_CLEAN = TEXTS["clean"]
_INDEX = TEXTS["subject_index"]
_IDENTITY = ("event_id", "ingested_us")
"""An event never changes, and so its place follows: these stand for all columns, but for what erasure takes away."""


def clean(work: Work, day: date, kind: Kind, affected: Affected) -> tuple[Written, bool]:
    """Writes `history_KIND` of a day from what is stored and what is new; says whether it changed."""
    dataset = f"history_{kind}"
    columns = {name: type_ for name, type_ in HISTORY[kind].items() if name != "place"}
    with work.ledger.stage("clean", f"{dataset} {day}") as stage:
        _together(work, day, kind, affected, columns)
        stood, affected.came = work.now(dataset, day).rows, _count(work, "came")
        affected.went = stood - _count(work, "stayed")
        stage.rows_in = affected.events + stood + affected.came
        stage.dropped["moved"] = affected.went
        if work.aside("repeated", _REPEATED, {"event_id": "STRING", "copies": "BIGINT"}):
            ((copies,),) = work.engine.rows("SELECT CAST(sum(copies - 1) AS BIGINT) FROM repeated", {})
            stage.dropped["duplicate"] = copies
        written, changed = work.write(dataset, day, _CLEAN, HISTORY[kind], digest_of=digested(kind))
        stage.rows_out = written.rows
    return written, changed


def index(work: Work, day: date) -> None:
    """Writes which subjects began on a day."""
    with work.ledger.stage("clean", f"{INDEX} {day}") as stage:
        work.engine.register("indexed", work.now(INDEX, day).files, SUBJECT_INDEX)
        written, _ = work.write(INDEX, day, _INDEX, SUBJECT_INDEX, parameters={"day": day_number(day)})
        stage.made["subjects"], stage.rows_out = written.rows, written.rows


def digested(kind: Kind) -> tuple[str, ...]:
    """The columns that stand for the content of a history."""
    return (*_IDENTITY, *(name for name in ERASED if name in HISTORY[kind]))


def _together(work: Work, day: date, kind: Kind, affected: Affected, columns: Columns) -> None:
    """Makes the view `together`: what is new, what stood here and stays, and what stood elsewhere and belongs here."""
    number, dataset, listed = day_number(day), f"history_{kind}", ", ".join(columns)
    work.engine.register("stood", work.now(dataset, day).files, columns)
    elsewhere = [file for one in sorted(affected.from_days) for file in work.now(dataset, one).files]
    work.engine.register("stood_elsewhere", elsewhere, columns)
    moved = f"SELECT 1 FROM cohort WHERE cohort.kind = '{kind}' AND cohort.subject = {{}}.subject"
    gone = f" WHERE NOT EXISTS ({moved.format('stood')} AND cohort.day <> {number})" if affected.loses else ""
    work.engine.view("stayed", f"SELECT {listed} FROM stood{gone}")
    work.engine.view(
        "came", f"SELECT {listed} FROM stood_elsewhere "
        f"WHERE EXISTS ({moved.format('stood_elsewhere')} AND cohort.day = {number} AND cohort.was_day <> {number})",
    )  # fmt: skip
    news = ", ".join(f"kept.{name}" for name in columns)
    work.engine.view(
        "together",
        f"SELECT {news} FROM kept JOIN cohort ON cohort.subject = kept.subject AND cohort.kind = kept.kind "
        f"WHERE kept.kind = '{kind}' AND cohort.kind = '{kind}' AND cohort.day = {number} "
        f"UNION ALL SELECT {listed} FROM stayed UNION ALL SELECT {listed} FROM came",
    )


def _count(work: Work, view: str) -> int:
    ((rows,),) = work.engine.rows(f"SELECT count(*) FROM {view}", {})
    return int(rows)
