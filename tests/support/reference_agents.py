"""What agents' time went into once more, from facts in memory, as reference_reports does for tickets and queues."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from tests.support.reference_metrics import Facts
from tests.support.reference_queues import union_us
from tests.support.reference_reports import QUARTER_US, Asked, Cells, Row, by, named, percent, seconds

WORK = ("talk", "hold", "acw", "ticket_work")
SESSION = ("available", "busy", "paused")


def _held(facts: Facts) -> list[Row]:
    """What agents' time went into."""
    spans, work = named(facts, "agent_span_fact"), named(facts, "queue_work_fact")
    return [*spans, *work, *(row | {"state": "ticket_work"} for row in named(facts, "ticket_work_fact"))]


def agent_intervals(facts: Facts, asked: Asked) -> Cells:
    cells: dict[tuple[Any, ...], Row] = defaultdict(lambda: {"spent_s": 0, "times": 0})

    def add(begin_us: int, end_us: int, *key: str | None) -> None:
        while begin_us < end_us:
            quarter_us = begin_us - begin_us % QUARTER_US
            until_us = min(end_us, quarter_us + QUARTER_US)
            cell = cells[asked.text(quarter_us), *key]
            cell["spent_s"] += until_us - begin_us
            cell["times"] += 1
            begin_us = until_us

    held = list(_clipped(_held(facts), (asked.from_us, asked.to_us), asked.as_of_us))
    for row in held:
        add(row["begin_us"], row["end_us"], row["agent"], row["state"], row.get("code"))
    together = {"handling": WORK, "engaged": (*WORK, "available"), "logged_in": SESSION}
    for (agent,), rows in by(held, lambda row: (row["agent"],)).items():
        for state, of in together.items():
            for begin_us, end_us in _merged((row["begin_us"], row["end_us"]) for row in rows if row["state"] in of):
                add(begin_us, end_us, agent, state, None)
    for act in _done(facts):
        if asked.day(act["at"]):
            cells[asked.text(act["at"] - act["at"] % QUARTER_US), act["agent"], act["what"], None]["times"] += 1
    for (_, _, state, _), cell in cells.items():
        cell["spent_s"] = seconds(cell["spent_s"])
        # Of how many pieces a union is made says nothing.
        cell |= {"times": None} if state in together else {}
    return {key: {name: told for name, told in cell.items() if told is not None} for key, cell in cells.items()}


def _merged(spans: Iterable[tuple[int, int]]) -> list[list[int]]:
    found: list[list[int]] = []
    for begin_us, end_us in sorted(spans):
        if found and begin_us <= found[-1][1]:
            found[-1][1] = max(found[-1][1], end_us)
        else:
            found.append([begin_us, end_us])
    return found


def agent_daily(facts: Facts, asked: Asked) -> Cells:
    held = _held(facts)
    done = list(_done(facts))
    cells: Cells = {}
    for day in asked.days:
        times = by(_clipped(held, day, asked.as_of_us), lambda row: (row["agent"],))
        acts = by((act for act in done if day[0] <= act["at"] < day[1]), lambda act: (act["agent"],))
        for key in {*times, *acts}:
            cells[asked.text(day[0]), *key] = _agents_day(times.get(key, []), acts.get(key, []))
    return cells


def _clipped(rows: Iterable[Row], day: tuple[int, int], as_of_us: int) -> Iterator[Row]:
    for row in rows:
        begin = max(row["begin_us"], day[0])
        end = min(as_of_us if row["end_us"] is None else row["end_us"], day[1])
        if end > begin:
            yield row | {"begin_us": begin, "end_us": end}


def _done(facts: Facts) -> Iterator[Row]:
    """What agents did at which moment."""
    talks = by(
        (row for row in named(facts, "queue_work_fact") if row["state"] == "talk"),
        lambda row: (row["agent"], row["entry"]),
    )
    for (agent, _), rows in talks.items():
        yield {"agent": agent, "what": "answered", "at": min(row["begin_us"] for row in rows)}
    for row in named(facts, "queue_work_fact"):
        if row["state"] == "ring" and row["ended_by"] == "declined":
            yield {"agent": row["agent"], "what": "declined", "at": row["end_us"]}
    yield from _handed_on(named(facts, "queue_work_fact"))
    logins = by(named(facts, "agent_span_fact"), lambda row: (row["agent"], row["session"]))
    for (agent, _), rows in logins.items():
        yield {"agent": agent, "what": "login", "at": min(row["begin_us"] for row in rows)}
    for row in named(facts, "ticket_fact"):
        if row["last_agent"] and row["solved_us"] is not None:
            yield {"agent": row["last_agent"], "what": "solved", "at": row["solved_us"]}
    for row in named(facts, "ticket_move_fact"):
        if row["what"] == "agent":
            yield {"agent": row["from_name"], "what": "passed_on", "at": row["at_us"]}


def _handed_on(work: list[Row]) -> Iterator[Row]:
    talks = {(row["entry"], row["agent"], row["begin_us"]) for row in work if row["state"] == "talk"}
    for row in work:
        kept = (row["entry"], row["agent"], row["end_us"]) in talks
        if row["state"] in ("talk", "hold") and row["ended_by"] == "transferred" and not kept:
            yield {"agent": row["agent"], "what": "transferred", "at": row["end_us"]}


def _agents_day(times: list[Row], acts: list[Row]) -> Row:
    def spent(*states: str) -> int:
        return sum(row["end_us"] - row["begin_us"] for row in times if row["state"] in states)

    def union(*states: str) -> int:
        return union_us([(row["begin_us"], row["end_us"]) for row in times if row["state"] in states])

    acted = [act["what"] for act in acts]
    logged_in, busy = union(*SESSION), union(*WORK, "available")
    return {
        "logins": acted.count("login"), "logged_in_s": seconds(logged_in), "available_s": seconds(spent("available")),
        "paused_s": seconds(spent("paused")), "talk_s": seconds(spent("talk")), "hold_s": seconds(spent("hold")),
        "acw_s": seconds(spent("acw")), "ring_s": seconds(spent("ring")), "handling_s": seconds(union(*WORK)),
        "engaged_s": seconds(busy), "busy_s": seconds(spent("busy")), "ticket_work_s": seconds(spent("ticket_work")),
        "answered": acted.count("answered"), "declined": acted.count("declined"),
        "transferred": acted.count("transferred"),
        "aht_s": seconds(spent("talk", "hold", "acw"), acted.count("answered")),
        "occupancy_pct": percent(union(*WORK), busy), "utilisation_pct": percent(busy, logged_in),
        "tickets_solved": acted.count("solved"), "tickets_passed_on": acted.count("passed_on"),
    }  # fmt: skip
