"""One worker process: serves the socket that it inherits, tells its parent every second that it lives.

Started by agi.supervise as `python -m agi.worker SETTINGS LISTENER HEARTBEAT` (two file descriptors).
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from agi.records import Records
from agi.results import ResultStore
from agi.server import AgiServer
from dialer import event_loop
from dialer import log as json_log
from dialer import settings as settings_file
from dialer.clock import Clock, DatabaseClock
from sounds.catalogue import forget_personal

log = logging.getLogger(__name__)

BEAT_S = 1.0
TIDY_EVERY_S = 3600.0
DRAIN_S = 60.0
"""Live dialogues get this long to end when the workers are told to stop."""


def main(arguments: list[str]) -> None:
    """Runs until told to stop, or until the parent is gone."""
    settings, listener, heartbeat = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    json_log.set_up()
    _allow_many_files()
    os.set_blocking(heartbeat, False)
    event_loop.run(_serve(settings, socket.socket(fileno=listener), heartbeat))


async def _serve(settings_path: Path, listener: socket.socket, heartbeat: int) -> None:
    settings, clock = settings_file.load(settings_path), DatabaseClock()
    store = ResultStore(settings, clock)
    records = Records(store=store, settings=settings, clock=clock)
    server = AgiServer(settings=settings, records=records, clock=clock)
    told, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        (hurry if told.is_set() else told).set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    # Ctrl-C goes to every process of the terminal; the parent decides what it means.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    await server.start(listener)
    beating = asyncio.create_task(_beat(heartbeat, told))
    tidying = asyncio.create_task(_tidy(settings.prompts_dir, records, clock))
    # One turn of the loop sends the first beat: from now on silence is noticed.
    await asyncio.sleep(0)
    log.info("worker_ready")
    await told.wait()
    stopping = asyncio.create_task(server.stop(DRAIN_S))
    hurrying = asyncio.create_task(hurry.wait())
    await asyncio.wait([stopping, hurrying], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        server.hurry()
    await stopping
    hurrying.cancel()
    beating.cancel()
    tidying.cancel()
    log.info("worker_stopped")


async def _beat(heartbeat: int, told: asyncio.Event) -> None:
    while True:
        try:
            os.write(heartbeat, b".")
        except BlockingIOError:
            pass
        except OSError:
            # The parent is gone: nobody would restart or end this process any more.
            log.error("parent_gone")
            told.set()
            return
        await asyncio.sleep(BEAT_S)


async def _tidy(prompts_dir: Path, records: Records, clock: Clock) -> None:
    """What was said to a person, by name perhaps, does not stay for ever, nor what the person said."""
    while True:
        try:
            removed = await asyncio.to_thread(forget_personal, prompts_dir, clock.now())
            archives = await asyncio.to_thread(records.tidy)
        except OSError as error:
            log.warning("old_files_stay", extra={"reason": str(error)})
        else:
            log.info("old_files_removed", extra={"personal_sounds": removed, "archives": archives})
        await clock.sleep(TIDY_EVERY_S)


def _allow_many_files() -> None:
    """A call needs a descriptor, and the usual soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main(sys.argv[1:])
