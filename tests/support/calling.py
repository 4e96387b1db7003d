"""Rules as a campaign file writes them, for tests of the calendar."""

from collections.abc import Iterable
from typing import Any

from dialer.campaign.calling import Rules, rules_of
from dialer.campaign.model import Campaign


def campaign(calling: dict[str, Any], **capacity: Any) -> Campaign:
    """A campaign with this `calling` (rule packs written into it, not named), and more of `capacity`."""
    limits = {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["carrier-a"], "caller_id": "+48221234567"}
    return Campaign.model_validate(
        {
            "campaign": "test",
            "contacts": {"from": "people.csv", "numbers": ["mobile"]},
            "calling": calling,
            "capacity": {**limits, **capacity},
            "flow": {"hello": {"say": "Hello."}},
        }
    )


def rules(calling: dict[str, Any], **capacity: Any) -> Rules:
    """What that campaign comes to."""
    return rules_of(campaign(calling, **capacity))


def calendar_key(zones: Iterable[str], places: Iterable[str] = ()) -> str:
    """Zones and places as a contact keeps them."""
    at = ",".join(sorted(set(places)))
    return ",".join(sorted(set(zones))) + (f"@{at}" if at else "")
