"""The figures of queues and agents, by stories whose figures were computed by hand; the rules are in docs/metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from etl.engines import duckdb
from etl.sql.order import BY_NAME
from tests.support.reference_metrics import facts_of
from tests.support.reference_queues import agent_facts, queue_facts
from tests.support.stories import at, computed, placed, told, write_history

INSTANTS = {"entered_us", "answered_us", "ended_us", "wrapped_us"}


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened to a queue entry, some figures (seconds, counts, instants), and the work it was to agents."""

    name: str
    story: str
    figures: dict[str, Any] = field(default_factory=dict)
    work: list[tuple[str | None, str, str, str, str | None, str | None]] | None = None
    """queue, agent, state, begin, end, ended_by"""


QUEUES = [
    Story(
        name="answered, held, wrapped up",
        story="""
            10:00:00 entered queue=sales channel=telephone ticket=t-1
            10:00:05 offered agent=ann
            10:00:12 answered agent=ann
            10:02:12 held
            10:02:42 resumed
            10:05:12 ended reason=completed
            10:06:00 wrapped agent=ann
        """,
        figures={
            "queue": "sales", "channel": "telephone", "ticket": "t-1", "agent": "ann", "entered_us": "10:00:00",
            "answered_us": "10:00:12", "ended_us": "10:05:12", "wrapped_us": "10:06:00", "outcome": "completed",
            "wait_us": 12, "ring_us": 7, "talk_us": 270, "hold_us": 30, "acw_us": 48, "transfers": 0, "declined": 0,
            "is_open": False, "clock_skew": False,
        },
        work=[
            ("sales", "ann", "ring", "10:00:05", "10:00:12", "answered"),
            ("sales", "ann", "talk", "10:00:12", "10:02:12", "held"),
            ("sales", "ann", "hold", "10:02:12", "10:02:42", "resumed"),
            ("sales", "ann", "talk", "10:02:42", "10:05:12", "ended"),
            ("sales", "ann", "acw", "10:05:12", "10:06:00", "wrapped"),
        ],
    ),
    Story(
        name="abandoned while it rang",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:03 offered agent=ann
            10:00:08 ended reason=abandoned
        """,
        figures={"outcome": "abandoned", "wait_us": 8, "ring_us": 5, "talk_us": 0, "acw_us": None, "agent": None,
                 "answered_us": None, "declined": 0},
        work=[("sales", "ann", "ring", "10:00:03", "10:00:08", "ended")],
    ),
    Story(
        name="rung at all: what rings at once is counted once",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:05 offered agent=ann
            10:00:06 offered agent=bob
            10:00:06 offered agent=cid
            10:00:08 declined agent=ann
            10:00:10 answered agent=bob
            10:01:10 ended reason=completed
        """,
        figures={"wait_us": 10, "ring_us": 5, "talk_us": 60, "declined": 1, "agent": "bob", "acw_us": None},
        work=[
            ("sales", "ann", "ring", "10:00:05", "10:00:08", "declined"),
            ("sales", "bob", "ring", "10:00:06", "10:00:10", "answered"),
            ("sales", "cid", "ring", "10:00:06", "10:00:10", "taken"),
            ("sales", "bob", "talk", "10:00:10", "10:01:10", "ended"),
        ],
    ),
    Story(
        name="rung out, then rung again",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:05 offered agent=ann
            10:00:25 declined agent=ann reason=no_answer
            10:00:30 offered agent=ann
            10:00:33 answered agent=ann
            10:01:33 ended reason=completed
        """,
        figures={"wait_us": 33, "ring_us": 23, "declined": 1, "talk_us": 60},
        work=[
            ("sales", "ann", "ring", "10:00:05", "10:00:25", "declined"),
            ("sales", "ann", "ring", "10:00:30", "10:00:33", "answered"),
            ("sales", "ann", "talk", "10:00:33", "10:01:33", "ended"),
        ],
    ),
    Story(
        name="handed to another agent: each has their own talk and wrap-up",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:10 answered agent=ann
            10:01:10 transferred agent=bob
            10:01:40 wrapped agent=ann
            10:03:10 ended reason=completed
            10:03:40 wrapped agent=bob
            10:03:50 wrapped agent=bob
        """,
        figures={"agent": "ann", "wait_us": 10, "talk_us": 180, "acw_us": 60, "transfers": 1, "wrapped_us": "10:03:50"},
        work=[
            ("sales", "ann", "talk", "10:00:10", "10:01:10", "transferred"),
            ("sales", "bob", "talk", "10:01:10", "10:03:10", "ended"),
            ("sales", "ann", "acw", "10:01:10", "10:01:40", "wrapped"),
            ("sales", "bob", "acw", "10:03:10", "10:03:40", "wrapped"),
        ],
    ),
    Story(
        name="handed to another queue: the second wait is nobody's talk",
        story="""
            10:00:00 entered queue=sales channel=web_chat
            10:00:10 answered agent=ann
            10:01:10 transferred queue=tech
            10:01:20 offered agent=bob
            10:01:30 answered agent=bob
            10:02:30 ended reason=completed
        """,
        figures={"queue": "sales", "agent": "ann", "wait_us": 10, "ring_us": 10, "talk_us": 120, "transfers": 1},
        work=[
            ("sales", "ann", "talk", "10:00:10", "10:01:10", "transferred"),
            ("tech", "bob", "ring", "10:01:20", "10:01:30", "answered"),
            ("tech", "bob", "talk", "10:01:30", "10:02:30", "ended"),
        ],
    ),
    Story(
        name="an agent who is asked while another talks",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:10 answered agent=ann
            10:01:00 offered agent=bob
            10:01:05 declined agent=bob
            10:02:10 ended reason=completed
        """,
        figures={"talk_us": 120, "ring_us": 5},
    ),
    Story(
        name="who is handed a caller before the first answer does not talk yet",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:30 transferred agent=ann
            10:00:45 answered agent=ann
            10:01:45 ended reason=completed
        """,
        figures={"wait_us": 45, "talk_us": 60, "transfers": 1},
    ),
    Story(
        name="the queue was full",
        story="""
            10:00 entered queue=sales channel=telephone
            10:00 ended reason=full
        """,
        figures={"outcome": "full", "wait_us": 0, "is_open": False, "talk_us": 0},
        work=[],
    ),
    Story(
        name="it waits",
        story="10:00 entered queue=sales channel=telephone",
        figures={"wait_us": None, "is_open": True, "ended_us": None, "outcome": None, "ring_us": 0},
    ),
    Story(
        name="they talk",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:03 offered agent=ann
            10:00:05 answered agent=ann
        """,
        figures={"wait_us": 5, "is_open": True, "talk_us": 0},
        work=[
            ("sales", "ann", "ring", "10:00:03", "10:00:05", "answered"),
            ("sales", "ann", "talk", "10:00:05", None, None),
        ],
    ),
    Story(
        name="wrapped up, and its end was lost",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:05 answered agent=ann
            10:01:05 wrapped agent=ann
        """,
        figures={"is_open": True, "talk_us": 0, "acw_us": None, "wrapped_us": "10:01:05"},
    ),
    Story(
        name="wrapped up while the caller is on hold",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:00:10 answered agent=ann
            10:01:00 held
            10:01:30 wrapped agent=ann
            10:02:00 ended reason=completed
        """,
        figures={"talk_us": 50, "hold_us": 60, "acw_us": None},
    ),
    Story(
        name="after the end nobody rings or talks",
        story="""
            10:00:00 entered queue=sales channel=telephone
            10:01:00 ended reason=abandoned
            10:01:01 offered agent=ann
            10:02:00 answered agent=ann
        """,
        figures={"clock_skew": True, "talk_us": 0, "ring_us": 0, "is_open": False},
        work=[],
    ),
    Story(
        name="its beginning was lost",
        story="""
            10:00:10 answered agent=ann
            10:01:10 ended reason=completed
        """,
        figures={"queue": None, "entered_us": "10:00:10", "wait_us": 0, "talk_us": 60},
    ),
    Story(
        name="clocks disagree: no wait is negative",
        story="""
            09:59:58 answered agent=ann
            10:00:00 entered queue=sales channel=telephone
            10:01:00 ended reason=completed
        """,
        figures={"wait_us": 0, "talk_us": 62, "clock_skew": True},
    ),
]  # fmt: skip

SPANS: dict[str, tuple[str, list[tuple[str | None, str, str | None, str, str | None]]]] = {
    "a day": (
        """
        09:00 logged_in agent=ann
        09:00 available
        09:30 busy
        09:40 available
        10:00 paused code=lunch
        10:30 paused code=lunch
        10:45 paused code=training
        11:00 available
        12:00 logged_out
        """,
        [
            ("ann", "available", None, "09:00", "09:30"),
            ("ann", "busy", None, "09:30", "09:40"),
            ("ann", "available", None, "09:40", "10:00"),
            ("ann", "paused", "lunch", "10:00", "10:45"),
            ("ann", "paused", "training", "10:45", "11:00"),
            ("ann", "available", None, "11:00", "12:00"),
        ],
    ),
    "who logs in takes work, and stays until the logout": (
        """
        09:00 logged_in agent=ann
        09:10 busy
        """,
        [("ann", "available", None, "09:00", "09:10"), ("ann", "busy", None, "09:10", None)],
    ),
    "who logs in and pauses in one moment was never available": (
        """
        09:00 logged_in agent=ann
        09:00 paused code=setup
        09:05 logged_out
        """,
        [("ann", "paused", "setup", "09:00", "09:05")],
    ),
    "after the logout nothing counts": (
        """
        09:00 logged_in agent=ann
        10:00 logged_out
        10:01 paused code=late
        """,
        [("ann", "available", None, "09:00", "10:00")],
    ),
    "until the next login": (
        """
        09:00 logged_in agent=ann
        10:00 logged_out
        11:00 logged_in agent=ann
        12:00 logged_out
        """,
        [("ann", "available", None, "09:00", "10:00"), ("ann", "available", None, "11:00", "12:00")],
    ),
    "the login was lost": (
        """
        09:10 available
        09:20 logged_out
        """,
        [(None, "available", None, "09:10", "09:20")],
    ),
}


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queues")
    engine = duckdb.open(400, 1, folder / "spill")
    try:
        found = {}
        for kind, stories in (
            ("queue_entry", {one.name: one.story for one in QUEUES}),
            ("agent_session", {name: story for name, (story, _) in SPANS.items()}),
        ):
            events = [event for name, story in stories.items() for event in told(kind, name, story)]
            write_history(kind, placed(events), folder / f"{kind}.parquet")
            found |= computed(engine, kind, [folder / f"{kind}.parquet"], folder)[0]
        return found
    finally:
        engine.close()


def of(facts, dataset: str, subject: str) -> list[dict[str, Any]]:
    rows = [dict(zip(BY_NAME[dataset].columns, row, strict=True)) for row in facts[dataset]]
    return [row for row in rows if subject in (row.get("entry"), row.get("session"))]


def when(clock: str | None) -> int | None:
    return None if clock is None else at(clock)


@pytest.mark.parametrize("story", QUEUES, ids=lambda story: story.name)
def test_figures_of_queues(facts, story):
    (row,) = of(facts, "queue_fact", story.name)
    wanted = {
        name: when(value) if name in INSTANTS else value * 1_000_000 if value and name.endswith("_us") else value
        for name, value in story.figures.items()
    }
    assert {name: row[name] for name in wanted} == wanted


@pytest.mark.parametrize("story", [one for one in QUEUES if one.work is not None], ids=lambda story: story.name)
def test_work_that_an_entry_is(facts, story):
    columns = ("queue", "agent", "state", "begin_us", "end_us", "ended_by")
    found = {tuple(row[name] for name in columns) for row in of(facts, "queue_work_fact", story.name)}
    assert found == {(*names, at(begin), when(end), by) for *names, begin, end, by in story.work}


@pytest.mark.parametrize("name", SPANS)
def test_spans_of_agents(facts, name):
    columns = ("agent", "state", "code", "begin_us", "end_us")
    found = [tuple(row[name] for name in columns) for row in of(facts, "agent_span_fact", name)]
    assert found == [(*names, at(begin), when(end)) for *names, begin, end in SPANS[name][1]]


def test_the_reference_tells_the_same(facts):
    queues = [event for one in QUEUES for event in told("queue_entry", one.name, one.story)]
    agents = [event for name, (story, _) in SPANS.items() for event in told("agent_session", name, story)]
    again = facts_of(queues, queue_facts) | facts_of(agents, agent_facts)
    for dataset, found in facts.items():
        assert set(found) == set(again[dataset]), dataset
