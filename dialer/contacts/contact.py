"""A person in a campaign as the engine sees one: what a claim takes, what a verdict changes, what is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.campaign.model import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Contact:
    """A contact with an attempt under way; `history` holds its earlier attempts, oldest first."""

    id: int
    numbers: tuple[str, ...]
    attempts: int
    """Earlier attempts that counted."""
    history: tuple[tuple[str, Disposition], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One call that may be made now: the committed attempt and the contact behind it."""

    attempt: Attempt
    contact: Contact


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """An attempt that an engine before this one left open, with the retry policy of its own campaign."""

    claim: Claim
    retry: RetryPolicy


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a claim brought; `in_use` is how many slots were taken before it."""

    claims: list[Claim]
    in_use: int


@dataclass(frozen=True, kw_only=True)
class ContactChange:
    """What a verdict does to the contact."""

    contact_id: int
    attempts: int
    wave: int
    next_attempt_at: datetime | None = None
    next_number: str | None = None
    closed_as: str | None = None
    on_hold: bool = False


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Where a campaign stands."""

    contacts: int
    closed: int
    held: int
    due: int
    next_due_at: datetime | None
    wave: int
    """The lowest wave among contacts that are due."""
    dispositions: dict[Disposition, int]
