"""Clean: a day's subjects with all that is known of them, earlier and new; each event once, in its subject's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

from etl.columns import ERASED, HISTORY, SUBJECT_INDEX, Columns, Kind
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
PORTIONS = (1, 3, 7, 11, 13, 17, 23, 31, 43, 61, 83, 113, 151, 199, 263, 353, 463, 613, 811)
"""Into how many a day may be divided. Primes, and none of 10: moments are often whole seconds."""


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
    work.engine.register("members", files, SUBJECT_INDEX)


def portions(work: Work, day: date, kind: Kind, affected: Affected) -> int:
    """In how many portions of subjects a day is computed, so that each finds room in memory."""
    rows = affected.events + work.now(f"history_{kind}", day).rows
    return next((one for one in PORTIONS if rows <= one * work.rows_at_once), PORTIONS[-1])


def news(work: Work, day: date, kind: Kind, of: int) -> Mapping[int, Sequence[Path]]:
    """Divides the new events of a day's subjects into portions: read again and again, the segment would cost more."""
    columns = _columns(kind)
    listed = ", ".join(f"kept.{name}" for name in columns)
    return work.engine.divide(
        f"SELECT {listed}, m.first_us % {of} AS portion FROM kept "
        f"JOIN (SELECT subject, first_us FROM members WHERE kind = '{kind}') AS m ON m.subject = kept.subject "
        f"WHERE kept.kind = '{kind}'",
        "portion",
        work.scratch / f"news-{kind}-{day}",
    )


def clean(
    work: Work, day: date, kind: Kind, affected: Affected, found: Mapping[int, Sequence[Path]], portion: int, of: int
) -> Written:  # fmt: skip
    """Writes a portion of `history_KIND` of a day, from what is stored and what is new."""
    dataset, last = f"history_{kind}", portion == of - 1
    with work.ledger.stage("clean", f"{dataset} {day}", more=not last) as stage:
        _together(work, day, kind, affected, found.get(portion, ()), portion, of)
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


def _columns(kind: Kind) -> Columns:
    return {name: type_ for name, type_ in HISTORY[kind].items() if name != "place"}


def _together(
    work: Work, day: date, kind: Kind, affected: Affected, found: Sequence[Path], portion: int, of: int
) -> None:  # fmt: skip
    """Makes the view `together`: what is new, what stood here and stays, and what stood elsewhere and belongs here."""
    columns = _columns(kind)
    elsewhere = [file for one in sorted(affected.from_days) for file in work.now(f"history_{kind}", one).files]
    work.engine.register("news", found, columns)
    work.engine.register("stood", work.now(f"history_{kind}", day).files, columns)
    work.engine.register("stood_elsewhere", elsewhere, columns)
    mine = f"SELECT subject FROM members WHERE kind = '{kind}' AND first_us % {of} = {portion}"
    for view, table in (("stayed", "stood"), ("came", "stood_elsewhere")):
        listed = ", ".join(f"{table}.{name}" for name in columns)
        work.engine.view(view, f"SELECT {listed} FROM {table} JOIN ({mine}) AS m ON m.subject = {table}.subject")
    listed = ", ".join(columns)
    work.engine.view(
        "together", " UNION ALL ".join(f"SELECT {listed} FROM {one}" for one in ("news", "stayed", "came"))
    )  # fmt: skip


def _count(work: Work, view: str) -> int:
    ((rows,),) = work.engine.rows(f"SELECT count(*) FROM {view}", {})
    return int(rows)
