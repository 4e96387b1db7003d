"""What safety costs and how fast it is: a load with and without the host's records, and a restart after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figure import Figure, Result, Size, rounded
from bench.load import Load, fresh_lab, write_campaign
from bench.sides import Side, dialer, engine_side, import_people, rows_of
from dialer.campaign.load import load_campaign
from dialer.clock import utc_now
from dialer.engine.capacity import FENCE_S
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab
from dialplan.render import render_node

WITHOUT = Path(__file__).parent / "without_ledger"
CALLS = 3000
RESTARTS = 3
RESTART_RATE = 40.0
LOADED_CALLS = 400
AIM_S = 10.0
PATIENCE_S = 60.0


def ledger_cost(folder: Path, size: Size) -> Result:
    """With the machine full: CEL, journal and spool on, between two runs without all three."""
    load = Load(calls=size.calls or CALLS)
    before, on, after = without(folder, load), engine_side(folder, load), without(folder, load)
    sides = (on, before, after)

    def both(name: str, unit: str, *values: float) -> Figure:
        return rounded(name, unit, values[0], sum(values[1:]) / 2)

    figures = [
        both("completed calls a second", "1/s", *(side.carried.per_second for side in sides)),
        both("completed calls", "calls", *(side.carried.completed for side in sides)),
        Figure(name="answered calls without a stored answer", value=on.lost, unit="calls"),
        *(
            both(f"CPU, {role}", "ms/call", *(side.per_call_ms(role) for side in sides))
            for role in ("ami", "agi", "sql")
        ),
    ]
    return figures, {
        "calls": load.calls, "calls_per_second": load.rate, "ceiling column": "without CEL, journal and spool",
        "without_per_second": [round(side.carried.per_second, 2) for side in (before, after)],
    }  # fmt: skip


def without(folder: Path, load: Load) -> Side:
    """A run of the engine without any record but PostgreSQL's."""
    path = os.pathsep.join(filter(None, [str(WITHOUT), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "DIALER_BENCH_WITHOUT_LEDGER": "1", "PYTHONPATH": path}
    return engine_side(folder, load, render=_without_cel, environ=environ, forget="cel_file")


def _without_cel(*arguments: Any, **options: Any) -> dict[str, str]:
    files = render_node(*arguments, **options)
    return {**files, "cel.conf": "[general]\nenable = no\n"}


def restart(folder: Path, size: Size) -> Result:
    """kill -9 of a loaded engine, started again at once: until the carrier sees the first new call."""
    load = Load(calls=size.calls or CALLS, rate=RESTART_RATE)
    took_s = sorted(_restart(folder, load) for _ in range(RESTARTS))
    figures = [
        Figure(name="kill to first new INVITE, worst", value=took_s[-1], unit="s", ceiling=AIM_S + FENCE_S),
        Figure(name="kill to first new INVITE, best", value=took_s[0], unit="s", ceiling=AIM_S + FENCE_S),
    ]
    return figures, {"restarts": RESTARTS, "calls_per_second": RESTART_RATE, "ceiling column": "10 s and the fence"}


def _restart(folder: Path, load: Load) -> float:
    with fresh_lab(folder, load) as lab:
        campaign = load_campaign(write_campaign(folder, load))
        import_people(lab, campaign)
        command = dialer("run", str(campaign.path), "--settings", str(lab.settings_file), "--json")
        first = _start(command)
        _until(lab, "select count(*) from attempt", LOADED_CALLS)
        killed_at = utc_now()
        first.kill()
        second = _start(command)
        _until(lab, "select count(*) from attempt where epoch = 2", 20)
        second.send_signal(signal.SIGINT)
        second.wait()
        first.wait()
        return round((_first_invite(lab) - killed_at).total_seconds(), 2)


def _start(command: list[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)


def _first_invite(lab: Lab) -> datetime:
    """Of the calls that the second engine claimed."""
    numbers = {row[0] for row in rows_of(lab, "select number from attempt where epoch = 2")}
    return min(row.invited_at for row in read_truth(lab) if row.number in numbers)


def _until(lab: Lab, query: str, many: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while rows_of(lab, query)[0][0] < many:
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_S:g} s: {query} gives {many}")
        time.sleep(0.05)
