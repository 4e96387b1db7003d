"""The sides of a comparison, each a run on a lab of its own: the bare loop, the engine, call files."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bench.load import QUESTION, Load, fresh_lab, write_campaign
from bench.measure import MACHINE, Carried, Costs, carried, pids_with
from bench.private import PrivateDatabase
from dialer.campaign.load import LoadedCampaign, load_campaign
from dialer.lab.blueprint import NodeRenderer
from dialer.lab.process import processes_of
from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from sounds.build import build
from sounds.catalogue import Catalogue, sound_of

LOOK_EVERY_S = 0.25
PATIENCE_S = 60.0
PAUSED_LOOKS = 20
"""Every so manyth look asks the database whether the campaign still runs."""

Roles = Callable[[int], dict[str, list[int]]]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run of one side."""

    load: Load
    rows: list[TruthRow]
    carried: Carried
    costs: Costs
    answers: int
    """Keys that arrived."""
    stored: frozenset[str]
    """The numbers whose answer the database holds; empty on sides without one."""

    def per_call_ms(self, *roles: str) -> float:
        """CPU milliseconds a completed call, without start and end of the run."""
        seen = self.carried
        return sum(1000 * self.costs.cpu(role, seen.begin, seen.end) for role in roles) / max(1, seen.between)

    def busy(self, role: str = MACHINE) -> float:
        """Cores that a role kept busy, without start and end of the run."""
        seen = self.carried
        return self.costs.cpu(role, seen.begin, seen.end) / max(1e-9, (seen.end - seen.begin).total_seconds())

    @property
    def lost(self) -> int:
        """People who picked up and whose answer is not there: the question never came, or the key was lost."""
        return len(self.carried.answered - self.stored)


def bare_side(folder: Path, load: Load) -> Side:
    """The bare loop's run."""
    return _python_side(folder, load, "bench.bare", render_node)


def call_files_side(folder: Path, load: Load) -> Side:
    """The same work by Asterisk call files, on a node that takes them; the bare loop's FastAGI answers."""

    def with_spool(*arguments: Any, **options: Any) -> dict[str, str]:
        files = render_node(*arguments, **options)
        return {**files, "modules.conf": files["modules.conf"] + "load = pbx_spool.so\n"}

    return _python_side(folder, load, "bench.call_files", with_spool)


def _python_side(folder: Path, load: Load, module: str, render: NodeRenderer) -> Side:
    with fresh_lab(folder, load, render) as lab:
        listed = folder / "listed.txt"
        listed.write_text("\n".join(load.numbers), encoding="utf-8")
        loaded = load_campaign(write_campaign(folder, load))
        build(loaded.campaign, folder, lab.settings)
        sound = sound_of(QUESTION, "en", {}, folder)
        prompt = Catalogue(lab.settings.prompts_dir, lab.settings.trunks[0].codec).path(sound).with_suffix("")
        words = [str(lab.settings_file), str(listed), str(prompt), str(load.ceiling), str(load.rate)]
        command = [sys.executable, "-m", module, *words, str(load.seconds or 1e9)]
        costs, out = watched(lab, command, lambda pid: {"client": [pid]})
        rows = read_truth(lab)
    return Side(load=load, rows=rows, carried=carried(rows), costs=costs, answers=int(out), stored=frozenset())


def engine_side(
    folder: Path,
    load: Load,
    *,
    render: NodeRenderer = render_node,
    environ: Mapping[str, str] | None = None,
    forget: str | None = None,
    prepare: Callable[[Lab], None] = lambda lab: None,
    during: Callable[[Lab, Costs], None] = lambda lab, costs: None,
    after: Callable[[Lab], None] = lambda lab: None,
) -> Side:
    """The engine's run, as an operator starts it: one `dialer engine` for each node, and `dialer run`.

    `render`, `environ`, `forget`: another node, another environment, settings without a line. `prepare` happens when
    the people are imported and nobody is called yet, `during` while calls are made, `after` when all have ended.
    """
    with fresh_lab(folder, load, render) as lab:
        if forget:
            lines = lab.settings_file.read_text(encoding="utf-8").splitlines(keepends=True)
            lab.settings_file.write_text("".join(line for line in lines if forget not in line), encoding="utf-8")
        campaign = load_campaign(write_campaign(folder, load))
        import_people(lab, campaign)
        prepare(lab)
        settings = str(lab.settings_file)
        with engines(lab, environ) as leaders:
            command = dialer("run", str(campaign.path), "--settings", settings, "--json")
            costs, _ = watched(
                lab, command,
                lambda pid: {
                    "ami": list(leaders),
                    "agi": [one for one in pids_with("agi", settings) if one not in (pid, *leaders)],
                },
                environ, stop_after_s=load.seconds, during=during,
            )  # fmt: skip
        # PostgreSQL's backends tell the last of what they count when they end.
        after(lab)
        rows, stored = read_truth(lab), numbers_with_answers(lab)
    return Side(load=load, rows=rows, carried=carried(rows), costs=costs, answers=len(stored), stored=stored)


