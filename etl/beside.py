"""Begins the nightly run as a process of its own beside an engine, at the lowest priority: calls come first."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

from dialer.errors import DialerError
from dialer.settings import Settings

log = logging.getLogger(__name__)

_GENTLY = ("nice", "-n", "19")


class Beside:
    """The nightly run of one machine."""

    def __init__(self, settings: Settings, settings_file: Path) -> None:
        self._settings_file = settings_file
        self._log_file = settings.state_dir / "logs" / "etl.out"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it, unless the last one is still at it. It outlives the engine, and may be killed at any time."""
        if self._process is not None and self._process.poll() is None:
            log.warning("the nightly run is still at it", extra={"event": "etl.still_running"})
            return
        gently = _GENTLY if shutil.which(_GENTLY[0]) else ()
        command = [*gently, sys.executable, "-P", "-m", "cli", "etl", "run", "--retain", "--settings",
                   str(self._settings_file.resolve())]  # fmt: skip
        try:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            with self._log_file.open("ab") as out:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
                )
        except OSError as error:
            raise DialerError(
                f"the nightly run cannot be started: {error}. See `state_dir` in the settings."
            ) from error
        log.info("the nightly run begins", extra={"event": "etl.begun", "pid": self._process.pid})
        Thread(target=self._tell, args=(self._process,), name="nightly", daemon=True).start()

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for its end: nobody looks at a run in the night that failed."""
        if code := process.wait():
            told = {"event": "etl.failed", "code": code}
            log.error("the nightly run failed: see `dialer etl status` and %s", self._log_file, extra=told)
