"""Faults of a carrier and of a node while calls run: a trunk that refuses everybody, a node that is short of CPU."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dialer.errors import InvalidInput, LabError
from dialer.lab.process import Instance, processes_of, send_signal

SILENT = "silent"
_ANYBODY = "_[+0-9]!"
"""A pattern for every number; in a trunk's own context it is found before the subscribers, which that includes."""


def storm(carrier: Instance, trunk: str, code: int | str | None) -> None:
    """From now on every new INVITE on the trunk gets the SIP status `code` (400 to 699), or with `silent` a 100 and
    nothing more; None ends that. Calls in progress are not touched; `Lab.set_numbers` and a second `up` end it too.

    Raises InvalidInput, LabError.
    """
    # The console takes an escaped comma as part of the application's arguments.
    act = "" if code is None else "Goto,never_rings\\,s\\,1" if code == SILENT else f"PJSIPHangup,{_status(code)}"
    carrier.execute(f"dialplan remove extension {_ANYBODY}@{trunk}")
    if act:
        said = carrier.execute(f"dialplan add extension {_ANYBODY},1,{act} into {trunk}")
        if "added into" not in said:
            raise LabError(f"the {carrier.name} does not take the storm on {trunk}: {said.strip()[-300:]}")


def _status(code: int | str) -> int:
    text = str(code)
    if not text.isdigit() or not 400 <= int(text) <= 699:
        raise InvalidInput(f"{code!r} is no storm: give a SIP status from 400 to 699, {SILENT!r}, or off.")
    return int(text)


@contextmanager
def slowed(instance: Instance, *, share: float = 0.8, period_s: float = 0.1) -> Iterator[None]:
    """Takes a share of its time (0 to 1) from an Asterisk for the length of a with-block: in each period it is stopped
    that long, as the kernel does to a group of processes that has used up its quota (cpu.max). SIGSTOP needs no right
    but that of its owner; the process goes on whatever ends the block, except a kill -9 of us: then `down` ends it.
    """
    found = [process for process in processes_of(instance.directory) if "-F" in process[1]]
    if not found:
        raise LabError(f"the lab's {instance.name} does not run, so nothing can slow it down.")
    over = threading.Event()

    def all_get(kind: signal.Signals) -> None:
        for pid, arguments in found:
            send_signal(pid, arguments, kind)

    def stop_and_go() -> None:
        while not over.is_set():
            all_get(signal.SIGSTOP)
            over.wait(share * period_s)
            all_get(signal.SIGCONT)
            over.wait((1 - share) * period_s)

    thread = threading.Thread(target=stop_and_go, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        all_get(signal.SIGCONT)
