"""A dialer command whose wall clock can be set off while it runs: `python -m faults.skewed run campaign.yaml`.

$FAULTS_CLOCK names a file with seconds to add. Monotonic time is not touched, as when an administrator sets the clock.
Debian's libfaketime 0.9.10 is no help: with FAKETIME_DONT_FAKE_MONOTONIC, Python's time.sleep ends with EINVAL.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval

import dialer.clock
from cli import main

VARIABLE = "FAULTS_CLOCK"


class _Real(type(datetime)):  # type: ignore[misc]
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class Skewed(datetime, metaclass=_Real):
    """The class `datetime`, with another idea of now."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The machine's time and the file's seconds."""
        return datetime.now(tz) + timedelta(seconds=int(Path(os.environ[VARIABLE]).read_text(encoding="ascii")))


if __name__ == "__main__":
    # dialer/clock.py is the product's one reader of time (a test holds it to that); APScheduler reads it for itself.
    for module in (
        dialer.clock,
        apscheduler.executors.base,
        apscheduler.schedulers.base,
        apscheduler.triggers.interval,
    ):
        vars(module)["datetime"] = Skewed
    main()
