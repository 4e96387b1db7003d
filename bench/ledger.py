"""What safety costs and how fast it is: a load with and without the host's records, and a restart after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.ivr import CALLS, FULL_RATE, Figure, Side, engine_side, fresh_lab, write_campaign
from dialer.clock import utc_now
from dialer.engine.recovery import FENCE_S
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab
from dialer.storage.session import sync_engine
from dialplan.render import render_node

WITHOUT = Path(__file__).parent / "without_ledger"
RESTARTS = 3
RESTART_RATE = 40.0
LOADED_CALLS = 400
AIM_S = 10.0
PATIENCE_S = 60.0


def ledger_cost(folder: Path) -> tuple[list[Figure], dict[str, object]]:
    """With the machine full: CEL, journal and spool on, between two runs without all three."""
    before, on, after = without(folder), engine_side(folder, FULL_RATE), without(folder)

    def both(name: str, unit: str, value: float, *others: float) -> Figure:
        return Figure(name=name, value=round(value, 3), unit=unit, ceiling=round(sum(others) / len(others), 3))

    def cost(role: str) -> Figure:
        return both(f"CPU, {role}", "ms/call", *(side.per_call_ms(role) for side in (on, before, after)))

    figures = [
        both("completed calls a second", "1/s", *(side.carried.per_second for side in (on, before, after))),
        both("completed calls", "calls", *(side.carried.completed for side in (on, before, after))),
        Figure(name="answers lost: pressed, not stored", value=on.carried.completed - on.answers, unit="answers"),
        *map(cost, ("ami", "agi", "sql")),
    ]
    conditions: dict[str, object] = {
        "calls": CALLS, "calls_per_second": FULL_RATE, "ceiling column": "without CEL, journal and spool",
        "without_per_second": [round(side.carried.per_second, 2) for side in (before, after)],
    }  # fmt: skip
    return figures, conditions


def without(folder: Path) -> Side:
    """A run of the engine without any record but PostgreSQL's."""
    path = os.pathsep.join(filter(None, [str(WITHOUT), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "DIALER_BENCH_WITHOUT_LEDGER": "1", "PYTHONPATH": path}
    return engine_side(folder, FULL_RATE, render=_without_cel, environ=environ, forget="cel_file")


def _without_cel(*arguments: Any, **options: Any) -> dict[str, str]:
    files = render_node(*arguments, **options)
    return {**files, "cel.conf": "[general]\nenable = no\n"}


def restart(folder: Path) -> tuple[list[Figure], dict[str, object]]:
    """kill -9 of a loaded engine, started again at once: until the carrier sees the first new call."""
    took_s = sorted(_restart(folder) for _ in range(RESTARTS))
    figures = [
        Figure(name="kill to first new INVITE, worst", value=took_s[-1], unit="s", ceiling=AIM_S + FENCE_S),
        Figure(name="kill to first new INVITE, best", value=took_s[0], unit="s", ceiling=AIM_S + FENCE_S),
    ]
    return figures, {"restarts": RESTARTS, "calls_per_second": RESTART_RATE, "ceiling column": "10 s and the fence"}


def _restart(folder: Path) -> float:
    with fresh_lab(folder) as lab:
        campaign = write_campaign(folder, RESTART_RATE)
        command = [sys.executable, "-m", "cli", "run", str(campaign), "--settings", str(lab.settings_file), "--json"]
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
    numbers = {row[0] for row in _rows(lab, "select number from attempt where epoch = 2")}
    return min(row.invited_at for row in read_truth(lab) if row.number in numbers)


def _until(lab: Lab, query: str, many: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while _rows(lab, query)[0][0] < many:
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_S:g} s: {query} gives {many}")
        time.sleep(0.05)


def _rows(lab: Lab, query: str) -> list[Any]:
    engine = sync_engine(lab.settings)
    try:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(query))
    finally:
        engine.dispose()
