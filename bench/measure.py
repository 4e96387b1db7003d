"""What processes cost and what the carrier saw: CPU seconds and peak memory by role, calls a second, percentiles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from dialer.lab.truth import TruthRow

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(kw_only=True)
class Costs:
    """CPU seconds and peak resident bytes of processes, by role, as last seen; they may end between two looks."""

    cpu_s: dict[str, dict[int, float]] = field(default_factory=dict)
    peak_bytes: dict[str, dict[int, int]] = field(default_factory=dict)

    def look(self, role: str, pids: Iterable[int]) -> None:
        """Reads the processes of a role once more."""
        for pid in pids:
            spent, peak = cpu_seconds(pid), peak_memory(pid)
            if spent is not None:
                self.cpu_s.setdefault(role, {})[pid] = spent
            if peak is not None:
                self.peak_bytes.setdefault(role, {})[pid] = peak

    def cpu(self, role: str) -> float:
        """CPU seconds of all processes of a role."""
        return sum(self.cpu_s.get(role, {}).values())

    def peak(self, role: str) -> int:
        """Peak bytes, added up over the processes of a role."""
        return sum(self.peak_bytes.get(role, {}).values())


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float | None:
    """User and system time of a process (proc(5)); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    except OSError:
        return None
    last = 15 if with_ended_children else 13
    return sum(map(int, fields[11:last])) / _TICKS


def peak_memory(pid: int) -> int | None:
    """The most resident bytes a process ever had; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def pids_with(*words: str) -> list[int]:
    """Processes whose command line holds all the words."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if all(word in command for word in words):
                found.append(int(entry.name))
    return found


def database_cpu(postmaster: int) -> float:
    """CPU seconds of a PostgreSQL cluster: the postmaster, its live children, and those that it has outlived."""
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii").split()
    live = sum(cpu_seconds(int(pid)) or 0.0 for pid in children)
    return live + (cpu_seconds(postmaster, with_ended_children=True) or 0.0)


def machine_cpu() -> tuple[float, float]:
    """Busy and total CPU seconds of the machine since it started."""
    fields = [int(value) for value in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / _TICKS, sum(fields) / _TICKS


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What the carrier saw of a run: the judge of both sides."""

    invites: int
    pressed: frozenset[str]
    """The numbers that answered, pressed their key and ended."""
    per_second: float
    """Completed calls a second between the tenth and the ninetieth hundredth of them: without start and end."""
    at_once: int
    first_audio_ms: list[float]

    @property
    def completed(self) -> int:
        """How many pressed their key."""
        return len(self.pressed)


def carried(rows: list[TruthRow]) -> Carried:
    """Sums a truth up."""
    done = [row for row in rows if row.answered_at and row.keys and row.ended_at]
    ends = sorted(row.ended_at for row in done if row.ended_at)
    tenth = len(ends) // 10
    span_s = (ends[-1 - tenth] - ends[tenth]).total_seconds() if ends else 0.0
    steps = sorted([(row.invited_at, 1) for row in rows] + [(row.ended_at, -1) for row in rows if row.ended_at])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    audio = [
        (row.first_audio_at - row.answered_at) / timedelta(milliseconds=1)
        for row in rows
        if row.answered_at and row.first_audio_at
    ]
    return Carried(
        invites=len(rows),
        pressed=frozenset(row.number for row in done),
        per_second=(len(ends) - 1 - 2 * tenth) / span_s if span_s else 0.0,
        at_once=most,
        first_audio_ms=sorted(audio),
    )


def percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest-rank percentile of sorted values; None of none."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
