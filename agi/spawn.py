"""Starts FastAGI workers beside a run when none answer, and ends them after it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep

from agi.handshake import Listener, check
from dialer.clock import monotonic
from dialer.errors import DialerError, WorkersAway
from dialer.settings import Settings

READY_S = 20.0
LEAVE_S = 2.0
LOOK_EVERY_S = 0.05


class Staff:
    """The workers beside an engine: those that serve already, else some of our own."""

    def __init__(self, settings: Settings, settings_file: Path) -> None:
        self._settings, self._settings_file = settings, settings_file
        self._log_file = settings.state_dir / "logs" / "agi.log"
        self.process: subprocess.Popen[bytes] | None = None
        """The parent of our own workers; None when others serve."""
        self.stays = False

    def stay(self) -> None:
        """Our own workers go on after the run, because calls may be live; the next run finds and uses them."""
        self.stays = True

    def fill_up(self) -> None:
        """Starts workers when none answer, and waits until they do. Raises WorkersAway when the port is another's."""
        found = check(self._settings)
        if found is Listener.OK:
            return
        if found is Listener.FOREIGN:
            raise WorkersAway(
                f"another program listens on {self._settings.agi.host}:{self._settings.agi.port}: not dialer's "
                "workers, or some that were started by another version, or with another database, key, prompts "
                "directory, trunk or node. Stop it, or choose another agi.port in the settings."
            )
        self.dismiss()
        self.process = _start(self._settings_file, self._log_file)
        _wait_until_ready(self.process, self._settings, self._log_file)

    def dismiss(self) -> None:
        """Our own workers end when their dialogues have."""
        if self.process is not None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                # Without live dialogues they are gone at once; with some, they end when those have.
                self.process.wait(LEAVE_S)


@contextmanager
def workers(settings: Settings, settings_file: Path) -> Iterator[Staff]:
    """Workers answer while this is open: those that run already, else some of our own.

    Our own are a process group of their own, so that Ctrl-C at the terminal does not cut live dialogues; at the end
    they finish theirs and go, unless they were told to stay. Raises WorkersAway when another program holds the port.
    """
    staff = Staff(settings, settings_file)
    try:
        staff.fill_up()
        yield staff
    finally:
        if not staff.stays:
            staff.dismiss()


def _start(settings_file: Path, log_file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "cli", "agi", "serve", "--settings", str(settings_file.resolve())]
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log = log_file.open("ab")
    except OSError as error:
        raise DialerError(
            f"the workers' log {log_file} cannot be written: {error.strerror}. Correct `state_dir` in the settings, or "
            "its owner."
        ) from error
    with log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _wait_until_ready(process: subprocess.Popen[bytes], settings: Settings, log_file: Path) -> None:
    deadline = monotonic() + READY_S
    while check(settings) is not Listener.OK:
        if process.poll() is not None or monotonic() > deadline:
            raise WorkersAway(f"the FastAGI workers did not start. Their log says why: {log_file}")
        sleep(LOOK_EVERY_S)
