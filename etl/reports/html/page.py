"""`dialer report html`: a day, or a campaign, on one page; every figure on it is a cell of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
from sqlalchemy import text

from dialer.calls.disposition import Disposition
from dialer.clock import to_us
from etl.engines.duckdb import DuckDb
from etl.reports import make
from etl.reports.asking import Machine
from etl.reports.catalogue import REPORTS
from etl.reports.html.pictures import Bar, Columns, Series, Slot, columns
from etl.reports.make import Wanted
from etl.reports.options import Options
from etl.reports.query import Question
from etl.reports.sidecar import Standing
from etl.zones import from_us

TEMPLATES = Path(__file__).parent / "templates"
HOURS_DAYS = 2
"""So many days are shown by the hour, more of them by the day."""
_BLUE, _ORANGE, _GREY, _GREEN = "#1b6ca8", "#d98200", "#9aa5b1", "#2f8f5b"
_REACHED, _OTHER = Series(name="answered", colour=_BLUE), Series(name="not answered", colour=_GREY, hatched=True)
_AT_ONCE = Series(name="most calls at once", colour=_GREEN)
_IN_TIME = Series(name="answered in time", colour=_GREEN)
_NOT_IN_TIME = Series(name="others", colour=_GREY, hatched=True)
_LIMIT = text("select max_concurrent from campaign_run where campaign_id = :id")
_LIVED = text(
    "select min(submitting_at) as first_at, max(submitting_at) as last_at from attempt where campaign_id = :id"
)  # fmt: skip
_LONGEST_LIST = 14
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure in large letters, and what it is."""

    figure: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of the page: a heading, a picture, and the report that has its figures."""

    title: str
    report: str
    picture: Columns | None = None
    bars: Sequence[Bar] = ()
    table: Sequence[Sequence[str]] = ()
    """A head and rows; the first column is text, the others are figures."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The rows of the reports that the page is made of, by the reports' names."""

    rows: Mapping[str, Sequence[Row]]
    question: Question
    first: date
    last: date
    ceiling: tuple[int, str] | None

    @property
    def by_hour(self) -> bool:
        """Whether columns are hours; else they are days."""
        return (self.last - self.first).days < HOURS_DAYS


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
        title=_title(facts, options), tenant=question.tenant, tz=zone.name, tiles=_tiles(facts), blocks=_blocks(facts),
        standing=_standing(machine.standing(question.tenant)), period=_days(facts),
        arguments=_arguments(facts, options),
    )  # fmt: skip


def _rows(machine: Machine, duck: DuckDb, wanted: Wanted, name: str) -> list[Row]:
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
    """From the day of the campaign's first call to that of its last."""
    question = machine.wanted(REPORTS["calls_at_once"], options).question
    row = machine.connection.execute(_LIVED, {"id": question.campaign}).one()
    if row.first_at is None:
        return options
    first, last = (question.zone.date_of(to_us(at)) for at in (row.first_at, row.last_at))
    return replace(options, first=first, last=last)


def _ceiling(machine: Machine, question: Question) -> tuple[int, str] | None:
    if question.campaign is not None:
        limit = machine.connection.execute(_LIMIT, {"id": question.campaign}).scalar()
        return (limit, "ceiling of the campaign") if limit is not None else None
    nodes = sum(node.max_concurrent for node in machine.settings.nodes)
    return min(nodes, machine.settings.limits.max_concurrent or nodes), "ceiling of the site"


def _tiles(facts: Facts) -> list[Tile]:
    rows = facts.rows["campaign_summary"]
    attempts, human = _sum(rows, "attempts"), _sum(rows, "human")
    tried, reached = _sum(rows, "contacts_tried"), _sum(rows, "contacts_reached")
    completed = _sum(rows, "completed")
    tiles = [
        Tile(figure=f"{attempts:,}", says="calls"),
        Tile(figure=f"{human:,}", says=f"answered by a person, {_share(human, attempts)} of the calls"),
        Tile(figure=f"{reached:,}", says=f"of {tried:,} contacts reached, {_share(reached, tried)}"),
        Tile(figure=f"{completed:,}", says=f"completed, {_share(completed, human)} of those answered"),
        Tile(figure=f"{max(_peaks(facts), default=0):,}", says="calls at once at most"),
    ]
    queues = facts.rows.get("queue_intervals_15m", ())
    if queues:
        served, of = _sum(queues, "answered_in_time"), _sum(queues, "answered_or_abandoned_late")
        within = facts.question.targets.answer_within_s
        tiles.append(Tile(figure=_share(served, of), says=f"of {of:,} waits in queues answered within {within} s"))
    return tiles


