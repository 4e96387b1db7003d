"""What the engine needs from below, as protocols: rules meet wires only through these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.events import Accepted, CallEvent, Refused, Returned, Unclear
from dialer.calls.order import Order
from dialer.calls.results import DialogueEnd
from dialer.calls.witness import CelPosition, CelRecord
from dialer.campaign.running import WantedRun
from dialer.clock import Clock
from dialer.contacts.contact import Claim, ClaimOrder, ClaimResult, ContactChange, Leftover, Totals


class Telephony(Protocol):
    """One node's calls."""

    @property
    def is_up(self) -> bool:
        """Whether calls may be ordered now."""
        ...

    @property
    def refusal(self) -> str:
        """Why the node will never let us in as things are; empty while it may."""
        ...

    @property
    def boot(self) -> str:
        """Which run of the node's Asterisk this session is with; empty while there is none."""
        ...

    async def keep_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        """Keeps the session with the node up until cancelled or refused for good."""
        ...

    async def originate(self, order: Order) -> Accepted | Refused | Returned | Unclear:
        """Places one call, once."""
        ...

    async def next_events(self) -> list[tuple[UUID, CallEvent]]:
        """Waits, then everything that has come, in order; may be empty."""
        ...

    async def hang_up(self, attempt_id: UUID) -> bool:
        """Asks the node to end a call; whether it does so. False when there is none, or the node is away."""
        ...

    async def leave_mark(self) -> UUID | None:
        """Makes the node write a mark into its record: all before it is then in there. None when it cannot be asked."""
        ...

    async def live_calls(self) -> dict[UUID, list[CallEvent]] | None:
        """Our channels on the node and what their states say; None when the node cannot be asked."""
        ...


class Store(Protocol):
    """Claims, transitions and totals. Every method raises DatabaseAway while the database cannot be reached."""

    async def hold_node(self) -> float:
        """For how many seconds this process is the node's one engine; 0 while another is. Raises Fenced."""
        ...

    async def ensure_partitions(self, now: datetime) -> None:
        """Makes room for the events of the week ahead."""
        ...

    async def set_limits(self, site: int | None, node: int, trunks: Mapping[str, int | None]) -> None:
        """Makes these the most calls at once that every engine keeps: of the site, this node, its trunks."""
        ...

    async def claim(self, order: ClaimOrder) -> ClaimResult:
        """Due contacts with their committed attempts, within every limit. Raises Fenced."""
        ...

    async def save(
        self, changed: Sequence[Attempt], contacts: Sequence[ContactChange], events: Sequence[dict[str, Any]]
    ) -> None:
        """Stores transitions, their effect on contacts, and their events, together. Raises Fenced."""
        ...

    async def flow_results(self, attempt_ids: Sequence[UUID]) -> list[DialogueEnd]:
        """Dialogue results that have arrived."""
        ...

    async def awaiting_rows(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        """Attempts whose dialogue has rows on this host that are not stored yet."""
        ...

    async def unknown_attempts(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        """Those that the store has never heard of."""
        ...

    async def forgotten(self) -> str:
        """What this host knows of its calls and the store does not, in words; empty, in health."""
        ...

    async def begin_cel(self) -> None:
        """Notes since when the node's record is followed; nothing when it is already."""
        ...

    async def cel_position(self) -> CelPosition | None:
        """How far the node's own record is stored; None before the first."""
        ...

    async def store_cel(self, records: Sequence[CelRecord], position: CelPosition) -> None:
        """Stores records and how far they reach, together; storing them again changes nothing."""
        ...

    async def cel_of(self, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
        """What the node itself saw of these attempts, oldest first; nothing of those it never saw."""
        ...

    async def open_attempts(self) -> list[Leftover]:
        """What an engine before this one left without a verdict."""
        ...

    async def sent_lately(self, within_s: float, campaign_id: int | None = None) -> dict[str, int]:
        """How many attempts were submitted to this node within the last seconds, by trunk: of a campaign, or of all."""
        ...

    async def wanted_runs(self, own: Sequence[int] | None) -> list[WantedRun]:
        """What this node is to run: what was ordered since it is ours, and `own`; None: everything."""
        ...

    async def report(self, progress: Mapping[int, dict[str, Any]], of_node: dict[str, Any]) -> None:
        """Stores how far campaigns are and how the node is, for those who watch from elsewhere. Raises Fenced."""
        ...

    async def rate_shares(self, campaigns: Sequence[int], *, able: bool) -> dict[int, float]:
        """How many of each campaign's calls a second this node may start from now on; `able`: it can call."""
        ...

    async def pause(self, campaign_id: int, tenant_id: str, why: str) -> None:
        """Pauses a running campaign on the engine's own account. Raises Fenced."""
        ...

    async def refuse(self, campaign_id: int, tenant_id: str, why: str) -> None:
        """Takes this node out of a campaign, which is idle when no other is left. Raises Fenced."""
        ...

    async def finish(self, campaign_id: int, tenant_id: str, verb: str, why: str) -> bool:
        """Makes a campaign idle; False while another engine has calls of it. Raises Fenced."""
        ...

    async def totals(self, campaign_id: int, revision_id: int, prefixes: Sequence[str] = ("",)) -> Totals:
        """Where a campaign stands, when its trunks carry the numbers that begin so."""
        ...

    async def dispositions(self, campaign_id: int) -> dict[Disposition, int]:
        """A campaign's verdicts so far, of calls through this node."""
        ...


class Journal(Protocol):
    """What this host itself remembers of its calls, should the database forget them."""

    def claimed(self, campaign: str, claims: Sequence[Claim]) -> None:
        """Returns when the claims are on the disk. Raises OSError. Blocks: to be called in a thread."""
        ...

    def ended(self, changes: Sequence[tuple[Attempt, ContactChange]]) -> None:
        """Notes stored verdicts. Raises OSError."""
        ...

    def forget(self, before: datetime) -> None:
        """Drops what is older. Blocks: to be called in a thread."""
        ...


class WorkersLook(Protocol):
    """How the FastAGI workers of this host fare, as one of them says."""

    @property
    def first_prompt_s(self) -> float:
        """From the accepted connection to the first prompt, the 90th percentile of lately."""
        ...

    @property
    def lag_s(self) -> float:
        """How late its event loop came round, at the worst."""
        ...


@dataclass(frozen=True, kw_only=True)
class Nightly:
    """What an engine begins every night, beside its calls."""

    at: str
    """HH:MM."""
    time_zone: str
    begin: Callable[[], None]
    """Returns at once; nothing happens when it is under way already. Raises DialerError."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The wires of one engine."""

    store: Store
    telephony: Telephony
    journal: Journal
    clock: Clock
