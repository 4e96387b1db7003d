"""What stands on the page: figures in large letters, and blocks with pictures, made of the rows of reports."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import add
from typing import Any

from dialer.calls.disposition import Disposition
from dialer.clock import to_us
from etl.reports.html.pictures import Bar, Columns, Series, Slot, columns
from etl.reports.model import Period
from etl.reports.query import Question
from etl.zones import from_us

HOURS_DAYS = 2
"""So many days are shown by the hour, more of them by the day."""
_REACHED = Series(name="answered", colour="reached")
_OTHER = Series(name="not answered", colour="other", hatched=True)
_AT_ONCE = Series(name="most calls at once", colour="good")
_IN_TIME = Series(name="answered in time", colour="good")
_NOT_IN_TIME = Series(name="others", colour="other", hatched=True)
_SOMEBODY, _NOBODY = Series(name="somebody answered", colour="reached"), Series(name="nobody did", colour="other")
_LONGEST_LIST = 14
_PICTURED = 3
"""Of so many campaigns the way through the call and the answers are drawn; the day of fifty would be a book."""
_FAR = 10
"""A ceiling so many times as high as the calls were is only told: beneath it nothing could be seen."""
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A figure in large letters, and what it is."""

    figure: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table: its name, a bar of two parts by their lengths from 0 to 1, and figures."""

    name: str
    reached: float
    other: float
    figures: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Block:
    """A part of the page: a heading, a picture, and the report that has its figures."""

    title: str
    report: str
    legend: Sequence[Series] = ()
    picture: Columns | None = None
    bars: Sequence[Bar] = ()
    table: Sequence[Line] = ()
    head: Sequence[str] = ()
    """Of the table: what is told of each, the figures behind the bar."""
    note: str = ""
    is_half: bool = False
    """Two of them stand beside each other."""


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

    @property
    def calls(self) -> Sequence[Row]:
        """A row a campaign that called."""
        return self.rows["campaign_summary"]

    @property
    def waits(self) -> Sequence[Row]:
        """A row a quarter of an hour and queue; none on the page of a campaign."""
        return self.rows.get("queue_intervals_15m", ())


def tiles(facts: Facts) -> list[Tile]:
    """The figures at the top, of what there is."""
    return (_of_calls(facts) if facts.calls else []) + (_of_queues(facts) if facts.waits else [])


def blocks(facts: Facts) -> list[Block]:
    """The pictures, from the whole to its parts."""
    made = []
    if facts.calls:
        each = "hour" if facts.by_hour else "day"
        made += [
            Block(title=f"Calls by {each}", report="attempts_by_hour", picture=_calls(facts),
                  legend=(_REACHED, _OTHER)),
            _at_once(facts, each),
            Block(title="How calls ended", report="campaign_summary", bars=_verdicts(facts),
                  legend=(_SOMEBODY, _NOBODY)),
        ]  # fmt: skip
    if len(facts.calls) > 1:
        made.append(_campaigns(facts))
    for campaign in (row["campaign"] for row in _largest(facts)[:_PICTURED]):
        made += _funnels(facts, campaign)
        made += _questions(facts, campaign)
    if facts.waits:
        made.append(_service(facts))
    return made


def _of_calls(facts: Facts) -> list[Tile]:
    rows = facts.calls
    attempts, human = _sum(rows, "attempts"), _sum(rows, "human")
    tried, reached = _sum(rows, "contacts_tried"), _sum(rows, "contacts_reached")
    completed = _sum(rows, "completed")
    return [
        Tile(figure=f"{attempts:,}", says="calls"),
        Tile(figure=f"{human:,}", says=f"answered by a person, {_share(human, attempts)} of the calls"),
        Tile(figure=f"{reached:,}", says=f"of {tried:,} contacts reached, {_share(reached, tried)}"),
        Tile(figure=f"{completed:,}", says=f"completed, {_share(completed, human)} of those answered"),
        Tile(figure=f"{max(_peaks(facts), default=0):,}", says="calls at once at most"),
    ]


def _of_queues(facts: Facts) -> list[Tile]:
    rows = facts.waits
    offered, abandoned = _sum(rows, "offered"), _sum(rows, "abandoned")
    served, of = _sum(rows, "answered_in_time"), _sum(rows, "answered_or_abandoned_late")
    return [
        Tile(figure=f"{offered:,}", says=f"came into queues; {abandoned:,} gave up, {_share(abandoned, offered)}"),
        Tile(figure=_share(served, of), says=f"of {of:,} waits in queues answered within {_within_s(facts)} s"),
    ]


def _calls(facts: Facts) -> Columns:
    def of(row: Row) -> tuple[int, ...]:
        return row["answered"], row["attempts"] - row["answered"]

    return columns("Calls", _slots(facts, facts.rows["attempts_by_hour"], of), (_REACHED, _OTHER))


def _at_once(facts: Facts, each: str) -> Block:
    drawn, note = facts.ceiling, ""
    if facts.ceiling is None:
        note = "No ceiling is known: the campaign has not run."
    elif facts.ceiling[0] > _FAR * max(_peaks(facts), default=0):
        drawn, note = None, f"Far below the {facts.ceiling[1]}: {facts.ceiling[0]:,}."
    slots = _slots(facts, _together(facts), lambda row: (row["peak_calls"],), join=max)
    picture = columns("Most calls at once", slots, (_AT_ONCE,), ceiling=drawn)
    return Block(title=f"Most calls at once, by {each}", report="calls_at_once", picture=picture, note=note)


def _service(facts: Facts) -> Block:
    def by_time(row: Row) -> tuple[int, ...]:
        return row["answered_in_time"], row["answered_or_abandoned_late"] - row["answered_in_time"]

    served, of = _sum(facts.waits, "answered_in_time"), _sum(facts.waits, "answered_or_abandoned_late")
    within = _within_s(facts)
    return Block(
        title=f"Waits in queues answered within {within} s", report="queue_intervals_15m",
        picture=columns("Waits in queues", _slots(facts, facts.waits, by_time), (_IN_TIME, _NOT_IN_TIME)),
        legend=(_IN_TIME, _NOT_IN_TIME),
        note=f"Service level {_share(served, of)}: {served:,} of {of:,}, without those who gave up within {within} s.",
    )  # fmt: skip


def _verdicts(facts: Facts) -> list[Bar]:
    """Those that occurred, the most frequent first."""
    counts = {verdict.value: _sum(facts.calls, verdict.value) for verdict in Disposition}
    counts["open"] = _sum(facts.calls, "open")
    reached = {"completed", "partial", "refused", "no_input", "hung_up", "dialogue_error"}
    total, most = sum(counts.values()), max(counts.values())
    ordered = sorted((item for item in counts.items() if item[1]), key=lambda item: (-item[1], item[0]))
    return [
        Bar(name=name.replace("_", " "), length=count / most, figure=f"{count:,}", says=_share(count, total),
            colour="reached" if name in reached else "other")
        for name, count in ordered
    ]  # fmt: skip


def _campaigns(facts: Facts) -> Block:
    most = max(row["attempts"] for row in facts.calls)
    lines = [
        Line(
            name=row["campaign"], reached=row["human"] / most, other=(row["attempts"] - row["human"]) / most,
            figures=(
                f"{row['attempts']:,}", f"{row['human']:,}", _share(row["contacts_reached"], row["contacts_tried"]),
                f"{row['completed']:,}", _share(row["completed"], row["human"]),
            ),
        )
        for row in _largest(facts)
    ]  # fmt: skip
    note = ""
    if len(lines) > _PICTURED:
        note = (
            f"The way through the call and the answers follow for the first {_PICTURED}; "
            "a page of its own (--campaign NAME) has those of each."
        )
    return Block(
        title="By campaign", report="campaign_summary", table=lines, note=note, legend=(_SOMEBODY, _NOBODY),
        head=("calls", "answered by a person", "contacts reached", "completed", "of those answered"),
    )  # fmt: skip


def _funnels(facts: Facts, campaign: str) -> list[Block]:
    made = []
    for (revision,), found in _grouped(facts, "ivr_funnel", campaign, "revision"):
        # Of steps that are reached equally early, calls end in the later one.
        rows = sorted(found, key=lambda row: (row["first_place"], row["dropped"] / row["entered"]))
        most = max(row["entered"] for row in rows)
        bars = [
            Bar(
                name=row["step"], length=row["entered"] / most, colour="reached", figure=f"{row['entered']:,}",
                says=f"{_share(row['dropped'], row['entered'])} ended here",
            )
            for row in rows[:_LONGEST_LIST]
        ]  # fmt: skip
        title = f"The way through the call{_whose(facts, campaign, revision)}"
        made.append(Block(title=title, report="ivr_funnel", bars=bars, note=_left_out(rows)))
    return made


def _questions(facts: Facts, campaign: str) -> list[Block]:
    made = []
    for (revision, step), rows in _grouped(facts, "question_answers", campaign, "revision", "step"):
        reached, answered = rows[0]["reached"], rows[0]["answered"]
        given = sorted((row for row in rows if row["given"]), key=_in_order(rows))
        most = max((row["given"] for row in given), default=1)
        bars = [
            Bar(name=row["answer"], length=row["given"] / most, figure=f"{row['given']:,}",
                says=_share(row["given"], answered), colour="answer")
            for row in given[:_LONGEST_LIST]
        ]  # fmt: skip
        made.append(Block(
            title=f"Answers to {step}{_whose(facts, campaign, revision)}", report="question_answers", bars=bars,
            note=f"{answered:,} of {reached:,} calls that came to it answered, {_share(answered, reached)}."
            + _left_out(given),
            is_half=True,
        ))  # fmt: skip
    return made


def _largest(facts: Facts) -> list[Row]:
    """The campaigns, that with the most calls first."""
    return sorted(facts.calls, key=lambda row: (-row["attempts"], row["campaign"]))


def _grouped(facts: Facts, report: str, campaign: str, *keys: str) -> list[tuple[tuple[Any, ...], list[Row]]]:
    """A campaign's rows of a report, by these keys."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in facts.rows[report]:
        if row["campaign"] == campaign:
            found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(found.items())


