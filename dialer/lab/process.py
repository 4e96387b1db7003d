"""Runs Asterisk instances as the lab's unprivileged user, and finds and ends whatever runs below a directory.

A process is known by its own command line, which names a file of the lab's private directory, not by a pidfile:
so nothing is orphaned when we are killed between a start and a note of it, and a pid that the system gave to
somebody else is never signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dialer.clock import monotonic
from dialer.errors import LabError
from dialer.lab.asterisk_root import AsteriskRoot
from dialer.lab.postgres import unprivileged

_POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One Asterisk of the lab: `directory` holds its config, run and log directories."""

    name: str
    root: AsteriskRoot
    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "config" / "asterisk.conf"

    @property
    def log(self) -> Path:
        return self.directory / "log" / "messages.log"

    def running(self) -> bool:
        """Whether the instance's own process lives; a remote console (-rx) does not count."""
        return any("-F" in arguments for _, arguments in processes_of(self.directory))

    def start(self) -> None:
        """Starts the instance in a session of its own; returns before it is ready."""
        # -F: it forks itself into the background, so it is nobody's child here and leaves no zombie.
        done = self._run("-F")
        if done.returncode:
            raise LabError(f"the lab's {self.name} does not start: {(done.stderr or done.stdout).strip()[-600:]}")

    def wait_ready(self, within_s: float = 20) -> None:
        """Returns when Asterisk has booted fully. Raises LabError with its last messages when it does not."""
        deadline = monotonic() + within_s
        while monotonic() < deadline:
            if not self.running():
                break
            if (self.directory / "run" / "asterisk.ctl").exists():
                done = self._run("-rx", "core waitfullybooted")
                if "fully booted" in done.stdout:
                    return
            time.sleep(_POLL_S)
        raise LabError(f"the lab's {self.name} did not come up in {within_s:.0f} s; its last messages:\n{self._tail()}")

    def execute(self, command: str) -> str:
        """The output of a command on the instance's console."""
        done = self._run("-rx", command)
        if done.returncode:
            raise LabError(f"the lab's {self.name} does not answer: {(done.stderr or done.stdout).strip()[-300:]}")
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        who: dict[str, Any] = unprivileged()
        try:
            return subprocess.run(
                self.root.command(self.config, *arguments),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd="/", timeout=30,
                umask=0o022, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}, **who,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LabError(
                f"the lab's {self.name} cannot be run from {self.root.path}: {error}.\n"
                f"Its user must be able to read that directory: choose another with $DIALER_CACHE_DIR."
            ) from error

    def _tail(self) -> str:
        with suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        return f"(none; try: {' '.join(self.root.command(self.config, '-f', '-vvv'))})"


def processes_of(directory: Path) -> list[tuple[int, list[str]]]:
    """The processes whose command line names a file at or below `directory`: pid and arguments."""
    exact, below = str(directory), f"{directory}/"
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        arguments = _arguments(int(entry))
        if any(part == exact or part.startswith(below) for part in arguments):
            found.append((int(entry), arguments))
    return found


def end_all(directory: Path, within_s: float = 10) -> None:
    """Ends every process of `directory`: TERM (for Asterisk the same as `core stop now`), then KILL.

    Raises LabError when one survives.
    """
    for kind, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)):
        deadline = monotonic() + patience_s
        told: set[int] = set()
        # Again and again: what a process started while it was being ended gets its turn.
        while (found := processes_of(directory)) and monotonic() < deadline:
            for pid, arguments in found:
                if pid not in told:
                    send_signal(pid, arguments, kind)
                    told.add(pid)
            time.sleep(_POLL_S)
    if left := processes_of(directory):
        raise LabError(f"these processes of the lab do not end: {', '.join(str(pid) for pid, _ in left)}")


def send_signal(pid: int, arguments: list[str], kind: signal.Signals) -> None:
    """Signals a process that `processes_of` found, if it is still the same one."""
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # The handle is fixed to one process; only now is it certain that it is still the one that was found.
            if _arguments(pid) == arguments:
                signal.pidfd_send_signal(handle, kind)
        finally:
            os.close(handle)


def _arguments(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return text.decode(errors="replace").rstrip("\0").split("\0")
