"""Short IVR calls, a prompt and one real key each: the engine beside the bare loop, in one run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Carried, Costs, carried, database_cpu, machine_cpu, percentile, pids_with
from dialer.campaign.load import load_campaign
from dialer.campaign.model import Campaign
from dialer.lab.blueprint import NodeRenderer
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from sounds.build import build
from sounds.catalogue import Catalogue, sound_of

CALLS = 3000
PRESS_AFTER_S = 4
CEILING = 900
"""Calls at once that fill two cores: more, and both sides begin to lose keys."""
FULL_RATE = 250.0
"""New calls a second when the ceiling and the machine should bind: bounds the burst at the start for both alike."""
AUDIO_SAMPLE = 0.05
LOOK_EVERY_S = 0.25
QUESTION = "Please press one."


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run of one side."""

    carried: Carried
    costs: Costs
    sql_cpu_s: float
    answers: int
    machine_busy: float

    def per_call_ms(self, role: str) -> float:
        """CPU milliseconds a completed call."""
        spent = self.sql_cpu_s if role == "sql" else self.costs.cpu(role)
        return 1000 * spent / max(1, self.carried.completed)


def numbers() -> list[str]:
    """Valid Polish mobile numbers."""
    return [f"+48501{number:06d}" for number in range(200_000, 200_000 + CALLS)]


def write_campaign(folder: Path, rate: float) -> Path:
    """A campaign of one question; every number once."""
    (folder / "people.csv").write_text("mobile\n" + "\n".join(numbers()) + "\n", encoding="utf-8")
    stops = ", ".join(f"{name}: stop" for name in ("busy", "no_answer", "congestion", "partial", "no_input", "hung_up"))
    path = folder / "campaign.yaml"
    path.write_text(
        f"campaign: bench\ncontacts: {{from: people.csv, numbers: [mobile]}}\ncalling: {{window: any}}\n"
        f"capacity: {{max_concurrent: {CEILING}, calls_per_second: {rate}, trunks: [carrier-a], "
        f'caller_id: "+48221234567"}}\nretry: {{attempts: 1, {stops}}}\n'
        f'flow:\n  question:\n    ask: "{QUESTION}"\n    keys: {{1: yes}}\n    tries: 1\n',
        encoding="utf-8",
    )
    return path


@contextmanager
def fresh_lab(folder: Path, render: NodeRenderer = render_node):  # type: ignore[no-untyped-def]
    """A lab whose subscribers press 1 some seconds after they answer."""
    table = folder / "numbers.csv"
    rows = "".join(f"{number},*,answers_and_presses,1@{PRESS_AFTER_S}\n" for number in numbers())
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    with running("bench", render_node=render, numbers=table, audio_sample=AUDIO_SAMPLE, base=folder / "lab") as lab:
        yield lab


def bare_side(folder: Path, rate: float) -> Side:
    """The bare loop's run."""
    with fresh_lab(folder) as lab:
        listed = folder / "listed.txt"
        listed.write_text("\n".join(numbers()), encoding="utf-8")
        campaign = load_campaign(write_campaign(folder, rate)).campaign
        prompt = str(_prompt(lab, campaign, folder).with_suffix(""))
        command = [sys.executable, "-m", "bench.bare", str(lab.settings_file), str(listed), prompt, str(CEILING)]
        return _watched(lab, [*command, str(rate)], lambda pid: {"client": [pid]}, lambda out: int(out))


def engine_side(
    folder: Path,
    rate: float,
    *,
    render: NodeRenderer = render_node,
    environ: Mapping[str, str] | None = None,
    forget: str | None = None,
) -> Side:
    """The engine's run, as an operator starts it; on another node, in another environment, without a setting."""
    with fresh_lab(folder, render) as lab:
        settings = str(lab.settings_file)
        if forget:
            lines = lab.settings_file.read_text(encoding="utf-8").splitlines(keepends=True)
            lab.settings_file.write_text("".join(line for line in lines if forget not in line), encoding="utf-8")
        campaign = load_campaign(write_campaign(folder, rate))
        build(campaign.campaign, campaign.base_dir, lab.settings)
        command = [sys.executable, "-m", "cli", "run", str(campaign.path), "--settings", settings, "--json"]
        return _watched(
            lab, command,
            lambda pid: {"ami": [pid], "agi": [p for p in pids_with("agi", settings) if p != pid]},
            lambda _out: _answers(lab),
            environ,
        )  # fmt: skip


def _prompt(lab: Lab, campaign: Campaign, folder: Path) -> Path:
    build(campaign, folder, lab.settings)
    sound = sound_of(QUESTION, "en", {}, folder)
    return Catalogue(lab.settings.prompts_dir, lab.settings.trunks[0].codec).path(sound)