def _whose(facts: Facts, campaign: str, revision: int) -> str:
    """What a heading must say so that no other is like it."""
    revisions = {row["revision"] for row in facts.rows["ivr_funnel"] if row["campaign"] == campaign}
    said = [campaign] if len(facts.calls) > 1 else []
    said += [f"revision {revision}"] if len(revisions) > 1 else []
    return f": {', '.join(said)}" if said else ""


def _in_order(rows: Sequence[Row]) -> Callable[[Row], tuple[int, str]]:
    """Numbers in their order, words by how often they were given."""
    if all(row["answer"] is None or row["answer"].isdecimal() for row in rows):
        return lambda row: (int(row["answer"]), "")
    return lambda row: (-row["given"], row["answer"])


def _left_out(rows: Sequence[Row]) -> str:
    more = len(rows) - _LONGEST_LIST
    return f" {more} more are in the report." if more > 0 else ""


def _together(facts: Facts) -> Iterable[Row]:
    """The rows of all campaigns at once."""
    return (row for row in facts.rows["calls_at_once"] if row["campaign"] is None)


def _peaks(facts: Facts) -> Iterable[int]:
    return (row["peak_calls"] for row in _together(facts))


def _within_s(facts: Facts) -> int:
    return facts.question.targets.answer_within_s


