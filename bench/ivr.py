"""Short IVR calls, a prompt and one real key each: the engine beside the bare loop, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.load import Load, by_time
from bench.measure import percentile
from bench.sides import Side, bare_side, call_files_side, engine_side, rows_of
from bench.statements import Statements
from dialer.lab.up import Lab

FULL_S = 300.0
SHORT_S = 60.0
STEADY_S = 150.0
"""The engine begins slowly: what it costs until it is under way is not what a call costs."""
CALM = 0.6
"""The part of what the bare loop carries that leaves a machine room to answer in time."""
AUDIO_RATE = 50.0
AUDIO_WARM_S = 15.0
"""An engine begins slowly and works off what has become due meanwhile: not what is looked at here."""
AUDIO_AIM_MS = 250.0
AUDIO_SAMPLE = 0.25
"""Of 50 calls a second for a minute: 750 samples."""


def ivr_full(folder: Path, size: Size) -> Result:
    """With the machine full for five minutes: the engine between two bare runs."""
    load = by_time(size.seconds or FULL_S)
    before, engine, after = bare_side(folder, load), engine_side(folder, load), bare_side(folder, load)
    return _beside_bare(engine, [before, after]), _conditions(engine, [before, after])


def call_files(folder: Path, size: Size) -> Result:
    """The same work dropped as Asterisk call files, beside the bare loop and the engine."""
    load = by_time(size.seconds or STEADY_S)
    files, engine, bare = call_files_side(folder, load), engine_side(folder, load), bare_side(folder, load)
    figures = []
    for name, side in (("call files", files), ("engine", engine)):
        figures += [
            rounded(f"{name}: completed calls a second", "1/s", side.carried.per_second, bare.carried.per_second),
            rounded(f"{name}: answered calls without an answer", "calls", len(side.carried.answered) - side.answers),
            rounded(f"{name}: calls at once", "calls", side.carried.at_once, bare.carried.at_once),
        ]
    return figures, _conditions(engine, [bare])


def client_cpu(folder: Path, size: Size) -> Result:
    """CPU, statements and commits of a call at 60 % of what the bare loop carries, beside the bare loop there."""
    seconds = size.seconds or STEADY_S
    full = bare_side(folder, by_time(min(seconds, SHORT_S))).carried.per_second
    load = replace(by_time(seconds), rate=round(CALM * full, 1))
    statements = Statements()
    before = bare_side(folder, load)
    engine = engine_side(folder, load, prepare=statements.begin, after=statements.end)
    after = bare_side(folder, load)
    calls = max(1, engine.carried.completed)
    client = sum(side.per_call_ms("client") for side in (before, after)) / 2
    figures = [
        rounded("CPU of engine and workers", "ms/call", engine.per_call_ms("ami", "agi"), client),
        rounded("  engine (AMI)", "ms/call", engine.per_call_ms("ami")),
        rounded("  workers (AGI)", "ms/call", engine.per_call_ms("agi")),
        rounded("CPU of PostgreSQL", "ms/call", engine.per_call_ms("sql")),
        rounded("commits", "1/call", statements.commits / calls),
        rounded("statements", "1/call", statements.count / calls),
        *(rounded(f"  {verb}", "1/call", count / calls) for verb, count in statements.by_verb.most_common(6)),
        *_beside_bare(engine, [before, after]),
    ]
    return figures, _conditions(engine, [before, after]) | {"bare_full_per_second": round(full, 2)}


def first_audio(folder: Path, size: Size) -> Result:
    """At 50 calls a second: answer to first audio, and from the moment a call is due to its INVITE."""
    seconds = size.seconds or SHORT_S
    load = Load(
        # Numbers fall due one by one, half as fast as the limit allows: nobody waits for anybody but the engine.
        calls=int(AUDIO_RATE * (AUDIO_WARM_S + seconds)), rate=2 * AUDIO_RATE, audio_sample=AUDIO_SAMPLE,
    )  # fmt: skip
    due_at: dict[str, datetime] = {}

    def one_by_one(lab: Lab) -> None:
        rows_of(
            lab, "update contact set next_attempt_at = now() + interval '10 s' + "
            f"(rank - 1) / {AUDIO_RATE} * interval '1 s' "
            "from (select id, row_number() over (order by id) as rank from contact) as ranked "
            "where ranked.id = contact.id",
        )  # fmt: skip
        due_at.update((row[0], row[1]) for row in rows_of(lab, "select next_number, next_attempt_at from contact"))

    engine = engine_side(folder, load, prepare=one_by_one)
    bare = bare_side(folder, replace(load, rate=AUDIO_RATE))
    warm_at = min(due_at.values()) + timedelta(seconds=AUDIO_WARM_S)
    waited = _waited_ms(engine, due_at, min(due_at.values()))
    waited_warm = _waited_ms(engine, due_at, warm_at)
    audio = engine.carried.first_audio_ms
    figures = [
        rounded("answer to first audio, p50", "ms", percentile(audio, 50), AUDIO_AIM_MS),
        rounded("answer to first audio, p99", "ms", percentile(audio, 99), AUDIO_AIM_MS),
        rounded("bare loop: answer to first audio, p99", "ms", percentile(bare.carried.first_audio_ms, 99)),
        rounded("due to INVITE, p50", "ms", percentile(waited_warm, 50)),
        rounded("due to INVITE, p99", "ms", percentile(waited_warm, 99)),
        rounded(f"  with the first {AUDIO_WARM_S:g} s, p99", "ms", percentile(waited, 99)),
        Figure(name="INVITEs before they were due", value=sum(one < 0 for one in waited), unit="INVITEs"),
        rounded("completed calls a second", "1/s", engine.carried.per_second, AUDIO_RATE),
        Figure(name="answered calls without a stored answer", value=engine.lost, unit="calls"),
    ]
    return figures, {"calls": load.calls, "calls_per_second": AUDIO_RATE, "audio_samples": len(audio),
                     "ceiling column": "the aim"}  # fmt: skip


def _waited_ms(side: Side, due_at: Mapping[str, datetime], since: datetime) -> list[float]:
    """From due to INVITE, of the numbers that fell due from an instant on, sorted."""
    return sorted(
        (row.invited_at - due_at[row.number]).total_seconds() * 1000 for row in side.rows if due_at[row.number] >= since
    )


def _beside_bare(engine: Side, bare: list[Side]) -> list[Figure]:
    """The engine's figures beside the mean of the bare runs around it."""

    def both(name: str, unit: str, of: Callable[[Side], float]) -> Figure:
        return rounded(name, unit, of(engine), sum(map(of, bare)) / len(bare))

    seen = engine.carried
    return [
        both("completed calls a second", "1/s", lambda side: side.carried.per_second),
        both("completed calls", "calls", lambda side: side.carried.completed),
        Figure(name="answered calls without a stored answer", value=engine.lost, unit="calls"),
        Figure(name="  keys pressed and not stored", value=len(seen.pressed - engine.stored), unit="calls"),
        both("bare: answered calls without an answer", "calls", _unanswered),
        Figure(name="INVITEs beyond one a number", value=seen.invites - _called(engine), unit="INVITEs"),
        both("calls at once", "calls", lambda side: side.carried.at_once),
        both("machine busy", "cores", lambda side: side.busy()),
        both("  nodes and carriers", "cores", lambda side: side.busy("nodes") + side.busy("carriers")),
        rounded("peak memory, engine", "MB", engine.costs.peak("ami") / 1e6),
        rounded("peak memory, workers", "MB", engine.costs.peak("agi") / 1e6),
        both("answer to first audio, p50", "ms", lambda side: percentile(side.carried.first_audio_ms, 50) or 0.0),
        both("answer to first audio, p99", "ms", lambda side: percentile(side.carried.first_audio_ms, 99) or 0.0),
    ]


def _unanswered(side: Side) -> float:
    return len(side.carried.answered) - side.answers


def _called(side: Side) -> int:
    return len({row.number for row in side.rows})


def _conditions(engine: Side, bare: list[Side]) -> Conditions:
    load = engine.load
    return {
        "seconds": load.seconds, "press_after_s": load.press_after_s, "max_concurrent": load.ceiling,
        "calls_per_second": load.rate, "audio_sample": load.audio_sample,
        "audio_samples": len(engine.carried.first_audio_ms),
        "bare_per_second": [round(side.carried.per_second, 2) for side in bare],
    }  # fmt: skip
