"""Asked for twice what the machine carries, with a ceiling far too high: the engine with and without its control."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from bench.figure import Figure, Result, Size, rounded
from bench.load import by_time
from bench.measure import percentile
from bench.sides import Side, bare_side, engine_side

SECONDS = 150.0
"""The engine begins slowly: it needs some 45 s to find out what the machine carries."""
CEILING = 2500
SILENT_MS = 2000.0
SWITCH = "DIALER_NO_OVERLOAD_CONTROL"


def overload(folder: Path, size: Size) -> Result:
    """Twice what the bare loop carries, 2,500 calls allowed: completed answers a second, and answered calls lost."""
    seconds = size.seconds or SECONDS
    best = bare_side(folder, by_time(seconds))
    asked = round(2 * best.carried.per_second, 1)
    # Without the control most calls are silent: the run must show that, not stop at it.
    load = replace(best.load, calls=int(asked * seconds), rate=asked, ceiling=CEILING, max_silent="100%")
    controlled = engine_side(folder, load)
    uncontrolled = engine_side(folder, load, environ={**os.environ, SWITCH: "1"})
    bare = bare_side(folder, load)
    figures = [
        *_figures("with control", controlled, best),
        *_figures("without", uncontrolled, best),
        rounded("bare loop: keys received a second", "1/s", _answers_per_second(bare), best.carried.per_second),
        Figure(
            name="bare loop: answered calls without an answer",
            value=len(bare.carried.answered) - bare.answers, unit="calls",
        ),
    ]  # fmt: skip
    return figures, {
        "seconds": seconds, "calls_per_second": asked, "max_concurrent": CEILING,
        "ceiling column": f"the bare loop with {best.load.ceiling} calls allowed, the best found",
    }  # fmt: skip


def _answers_per_second(side: Side) -> float:
    """Only answers that arrived count: under overload most keys that the carrier presses meet nobody."""
    seen = side.carried
    arrived = len(seen.pressed & side.stored) if side.stored else side.answers
    return seen.per_second * arrived / max(1, seen.completed)


def _figures(name: str, side: Side, best: Side) -> list[Figure]:
    seen = side.carried
    return [
        rounded(f"{name}: completed answers a second", "1/s", _answers_per_second(side), best.carried.per_second),
        Figure(name=f"{name}: answered calls without a stored answer", value=side.lost, unit="calls"),
        Figure(name=f"{name}: answered calls", value=len(seen.answered), unit="calls"),
        Figure(name=f"{name}: INVITEs that nobody answered", value=seen.invites - len(seen.answered), unit="calls"),
        Figure(name=f"{name}: calls at once", value=seen.at_once, unit="calls", ceiling=CEILING),
        rounded(f"{name}: answer to first audio, p99", "ms", percentile(seen.first_audio_ms, 99)),
        rounded(
            f"{name}: silent for more than {SILENT_MS / 1000:g} s, of the audio sample",
            "share",
            sum(one > SILENT_MS for one in seen.first_audio_ms) / max(1, len(seen.first_audio_ms)),
        ),
    ]
