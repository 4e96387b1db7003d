"""How much tenants may send, a second and a day, and how much of it may be in memory; pure, the time is passed in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from dialer.settings import CollectSettings

BURST_S = 2.0
"""What a tenant may save up while it is silent."""
SOON_S = 1


class OverQuota(Exception):
    """This tenant, or everybody together, must wait."""

    def __init__(self, message: str, retry_after_s: int, *, everybody: bool) -> None:
        super().__init__(message)
        self.retry_after_s, self.everybody = retry_after_s, everybody


@dataclass
class _Bucket:
    events: float
    at: float


@dataclass
class Usage:
    """Of one tenant and UTC day."""

    events: int = 0
    bytes: int = 0


Sent = dict[tuple[str, date], Usage]
"""By tenant and day."""


class Quotas:
    """Counts what tenants send; a request is admitted while its tenant has credit, and then taken whole."""

    def __init__(self, settings: CollectSettings, monotonic: Callable[[], float]) -> None:
        self._settings, self._monotonic = settings, monotonic
        self._buckets: dict[str, _Bucket] = {}
        self._stored: Sent = {}
        self._unstored: Sent = {}
        self._pending: Counter[str] = Counter()
        self.pending = 0
        """Bytes of all requests that are being read or stored."""

    def admit(self, tenant_id: str, now: datetime) -> None:
        """Raises OverQuota when the tenant, or everybody, must wait."""
        quota, today = self._settings.quota_of(tenant_id), now.astimezone(UTC).date()
        sent = self._of(self._stored, tenant_id, today).bytes + self._of(self._unstored, tenant_id, today).bytes
        if sent >= quota.bytes_per_day:
            tomorrow = datetime.combine(today + timedelta(days=1), time(), UTC)
            raise OverQuota(
                f"{sent} bytes today, and {quota.bytes_per_day} are the most", _whole((tomorrow - now).total_seconds()),
                everybody=False,
            )  # fmt: skip
        if (balance := self._refilled(tenant_id).events) <= 0:
            raise OverQuota(
                f"more than {quota.events_per_second:g} events a second",
                _whole(-balance / quota.events_per_second), everybody=False,
            )  # fmt: skip
        self.grow(tenant_id, 0)

    def charge(self, tenant_id: str, now: datetime, events: int, size: int) -> None:
        """Counts what a request brought."""
        self._refilled(tenant_id).events -= events
        usage = self._unstored.setdefault((tenant_id, now.astimezone(UTC).date()), Usage())
        usage.events += events
        usage.bytes += size

    def grow(self, tenant_id: str, size: int) -> None:
        """Counts bytes that come into memory. Raises OverQuota, and then they must not."""
        most = self._settings.max_pending
        if self.pending + size > most:
            raise OverQuota("too much is being stored", SOON_S, everybody=True)
        if self._pending[tenant_id] + size > most // 2:
            raise OverQuota("too much of this tenant is being stored", SOON_S, everybody=False)
        self._pending[tenant_id] += size
        self.pending += size

    def shrink(self, tenant_id: str, size: int) -> None:
        """Counts bytes that leave memory."""
        self._pending[tenant_id] -= size
        self.pending -= size
        if not self._pending[tenant_id]:
            del self._pending[tenant_id]

    def unstored(self) -> Sent:
        """What must be added to the stored counts; the caller stores it, or gives it back (`restore`)."""
        taken, self._unstored = self._unstored, {}
        return taken

    def restore(self, usage: Sent) -> None:
        """Takes back what could not be stored."""
        for (tenant_id, day), counts in usage.items():
            kept = self._unstored.setdefault((tenant_id, day), Usage())
            kept.events += counts.events
            kept.bytes += counts.bytes

    def learn(self, stored: Sent) -> None:
        """The counts of today over all collectors."""
        self._stored = stored

    def _refilled(self, tenant_id: str) -> _Bucket:
        rate, now = self._settings.quota_of(tenant_id).events_per_second, self._monotonic()
        bucket = self._buckets.setdefault(tenant_id, _Bucket(events=rate * BURST_S, at=now))
        bucket.events = min(bucket.events + (now - bucket.at) * rate, rate * BURST_S)
        bucket.at = now
        return bucket

    @staticmethod
    def _of(counts: Sent, tenant_id: str, day: date) -> Usage:
        return counts.get((tenant_id, day), Usage())


def _whole(seconds: float) -> int:
    return max(1, math.ceil(seconds))
