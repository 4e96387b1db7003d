"""A campaign under way: what an engine needs of its revision, and what an operator wants of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dialer.campaign.calling import at_any_hour, rules_of
from dialer.campaign.capacity import Capacity
from dialer.campaign.model import Campaign
from dialer.contacts.contact import Terms
from dialer.contacts.suppress import CapRules

NOBODY_LEFT = "nobody is left"
"""Why a campaign is idle that has ended by itself: as the order says it, and those who look for such campaigns."""


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
    """What an operator says instead of the file, at the start or while it runs; None keeps the file's."""

    max_concurrent: int | None = None
    calls_per_second: float | None = None
    priority: int | None = None
    share: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunningCampaign:
    """What the engine needs of an accepted revision, with what an operator said instead."""

    id: int
    revision_id: int
    name: str
    tenant_id: str
    max_concurrent: int
    calls_per_second: float
    priority: int
    share: int
    capacity: Capacity
    """As the file has it, with the strictest `max_silent` of file and rule packs; the four above it may have been
    changed since."""
    terms: Terms
    rules: CapRules
    """How often people may be called, by the file and its rule packs."""
    at_any_hour: bool = False
    """Nothing names hours: only for calls that stay on this machine."""


@dataclass(frozen=True, kw_only=True)
class WantedRun:
    """A campaign that its operator does not want idle."""

    campaign: RunningCampaign
    wanted: Wanted
    running_for_s: float = 0.0
    """Since it was ordered to run, by the database's clock."""


def running(campaign: Campaign, campaign_id: int, revision_id: int, overrides: Overrides) -> RunningCampaign:
    """A campaign file as the engine takes it, with an operator's overrides."""
    capacity, rules = campaign.capacity, rules_of(campaign)
    return RunningCampaign(
        id=campaign_id,
        revision_id=revision_id,
        name=campaign.campaign,
        tenant_id=campaign.tenant,
        max_concurrent=overrides.max_concurrent or capacity.max_concurrent,
        calls_per_second=overrides.calls_per_second or capacity.calls_per_second,
        priority=overrides.priority or capacity.priority,
        share=overrides.share or capacity.share,
        capacity=capacity.model_copy(update={"max_silent": rules.max_silent}),
        terms=terms(campaign),
        rules=rules.caps,
        at_any_hour=at_any_hour(campaign.calling),
    )


def terms(campaign: Campaign) -> Terms:
    """What a campaign file says of attempts once they are placed."""
    capacity = campaign.capacity
    return Terms(
        retry=campaign.retry,
        longest_s=capacity.ring + capacity.longest_call,
        trunks=tuple(use.name for use in capacity.trunks),
    )
