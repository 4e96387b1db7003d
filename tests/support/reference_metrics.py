"""The figures of tickets once more, event by event: slow, simple, the judge of the SQL, sharing nothing with it.

An event is a dict with tenant, event_id, occurred_us, ingested_us, type, subject, seq, type_rank and the fields its
type has; a field that is missing or None was not said.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

Event = dict[str, Any]
Facts = dict[str, list[tuple[Any, ...]]]
HOUR_US = 3_600_000_000
WEEK_US = 7 * 24 * HOUR_US
DONE = ("solved", "closed")
STATUSES = ("new", "open", "pending", "hold", *DONE)
CHANGES = tuple(
    f"ticket.{name}"
    for name in ("created", "updated", "queued", "assigned", "transferred", "hold", "solved", "closed", "reopened")
)


def cleaned(events: Iterable[Event]) -> list[Event]:
    """Every event once (the one that came first), in the order in which they happened."""
    first: dict[tuple[Any, str], Event] = {}
    for event in sorted(events, key=lambda event: (event["occurred_us"], event["ingested_us"])):
        first.setdefault((event["tenant"], event["event_id"]), event)
    return sorted(first.values(), key=order)


def order(event: Event) -> tuple[Any, ...]:
    seq = event.get("seq")
    return event["occurred_us"], seq is None, seq or 0, event["type_rank"], event["event_id"]


def facts_of(events: Iterable[Event], of_one: Callable[[list[Event]], Facts]) -> Facts:
    """The facts of all subjects; `of_one` tells those of one subject's events, which come in order."""
    subjects: dict[tuple[Any, str], list[Event]] = defaultdict(list)
    for event in cleaned(events):
        subjects[event["tenant"], event["subject"]].append(event)
    made: Facts = defaultdict(list)
    for (tenant, subject), its_events in subjects.items():
        for dataset, rows in of_one(its_events).items():
            made[dataset] += [(tenant, subject, *row) for row in rows]
    return made


def stretches(points: Iterable[tuple[int, Any]]) -> list[tuple[Any, int, int | None]]:
    """(what held, from, to) of (when, what holds from then on); the last has no end."""
    found: list[tuple[Any, int, int | None]] = []
    for at, what in points:
        if found and found[-1][0] == what:
            continue
        if found:
            found[-1] = (found[-1][0], found[-1][1], at)
        found.append((what, at, None))
    return found


def ended(spans: Iterable[tuple[int, int | None]]) -> list[int]:
    return [end - begin for begin, end in spans if end is not None]


class Point(NamedTuple):
    """What a ticket is from a moment on; `place` counts the ticket's events from 1."""

    at: int
    status: str
    agent: str | None
    group: str | None
    place: int

    @property
    def done(self) -> bool:
        return self.status in DONE

    @property
    def waits(self) -> bool:
        return self.agent is None and self.status in ("new", "open")


class Ticket:
    """What a ticket is, changed by one event after another."""

    def __init__(self) -> None:
        self.status, self.agent, self.group = "new", None, None

    def take(self, event: Event) -> None:
        kind, agent, group = event["type"].removeprefix("ticket."), event.get("agent"), event.get("group_name")
        if kind == "created" and agent:
            self.give(agent)
        elif kind == "queued":
            self.agent = None
        elif kind == "assigned" or (kind == "transferred" and (agent or group)):
            self.give(agent)
        elif kind == "updated" and event.get("status") in STATUSES:
            self.status = event["status"]
        elif kind in ("hold", "solved", "closed"):
            self.status = kind
        elif kind == "reopened":
            self.status = "open"
        if kind in ("created", "queued", "assigned", "transferred") and group:
            self.group = group

    def give(self, agent: str | None) -> None:
        self.agent = agent
        if agent and self.status == "new":
            self.status = "open"


