"""By what a campaign is explained: the revision in force, its rules and windows, its trunks, and what holds it back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection

from dialer.campaign.calling import Rules, rules_of
from dialer.campaign.model import Campaign
from dialer.contacts.suppress import CapRules, of_site, strictest
from dialer.monitoring.outlook import Outlook, outlook
from dialer.monitoring.status_facts import has_engine, holds
from dialer.monitoring.words import in_words
from dialer.pacing.decide import Binding
from dialer.settings import Settings
from dialer.storage import campaigns, status
from dialer.storage.campaigns import StoredCampaign, StoredRevision
from dialer.storage.funnel import Coming, View, Way, seen
from dialer.storage.status import CampaignStatus, StatusPage

NEXT, NO_ENGINE = "next", "no_engine"
_OTHERWISE = {
    NEXT: "nothing; the engine takes them next",
    NO_ENGINE: "no engine dials it → dialer engine",
    "idle": "it is idle → dialer run FILE",
    "paused": "it is paused → dialer resume {name}",
    "draining": "it is draining: no new calls",
    "stopping": "it is stopping: no new calls",
}
_OF_NOBODY = (Binding.NOTHING_DUE, Binding.WINDOW_CLOSED)
"""What an engine said before these people became due."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A campaign as it is explained."""

    stored: StoredCampaign
    revision: StoredRevision
    """The one that claims are made by; of an idle campaign the last that was accepted."""
    campaign: Campaign
    rules: Rules
    caps: CapRules
    """The strictest of the revision's and the site's."""
    status: CampaignStatus
    page: StatusPage
    view: View

    @property
    def name(self) -> str:
        """The campaign's."""
        return self.stored.name


def subject(connection: Connection, settings: Settings, name: str) -> Subject:
    """A campaign with all by which it is explained. Raises InvalidInput for an unknown one.

    Needs a transaction that sees one moment (storage.reading).
    """
    stored = campaigns.require(connection, name)
    page = status.page(connection, stored.campaign_id)
    found = page.campaigns[0]
    revision = campaigns.in_force(connection, stored.campaign_id)
    campaign = campaigns.read_again(revision).campaign
    rules = rules_of(campaign)
    # A campaign that nobody runs has no calendar of today.
    windows = (
        campaigns.calendar(connection, stored.campaign_id, rules, page.at)
        if found.wanted == "idle"
        else campaigns.written_calendar(connection, revision.id, page.at)
    )
    return Subject(
        stored=stored,
        revision=revision,
        campaign=campaign,
        rules=rules,
        caps=strictest(rules.caps, of_site(settings.caps)),
        status=found,
        page=page,
        view=View(
            campaign_id=stored.campaign_id, tenant_id=stored.tenant_id, at=page.at, windows=windows,
            ways=ways_of(campaign, settings, page), hold=hold_of(found, page), wanted_at=found.wanted_at,
        ),
    )  # fmt: skip


def ways_of(campaign: Campaign, settings: Settings, page: StatusPage) -> list[Way]:
    """The campaign's trunks that the settings know, and whether their breakers are open."""
    breakers = {trunk.name: trunk.breaker for node in page.nodes for trunk in node.trunks}
    return [
        Way(trunk=use.name, prefixes=trunk.prefixes, cut_off=breakers.get(use.name) == "open")
        for use in campaign.capacity.trunks
        if (trunk := settings.trunk(use.name)) is not None
    ]


def hold_of(campaign: CampaignStatus, page: StatusPage) -> str:
    """What keeps a campaign from calling those whom it may call: a slug."""
    if campaign.wanted != "running":
        return campaign.wanted
    if not any(has_engine(part.node, page) for part in campaign.parts):
        return NO_ENGINE
    return next((hold.binding.value for hold in holds(campaign, page) if hold.binding not in _OF_NOBODY), NEXT)


def outlook_of(connection: Connection, found: Subject, people: Iterable[Coming]) -> Outlook | None:
    """When these people will have been called, at the campaign's limits and by its calendar."""
    limits = limits_of(found)
    return outlook(people, found.view.windows, limits, seen(connection, found.stored.campaign_id), found.view.at)


def limits_of(found: Subject) -> tuple[float, int]:
    """Calls a second and at once: while it runs what operators have set."""
    capacity, use = found.campaign.capacity, found.status.use
    if found.status.wanted == "idle":
        return capacity.calls_per_second, capacity.max_concurrent
    return use.max_rate or capacity.calls_per_second, use.max or capacity.max_concurrent


def held_by(campaign: CampaignStatus, page: StatusPage) -> str:
    """The same in words."""
    slug = hold_of(campaign, page)
    if slug in _OTHERWISE:
        return _OTHERWISE[slug].format(name=campaign.name)
    return in_words([hold for hold in holds(campaign, page) if hold.binding not in _OF_NOBODY])