def _slots(
    facts: Facts, rows: Iterable[Row], of: Callable[[Row], tuple[int, ...]], join: Callable[[int, int], int] = add
) -> list[Slot]:  # fmt: skip
    """All hours or days of the period, those without anything too; an hour that the clock shows twice is two."""
    begins = [begin_us for begin_us, _ in facts.question.slots(Period.HOUR if facts.by_hour else Period.DAY)]
    values: list[tuple[int, ...]] = [()] * len(begins)
    for row in rows:
        place = bisect_right(begins, to_us(datetime.fromisoformat(row["period_start_local"]))) - 1
        values[place] = tuple(map(join, values[place], of(row))) or of(row)
    clocks = [from_us(facts.question.zone.clock(begin_us)) for begin_us in begins]
    return [
        Slot(label=label, mark=mark, values=one)
        for (label, mark), one in zip(_labels(facts, clocks), values, strict=True)
    ]  # fmt: skip


def _labels(facts: Facts, clocks: Sequence[datetime]) -> Iterator[tuple[str, str]]:
    """What each slot is called, and what stands below those that are marked."""
    one_day = facts.first == facts.last
    every = 2 if one_day else 6 if facts.by_hour else -(-len(clocks) // 12)
    for number, clock in enumerate(clocks):
        day, hour = f"{clock:%d %b}", f"{clock:%H:%M}"
        label = hour if one_day else f"{day} {hour}" if facts.by_hour else day
        is_marked = (clock.hour if facts.by_hour else number) % every == 0
        yield label, (day if label != hour and not clock.hour else hour) if is_marked else ""


def _sum(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def _share(part: int, whole: int) -> str:
    """In percent with one decimal, rounded half up; a dash of nothing."""
    tenths = (2000 * part + whole) // (2 * whole) if whole else None
    return f"{tenths // 10}.{tenths % 10}\N{NO-BREAK SPACE}%" if tenths is not None else "–"
