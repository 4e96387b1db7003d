"""The only reader of time: everything else is handed a clock or an instant."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
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


class DatabaseClock(SystemClock):
    """The database's time, carried on by the monotonic clock between two looks.

    Due times, windows and leases are the database's; this host's wall clock may jump, or be another one's by minutes.
    """

    def __init__(self) -> None:
        self._now, self._as_of = datetime.now(UTC), time.monotonic()

    def now(self) -> datetime:
        return self._now + timedelta(seconds=time.monotonic() - self._as_of)

    def set(self, now: datetime) -> None:
        """What the database's clock shows at this moment."""
        self._now, self._as_of = now, time.monotonic()


def utc_now() -> datetime:
    """The wall clock for code without an engine around it (commands, the lab)."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Monotonic seconds for code without an engine around it."""
    return time.monotonic()


def from_epoch(seconds: float) -> datetime:
    """An instant from seconds since 1970 (AMI timestamps, packet captures)."""
    return datetime.fromtimestamp(seconds, UTC)


def to_us(at: datetime) -> int:
    """Microseconds since 1970 of an aware instant, exactly."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