def _blocks(facts: Facts) -> list[Block]:
    blocks = []
    if facts.rows["attempts_by_hour"]:
        each = "hour" if facts.by_hour else "day"
        blocks.append(Block(title=f"Calls by {each}", report="attempts_by_hour", picture=_calls(facts)))
        blocks.append(Block(
            title=f"Most calls at once, by {each}", report="calls_at_once", picture=_at_once(facts),
            note="" if facts.ceiling else "No ceiling is known: the campaign has not run.",
        ))  # fmt: skip
        blocks.append(Block(
            title="How calls ended", report="campaign_summary", bars=_verdicts(facts), note="Dark: somebody answered."
        ))  # fmt: skip
    if len(facts.rows["campaign_summary"]) > 1:
        blocks.append(_campaigns(facts))
    blocks += _funnels(facts)
    blocks += _questions(facts)
    if facts.rows.get("queue_intervals_15m"):
        blocks.append(_service(facts))
    return blocks


def _calls(facts: Facts) -> Columns:
    totals: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for row in facts.rows["attempts_by_hour"]:
        slot = totals[_slot(facts, row)]
        slot[0] += row["answered"]
        slot[1] += row["attempts"] - row["answered"]
    return columns("Calls", _slots(facts, totals), (_REACHED, _OTHER))


def _at_once(facts: Facts) -> Columns:
    totals: dict[datetime, list[int]] = defaultdict(lambda: [0])
    for row in _together(facts):
        slot = totals[_slot(facts, row)]
        slot[0] = max(slot[0], row["peak_calls"])
    return columns("Most calls at once", _slots(facts, totals), (_AT_ONCE,), ceiling=facts.ceiling)


def _service(facts: Facts) -> Block:
    totals: dict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for row in facts.rows["queue_intervals_15m"]:
        slot = totals[_slot(facts, row)]
        slot[0] += row["answered_in_time"]
        slot[1] += row["answered_or_abandoned_late"] - row["answered_in_time"]
    rows = facts.rows["queue_intervals_15m"]
    served, of = _sum(rows, "answered_in_time"), _sum(rows, "answered_or_abandoned_late")
    within = facts.question.targets.answer_within_s
    return Block(
        title=f"Waits in queues answered within {within} s", report="queue_intervals_15m",
        picture=columns("Waits in queues", _slots(facts, totals), (_IN_TIME, _NOT_IN_TIME)),
        note=f"Service level {_share(served, of)}: {served:,} of {of:,}, without those who gave up within {within} s.",
    )  # fmt: skip


