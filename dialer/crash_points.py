"""Named points at which a fault test kills or freezes the process; without its environment variables nothing happens.

`DLR_CRASH_AT=claimed` sends SIGKILL to the process that reaches the point, `DLR_STOP_AT=claimed:3` SIGSTOP at the third
time. `DLR_FAULT_FILE=PATH` asks while the process runs: as soon as PATH says `crash claimed` or `stop heard`, the first
process that reaches that point renames it to PATH.PID and obeys, and no other does.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dialer.errors import InvalidInput

CRASH_VARIABLE, STOP_VARIABLE, FILE_VARIABLE = "DLR_CRASH_AT", "DLR_STOP_AT", "DLR_FAULT_FILE"

ENGINE_POINTS = ("claimed", "journaled", "ordered", "acknowledged", "saving", "saved")
"""After the claim's COMMIT; before the order is written; written, not acknowledged; acknowledged, not applied; before a
save's COMMIT; after it."""
WORKER_POINTS = ("heard", "stored", "ending")
"""Keys read and nothing stored; rows committed, before the next prompt; result stored, DIALER_DONE not set."""

ETL_POINTS = ("dumping", "dumped", "cleaned", "computed", "loading", "loaded")
"""A segment written, before its COMMIT; after it; a history written; all facts written; before the COMMIT that
publishes them; after it."""
POINTS = ENGINE_POINTS + WORKER_POINTS + ETL_POINTS


def _read(environ: Mapping[str, str]) -> dict[tuple[str, signal.Signals], int]:
    """What is asked for: point and signal to the turn at which it happens."""
    asked = {}
    for variable, kind in ((CRASH_VARIABLE, signal.SIGKILL), (STOP_VARIABLE, signal.SIGSTOP)):
        text = environ.get(variable, "")
        match = re.fullmatch(r"([a-z]+)(?::([1-9][0-9]{0,5}))?", text)
        if match and match[1] in POINTS:
            asked[match[1], kind] = int(match[2] or 1)
        elif text:
            points = ", ".join(POINTS)
            raise InvalidInput(f"{variable}={text} names no crash point. Write one of {points}, or point:3.")
    return asked


_LEFT = _read(os.environ)
_FILE = Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None
_ASKED = bool(_LEFT or _FILE)


def reach(point: str) -> None:
    """Says that the process is at a point; one look at a constant when no fault is asked for."""
    if _ASKED:
        _obey(point)


def _obey(point: str) -> None:
    for kind in (signal.SIGKILL, signal.SIGSTOP):
        if (point, kind) in _LEFT:
            _LEFT[point, kind] -= 1
            if _LEFT[point, kind] == 0:
                os.kill(os.getpid(), kind)
    if _FILE is None:
        return
    with suppress(FileNotFoundError):
        word, _, wanted = _FILE.read_text(encoding="ascii").partition(" ")
        if wanted == point:
            _FILE.rename(f"{_FILE}.{os.getpid()}")
            os.kill(os.getpid(), signal.SIGSTOP if word == "stop" else signal.SIGKILL)
