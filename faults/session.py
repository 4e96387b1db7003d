"""One fault run from its start to its verdict: lab up, campaigns running, faults, drain, evidence, checker."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from dialer.lab.places import places
from dialer.lab.process import end_all
from dialer.lab.up import down, up
from dialplan.render import render_node
from faults import evidence
from faults.checker import check, tally
from faults.disks import small_disks, unmount
from faults.nemesis import Nemesis
from faults.record import FaultRecord, History, Violation
from faults.workload import write_workload
from faults.world import World

NAME = "faults"
AUDIO_SAMPLE = 1.0
IDLE_S = 30.0
"""Channels of drained calls go within this; the carrier may still be in a wait."""
MORE_DESCRIPTORS = 24
"""Above what an idle worker held at the start: a pool of connections and some files."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run showed."""

    seed: int
    history: History
    violations: list[Violation]
    exits: dict[str, list[int]]
    """The exit codes of each campaign's runs, in their order."""

    @property
    def last_line(self) -> str:
        """For a person and for a script."""
        calls, faults = len(self.history.truth), len(self.history.faults)
        return f"faults: calls={calls} faults={faults} violations={len(self.violations)} seed={self.seed}"


def run(folder: Path, *, minutes: float, seed: int, only: frozenset[str], say: Say) -> Outcome:
    """Runs the whole thing in `folder`, which it fills; the lab is gone afterwards, whatever happens."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    workload = write_workload(folder, rng, minutes)
    where = places(NAME, folder)
    try:
        with small_disks(where) as disks:
            lab = up(NAME, render_node=render_node, numbers=workload.numbers, audio_sample=AUDIO_SAMPLE, base=folder)
            world = World(lab, folder, workload, random.Random(seed + 1), disks=disks)
            try:
                return asyncio.run(_run(world, minutes, seed, rng, only, say))
            finally:
                end_all(where.runtime)
    finally:
        unmount(where)
        down(NAME, base=folder)


async def _run(
    world: World, minutes: float, seed: int, rng: random.Random, only: frozenset[str], say: Say
) -> Outcome:  # fmt: skip
    nemesis = Nemesis(world, rng, say, only)
    await world.start()
    idle = max(evidence.descriptors(pid) or 0 for pid, _ in world.workers())
    try:
        started = await world.until(lambda: any(map(world.is_under_way, world.runs)), 60)
        say("calls begin" if started else "no run shows progress")
        await nemesis.torment(minutes * 60)
        say("the last fault is healed; draining")
        leaks = await world.drain()
        leaks += _more_descriptors(world, idle)
    finally:
        left = await world.close()
    leaks += left + await _left(world)
    for log in (*world.lab.places.state.glob("logs/*.log"), world.lab.node.log):
        shutil.copy(log, world.folder)
    history = await asyncio.to_thread(evidence.gather, world.lab, world.workload, nemesis.records, leaks)
    violations = check(history) + _tracebacks(world.folder)
    return Outcome(seed=seed, history=history, violations=violations, exits={run.name: run.codes for run in world.runs})


async def _left(world: World) -> list[str]:
    """What is still there when everything is over."""
    instances = (world.lab.node, world.lab.carrier)
    await world.until(lambda: not any(map(evidence.channels_left, instances)), IDLE_S)
    channels = [said for said in map(evidence.channels_left, instances) if said]
    return [*channels, *evidence.files_left(world.lab), *evidence.database_left(world.lab)]


def _more_descriptors(world: World, idle: int) -> list[str]:
    """Of the workers that live now, without calls: process ids come again, so those of the start say nothing."""
    found = {pid: evidence.descriptors(pid) for pid, _ in world.workers()}
    return [
        f"worker {pid} holds {now} descriptors without a call, at the start {idle} were the most"
        for pid, now in found.items()
        if now is not None and now > idle + MORE_DESCRIPTORS
    ]


def _tracebacks(folder: Path) -> list[Violation]:
    """A fault of the machine is no reason to show an operator our insides."""
    found = []
    for path in sorted(folder.glob("*.err")):
        said = path.read_text(encoding="utf-8", errors="replace")
        if "Traceback" in said:
            found.append(
                Violation(kind="traceback", what=path.name, evidence=(said[said.index("Traceback") :][:2000],))
            )
    return found


def write_report(outcome: Outcome, path: Path) -> None:
    """The run as JSON: the faults with their times, what became of the calls, the violations with their evidence."""
    report = {
        "line": outcome.last_line,
        "seed": outcome.seed,
        "exits": outcome.exits,
        "tally": tally(outcome.history),
        "dispositions": Counter(str(one.disposition) for one in outcome.history.attempts).most_common(),
        "violations": [asdict(one) for one in outcome.violations],
        "faults": [_fault(one) for one in outcome.history.faults],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1, default=_plain) + "\n", encoding="utf-8")


def _fault(record: FaultRecord) -> dict[str, object]:
    return asdict(record) | {"harms": sorted(harm.value for harm in record.harms)}


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.value if isinstance(value, Enum) else str(value)