def lived(events: Sequence[Event]) -> list[Point]:
    """What one ticket was, event after event."""
    ticket, past = Ticket(), []
    for place, event in enumerate(events, 1):
        ticket.take(event)
        if place == 1 or event["type"] in CHANGES:
            past.append(Point(event["occurred_us"], ticket.status, ticket.agent, ticket.group, place))
    return past


def ticket_facts(events: Sequence[Event]) -> Facts:
    """The rows of all ticket datasets, without tenant and ticket, of one ticket's events in order."""
    past = lived(events)
    made = {
        "ticket_span_fact": lasting(stretches((point.at, point.status) for point in past)),
        "ticket_session_fact": _sessions(past),
        "ticket_stay_fact": _stays(past),
        "ticket_move_fact": _moves(past),
        "ticket_wait_fact": _waits(events),
        "ticket_work_fact": _work(events),
    }
    return made | {"ticket_fact": [_figures(events, past, made)]}


def lasting(spans: Iterable[Sequence[Any]], begin: int = 1, end: int = 2) -> list[tuple[Any, ...]]:
    """Those that lasted, or still last."""
    return [tuple(span) for span in spans if span[end] is None or span[end] > span[begin]]


def _sessions(past: list[Point]) -> list[tuple[Any, ...]]:
    found: list[list[Any]] = []
    owner = None
    for point in past:
        now = None if point.done else point.agent
        if now == owner:
            continue
        if owner is not None:
            found[-1][3] = point.at
        if now is not None:
            found.append([now, point.group, point.at, None])
        owner = now
    return lasting(found, 2, 3)


def _stays(past: list[Point]) -> list[tuple[Any, ...]]:
    found: list[list[Any]] = []
    group = waits_since = None
    for point in past:
        now = None if point.done else point.group
        if waits_since is not None and (now != group or not point.waits):
            if group is not None:
                found[-1][3] += point.at - waits_since
            waits_since = None
        if point.waits and waits_since is None:
            waits_since = point.at
        if now == group:
            continue
        if group is not None:
            found[-1][2] = point.at
        if now is not None:
            found.append([now, point.at, None, 0])
        group = now
    return lasting(found)


def waiting(past: list[Point]) -> list[tuple[int, int | None]]:
    """Each piece in which it waited for an agent, parted where its group changes."""
    pieces = stretches((point.at, (point.group, point.waits)) for point in past)
    return [(begin, end) for (_, waits), begin, end in pieces if waits]


def _moves(past: list[Point]) -> list[tuple[Any, ...]]:
    found = []
    for what in ("agent", "group"):
        last = None
        for before, after in pairwise(past):
            step = getattr(before, what), getattr(after, what)
            if None in step or step[0] == step[1]:
                continue
            found.append((after.at, what, *step, last == step[::-1], after.place))
            last = step
    return found


def _public(event: Event, author: str) -> bool:
    return event["type"] == "ticket.message" and event["author"] == author and event.get("visibility") != "internal"


