"""The parent of the workers: holds the port, starts them, kills one that falls silent, restarts what died."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from agi.worker import DRAIN_S
from dialer.clock import Clock
from dialer.errors import WorkersAway
from dialer.settings import AgiSettings

log = logging.getLogger(__name__)

SILENT_S = 3.0
START_S = 20.0
"""Until its first heartbeat a worker imports and connects, on a busy machine slowly."""
EXIT_S = 0.5
"""Between the end of its heartbeats and its exit."""
BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0)
STEADY_S = 30.0
"""A worker that lived this long may be restarted at once."""


def listen(agi: AgiSettings) -> socket.socket:
    """The listening socket. Raises WorkersAway when the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in agi.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((agi.host, agi.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        where = f"{agi.host}:{agi.port}"
        if error.errno == errno.EADDRINUSE:
            raise WorkersAway(
                f"{where} is in use by another program. Stop it, or choose another agi.port in the settings "
                "(and render the dialplan again)."
            ) from error
        raise WorkersAway(f"cannot listen on {where}: {error.strerror}. Correct agi.host and agi.port.") from error
    return listener


class Supervisor:
    """Keeps a number of workers alive on one socket, until told to stop."""

    def __init__(self, *, listener: socket.socket, settings_path: Path, workers: int, clock: Clock) -> None:
        self._listener, self._settings_path, self._clock = listener, settings_path, clock
        self._workers = workers
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Returns after SIGTERM or SIGINT, when the last worker is gone; a second signal ends live dialogues."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        log.info("serving", extra={"workers": self._workers, "port": self._listener.getsockname()[1]})
        await asyncio.gather(*(self._keep(index) for index in range(self._workers)))
        log.info("stopped")

    def stop(self) -> None:
        """Tells the workers to finish; told again, they end their dialogues."""
        self._stopping.set()
        # While one process holds it open, the kernel takes calls into its queue, and nobody would ever read them.
        self._listener.close()
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)

    async def _keep(self, index: int) -> None:
        failures = 0
        while not self._stopping.is_set():
            started = self._clock.monotonic()
            await self._live(index)
            if self._stopping.is_set():
                return
            failures = 0 if self._clock.monotonic() - started > STEADY_S else failures + 1
            pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            log.error("worker_restarts", extra={"worker": index, "after_s": pause_s})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stopping.wait()

    async def _live(self, index: int) -> None:
        """One worker from its start to its end."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        listener = self._listener.fileno()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "agi.worker", str(self._settings_path), str(listener), str(writing),
                pass_fds=(listener, writing),
                # Ctrl-C is for the parent, which asks the workers to finish their calls.
                start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _with_this_package()},
            )  # fmt: skip
        finally:
            os.close(writing)
        self._processes[index] = process
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)
        log.info("worker_started", extra={"worker": index, "pid": process.pid})
        try:
            await self._watch(process.pid, reading)
        finally:
            os.close(reading)
            code = await _ended(process)
            del self._processes[index]
        log.info("worker_ended", extra={"worker": index, "pid": process.pid, "code": code})

    async def _watch(self, pid: int, reading: int) -> None:
        """Returns when the worker ended or fell silent. Its pipe reads as ended when it is gone."""
        loop = asyncio.get_running_loop()
        beats: asyncio.Queue[bytes] = asyncio.Queue()
        loop.add_reader(reading, lambda: beats.put_nowait(_read(reading)))
        patience_s, told_at = START_S, None
        try:
            while True:
                try:
                    async with asyncio.timeout(patience_s):
                        beat = await beats.get()
                except TimeoutError:
                    log.error("worker_silent", extra={"pid": pid, "for_s": patience_s})
                    return
                if not beat:
                    return
                patience_s = SILENT_S
                if self._stopping.is_set():
                    told_at = told_at or self._clock.monotonic()
                    if self._clock.monotonic() - told_at > DRAIN_S + 10:
                        log.error("worker_does_not_stop", extra={"pid": pid})
                        return
        finally:
            loop.remove_reader(reading)


async def _ended(process: asyncio.subprocess.Process) -> int:
    """The exit code; a process that is not on its way out is killed."""
    try:
        async with asyncio.timeout(EXIT_S):
            return await process.wait()
    except TimeoutError:
        # Not process.kill(): Popen reaps a process that just ended, and asyncio then never learns its exit code.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        return await process.wait()


def _with_this_package() -> str:
    """PYTHONPATH for a child that finds the same code, wherever the parent was started."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))


def _read(reading: int) -> bytes:
    """Heartbeats, or nothing when the worker is gone."""
    try:
        return os.read(reading, 4096)
    except BlockingIOError:
        return b"."
