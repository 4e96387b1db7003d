"""A campaign under way: what an engine needs of its revision, and what an operator wants of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dialer.campaign.capacity import numbers_of
from dialer.campaign.model import Campaign
from dialer.contacts.contact import Terms


class Wanted(Enum):
    """What an operator wants of a campaign."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"
    """No new calls until it is resumed; live ones end as they would."""
    DRAINING = "draining"
    """No new calls; it is idle when the last live one has its verdict."""
    STOPPING = "stopping"
    """As draining, and live calls are hung up."""


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What the command line says instead of the file; None keeps the file's."""

    max_concurrent: int | None = None
    calls_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class RunningCampaign:
    """What the loop needs of an accepted revision, with what the command line overrode."""

    id: int
    revision_id: int
    name: str
    tenant_id: str
    max_concurrent: int
    calls_per_second: float
    trunk: str
    caller_id: str
    ring_s: int
    terms: Terms


@dataclass(frozen=True, kw_only=True)
class WantedRun:
    """A campaign that its operator does not want idle."""

    campaign: RunningCampaign
    wanted: Wanted


def running(campaign: Campaign, campaign_id: int, revision_id: int, overrides: Overrides) -> RunningCampaign:
    """A campaign file as the engine takes it, with the command line's overrides."""
    capacity = campaign.capacity
    return RunningCampaign(
        id=campaign_id,
        revision_id=revision_id,
        name=campaign.campaign,
        tenant_id=campaign.tenant,
        max_concurrent=overrides.max_concurrent or capacity.max_concurrent,
        calls_per_second=overrides.calls_per_second or capacity.calls_per_second,
        trunk=capacity.trunks[0].name,
        caller_id=next(number for _, number in numbers_of(capacity.trunks[0].caller_id or capacity.caller_id)),
        ring_s=capacity.ring,
        terms=Terms(retry=campaign.retry, longest_s=capacity.ring + capacity.longest_call),
    )