def _waits(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    asked = None
    for place, event in enumerate(events, 1):
        if _public(event, "customer") and asked is None:
            asked = event["occurred_us"], place
        elif _public(event, "agent") and asked is not None:
            found.append((asked[0], event["occurred_us"], event.get("agent"), asked[1]))
            asked = None
    return found if asked is None else [*found, (asked[0], None, None, asked[1])]


def _work(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    found: list[list[Any]] = []
    begun: dict[Any, list[int]] = defaultdict(list)
    for event in events:
        agent, at = event.get("agent"), event["occurred_us"]
        if event["type"] == "ticket.work_started":
            begun[agent].append(at)
            if len(begun[agent]) == 1:
                found.append([agent, at, None])
        elif event["type"] == "ticket.work_ended" and begun[agent]:
            begun[agent].pop()
            if not begun[agent]:
                next(times for times in reversed(found) if times[0] == agent)[2] = at
    return lasting(found)


def _figures(events: Sequence[Event], past: list[Point], made: Facts) -> tuple[Any, ...]:
    creations = [event for event in events if event["type"] == "ticket.created"]
    created_us = (creations or events)[0]["occurred_us"]
    groups = [point.group for point in past if point.group]
    agents = [point.agent for point in past if point.agent]
    priorities = [e["priority"] for e in events if e["type"] in CHANGES[:2] and e.get("priority")]
    return (
        next((event["channel"] for event in creations if event.get("channel")), None),
        created_us,
        not creations,
        groups[0] if groups else None,
        groups[-1] if groups else None,
        agents[0] if agents else None,
        agents[-1] if agents else None,
        priorities[-1] if priorities else None,
        past[-1].status,
        *_times(events, past, made, created_us),
        *_moved(made["ticket_move_fact"]),
        len(stretches((0, agent) for agent in agents)),
        len(stretches((0, group) for group in groups)),
        *(sum(_public(event, author) for event in events) for author in ("agent", "customer")),
        sum(event["type"] == "ticket.message" and event.get("visibility") == "internal" for event in events),
        sum(_public(event, "bot") for event in events),
        *_ending(events, past, created_us),
        events[0]["occurred_us"] < created_us,
        any(event["ingested_us"] - event["occurred_us"] > HOUR_US for event in events),
    )


def _since(created_us: int, at: int | None) -> int | None:
    return None if at is None else max(0, at - created_us)


def _times(events: Sequence[Event], past: list[Point], made: Facts, created_us: int) -> tuple[Any, ...]:
    """first_assignment, queue, first_response, requester_wait, agent_wait, hold, owned and handle."""

    def spent(*statuses: str) -> int:
        return sum(ended((begin, end) for status, begin, end in made["ticket_span_fact"] if status in statuses))

    worked = ended((begin, end) for _, begin, end in made["ticket_work_fact"])
    return (
        _since(created_us, next((point.at for point in past if point.agent), None)),
        sum(ended(waiting(past))),
        _since(created_us, _responded_us(events, created_us)),
        spent("new", "open", "hold"),
        spent("pending"),
        spent("hold"),
        sum(ended((begin, end) for _, _, begin, end in made["ticket_session_fact"])),
        sum(worked) if worked else None,
    )


def _moved(moves: list[tuple[Any, ...]]) -> tuple[int, int, int]:
    whats = [what for _, what, *_ in moves]
    return whats.count("agent"), whats.count("group"), sum(back for *_, back, _ in moves)


def _ending(events: Sequence[Event], past: list[Point], created_us: int) -> tuple[Any, ...]:
    """one_touch and when it is final, first and full resolution, reopens, solved and closed."""
    turns = list(pairwise([Point(0, "new", None, None, 0), *past]))
    solves = [after.at for before, after in turns if after.done and not before.done]
    reopened = [after.at for before, after in turns if before.done and not after.done]
    closes = [after.at for before, after in turns if after.status == "closed" != before.status]
    final_us = solves[0] + WEEK_US if solves else None
    solved_us = solves[-1] if past[-1].done else None
    return (
        _one_touch(events, final_us, reopened),
        final_us,
        _since(created_us, solves[0] if solves else None),
        _since(created_us, solved_us),
        len(reopened),
        solved_us,
        closes[-1] if past[-1].status == "closed" else None,
    )


def _responded_us(events: Sequence[Event], created_us: int) -> int | None:
    agents = [event["occurred_us"] for event in events if _public(event, "agent")]
    asked = any(_public(event, "customer") and event["occurred_us"] <= created_us for event in events)
    if agents and agents[0] <= created_us and not asked:
        agents = [at for at in agents if at > created_us]
    return agents[0] if agents else None


def _one_touch(events: Sequence[Event], final_us: int | None, reopened: list[int]) -> bool:
    if final_us is None:
        return False
    touches = sum(_public(event, "agent") and event["occurred_us"] <= final_us for event in events)
    return touches <= 1 and not any(at <= final_us for at in reopened)
