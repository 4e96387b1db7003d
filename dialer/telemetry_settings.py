"""Settings of the telemetry: the collector, the nightly run, opening hours, what reports measure against."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator

from dialer.settings_form import Name, Part, Port, form, wrong


class QuotaSettings(Part):
    """What one tenant may send to the collector at most."""

    events_per_second: float = Field(default=10_000, gt=0, allow_inf_nan=False)
    """Over some seconds; a batch is taken whole, and the next one waits."""
    bytes_per_day: int = Field(default=10 * 2**30, ge=1)
    """Of a UTC day, unpacked."""


EVENT_MEMORY = 1024
"""Bytes that an event takes beside its line."""


class CollectSettings(Part):
    """The collector: where it listens, and how much it takes. Sizes are in bytes."""

    host: str = "127.0.0.1"
    port: Port = 8480
    max_body: int = Field(default=8 * 2**20, ge=1024)
    max_unpacked: int = Field(default=32 * 2**20, ge=1024)
    max_lines: int = Field(default=10_000, ge=1, le=100_000)
    max_line: int = Field(default=256 * 2**10, ge=256, le=2**20)
    """Written out as PostgreSQL does it must fit into a line of the nightly dump."""
    max_pending: int = Field(default=128 * 2**20, ge=2**20)
    """Of all requests that are being read or stored; one tenant's may be half of it."""
    spool_size: int = Field(default=10 * 2**30, ge=2**20)
    """Of the disk, for what comes while PostgreSQL is away."""
    late_days: int = Field(default=35, ge=1, le=400)
    """How long after it occurred an event is taken."""
    quota: QuotaSettings = QuotaSettings()
    tenants: dict[Name, QuotaSettings] = {}

    @model_validator(mode="after")
    def _the_largest_request_fits(self) -> CollectSettings:
        largest = self.max_body + self.max_unpacked + self.max_lines * EVENT_MEMORY
        if self.max_pending < 2 * largest:
            # It would be told to wait for ever.
            raise wrong(
                "too-small",
                f"half of max_pending is less than the largest request takes: {self.max_pending // 2} of {largest}",
                f"write max_pending: {2 * largest} or more, or take smaller requests",
            )
        return self

    def quota_of(self, tenant_id: str) -> QuotaSettings:
        """The tenant's own, else the general one."""
        return self.tenants.get(tenant_id, self.quota)


def _require_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise ValueError(f"there is no time zone {name!r}") from error


class KeepSettings(Part):
    """How long the stores of the telemetry keep what they have."""

    events_days: int = Field(default=90, ge=2)
    """The event log in PostgreSQL, at least as long as late events are taken; `dialer explain` reads it."""
    lake_months: int = Field(default=24, ge=1)
    """Histories and facts, by the day on which their subjects began."""
    dead_days: int = Field(default=90, ge=1)
    """Lines that were no events, since they last came: they may hold what people wrote."""
    replaced_days: int = Field(default=14, ge=1)
    """Files that newer ones have replaced: `dialer report diff` compares them."""


class EtlSettings(Part):
    """The nightly run that makes events into facts."""

    at: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = "02:30"
    """When an engine begins it; a change of clocks may move it by an hour. None: this host's engines never do."""
    time_zone: Annotated[str, form(_require_zone, "write an IANA name such as Europe/Warsaw")] = "UTC"
    engine: Literal["duckdb", "spark"] = "duckdb"
    spark_master: str = "local[*]"
    memory_mb: int = Field(default=1024, ge=256)
    """Of a large tenant's transforms; small ones take a quarter of it beside. What does not fit is spilt to disk."""
    threads: int | None = Field(default=None, ge=1)
    """None: as many as there are cores."""
    late_after_s: int = Field(default=3600, ge=0)
    """An event that came in so long after it occurred is counted as late."""
    keep: KeepSettings = KeepSettings()


class OpeningHours(Part):
    """When a group of a tenant works on its tickets, by its own clock."""

    tenant: Name
    group: str = ""
    """Empty: tickets without a group, and all groups without hours of their own."""
    time_zone: Annotated[str, form(_require_zone, "write an IANA name such as Europe/Warsaw")]
    open: dict[str, str]
    """Days to time spans, as in the `window` of a campaign file."""
    holidays: tuple[str, ...] = ()
    """Countries, or their subdivisions, whose public holidays are closed."""
    closed: tuple[str, ...] = ()
    """More closed days, as `2026-12-24` or `2026-12-24..2027-01-01`."""


class ReportSettings(Part):
    """What reports measure service against, in seconds."""

    answer_within_s: int = Field(default=20, ge=1)
    """Who waits in a queue is answered in time."""
    short_abandon_s: int = Field(default=5, ge=0)
    """Who gives up so soon was not lost to the queue."""
    first_response_within_s: int = Field(default=3600, ge=1)
    """From a ticket's creation to the first public message of an agent."""
    next_response_within_s: int = Field(default=3600, ge=1)
    """From a customer's message to the next of an agent."""
    resolution_within_s: int = Field(default=86_400, ge=1)
    """From a ticket's creation until it is solved for good."""
    sla_hours: Literal["calendar", "opening"] = "calendar"
    """By which hours these three run: all, or the opening hours of the ticket's group."""
