"""What the campaigns on one node share: its calls at once and a second, its trunks' own, their breakers, its strain."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import BLAME, Blame, Disposition
from dialer.contacts.suppress import NO_CAPS, CapRules
from dialer.pacing.breaker import Breaker, BreakerState
from dialer.pacing.decide import MOST_WAITING, Binding
from dialer.pacing.limits import RateLimit, TokenBucket
from dialer.pacing.shares import Want, divide
from dialer.pacing.strain import Pace, Signs
from dialer.settings import NodeSettings, TrunkSettings
from dialer.waves import FAILS_OVER

FORGET_EVERY_S = 10.0
"""How often what trunks and campaigns got is halved: who waited for an hour has no claim on the next."""
FENCE_S = 3.0
"""Originates in Asterisk's socket buffer are still read, and their threads show no channel at once (manager.c)."""
NEWS = timedelta(seconds=10)
_NEVER_SENT = (Disposition.NOT_PLACED, Disposition.RETURNED)
_OUR_RING_LIMIT, _TIMED_OUT = 3, 408


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """One node as the settings have it."""

    node: NodeSettings
    trunks: tuple[TrunkSettings, ...]
    """The node's own."""
    prefixes: Mapping[str, tuple[str, ...]]
    """What each trunk carries, of every node's."""
    may_show: Callable[[str, TrunkSettings], bool] = lambda caller_id, trunk: True
    """Whether a number may be shown on calls through a trunk."""
    site_max_concurrent: int | None = None
    site_caps: CapRules = NO_CAPS
    """How often people may be called, whatever a campaign says."""
    overload_control: bool = True


class _TrunkNow:
    """One trunk as it is now."""

    def __init__(self, settings: TrunkSettings) -> None:
        self.settings = settings
        self.gate = RateLimit(settings.calls_per_second) if settings.calls_per_second is not None else None
        self.breaker = Breaker()
        self.calls = 0

    def room(self, now: float, most_waiting: int) -> tuple[int, Binding]:
        """How many calls it takes now, and which of its limits says so."""
        found = [(most_waiting, Binding.ORDERS_WAITING)]
        if self.settings.max_concurrent is not None:
            found.append((self.settings.max_concurrent - self.calls, Binding.TRUNK_CEILING))
        if self.gate is not None:
            found.append((self.gate.allowance(now), Binding.TRUNK_RATE))
        allowed = self.breaker.allowance(now)
        if allowed is not None:
            found.append((allowed, Binding.BREAKER_OPEN))
        calls, binding = min(found, key=lambda one: one[0])
        return max(0, calls), binding


