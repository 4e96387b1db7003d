"""The figures of queues and agents once more, event by event, as reference_metrics does for tickets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.reference_metrics import Event, Facts, ended, lasting

CLEARS = ("answered", "transferred", "ended")


def word(event: Event) -> str:
    return event["type"].partition(".")[2]


@dataclass
class Entry:
    """What a queue entry is, changed by one event after another, and the work that it was to agents."""

    queue: str | None = None
    agent: str | None = None
    state: str = "talk"
    answered: bool = False
    over: bool = False
    ringing: dict[str | None, list[Any]] = field(default_factory=dict)
    bound: list[Any] | None = None
    work: list[list[Any]] = field(default_factory=list)
    """queue, agent, state, begin, end, ended_by, place"""
    releases: list[tuple[int, int, str, str | None, int]] = field(default_factory=list)
    """when, 0 for let go and 1 for wrapped, the agent, the queue, the place"""

    def take(self, event: Event, place: int) -> None:
        at, kind, agent = event["occurred_us"], word(event), event.get("agent")
        self.queue = event.get("queue") or self.queue
        if kind == "wrapped":
            self.releases.append((at, 1, agent, None, place))
        if self.over:
            return
        self._ring(kind, agent, at, place)
        now = self._change(kind, agent, event.get("queue"))
        if now != (self.bound and (self.bound[1], self.bound[2])):
            if self.bound:
                self.bound[4:6] = at, kind
                if now is None or now[0] != self.bound[1]:
                    self.releases.append((at, 0, self.bound[1], self.bound[0], place))
            self.bound = None if now is None else [self.queue, *now, at, None, None, place]
            self.work += [self.bound] if self.bound else []

    def _change(self, kind: str, agent: str | None, queue: str | None) -> tuple[str, str] | None:
        """Who is bound by it now, and how."""
        self.answered = self.answered or kind == "answered"
        if kind == "answered" or (kind == "transferred" and (agent or queue)):
            self.agent, self.state = agent, "talk"
        elif kind in ("held", "resumed"):
            self.state = "hold" if kind == "held" else "talk"
        elif kind == "ended":
            self.over, self.agent = True, None
        return (self.agent, self.state) if self.agent and self.answered else None

    def _ring(self, kind: str, agent: str | None, at: int, place: int) -> None:
        if kind in ("offered", "declined") and agent in self.ringing:
            self.ringing.pop(agent)[4:6] = at, kind
        if kind == "offered":
            self.ringing[agent] = [self.queue, agent, "ring", at, None, None, place]
            self.work.append(self.ringing[agent])
        if kind in CLEARS:
            for rung, row in self.ringing.items():
                row[4:6] = at, "taken" if kind == "answered" and rung != agent else kind
            self.ringing = {}

    def wrapped_up(self) -> list[list[Any]]:
        found = []
        let_go: dict[str, tuple[int, str | None]] = {}
        for at, wrapped, agent, queue, place in sorted(self.releases, key=lambda one: one[:2]):
            if not wrapped:
                let_go[agent] = at, queue
            elif agent in let_go:
                since, queue = let_go.pop(agent)
                found.append([queue, agent, "acw", since, at, "wrapped", place])
        return found


def queue_facts(events: Sequence[Event]) -> Facts:
    """The rows of all queue datasets, without tenant and entry, of one entry's events in order."""
    entry = Entry()
    for place, event in enumerate(events, 1):
        entry.take(event, place)
    entered = [event for event in events if word(event) == "entered"]
    said = {name: next((e[name] for e in entered if e.get(name)), None) for name in ("queue", "channel", "ticket")}
    work = [
        (queue, said["channel"], agent, state, begin, end, ended_by, place)
        for queue, agent, state, begin, end, ended_by, place in [*entry.work, *entry.wrapped_up()]
    ]
    times: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
    for _, _, _, state, begin, end, _, _ in work:
        times[state].append((begin, end))
    return {"queue_work_fact": work, "queue_fact": [_figures(events, entered, said, times)]}


def _figures(
    events: Sequence[Event],
    entered: list[Event],
    said: dict[str, str | None],
    times: dict[str, list[tuple[int, int | None]]],
) -> tuple[Any, ...]:
    def first(kind: str, name: str) -> Any:
        return next((event[name] for event in events if word(event) == kind and event.get(name) is not None), None)

    kinds = [word(event) for event in events]
    entered_us = (entered or events)[0]["occurred_us"]
    answered_us, ended_us = first("answered", "occurred_us"), first("ended", "occurred_us")
    done_us = ended_us if answered_us is None else answered_us
    wraps = [event["occurred_us"] for event in events if word(event) == "wrapped"]
    return (
        said["queue"],
        said["channel"],
        said["ticket"],
        first("answered", "agent"),
        entered_us,
        answered_us,
        ended_us,
        wraps[-1] if wraps else None,
        first("ended", "reason"),
        None if done_us is None else max(0, done_us - entered_us),
        union_us(times["ring"]),
        sum(ended(times["talk"])),
        sum(ended(times["hold"])),
        sum(ended(times["acw"])) if times["acw"] else None,
        kinds.count("transferred"),
        kinds.count("declined"),
        ended_us is None,
        events[0]["occurred_us"] < entered_us or (None not in (answered_us, ended_us) and ended_us < answered_us),
    )


def union_us(spans: Sequence[tuple[int, int | None]]) -> int:
    """How long at least one of those that have ended lasted."""
    turns = sorted(
        [(at, 1) for at, end in spans if end is not None] + [(end, -1) for _, end in spans if end is not None]
    )
    total, open_now, since = 0, 0, 0
    for at, step in turns:
        total += at - since if open_now else 0
        open_now, since = open_now + step, at
    return total


def agent_facts(events: Sequence[Event]) -> Facts:
    """The rows of `agent_span_fact`, without tenant and session, of one session's events in order."""
    agent = next((event["agent"] for event in events if event.get("agent")), None)
    spans: list[list[Any]] = []
    now: tuple[str, str | None] | None = None
    logged_out = False
    for event in events:
        kind = word(event)
        logged_out = kind == "logged_out" or (logged_out and kind != "logged_in")
        state = "available" if kind == "logged_in" else kind
        new = None if logged_out else (state, event.get("code") if kind == "paused" else None)
        if new == now:
            continue
        if now:
            spans[-1][4] = event["occurred_us"]
        if new:
            spans.append([agent, *new, event["occurred_us"], None])
        now = new
    return {"agent_span_fact": lasting(spans, 3, 4)}
