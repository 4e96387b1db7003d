"""Thousands of calls at once, each waiting in an open question: what holding them costs."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bench.figure import Figure, Result, Size, rounded
from bench.load import Load
from bench.measure import MACHINE, Costs
from bench.sides import engine_side
from dialer.clock import utc_now
from dialer.lab.process import Instance
from dialer.lab.up import Lab

RAMP = 50.0
"""New calls a second: what they cost is not what is measured."""
REST_S = 60.0
SETTLE_S = 10.0
TIMEOUT_S = 60
"""The longest that a question may wait; then it is asked again, so at rest every call is asked once a minute."""
MOST_TRIES = 9
LOOK_EVERY_S = 2.0


def held_2700(folder: Path, size: Size) -> Result:
    """2,700 calls at once on one node and one carrier."""
    return _held(folder, size, calls=2700, nodes=1)


def held_5000(folder: Path, size: Size) -> Result:
    """5,000 calls at once on two nodes and two carriers of this machine."""
    return _held(folder, size, calls=5000, nodes=2)


class _Rest:
    """When all calls were up, and what everybody cost and held from then on for a while."""

    def __init__(self, wanted: int, rest_s: float) -> None:
        self._wanted, self._rest_s = wanted, rest_s
        self._looked_at: datetime | None = None
        self.begin: datetime | None = None
        self.end: datetime | None = None
        self.bytes: dict[str, int] = {}

    def look(self, lab: Lab, costs: Costs) -> None:
        """Once more; a channel of every node is a call."""
        now = utc_now()
        if self.end is not None or (self._looked_at and now < self._looked_at + timedelta(seconds=LOOK_EVERY_S)):
            return
        self._looked_at = now
        if self.begin is None:
            if sum(map(_channels, lab.nodes)) >= self._wanted:
                self.begin = now + timedelta(seconds=SETTLE_S)
        elif now >= self.begin + timedelta(seconds=self._rest_s):
            self.end = now
            self.bytes = {role: costs.resident(role) for role in ("ami", "agi", "nodes", "carriers")}


def _channels(node: Instance) -> int:
    return int(node.execute("core show channels count").split()[0])


def _held(folder: Path, size: Size, *, calls: int, nodes: int) -> Result:
    calls, rest_s = size.calls or calls, size.seconds or REST_S
    load = Load(
        calls=calls, rate=RAMP, ceiling=calls, audio_sample=0, nodes=nodes, carriers=nodes,
        # Nobody presses before the last is there and all have rested.
        press_after_s=round(calls / RAMP * 1.5 + 2 * SETTLE_S + rest_s), timeout_s=TIMEOUT_S, tries=MOST_TRIES,
    )  # fmt: skip
    rest = _Rest(calls, rest_s)
    side = engine_side(folder, load, during=rest.look)
    seen = side.carried
    figures = [
        Figure(name="calls at once, answered and not ended", value=seen.talking, unit="calls", ceiling=calls),
        Figure(name="answered calls without a stored answer", value=side.lost, unit="calls"),
    ]
    if rest.begin and rest.end:
        span_s = (rest.end - rest.begin).total_seconds()
        cores = partial(_cores, side.costs, rest.begin, rest.end, span_s)
        figures += [rounded(f"CPU at rest, {name}", "cores", cores(role)) for name, role in _PARTS]
        figures += [rounded(f"memory, {name}", "MB", rest.bytes[role] / 1e6) for name, role in _PARTS[:4]]
        figures.append(
            rounded("memory of engine and workers", "KB/call", (rest.bytes["ami"] + rest.bytes["agi"]) / 1e3 / calls)
        )
    return figures, {
        "calls": calls, "nodes": nodes, "rest_s": rest_s if rest.end else "never: not all calls were up at once",
        "asked_again_after_s": TIMEOUT_S, "calls_per_second": RAMP, "ceiling column": "asked for",
    }  # fmt: skip


_PARTS = (
    ("engine", "ami"), ("workers", "agi"), ("nodes", "nodes"), ("carriers", "carriers"), ("PostgreSQL", "sql"),
    ("the machine", MACHINE),
)  # fmt: skip


def _cores(costs: Costs, begin: datetime, end: datetime, span_s: float, role: str) -> float:
    return costs.cpu(role, begin, end) / span_s