def _verdicts(facts: Facts) -> list[Bar]:
    """Those that occurred, the most frequent first."""
    rows = facts.rows["campaign_summary"]
    counts = {verdict.value: _sum(rows, verdict.value) for verdict in Disposition} | {"open": _sum(rows, "open")}
    reached = {"completed", "partial", "refused", "no_input", "hung_up", "dialogue_error"}
    total, most = sum(counts.values()), max(counts.values())
    ordered = sorted((item for item in counts.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return [
        Bar(name=_words(name), length=count / most, figure=f"{count:,}", says=_share(count, total),
            colour=_BLUE if name in reached else _GREY)
        for name, count in ordered
    ]  # fmt: skip


def _funnels(facts: Facts) -> list[Block]:
    blocks = []
    for (campaign, revision), rows in _grouped(facts.rows["ivr_funnel"], "campaign", "revision"):
        most = max(row["entered"] for row in rows)
        bars = [
            Bar(
                name=row["step"], length=row["entered"] / most, colour=_BLUE, figure=f"{row['entered']:,}",
                says=f"{_share(row['dropped'], row['entered'])} ended here",
            )
            for row in rows[:_LONGEST_LIST]
        ]  # fmt: skip
        blocks.append(Block(
            title=f"The way through the call: {campaign}, revision {revision}", report="ivr_funnel", bars=bars,
            note=_left_out(rows),
        ))  # fmt: skip
    return blocks


def _questions(facts: Facts) -> list[Block]:
    blocks = []
    for (campaign, revision, step), rows in _grouped(facts.rows["question_answers"], "campaign", "revision", "step"):
        reached, answered = rows[0]["reached"], rows[0]["answered"]
        given = sorted((row for row in rows if row["given"]), key=_in_order(rows))
        most = max((row["given"] for row in given), default=1)
        bars = [
            Bar(name=row["answer"], length=row["given"] / most, figure=f"{row['given']:,}",
                says=_share(row["given"], answered), colour=_ORANGE)
            for row in given[:_LONGEST_LIST]
        ]  # fmt: skip
        blocks.append(Block(
            title=f"Answers to {step}: {campaign}, revision {revision}", report="question_answers", bars=bars,
            note=f"{answered:,} of {reached:,} calls that came to it answered, {_share(answered, reached)}."
            + _left_out(given),
        ))  # fmt: skip
    return blocks


def _in_order(rows: Sequence[Row]) -> Callable[[Row], tuple[int, str]]:
    """Numbers in their order, words by how often they were given."""
    if all(row["answer"] is None or row["answer"].isdecimal() for row in rows):
        return lambda row: (int(row["answer"]), "")
    return lambda row: (-row["given"], row["answer"])


def _campaigns(facts: Facts) -> Block:
    rows = [
        (row["campaign"], f"{row['attempts']:,}", f"{row['human']:,}",
         _share(row["contacts_reached"], row["contacts_tried"]), f"{row['completed']:,}",
         _share(row["completed"], row["human"]))
        for row in sorted(facts.rows["campaign_summary"], key=lambda row: (-row["attempts"], row["campaign"]))
    ]  # fmt: skip
    head = ("campaign", "calls", "answered by a person", "contacts reached", "completed", "of those answered")
    return Block(title="By campaign", report="campaign_summary", table=(head, *rows))


def _left_out(rows: Sequence[Row]) -> str:
    more = len(rows) - _LONGEST_LIST
    return f" {more} more are in the report." if more > 0 else ""


def _together(facts: Facts) -> Iterable[Row]:
    """The rows of all campaigns at once."""
    return (row for row in facts.rows["calls_at_once"] if row["campaign"] is None)


def _peaks(facts: Facts) -> Iterable[int]:
    return (row["peak_calls"] for row in _together(facts))


def _slot(facts: Facts, row: Row) -> datetime:
    """The hour or day that a row belongs to, by the local clock with its offset."""
    at = datetime.fromisoformat(row["period_start_local"])
    return at.replace(minute=0) if facts.by_hour else at.replace(hour=0, minute=0, tzinfo=None)


def _slots(facts: Facts, totals: Mapping[datetime, Sequence[int]]) -> list[Slot]:
    """All hours or days of the period, those without anything too."""
    empty = [0] * len(next(iter(totals.values()), [0]))
    if not facts.by_hour:
        days = [facts.first + timedelta(days=n) for n in range((facts.last - facts.first).days + 1)]
        marked = max(1, -(-len(days) // 12))
        return [
            Slot(label=f"{day:%d %b}", values=totals.get(datetime(day.year, day.month, day.day), empty),  # noqa: DTZ001
                 marked=n % marked == 0)
            for n, day in enumerate(days)
        ]  # fmt: skip
    question = facts.question
    hours = []
    for begin_us, _ in question.zone.steps(question.from_us, question.to_us, 3_600_000_000):
        ahead = timedelta(microseconds=question.zone.clock(begin_us) - begin_us)
        hours.append((from_us(begin_us) + ahead).replace(tzinfo=None))
    known = {at.replace(tzinfo=None): values for at, values in totals.items()}
    marked = 2 if len(hours) <= 25 else 6
    return [
        Slot(label=f"{hour:%H:%M}", values=known.get(hour, empty), marked=hour.hour % marked == 0) for hour in hours
    ]  # fmt: skip


def _grouped(rows: Sequence[Row], *keys: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(found.items())


def _sum(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def _share(part: int, whole: int) -> str:
    """In percent with one decimal, rounded half up; a dash of nothing."""
    tenths = (2000 * part + whole) // (2 * whole) if whole else None
    return f"{tenths // 10}.{tenths % 10} %" if tenths is not None else "–"


def _words(slug: str) -> str:
    return slug.replace("_", " ")


def _days(facts: Facts) -> str:
    if facts.first == facts.last:
        return f"{facts.first:%A, %d %B %Y}"
    return f"{facts.first:%d %B %Y} to {facts.last:%d %B %Y}"


def _title(facts: Facts, options: Options) -> str:
    return f"Campaign {options.campaign}" if options.campaign else f"Calls of {facts.first:%d %B %Y}"


def _standing(standing: Standing) -> str:
    if standing.as_of is None:
        return "Nothing has been computed yet."
    late = f"; {standing.late_events:,} events of the last run came late" if standing.late_events else ""
    return f"Made of all events that came in before {standing.as_of:%Y-%m-%d %H:%M:%S} UTC{late}."


def _arguments(facts: Facts, options: Options) -> str:
    campaign = f" --campaign {options.campaign}" if options.campaign else ""
    return f"--from {facts.first} --to {facts.last} --tz {facts.question.zone.name}{campaign} --csv -"
