"""The breaker of a trunk: calls stop where most of them fail, and a few try now and then whether it is well again."""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from math import inf
from uuid import UUID


class BreakerState(Enum):
    """Whether calls may take the trunk."""

    CLOSED = "closed"
    """As in a circuit: the current flows."""
    OPEN = "open"
    HALF_OPEN = "half_open"


COUNTED_S = 10.0
"""How long an outcome counts: long enough that trunks with few calls come to a judgement, short enough to be of now."""
FEWEST_OUTCOMES = 8
FAULT_SHARE = 0.5
"""Half, since a trunk loses some calls on any day to numbers that its peer cannot reach."""
FAULTS_IN_A_ROW = 5
"""For trunks with few calls, whose outcomes never come to eight within the time."""
FIRST_OPEN_S = 10.0
LONGEST_OPEN_S = 300.0
"""The time open doubles up to this: each probe is a person's call, and no trunk may need a person to come back."""
QUIET_S = 60.0
"""Closed for so long, the trunk is believed: the next time open begins short again."""
PROBES_OK = 3
"""Trials that must all go well, one after another."""
SILENCE_S = 60.0
"""After so long without any word of a call nothing will come: SIP itself gives up after 32 s (RFC 3261, timer B)."""


class Breaker:
    """Counts what came of one trunk's calls since its state last changed.

    Each order counts once, by the first thing heard of it, and only in the period in which it was sent: calls from
    before the breaker opened end during the minutes after, and say nothing of the trunk as it is then. Nor does what is
    doubled or belongs to an order of somebody else. `now` is monotonic seconds.
    """

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        """As of the last call of any method."""
        self.why = ""
        """What opened it; empty while closed."""
        self.until: float | None = None
        """While open: when the first probe may go."""
        self._open_s = FIRST_OPEN_S
        self._closed_at = -inf
        self._waiting: dict[UUID, float] = {}
        self._outcomes: deque[tuple[float, str | None]] = deque()
        self._faults = 0
        """Among the outcomes."""
        self._in_a_row = 0
        self._probes_ok = 0

    def allowance(self, now: float) -> int | None:
        """How many calls may take the trunk now: open none, half open one at a time; None: it does not bound them."""
        self._pass(now)
        if self.state is BreakerState.OPEN:
            return 0
        return max(0, 1 - len(self._waiting)) if self.state is BreakerState.HALF_OPEN else None

    def sent(self, order: UUID, now: float) -> None:
        """The call goes to this trunk. Sent while open, against `allowance`, it counts for nothing."""
        self._pass(now)
        if self.state is not BreakerState.OPEN:
            self._waiting.setdefault(order, now)

    def ok(self, order: UUID, now: float) -> None:
        """The trunk did its part: the call rang, was answered, or the callee or its number refused it."""
        if not self._heard(order, now):
            return
        if self.state is BreakerState.HALF_OPEN:
            self._probes_ok += 1
            if self._probes_ok >= PROBES_OK:
                self._close(now)
            return
        self._in_a_row = 0
        self._outcomes.append((now, None))

    def fault(self, order: UUID, now: float, what: str) -> None:
        """The trunk failed the call; `what` in a word or two, for `why` ("503", "no answer to INVITE")."""
        if not self._heard(order, now):
            return
        if self.state is BreakerState.HALF_OPEN:
            self._open(now, f"{what}: a call that tried the trunk failed")
            return
        self._in_a_row += 1
        self._faults += 1
        self._outcomes.append((now, what))
        self._judge(now)

    def gone(self, order: UUID, now: float) -> None:
        """The call says nothing of the trunk: given back, not placed, or nobody knows what came of it."""
        self._heard(order, now)

    def _heard(self, order: UUID, now: float) -> bool:
        """Whether this is the first news of an order of the present period."""
        self._pass(now)
        return self._waiting.pop(order, None) is not None

    def _pass(self, now: float) -> None:
        """What time alone changes."""
        if self.until is not None and now >= self.until:
            self._change(BreakerState.HALF_OPEN)
        while self._waiting and next(iter(self._waiting.values())) <= now - SILENCE_S:
            self._waiting.pop(next(iter(self._waiting)))
            if self.state is BreakerState.HALF_OPEN:
                # A lost report or a trunk that swallows calls: closed on that guess it would get the whole flow, and
                # tried again at once it would swallow one person's call a minute. In a closed breaker the guess is the
                # other way round: what a trunk swallows ends in timer B, so that a lost report is likelier.
                self._open(now, f"no word for {SILENCE_S:.0f} s of a call that tried the trunk")
        while self._outcomes and self._outcomes[0][0] <= now - COUNTED_S:
            _, what = self._outcomes.popleft()
            self._faults -= what is not None

    def _judge(self, now: float) -> None:
        outcomes = len(self._outcomes)
        if outcomes >= FEWEST_OUTCOMES and self._faults >= FAULT_SHARE * outcomes:
            self._open(now, f"{self._commonest()}: {self._faults} of {outcomes} calls in {COUNTED_S:.0f} s")
        elif self._in_a_row >= FAULTS_IN_A_ROW:
            self._open(now, f"{self._commonest()}: {self._in_a_row} calls in a row")

    def _commonest(self) -> str:
        return Counter(what for _, what in self._outcomes if what is not None).most_common(1)[0][0]

    def _open(self, now: float, why: str) -> None:
        believed = self.state is BreakerState.CLOSED and now - self._closed_at >= QUIET_S
        self._open_s = FIRST_OPEN_S if believed else min(LONGEST_OPEN_S, 2 * self._open_s)
        self._change(BreakerState.OPEN)
        self.until, self.why = now + self._open_s, why

    def _close(self, now: float) -> None:
        self._closed_at = now
        self._change(BreakerState.CLOSED)
        self.why = ""

    def _change(self, state: BreakerState) -> None:
        self.state, self.until = state, None
        self._waiting.clear()
        self._outcomes.clear()
        self._faults = self._in_a_row = self._probes_ok = 0
