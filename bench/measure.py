"""What processes cost and what the carriers saw: CPU and memory by role over time, calls a second, percentiles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from dialer.clock import utc_now
from dialer.lab.truth import TruthRow

_TICKS = os.sysconf("SC_CLK_TCK")
MACHINE = "machine"
"""The role of everything that runs here."""


@dataclass(kw_only=True)
class Costs:
    """CPU seconds of processes by role, as they add up over time, and their memory; they may end between two looks."""

    seen: list[tuple[datetime, dict[str, float]]] = field(default_factory=list)
    """When somebody looked, and the CPU seconds of each role until then."""
    _cpu_s: dict[str, dict[int, float]] = field(default_factory=dict)
    _bytes: dict[str, dict[int, int]] = field(default_factory=dict)
    _peak_bytes: dict[str, dict[int, int]] = field(default_factory=dict)

    def look(self, roles: dict[str, Iterable[int]], postmaster: int) -> None:
        """Reads the processes of every role once more."""
        for role, pids in roles.items():
            for pid in pids:
                spent = cpu_seconds(pid)
                if spent is not None:
                    self._cpu_s.setdefault(role, {})[pid] = spent
                for kind, found in (("VmRSS:", self._bytes), ("VmHWM:", self._peak_bytes)):
                    size = memory(pid, kind)
                    if size is not None:
                        found.setdefault(role, {})[pid] = size
        spent_by_role = {role: sum(spent.values()) for role, spent in self._cpu_s.items()}
        self.seen.append((utc_now(), spent_by_role | {"sql": database_cpu(postmaster), MACHINE: machine_cpu()}))

    def cpu(self, role: str, begin: datetime, end: datetime) -> float:
        """CPU seconds of a role between two instants, to the nearest looks."""
        first = min(self.seen, key=lambda look: abs(look[0] - begin))[1]
        last = min(self.seen, key=lambda look: abs(look[0] - end))[1]
        return last.get(role, 0.0) - first.get(role, 0.0)

    def peak(self, role: str) -> int:
        """The most resident bytes, added up over the processes of a role."""
        return sum(self._peak_bytes.get(role, {}).values())

    def resident(self, role: str) -> int:
        """Resident bytes at the last look."""
        return sum(self._bytes.get(role, {}).values())


def cpu_seconds(pid: int, *, with_ended_children: bool = False) -> float | None:
    """User and system time of a process (proc(5)); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    except OSError:
        return None
    last = 15 if with_ended_children else 13
    return sum(map(int, fields[11:last])) / _TICKS


def memory(pid: int, kind: str) -> int | None:
    """Bytes of a process: `VmRSS:` resident now, `VmHWM:` the most ever; None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(kind)), None)


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


def machine_cpu() -> float:
    """Busy CPU seconds of the machine since it started."""
    fields = [int(value) for value in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What the carriers saw of a run: the judge of both sides."""

    invites: int
    answered: frozenset[str]
    """The numbers that picked up."""
    pressed: frozenset[str]
    """The numbers that answered, pressed their key and ended."""
    begin: datetime
    """When a tenth of these had ended."""
    end: datetime
    """When nine tenths of them had, or the last INVITE came: between the two, calls begin as well as end."""
    between: int
    """How many ended between the two."""
    at_once: int
    """The most calls between INVITE and end."""
    talking: int
    """The most calls between answer and end."""
    first_audio_ms: list[float]
    """From answer to first audio, of the calls in the sample, sorted."""

    @property
    def completed(self) -> int:
        """How many pressed their key."""
        return len(self.pressed)

    @property
    def per_second(self) -> float:
        """Completed calls a second, without start and end of the run."""
        span_s = (self.end - self.begin).total_seconds()
        return self.between / span_s if span_s else 0.0


def carried(rows: list[TruthRow]) -> Carried:
    """Sums a truth up."""
    done = [row for row in rows if row.answered_at and row.keys and row.ended_at]
    ends = sorted(row.ended_at for row in done if row.ended_at)
    if not ends:
        raise SystemExit(f"nobody pressed a key: {len(rows)} INVITEs, {sum(bool(r.answered_at) for r in rows)} answers")
    tenth = len(ends) // 10
    begin, end, last_invite = ends[tenth], ends[-1 - tenth], max(row.invited_at for row in rows)
    if begin < last_invite:
        end = min(end, last_invite)
    audio = (
        (row.first_audio_at - row.answered_at) / timedelta(milliseconds=1)
        for row in rows
        if row.answered_at and row.first_audio_at
    )
    return Carried(
        invites=len(rows),
        answered=frozenset(row.number for row in rows if row.answered_at),
        pressed=frozenset(row.number for row in done),
        begin=begin,
        end=end,
        between=sum(begin < one <= end for one in ends),
        at_once=_most((row.invited_at, row.ended_at) for row in rows),
        talking=_most((row.answered_at, row.ended_at) for row in rows if row.answered_at),
        first_audio_ms=sorted(audio),
    )


def _most(spans: Iterable[tuple[datetime, datetime | None]]) -> int:
    def steps() -> Iterator[tuple[datetime, int]]:
        for begin, end in spans:
            yield begin, 1
            if end:
                yield end, -1

    now = most = 0
    for _, step in sorted(steps()):
        now += step
        most = max(most, now)
    return most


def percentile(ordered: list[float], percent: int) -> float | None:
    """The nearest-rank percentile of sorted values; None of none."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
