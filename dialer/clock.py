"""The only reader of time: everything else is handed a clock or an instant."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine knows of time; a test or a simulation brings its own."""

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for leases, rates and timeouts."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Returns after that many seconds of this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def utc_now() -> datetime:
    """The wall clock for code without an engine around it (commands, the lab)."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Monotonic seconds for code without an engine around it."""
    return time.monotonic()


def from_epoch(seconds: float) -> datetime:
    """An instant from seconds since 1970 (AMI timestamps, packet captures)."""
    return datetime.fromtimestamp(seconds, UTC)
