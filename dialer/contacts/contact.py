"""A person in a campaign as the engine sees one: what a claim takes, what a verdict changes, what is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.campaign.retry import RetryPolicy
from dialer.contacts.suppress import CapRules
from dialer.pacing.decide import Binding
from dialer.pacing.routes import Route


@dataclass(frozen=True, kw_only=True)
class Tried:
    """An attempt that has ended, as the retry policy looks at it."""

    number: str
    disposition: Disposition
    trunk: str
    wave: int
    rang: bool
    """Whether a telephone rang, as far as anybody heard."""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """A contact with an attempt under way; `history` holds its earlier attempts, oldest first."""

    id: int
    numbers: tuple[str, ...]
    attempts: int
    """Earlier attempts that counted."""
    history: tuple[Tried, ...] = ()
    person_key: str = ""
    """The number base's key of the person: what names them when ids mean nothing any more."""
    zones: str = ""
    """The key of its calendar: time zones, and the subdivision whose holidays count."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One call that may be made now: the committed attempt and the contact behind it."""

    attempt: Attempt
    contact: Contact


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a campaign says of its attempts once they are placed."""

    retry: RetryPolicy
    longest_s: int
    """Ring limit and longest call together: Asterisk ends every call by then."""
    trunks: tuple[str, ...] = ()
    """What the campaign calls through."""


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """An attempt that an engine before this one left open, with the terms of its own campaign."""

    claim: Claim
    terms: Terms


@dataclass(frozen=True, kw_only=True)
class ClaimOrder:
    """What a claim may take: at most `most` people, through trunks that have room."""

    campaign_id: int
    revision_id: int
    boot: str
    ceiling: int
    """The most calls of the campaign at once, should the database not say less."""
    most: int
    routes: tuple[Route, ...]
    room: Mapping[str, int]
    """How many calls each trunk may take now."""
    placed: Mapping[str, int]
    """How many each has taken so far, for those that share by weight."""
    identity: Callable[[str, str], str]
    """The caller identity for a trunk and a number."""
    rules: CapRules
    """The campaign's and the site's; do-not-call lists hold whatever these say."""


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a claim brought, and which limit kept it from more; None when nobody else was due."""

    claims: list[Claim]
    bound: Binding | None


@dataclass(frozen=True, kw_only=True)
class ContactChange:
    """What a verdict does to the contact."""

    contact_id: int
    attempts: int
    wave: int
    next_attempt_at: datetime | None = None
    next_number: str | None = None
    avoid_trunks: tuple[str, ...] = ()
    """Through these the next attempt does not go: they failed, or knew no such number."""
    closed_as: str | None = None
    on_hold: bool = False
    waits_for: str | None = None
    """A value of WaitsFor: `callback`, when the person asked for that moment."""


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Where a campaign stands."""

    contacts: int
    closed: int
    held: int
    due: int
    """Not in a call, not closed, not held: now or later."""
    due_now: int
    """Of these, whose time has come; their window may be closed."""
    never: int
    """Of these, whom nobody can call as things are: their window does not open within the days ahead (no time zone, or
    none that the numbers share), or no trunk of the campaign carries the number."""
    next_call_at: datetime | None
    """When the next of these may be called: its time has come and its window is open."""
    wave: int
    """The lowest wave among contacts that are due."""

    @property
    def in_call(self) -> int:
        """Neither due, closed nor held: an attempt of theirs is open, on whatever node."""
        return self.contacts - self.closed - self.held - self.due
