"""The lab under faults: proxies before its servers, and keepers that restart runs and workers as an operator would."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agi.handshake import Listener
from agi.handshake import check as shake_hands
from dialer import settings as settings_file
from dialer.clock import monotonic
from dialer.crash_points import FILE_VARIABLE
from dialer.lab import postgres
from dialer.lab.process import processes_of, send_signal
from dialer.lab.up import Lab
from faults import postgres_tap, skewed
from faults.ami_tap import AmiTap, Spoiler
from faults.disks import disks_of
from faults.postgres_tap import CommitCuts, PostgresTap
from faults.proxy import Proxy
from faults.workload import Workload

ROOT = Path(__file__).parent.parent
RESTART_S = 1.0
"""What a service manager waits before it starts again what died."""
DRAIN_S = 240.0


@dataclass
class Run:
    """One `dialer run` that is kept up; `process` is its newest life."""

    name: str
    process: asyncio.subprocess.Process | None = None
    log: Path | None = None
    codes: list[int] = field(default_factory=list)
    draining: bool = False
    done: bool = False


class World:
    """Everything that a fault may touch."""

    def __init__(self, lab: Lab, folder: Path, workload: Workload, rng: random.Random, *, disks: bool) -> None:
        self.lab, self.folder, self.workload, self.rng = lab, folder, workload, rng
        self.has_disks = disks
        self.settings_file = lab.places.runtime / "faults.yaml"
        self.engine_fault, self.worker_fault = folder / "engine.fault", folder / "worker.fault"
        self.clock_file = folder / "clock"
        self.runs = [Run(name=name) for name in workload.campaigns]
        self.commit_cuts = CommitCuts()
        self.spoiler = Spoiler(rng=rng)
        self.database = Proxy(
            lambda: asyncio.open_unix_connection(str(lab.places.postgres / ".s.PGSQL.5432")),
            postgres_tap.role_of,
            lambda link: PostgresTap(link, self.commit_cuts),
        )
        self.ami = Proxy(
            lambda: asyncio.open_connection("127.0.0.1", lab.ports["ami"]), tap=lambda _link: AmiTap(self.spoiler)
        )
        self._keepers: list[asyncio.Task[None]] = []
        self._service: asyncio.subprocess.Process | None = None
        self._closing = False

    # -- starting and ending -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Proxies, settings, workers and runs."""
        socket_directory = self.lab.places.runtime / "database"
        socket_directory.mkdir()
        await self.database.listen_unix(socket_directory / ".s.PGSQL.5432")
        port = await self.ami.listen_tcp()
        text = self.lab.settings_file.read_text(encoding="utf-8")
        for old, new in (
            (f"host={self.lab.places.postgres}", f"host={socket_directory}"),
            (f"port: {self.lab.ports['ami']}", f"port: {port}"),
        ):
            assert old in text, old
            text = text.replace(old, new)
        self.settings_file.write_text(text, encoding="utf-8")
        self.clock_file.write_text("+0\n", encoding="ascii")
        self._keepers.append(asyncio.create_task(self._keep_workers()))
        await self.until(self.workers_answer, 30)
        self._keepers += [asyncio.create_task(self._keep_run(run)) for run in self.runs]

    async def drain(self) -> list[str]:
        """Asks each run to drain, until all have ended by themselves; what did not, in words."""
        for run in self.runs:
            run.draining = True
        deadline = monotonic() + DRAIN_S
        told: set[int] = set()
        while monotonic() < deadline and not all(run.done for run in self.runs):
            for run in self.runs:
                process = run.process
                if process and process.returncode is None and process.pid not in told and self.is_under_way(run):
                    told.add(process.pid)
                    process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.5)
        return [
            f"`dialer run` of {run.name} did not drain; it ended as {run.codes}" for run in self.runs if not run.done
        ]

    async def close(self) -> list[str]:
        """Ends the workers and the proxies; processes that did not end in good order, in words."""
        self._closing = True
        # Also those that a run started and left behind for calls that were live when it died: nobody needs them now.
        for parent in self.worker_parents():
            send_signal(*parent, signal.SIGTERM)
        await self.until(lambda: not processes_of(self.settings_file), 20)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        left = []
        for pid, arguments in processes_of(self.settings_file):
            left.append(f"process {pid} was still there: {' '.join(arguments[-6:])}")
            send_signal(pid, arguments, signal.SIGKILL)
        self.database.close()
        self.ami.close()
        return left

    def is_under_way(self, run: Run) -> bool:
        """Whether the run's newest life shows its progress, so that Ctrl-C means: drain."""
        return run.log is not None and '"contacts"' in _text(run.log.with_suffix(".err"))

    # -- keepers -------------------------------------------------------------------------------------------------------

    async def _keep_workers(self) -> None:
        log_file = self.lab.places.state / "logs" / "service.log"
        log_file.parent.mkdir(exist_ok=True)
        while not self._closing:
            with log_file.open("ab") as log:
                self._service = await asyncio.create_subprocess_exec(
                    *self.command("agi", "serve"), stdout=log, stderr=log, env=self._environment(self.worker_fault),
                    start_new_session=True, cwd=ROOT,
                )  # fmt: skip
            await self._service.wait()
            await asyncio.sleep(RESTART_S)

    async def _keep_run(self, run: Run) -> None:
        while not self._closing and not run.done:
            run.log = self.folder / f"{run.name}-{len(run.codes)}"
            run.process = await self.start_run(run.name, run.log)
            code = await run.process.wait()
            run.codes.append(code)
            # 0: everybody is called; 130: drained. Everything else is restarted, as an operator would.
            run.done = code == 0 or (run.draining and code == 130)
            if not run.done:
                await asyncio.sleep(RESTART_S)

    async def start_run(self, name: str, log: Path) -> asyncio.subprocess.Process:
        """A `dialer run`; its stdout and stderr go to LOG.out and LOG.err."""
        environment = self._environment(self.engine_fault) | {skewed.VARIABLE: str(self.clock_file)}
        with log.with_suffix(".out").open("wb") as out, log.with_suffix(".err").open("wb") as err:
            return await asyncio.create_subprocess_exec(
                *self.command("run", str(self.workload.campaigns[name]), "--json", module="faults.skewed"),
                stdout=out, stderr=err,
                env=environment, start_new_session=True, cwd=ROOT,
            )  # fmt: skip

    def command(self, *words: str, module: str = "cli") -> list[str]:
        """The argv of a dialer command that goes through the proxies."""
        return [sys.executable, "-m", module, *words, "--settings", str(self.settings_file)]

    def _environment(self, fault: Path) -> dict[str, str]:
        return {**os.environ, FILE_VARIABLE: str(fault), "PYTHONPATH": str(ROOT)}

    # -- looking -------------------------------------------------------------------------------------------------------

    def engines(self) -> list[tuple[int, list[str]]]:
        """The processes of `dialer run`."""
        return [one for one in processes_of(self.settings_file) if "run" in one[1]]

    def workers(self) -> list[tuple[int, list[str]]]:
        """The FastAGI workers."""
        return [one for one in processes_of(self.settings_file) if "agi.worker" in one[1]]

    def worker_parents(self) -> list[tuple[int, list[str]]]:
        """The parents of workers: the service's, or one that a run started."""
        return [one for one in processes_of(self.settings_file) if "serve" in one[1]]

    def node_processes(self) -> list[tuple[int, list[str]]]:
        """The node's Asterisk, without remote consoles."""
        return [one for one in processes_of(self.lab.places.node) if "-F" in one[1]]

    def postgres_processes(self) -> list[int]:
        """The postmaster first, then its children."""
        try:
            text = (self.lab.places.postgres / "data" / "postmaster.pid").read_text(encoding="ascii")
            postmaster = int(text.split()[0])
            name = Path(f"/proc/{postmaster}/cmdline").read_bytes()
        except (OSError, ValueError, IndexError):
            return []
        if str(self.lab.places.postgres).encode() not in name:
            return []
        return [
            postmaster,
            *(pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == postmaster),
        ]

    async def workers_answer(self) -> bool:
        """Whether workers of ours serve."""
        found = await asyncio.to_thread(shake_hands, settings_file.load(self.settings_file, {}))
        return found is Listener.OK

    async def until(self, look: Callable[[], object], within_s: float) -> bool:
        """Looks again and again until there is something; False when the time is up."""
        deadline = monotonic() + within_s
        while monotonic() < deadline:
            found = look()
            if await found if asyncio.iscoroutine(found) else found:
                return True
            await asyncio.sleep(0.1)
        return False

    # -- healing -------------------------------------------------------------------------------------------------------

    async def start_postgres(self) -> None:
        """Until it runs: what a killed server left must go first."""
        await self.until(self._try_postgres, 60)

    async def _try_postgres(self) -> bool:
        try:
            await asyncio.to_thread(postgres.start_cluster, self.lab.places.postgres)
        except Exception:
            return False
        return True

    async def start_node(self) -> None:
        """Starts the node's Asterisk anew, if it is down."""
        if not self.lab.node.running():
            await asyncio.to_thread(self.lab.node.start)
        await asyncio.to_thread(self.lab.node.wait_ready)

    async def hang_up_carrier(self) -> None:
        """A real network ends calls whose media stopped; the lab's carrier would hold them for ever."""
        await asyncio.to_thread(self.lab.carrier.execute, "channel request hangup all")

    @property
    def disks(self) -> dict[str, Path]:
        """The small disks."""
        return disks_of(self.lab.places)


def _parent(pid: int) -> int:
    try:
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()[1]
        )
    except (OSError, IndexError):
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
