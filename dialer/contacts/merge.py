"""What a new delivery of a number base does to the contacts of a campaign. Pure; storage.contacts does it in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

FEW = 20
"""So many contacts may always be withdrawn: of a short list a few are soon a large part."""


class Change(Enum):
    """What a delivery did to a contact; the values stand in the report. New and unchanged ones are only counted."""

    CHANGED = "changed"
    RETURNED = "returned"
    """Was withdrawn, and is delivered again."""
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class MergePolicy:
    """What the campaign file says of deliveries."""

    missing: Literal["withdraw", "keep"]
    withdraw_at_most: float
    not_called_within_s: int | None


def too_many_withdrawn(withdrawn: int, open_before: int, policy: MergePolicy) -> bool:
    """Whether a delivery would withdraw so many of the open contacts that it is more likely a part of one."""
    return withdrawn > FEW and withdrawn > policy.withdraw_at_most * open_before