def _answers(lab: Lab) -> int:
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        count = connection.exec_driver_sql("select count(*) from answer").scalar_one()
    engine.dispose()
    return int(count)


def _watched(
    lab: Lab,
    command: list[str],
    roles: Callable[[int], dict[str, list[int]]],
    answers: Callable[[str], int],
    environ: Mapping[str, str] | None = None,
) -> Side:
    postmaster = int((lab.places.postgres / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    sql_before, (busy_before, all_before) = database_cpu(postmaster), machine_cpu()
    costs = Costs()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True, env=environ)
        while process.poll() is None:
            for role, pids in roles(process.pid).items():
                costs.look(role, pids)
            time.sleep(LOOK_EVERY_S)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command[2:4])} failed:\n{err.read()[-2000:]}")
        printed = out.read()
    busy, total = machine_cpu()
    return Side(
        carried=carried(read_truth(lab)),
        costs=costs,
        sql_cpu_s=database_cpu(postmaster) - sql_before,
        answers=answers(printed),
        machine_busy=(busy - busy_before) / (total - all_before),
    )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of a benchmark."""

    name: str
    value: float | int | None
    unit: str
    ceiling: float | int | None = None

    @property
    def ratio(self) -> float | None:
        """Of the ceiling, where there is one."""
        return round(self.value / self.ceiling, 3) if self.value is not None and self.ceiling else None


def figures(bare: list[Side], engine: Side) -> list[Figure]:
    """The engine's figures beside the mean of the bare runs around it."""

    def mean(of: Callable[[Side], float]) -> float:
        return round(sum(map(of, bare)) / len(bare), 3)

    def both(name: str, unit: str, of: Callable[[Side], float]) -> Figure:
        return Figure(name=name, value=round(of(engine), 3), unit=unit, ceiling=mean(of))

    lost = engine.carried.completed - engine.answers
    client = engine.per_call_ms("ami") + engine.per_call_ms("agi")
    return [
        both("completed calls a second", "1/s", lambda side: side.carried.per_second),
        both("completed calls", "calls", lambda side: side.carried.completed),
        both("answers received", "answers", lambda side: side.answers),
        Figure(name="answers lost: pressed, not stored", value=lost, unit="answers"),
        Figure(name="INVITEs beyond one a number", value=engine.carried.invites - CALLS, unit="INVITEs"),
        both("calls at once", "calls", lambda side: side.carried.at_once),
        both("machine busy", "share", lambda side: side.machine_busy),
        Figure(
            name="client CPU", value=round(client, 3), unit="ms/call", ceiling=mean(lambda s: s.per_call_ms("client"))
        ),
        Figure(name="  of it AMI and engine", value=round(engine.per_call_ms("ami"), 3), unit="ms/call"),
        Figure(name="  of it AGI workers", value=round(engine.per_call_ms("agi"), 3), unit="ms/call"),
        Figure(name="database CPU", value=round(engine.per_call_ms("sql"), 3), unit="ms/call"),
        Figure(name="peak memory, engine", value=round(engine.costs.peak("ami") / 1e6, 1), unit="MB"),
        Figure(name="peak memory, workers", value=round(engine.costs.peak("agi") / 1e6, 1), unit="MB"),
        both("answer to first audio, p50", "ms", lambda side: percentile(side.carried.first_audio_ms, 50) or 0.0),
        both("answer to first audio, p99", "ms", lambda side: percentile(side.carried.first_audio_ms, 99) or 0.0),
    ]


def ivr_full(folder: Path) -> tuple[list[Figure], dict[str, object]]:
    """With the machine full: the ceiling binds, not the rate."""
    return _compare(folder, FULL_RATE)


def ivr_60(folder: Path) -> tuple[list[Figure], dict[str, object]]:
    """At 60 % of what the bare loop carries with the machine full."""
    full = bare_side(folder, FULL_RATE).carried.per_second
    return _compare(folder, round(0.6 * full, 1))


def _compare(folder: Path, rate: float) -> tuple[list[Figure], dict[str, object]]:
    before, engine, after = bare_side(folder, rate), engine_side(folder, rate), bare_side(folder, rate)
    conditions: dict[str, object] = {
        "calls": CALLS, "press_after_s": PRESS_AFTER_S, "max_concurrent": CEILING, "calls_per_second": rate,
        "audio_sample": AUDIO_SAMPLE,
        "audio_samples": len(engine.carried.first_audio_ms),
        "bare_per_second": [round(side.carried.per_second, 2) for side in (before, after)],
    }  # fmt: skip
    return figures([before, after], engine), conditions