class Capacity:
    """Says how much room there is, and learns from every change of an attempt."""

    def __init__(self, plan: NodePlan, monotonic: Callable[[], float]) -> None:
        self.plan = plan
        self._monotonic = monotonic
        self._trunks = {trunk.name: _TrunkNow(trunk) for trunk in plan.trunks}
        self._gate = RateLimit(plan.node.calls_per_second)
        self.pace = Pace(plan.node.calls_per_second)
        self._bucket = TokenBucket(self.pace.per_second)
        # Waiting for answers to earlier orders is a control, too: without any, only the ceiling bounds them.
        self._most_waiting = MOST_WAITING if plan.overload_control else plan.node.max_concurrent
        self._calls = 0
        self._sent_at: dict[UUID, float] = {}
        """Orders without a channel whose answer is awaited."""
        self._doubtful: set[UUID] = set()
        """Orders without a channel of which nothing may be heard for minutes: they say nothing of the node."""
        self._wants: dict[int, Callable[[], Want | None]] = {}
        self._served: Counter[int] = Counter()
        self._placed: Counter[str] = Counter()
        self._halved_at = monotonic()
        self._signs = _Signs()
        self.turn = asyncio.Lock()
        """Held from the look at what is free until it is taken: two campaigns must not take the same room."""
        self.strays = 0
        """Channels of ours on the node that belong to no open attempt: they hold slots as well."""

    # -- what is free --------------------------------------------------------------------------------------------------

    def of_node(self, now: float) -> dict[Binding, int]:
        """What the node's own limits leave to all its campaigns."""
        room = {
            Binding.NODE_CEILING: self.plan.node.max_concurrent - self._calls - self.strays,
            Binding.NODE_RATE: self._gate.allowance(now),
            Binding.ORDERS_WAITING: self._most_waiting - len(self._sent_at) - len(self._doubtful),
        }
        if self.plan.overload_control:
            room[Binding.STRAIN] = self._bucket.allowance(now)
        return room

    def of_trunks(self, names: Iterable[str], now: float) -> dict[str, tuple[int, Binding]]:
        """How many calls each trunk takes now, and what binds it."""
        return {name: self._trunks[name].room(now, self._most_waiting) for name in names if name in self._trunks}

    def has_way_out(self, names: Iterable[str]) -> bool:
        """Whether one of these trunks is not cut off by its breaker."""
        now = self._monotonic()
        breakers = [self._trunks[name].breaker for name in names if name in self._trunks]
        for breaker in breakers:
            breaker.allowance(now)  # lets it see that its time has come
        return any(breaker.state is not BreakerState.OPEN for breaker in breakers)

    def part_of(self, campaign_id: int, available: int) -> int:
        """How much of that is for one campaign, beside the others that have calls to make."""
        wants = [want for ask in self._wants.values() if (want := ask()) is not None]
        if all(want.campaign_id == campaign_id for want in wants):
            return available
        return divide(available, wants).get(campaign_id, 0)

    def join(self, campaign_id: int, want: Callable[[], Want | None]) -> None:
        """A campaign takes part; `want` says what it could launch now, None: nothing."""
        self._wants[campaign_id] = want

    def leave(self, campaign_id: int) -> None:
        """It does not any more."""
        self._wants.pop(campaign_id, None)
        self._served.pop(campaign_id, None)

    def served(self, campaign_id: int) -> int:
        """How many calls a campaign got lately."""
        return self._served[campaign_id]

    @property
    def placed(self) -> Mapping[str, int]:
        """How many calls each trunk got lately."""
        return self._placed

    # -- what happens --------------------------------------------------------------------------------------------------

    def take(self, attempt: Attempt) -> None:
        """This call is about to be sent: from now on it counts."""
        now = self._monotonic()
        self._gate.take(attempt.id, now)
        self._bucket.take(now)
        self._sent_at[attempt.id] = now
        self._signs.sent += 1
        self._served[attempt.campaign_id] += 1
        self._placed[attempt.trunk] += 1
        trunk = self._trunks.get(attempt.trunk)
        if trunk is not None:
            trunk.breaker.sent(attempt.id, now)
            if trunk.gate is not None:
                trunk.gate.take(attempt.id, now)

    def send(self, attempt_id: UUID) -> None:
        """Its order leaves now: what comes of it is measured from here."""
        if attempt_id in self._sent_at:
            self._sent_at[attempt_id] = self._monotonic()

    def assume(self, sent: Mapping[str, int]) -> None:
        """Counts what an engine before this one sent lately, by trunk, as if it left when the last of it can leave."""
        now = self._monotonic() + FENCE_S
        self._gate.assume(sum(sent.values()), now)
        for name, count in sent.items():
            gate = self._trunks[name].gate if name in self._trunks else None
            if gate is not None:
                gate.assume(count, now)

    def note(self, before: Attempt | None, after: Attempt) -> None:
        """An attempt of the node has changed, or is new here."""
        now = self._monotonic()
        trunk = self._trunks.get(after.trunk)
        slots = after.holds_slot - (before is not None and before.holds_slot)
        self._calls += slots
        if trunk is not None:
            trunk.calls += slots
        if before is None:
            return
        gates = [gate for gate in (self._gate, trunk.gate if trunk is not None else None) if gate is not None]
        if after.channel_seen and not before.channel_seen:
            self._made(after, gates, now)
        elif after.id in self._sent_at and (after.state is State.UNCLEAR or not after.watched):
            del self._sent_at[after.id]
            self._doubtful.add(after.id)
        self._hear(before, after)
        if trunk is not None:
            _tell_breaker(trunk.breaker, before, after, now)
        if after.state is State.ENDED:
            self._sent_at.pop(after.id, None)
            self._doubtful.discard(after.id)
            for gate in gates:
                gate.gone(after.id, now, placed=after.disposition not in _NEVER_SENT)
            # A trunk whose breaker is open is at fault itself: one dead trunk must not slow the whole node.
            if trunk is not None and trunk.breaker.state is BreakerState.CLOSED:
                self._signs.ended += after.disposition is not Disposition.RETURNED
                self._signs.unanswered += _got_no_sip_answer(after)

    def _hear(self, before: Attempt, after: Attempt) -> None:
        """How long an answered call was silent; it is told at the end, and of a long call that is no news any more."""
        if after.first_audio_at is None or before.first_audio_at is not None or after.answered_at is None:
            return
        if after.flow is not None and after.flow.at - after.first_audio_at < NEWS:
            self._signs.audio_s.append((after.first_audio_at - after.answered_at).total_seconds())

    def _made(self, attempt: Attempt, gates: Sequence[RateLimit], now: float) -> None:
        for gate in gates:
            gate.made(attempt.id, now)
        self._doubtful.discard(attempt.id)
        sent_at = self._sent_at.pop(attempt.id, None)
        if sent_at is not None:
            self._signs.channel_s.append(now - sent_at)

    def look(self, *, queue: int | None, lag_s: float | None, audio_s: float | None) -> Signs:
        """Once a second: judges the node's strain and sets its pace.

        `queue`: its deepest taskprocessor; `lag_s`: how late our own event loop or a worker's is; `audio_s`: how
        long dialogues took to begin, the 90th percentile that a worker saw.
        """
        now = self._monotonic()
        waiting = [now - sent_at for sent_at in self._sent_at.values()]
        signs = self._signs.summed_up(waiting, queue=queue, lag_s=lag_s, audio_s=audio_s)
        self.pace.look(now, signs, self._signs.sent)
        self._signs = _Signs()
        self._bucket.per_second = self.pace.per_second
        if now - self._halved_at >= FORGET_EVERY_S:
            self._halved_at = now
            self._served = Counter({campaign: calls // 2 for campaign, calls in self._served.items()})
            self._placed = Counter({trunk: calls // 2 for trunk, calls in self._placed.items()})
        return signs

    def report(self, signs: Signs) -> dict[str, Any]:
        """The node and its trunks as they are, for `dialer status`."""
        now = self._monotonic()
        node = self.plan.node
        return {
            "calls": self._calls,
            "strays": self.strays,
            "max_concurrent": node.max_concurrent,
            "calls_per_second": node.calls_per_second,
            "orders_waiting": len(self._sent_at) + len(self._doubtful),
            "pace": self.pace.per_second if self.plan.overload_control else None,
            "strained": self.pace.strained,
            "strain": self.pace.why,
            "signs": asdict(signs),
            "trunks": [
                {
                    "name": name,
                    "calls": trunk.calls,
                    "max_concurrent": trunk.settings.max_concurrent,
                    "calls_per_second": trunk.settings.calls_per_second,
                    "breaker": trunk.breaker.state.value,
                    "why": trunk.breaker.why,
                    "opens_in_s": None
                    if trunk.breaker.until is None
                    else round(max(0.0, trunk.breaker.until - now), 1),
                }
                for name, trunk in self._trunks.items()
            ],
        }


class _Signs:
    """What was measured since the last look."""

    def __init__(self) -> None:
        self.channel_s: deque[float] = deque(maxlen=1000)
        self.audio_s: deque[float] = deque(maxlen=1000)
        self.sent = self.ended = self.unanswered = 0

    def summed_up(
        self, waiting_s: Sequence[float], *, queue: int | None, lag_s: float | None, audio_s: float | None
    ) -> Signs:
        # An order that still waits has waited at least so long; without these a node that hangs would look well.
        channel = sorted([*self.channel_s, *(one for one in waiting_s if one > 1.0)])
        audio = sorted(self.audio_s)
        heard = [*audio[9 * len(audio) // 10 :][:1], *([audio_s] if audio_s is not None else [])]
        return Signs(
            channel_s=channel[9 * len(channel) // 10] if channel else None,
            audio_s=max(heard, default=None),
            unanswered=self.unanswered / self.ended if self.ended else 0.0,
            queue=queue,
            lag_s=lag_s,
        )


def _tell_breaker(breaker: Breaker, before: Attempt, after: Attempt, now: float) -> None:
    """What rang, or ended by the callee's doing, speaks for the trunk; its own faults against it; no more does."""
    rang = after.ringing_at is not None or after.answered_at is not None
    if rang and before.ringing_at is None and before.answered_at is None:
        breaker.ok(after.id, now)
    if after.state is not State.ENDED or after.disposition is None:
        return
    if after.disposition in FAILS_OVER and not rang:
        breaker.fault(after.id, now, str(after.tech_cause or f"cause {after.cause}"))
    elif after.disposition is Disposition.NOT_PLACED and after.originate_reason is not None:
        # Asterisk took the order and made no channel: the trunk is not there, or not as it should be.
        breaker.fault(after.id, now, "no channel")
    elif not rang and BLAME[after.disposition] is Blame.PERSON:
        breaker.ok(after.id, now)
    elif not rang:
        breaker.gone(after.id, now)


def _got_no_sip_answer(attempt: Attempt) -> bool:
    """A sent order whose INVITE nobody answered in any way, or that never became one."""
    if attempt.ringing_at is not None or attempt.answered_at is not None:
        return False
    if attempt.disposition is Disposition.NOT_PLACED:
        return attempt.refusal is None
    return attempt.disposition is Disposition.CONGESTION and (
        attempt.originate_reason == _OUR_RING_LIMIT or attempt.tech_cause in (None, _TIMED_OUT)
    )
