"""Clean: a day's subjects with all that is known of them, earlier and new; each event once, in its subject's order."""

from __future__ import annotations

from datetime import date

from etl import portions
from etl.columns import ERASED, HISTORY, SEGMENT, SUBJECT_INDEX, Columns, Kind
from etl.engines.port import Written
from etl.lake import day_number
from etl.sql.order import TEXTS
from etl.stages.group import Affected
from etl.stages.work import INDEX, Work

_IDENTITY = ("event_id", "ingested_us")
"""An event never changes, and so its place follows: these stand for all columns, but for what erasure takes away."""
_DUPLICATES = """
SELECT count(*) - count(DISTINCT concat_ws(' ', event_id, subject)) FROM together
WHERE EXISTS (SELECT 1 FROM repeated WHERE repeated.event_id = together.event_id)
"""


def index(work: Work, day: date, *, has_news: bool) -> None:
    """Makes the table `members` of who began on a day; written anew when there is news."""
    files = work.now(INDEX, day).files
    if has_news:
        with work.ledger.stage("clean", f"{INDEX} {day}") as stage:
            work.engine.register("indexed", files, SUBJECT_INDEX)
            parameters = {"day": day_number(day)}
            written = work.write(INDEX, day, TEXTS["subject_index"], SUBJECT_INDEX, parameters=parameters)
            stage.made["subjects"], stage.rows_out = written.rows, written.rows
            if work.keep(INDEX, day, [written]):
                files = written.files
    work.engine.register("began", files, SUBJECT_INDEX)
    # Once for all portions: every query would reckon the digit of every subject anew.
    query = f"SELECT kind, subject, {portions.DIGIT} AS digit FROM began"
    work.aside("members", query, {"kind": "STRING", "subject": "STRING", "digit": "STRING"})


def portions_of(work: Work, day: date, kind: Kind, affected: Affected) -> int:
    """In how many portions of subjects a day is computed, so that each finds room in memory."""
    rows = affected.events + work.now(f"history_{kind}", day).rows
    return next((of for of in portions.COUNTS if rows <= of * work.rows_at_once), portions.COUNTS[-1])


def clean(work: Work, day: date, kind: Kind, affected: Affected, portion: int, of: int) -> Written:
    """Writes a portion of `history_KIND` of a day, from what is stored and what is new."""
    dataset, last = f"history_{kind}", portion == of - 1
    with work.ledger.stage("clean", f"{dataset} {day}", more=not last) as stage:
        _together(work, day, kind, affected, portion, of)
        stayed, came = _count(work, "stayed"), _count(work, "came")
        affected.came += came
        stage.rows_in += came
        affected.went -= stayed
        if portion == 0:
            stood = work.now(dataset, day).rows
            affected.went += stood
            stage.rows_in += affected.events + stood
        if last:
            stage.dropped["moved"] = affected.went
        if work.aside("repeated", TEXTS["repeated"], {"event_id": "STRING", "copies": "BIGINT"}):
            ((copies,),) = work.engine.rows(_DUPLICATES, {})
            stage.dropped["duplicate"] = stage.dropped.get("duplicate", 0) + copies
        written = work.write(
            dataset, day, TEXTS["clean"], HISTORY[kind], digest_of=digested(kind), portion=portion
        )  # fmt: skip
        stage.rows_out += written.rows
    return written


def digested(kind: Kind) -> tuple[str, ...]:
    """The columns that stand for the content of a history."""
    return (*_IDENTITY, *(name for name in ERASED if name in HISTORY[kind]))


def _together(work: Work, day: date, kind: Kind, affected: Affected, portion: int, of: int) -> None:
    """Makes the view `together`: what is new, what stood here and stays, and what stood elsewhere and belongs here."""
    columns: Columns = {name: type_ for name, type_ in HISTORY[kind].items() if name != "place"}
    elsewhere = [file for one in sorted(affected.from_days) for file in work.now(f"history_{kind}", one).files]
    for table, files, shape in (
        ("dumped", portions.holding(work.segments, portion, of), SEGMENT),
        ("stood", work.now(f"history_{kind}", day).files, columns),
        ("stood_elsewhere", elsewhere, columns),
    ):
        work.engine.register(table, files, shape)
    mine = f"SELECT subject FROM members WHERE kind = '{kind}' AND {portions.condition(portion, of, 'digit')}"
    work.aside("mine", mine, {"subject": "STRING"})
    for view, table, only in (
        ("news", "dumped", f" WHERE dumped.kind = '{kind}'"),
        ("stayed", "stood", ""),
        ("came", "stood_elsewhere", ""),
    ):
        listed = ", ".join(f"{table}.{name}" for name in columns)
        work.engine.view(view, f"SELECT {listed} FROM {table} JOIN mine ON mine.subject = {table}.subject{only}")
    work.engine.view(
        "together", " UNION ALL ".join(f"SELECT {', '.join(columns)} FROM {one}" for one in ("news", "stayed", "came"))
    )  # fmt: skip


def _count(work: Work, view: str) -> int:
    ((rows,),) = work.engine.rows(f"SELECT count(*) FROM {view}", {})
    return int(rows)
