"""Parts around the engine that a test scripts: a store that can be slow or away, a node, a clock that a test moves."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from dialer.calls.attempt import Attempt
from dialer.calls.disposition import Disposition
from dialer.calls.events import Accepted, CallEvent, Refused, Returned, Unclear
from dialer.calls.order import Order
from dialer.calls.results import DialogueEnd
from dialer.calls.witness import CelPosition, CelRecord
from dialer.campaign.capacity import Capacity as CampaignCapacity
from dialer.campaign.retry import RetryPolicy
from dialer.campaign.running import RunningCampaign, Wanted, WantedRun
from dialer.contacts.contact import Claim, ClaimOrder, ClaimResult, Contact, ContactChange, Leftover, Terms, Totals
from dialer.contacts.suppress import NO_CAPS
from dialer.engine.capacity import NodePlan
from dialer.engine.ports import Parts
from dialer.settings import AmiSettings, NodeSettings, TrunkSettings

BOOT = "boot-1"
T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
TERMS = Terms(retry=RetryPolicy(), longest_s=120, trunks=("a",))
CAMPAIGN = RunningCampaign(
    id=1, revision_id=1, name="c", tenant_id="t", max_concurrent=10, calls_per_second=100, priority=5, share=1,
    capacity=CampaignCapacity.model_validate(
        {"max_concurrent": 10, "calls_per_second": 100, "trunks": ["a"], "caller_id": "+48221234567"}
    ),
    terms=TERMS, rules=NO_CAPS,
)  # fmt: skip
PLAN = NodePlan(
    node=NodeSettings(
        name="n", ami=AmiSettings(secret_file=Path("none")), max_concurrent=1000, calls_per_second=1000
    ),
    trunks=(TrunkSettings(name="a", node="n", host="127.0.0.1"),),
    prefixes={"a": ()},
)  # fmt: skip


class FakeClock:
    """Stands still until a test moves it; sleeping takes no time and moves it."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return 1000.0 + self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        await asyncio.sleep(0)


def make_claim(number: int = 1, **attempt: Any) -> Claim:
    """A claim of a contact of its own."""
    text = f"+48501{number:06d}"
    made = Attempt(
        id=uuid4(), tenant_id="t", campaign_id=1, revision_id=1, contact_id=number, number=text, wave=1, node="n",
        trunk="a", caller_id="+48221234567", **{"submitting_at": T0, "boot": BOOT, **attempt},
    )  # fmt: skip
    return Claim(attempt=made, contact=Contact(id=number, numbers=(text,), attempts=0))


