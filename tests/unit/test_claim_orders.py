"""What a campaign's loop lets a claim take: by the campaign's rules and the site's, whichever are stricter."""

from __future__ import annotations

from dataclasses import replace

from dialer.contacts.contact import ClaimOrder, ClaimResult
from dialer.contacts.suppress import CapRules, Caps
from dialer.engine.campaign_loop import CampaignLoop
from dialer.engine.capacity import Capacity
from dialer.engine.tracker import Tracker
from tests.support.engine_parts import CAMPAIGN, PLAN, FakeClock, FakeJournal, FakeStore, FakeTelephony, make_parts


class Listener(FakeStore):
    """Keeps what was asked for, and has nobody to call."""

    asked: ClaimOrder | None = None

    async def claim(self, order: ClaimOrder) -> ClaimResult:
        self.asked = order
        return ClaimResult(claims=[], bound=None)


async def test_a_claim_keeps_the_rules_of_campaign_and_site():
    of_campaign = CapRules(number=Caps(day=2), person=Caps(), gap_s=60)
    of_site = CapRules(number=Caps(day=3, ever=9), person=Caps(week=4), gap_s=3600)
    store, clock = Listener(), FakeClock()
    loop = CampaignLoop(
        replace(CAMPAIGN, rules=of_campaign),
        make_parts(store, FakeTelephony(), clock, FakeJournal()),
        Tracker(store, clock),
        Capacity(replace(PLAN, site_caps=of_site), clock.monotonic),
        lambda: None,
        lambda: None,
    )
    loop.may_use(CAMPAIGN.calls_per_second, 1e9)
    await loop.turn()
    assert store.asked is not None
    assert store.asked.rules == CapRules(number=Caps(day=2, ever=9), person=Caps(week=4), gap_s=3600)
