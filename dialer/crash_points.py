"""Named points at which a fault test kills or freezes the process; without its environment variables nothing happens.

`DLR_CRASH_AT=claimed` sends SIGKILL to the process that reaches the point, `DLR_STOP_AT=claimed:3` SIGSTOP at the third
time. With `DLR_ONCE=PATH` this happens only to the process that can remove PATH: workers are restarted with the same
environment, and would die for ever; and the test sees from the file that the point was reached.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from dialer.errors import InvalidInput

CRASH_VARIABLE, STOP_VARIABLE, ONCE_VARIABLE = "DLR_CRASH_AT", "DLR_STOP_AT", "DLR_ONCE"

ENGINE_POINTS = ("claimed", "journaled", "ordered", "acknowledged", "saving", "saved")
"""After the claim's COMMIT; before the order is written; written, not acknowledged; acknowledged, not applied; before a
save's COMMIT; after it."""
WORKER_POINTS = ("heard", "stored", "ending")
"""Keys read and nothing stored; rows committed, before the next prompt; result stored, DIALER_DONE not set."""


@dataclass
class _Armed:
    kind: signal.Signals
    left: int


def _read(environ: Mapping[str, str]) -> dict[str, _Armed]:
    armed = {}
    for variable, kind in ((CRASH_VARIABLE, signal.SIGKILL), (STOP_VARIABLE, signal.SIGSTOP)):
        text = environ.get(variable, "")
        match = re.fullmatch(r"([a-z]+)(?::([1-9][0-9]{0,5}))?", text)
        if match and match[1] in ENGINE_POINTS + WORKER_POINTS:
            armed[match[1]] = _Armed(kind=kind, left=int(match[2] or 1))
        elif text:
            points = ", ".join(ENGINE_POINTS + WORKER_POINTS)
            raise InvalidInput(f"{variable}={text} names no crash point. Write one of {points}, or point:3.")
    return armed


_ARMED = _read(os.environ)


def reach(point: str) -> None:
    """Says that the process is at a point; one look into an empty dictionary when no fault is asked for."""
    if point in _ARMED:
        _happen(_ARMED[point])


def _happen(armed: _Armed) -> None:
    armed.left -= 1
    if armed.left != 0:
        return
    once = os.environ.get(ONCE_VARIABLE)
    if once:
        try:
            os.unlink(once)
        except FileNotFoundError:
            return
    os.kill(os.getpid(), armed.kind)