def dialer(*words: str) -> list[str]:
    """The command of this clone."""
    return [sys.executable, "-m", "cli", *words]


def import_people(lab: Lab, campaign: LoadedCampaign) -> None:
    """Prompts and people, before anything is measured."""
    build(campaign.campaign, campaign.base_dir, lab.settings)
    done = subprocess.run(
        dialer("contacts", "import", str(campaign.path), "--settings", str(lab.settings_file)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the import failed:\n{done.stderr[-2000:]}")


@contextmanager
def engines(lab: Lab, environ: Mapping[str, str] | None = None) -> Iterator[list[int]]:
    """An engine for each node of the lab, and their process ids; they are ended with the block."""
    started: list[subprocess.Popen[str]] = []
    with tempfile.TemporaryFile("w+") as err:
        try:
            for count, node in enumerate(lab.topology.node_names, start=1):
                command = dialer("engine", "--node", node, "--settings", str(lab.settings_file), "--json")
                started.append(subprocess.Popen(command, stdout=err, stderr=err, text=True, env=environ))
                until(lab, "select count(*) from engine_lease where lease_until > now()", count, started[-1], err)
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                try:
                    process.wait(PATIENCE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def watched(
    lab: Lab,
    command: list[str],
    roles: Roles,
    environ: Mapping[str, str] | None = None,
    *,
    stop_after_s: float | None = None,
    during: Callable[[Lab, Costs], None] = lambda lab, costs: None,
) -> tuple[Costs, str]:
    """Runs a command to its end, looking at what everybody costs; what it printed. With `stop_after_s` it is asked to
    end (SIGINT) that long after its start.
    """
    postmaster = int((lab.places.postgres / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    asterisks: dict[str, list[int]] = {
        role: [pid for one in instances for pid, arguments in processes_of(one.directory) if "-F" in arguments]
        for role, instances in (("nodes", lab.nodes), ("carriers", lab.carriers))
    }
    costs = Costs()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True, env=environ)
        stop_at = time.monotonic() + stop_after_s if stop_after_s else None
        try:
            while process.poll() is None:
                costs.look({**roles(process.pid), **asterisks}, postmaster)
                if len(costs.seen) % PAUSED_LOOKS == 0:
                    _fail_when_paused(lab)
                during(lab, costs)
                if stop_at and time.monotonic() >= stop_at:
                    process.send_signal(signal.SIGINT)
                    stop_at = None
                time.sleep(LOOK_EVERY_S)
        finally:
            process.kill()
            process.wait()
        # A run that was asked to end says so with 130.
        if process.returncode and not (stop_after_s and process.returncode == 130):
            raise SystemExit(f"{' '.join(command[2:4])} failed:\n{_text(err)[-2000:]}")
        return costs, _text(out)


def _fail_when_paused(lab: Lab) -> None:
    """The engine pauses a campaign whose calls are silent; nobody would resume it here."""
    for name, why in rows_of(
        lab, "select name, wanted_why from campaign_run join campaign on campaign.id = campaign_id "
        "where wanted = 'paused'",
    ):  # fmt: skip
        raise SystemExit(f"the engine paused {name}: {why}")


def numbers_with_answers(lab: Lab) -> frozenset[str]:
    """Whose answer the database holds."""
    found = rows_of(lab, "select distinct attempt.number from answer join attempt on attempt.id = answer.attempt_id")
    return frozenset(row[0] for row in found)


def until(lab: Lab, query: str, many: int, process: subprocess.Popen[str], err: IO[str]) -> None:
    """Returns when a query gives a number at least that high."""
    deadline = time.monotonic() + PATIENCE_S
    while rows_of(lab, query)[0][0] < many:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{query} does not give {many}:\n{_text(err)[-2000:]}")
        time.sleep(0.05)


def rows_of(lab: Lab | PrivateDatabase, query: str) -> list[Any]:
    """The rows of a query; it may be an update, too."""
    engine = sync_engine(lab.settings)
    try:
        with engine.begin() as connection:
            result = connection.exec_driver_sql(query)
            return list(result) if result.returns_rows else []
    finally:
        engine.dispose()


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
