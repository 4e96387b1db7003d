"""What the collector has done since it started, for Prometheus (its text format, version 0.0.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dialer.clock import monotonic
from etl.landing import Landed

EVENTS = "dialer_collect_events_total"
DEAD = "dialer_collect_dead_total"
REQUESTS = "dialer_collect_requests_total"
LANDING = "dialer_collect_landing_seconds"
_HELP = {
    EVENTS: ("counter", "Events by tenant: accepted, and of these spooled, duplicate, unknown."),
    DEAD: ("counter", "Lines that are no events, by tenant and reason."),
    REQUESTS: ("counter", "Requests by status."),
    LANDING: ("summary", "How long PostgreSQL took for a group of batches."),
    "dialer_collect_pending_bytes": ("gauge", "Of requests that are being read or stored."),
    "dialer_collect_spool_bytes": ("gauge", "On this host's disk, waiting for PostgreSQL."),
    "dialer_collect_database_up": ("gauge", "1 while PostgreSQL takes what comes."),
}


class Metrics:
    """Counts; every label's value is a name, a slug or a status."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()

    def count(self, name: str, times: float = 1, **labels: str) -> None:
        """Adds to a counter."""
        if times:
            inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
            self._counts[name, "", f"{{{inner}}}" if inner else ""] += times  # type: ignore[assignment]

    def landed(self, tenant_id: str, landed: Landed) -> None:
        """Counts what was found out about a batch when it was stored."""
        self.count(EVENTS, landed.duplicates, tenant=tenant_id, outcome="duplicate")
        for letter in landed.refused:
            self.count(DEAD, tenant=tenant_id, reason=letter.reason.value)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Counts a piece of work and its seconds."""
        began = monotonic()
        try:
            yield
        finally:
            self._counts[name, "_sum", ""] += monotonic() - began  # type: ignore[assignment]
            self._counts[name, "_count", ""] += 1

    def text(self, gauges: Mapping[str, float]) -> str:
        """All of it, with what stands now."""
        lines = []
        for name, (kind, told) in _HELP.items():
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}"]
            if name in gauges:
                lines.append(f"{name} {gauges[name]:g}")
            lines += [
                f"{name}{suffix}{labels} {value:.17g}"
                for (of, suffix, labels), value in sorted(self._counts.items())
                if of == name
            ]
        return "\n".join(lines) + "\n"
