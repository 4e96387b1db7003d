"""Two engines on two nodes against one on one: the same work on the same machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.figure import Figure, Result, Size, rounded
from bench.load import by_time
from bench.sides import Side, engine_side

SECONDS = 120.0


def engines_2(folder: Path, size: Size) -> Result:
    """Two engines and two nodes between two runs of one of each, with one ceiling for all of the campaign's calls."""
    one_load = by_time(size.seconds or SECONDS)
    two_load = replace(one_load, nodes=2, carriers=2)
    before, two, after = engine_side(folder, one_load), engine_side(folder, two_load), engine_side(folder, one_load)
    ones = (before, after)
    calls_of = {trunk: sum(row.trunk == trunk for row in two.rows) for trunk in two_load.trunks}

    def both(name: str, unit: str, *values: float) -> Figure:
        return rounded(name, unit, values[0], sum(values[1:]) / 2)

    def cost(name: str, *roles: str) -> Figure:
        return both(name, "ms/call", *(side.per_call_ms(*roles) for side in (two, *ones)))

    figures = [
        both("completed calls a second", "1/s", *(side.carried.per_second for side in (two, *ones))),
        Figure(name="answered calls without a stored answer", value=two.lost, unit="calls"),
        Figure(name="INVITEs beyond one a number", value=_beyond(two), unit="INVITEs"),
        Figure(
            name="calls at once, by the carriers", value=two.carried.at_once, unit="calls", ceiling=two_load.ceiling
        ),
        *(Figure(name=f"calls through {trunk}", value=count, unit="calls") for trunk, count in calls_of.items()),
        cost("CPU of engines", "ami"),
        cost("CPU of workers", "agi"),
        cost("CPU of PostgreSQL", "sql"),
        cost("CPU of nodes and carriers", "nodes", "carriers"),
    ]
    return figures, {
        "seconds": one_load.seconds, "max_concurrent": two_load.ceiling, "calls_per_second": two_load.rate,
        "ceiling column": "one engine on one node; calls at once: the campaign's ceiling",
        "one_per_second": [round(side.carried.per_second, 2) for side in ones],
    }  # fmt: skip


def _beyond(side: Side) -> int:
    return side.carried.invites - len({row.number for row in side.rows})