@dataclass
class FakeStore:
    """Remembers what is saved; `before_save` and `before_claim` may wait or raise."""

    due: list[Claim] = field(default_factory=list)
    left: list[Leftover] = field(default_factory=list)
    results: dict[UUID, DialogueEnd] = field(default_factory=dict)
    cel: dict[UUID, list[CelRecord]] = field(default_factory=dict)
    saved: dict[UUID, Attempt] = field(default_factory=dict)
    contacts: dict[int, ContactChange] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    elsewhere: int = 0
    """People in a call through another node."""
    limits: tuple[int | None, int, dict[str, int | None]] | None = None
    paused_because: str = ""
    lost: str = ""
    kept_back: set[UUID] = field(default_factory=set)
    wanted: Wanted = Wanted.RUNNING
    campaign: RunningCampaign = CAMPAIGN
    reported: dict[int, dict[str, Any]] = field(default_factory=dict)
    before_save: Callable[[], Awaitable[None]] | None = None
    before_claim: Callable[[], Awaitable[None]] | None = None
    before_pause: Callable[[], Awaitable[None]] | None = None

    async def hold_node(self) -> float:
        return 1e9

    async def ensure_partitions(self, now: datetime) -> None:
        return None

    async def set_limits(self, site: int | None, node: int, trunks: Mapping[str, int | None]) -> None:
        self.limits = (site, node, dict(trunks))

    async def claim(self, order: ClaimOrder) -> ClaimResult:
        taken, self.due = self.due[: order.most], self.due[order.most :]
        if self.before_claim is not None:
            await self.before_claim()
        return ClaimResult(claims=taken, bound=None)

    async def save(
        self, changed: Sequence[Attempt], contacts: Sequence[ContactChange], events: Sequence[dict[str, Any]]
    ) -> None:
        if self.before_save is not None:
            await self.before_save()
        self.saved |= {attempt.id: attempt for attempt in changed}
        self.contacts |= {change.contact_id: change for change in contacts}
        self.events += events

    async def flow_results(self, attempt_ids: Sequence[UUID]) -> list[DialogueEnd]:
        return [self.results[one] for one in attempt_ids if one in self.results]

    async def open_attempts(self) -> list[Leftover]:
        return self.left

    async def awaiting_rows(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        return self.kept_back & set(attempt_ids)

    async def unknown_attempts(self, attempt_ids: Sequence[UUID]) -> set[UUID]:
        return set()

    async def forgotten(self) -> str:
        return self.lost

    async def begin_cel(self) -> None:
        return None

    async def cel_position(self) -> CelPosition | None:
        return None

    async def store_cel(self, records: Sequence[CelRecord], position: CelPosition) -> None:
        for record in records:
            self.cel.setdefault(record.attempt_id, []).append(record)

    async def cel_of(self, attempt_ids: Sequence[UUID]) -> dict[UUID, list[CelRecord]]:
        return {one: self.cel[one] for one in attempt_ids if one in self.cel}

    async def sent_lately(self, within_s: float, campaign_id: int | None = None) -> dict[str, int]:
        return {}

    async def wanted_runs(self, own: Sequence[int] | None) -> list[WantedRun]:
        return [] if self.wanted is Wanted.IDLE else [WantedRun(campaign=self.campaign, wanted=self.wanted)]

    async def report(self, progress: Mapping[int, dict[str, Any]], of_node: dict[str, Any]) -> None:
        self.reported |= progress

    async def rate_shares(self, campaigns: Sequence[int], *, able: bool) -> dict[int, float]:
        return dict.fromkeys(campaigns, CAMPAIGN.calls_per_second)

    async def pause(self, campaign_id: int, tenant_id: str, why: str) -> None:
        if self.before_pause is not None:
            await self.before_pause()
        self.wanted, self.paused_because = Wanted.PAUSED, why

    async def refuse(self, campaign_id: int, tenant_id: str, why: str) -> None:
        self.wanted, self.paused_because = Wanted.IDLE, why

    async def finish(self, campaign_id: int, tenant_id: str, verb: str, why: str) -> bool:
        self.wanted = Wanted.IDLE
        return True

    async def totals(self, campaign_id: int, revision_id: int, prefixes: Sequence[str] = ("",)) -> Totals:
        due = len(self.due)
        return Totals(
            contacts=due + self.elsewhere, closed=0, held=0, due=due, due_now=due, never=0,
            next_call_at=T0 if due else None, wave=1,
        )  # fmt: skip

    async def dispositions(self, campaign_id: int) -> dict[Disposition, int]:
        return Counter(attempt.disposition for attempt in self.saved.values() if attempt.disposition is not None)


@dataclass
class FakeTelephony:
    """A node that answers each order as told and lists the calls that it is given."""

    answer: Callable[[Order], CallEvent] = lambda order: Accepted(at=T0)
    live: dict[UUID, list[CallEvent]] | None = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    up: bool = True
    boot: str = BOOT
    hung_up: list[UUID] = field(default_factory=list)

    @property
    def is_up(self) -> bool:
        return self.up

    @property
    def refusal(self) -> str:
        return ""

    async def keep_up(self, on_up: Callable[[], Awaitable[None]], on_down: Callable[[], None]) -> None:
        await on_up()
        await asyncio.Event().wait()

    async def originate(self, order: Order) -> Accepted | Refused | Returned | Unclear:
        self.orders.append(order)
        return self.answer(order)  # type: ignore[return-value]

    async def next_events(self) -> list[tuple[UUID, CallEvent]]:
        await asyncio.Event().wait()
        return []

    async def hang_up(self, attempt_id: UUID) -> bool:
        self.hung_up.append(attempt_id)
        return True

    async def leave_mark(self) -> UUID | None:
        return uuid4()

    async def live_calls(self) -> dict[UUID, list[CallEvent]] | None:
        return self.live


@dataclass
class FakeJournal:
    """Remembers what it is told; `full` is a full disk."""

    noted: list[UUID] = field(default_factory=list)
    verdicts: list[UUID] = field(default_factory=list)
    full: bool = False

    def claimed(self, campaign: str, claims: Sequence[Claim]) -> None:
        if self.full:
            raise OSError("no space left on device")
        self.noted += [claim.attempt.id for claim in claims]

    def ended(self, changes: Sequence[tuple[Attempt, ContactChange]]) -> None:
        self.verdicts += [attempt.id for attempt, _ in changes]

    def forget(self, before: datetime) -> None:
        return None


def make_parts(
    store: FakeStore, telephony: FakeTelephony, clock: FakeClock, journal: FakeJournal | None = None
) -> Parts:
    """An engine's wires."""
    return Parts(store=store, telephony=telephony, journal=journal or FakeJournal(), clock=clock)
