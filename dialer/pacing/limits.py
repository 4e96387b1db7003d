"""The rate of new calls: a hard bound on any ten seconds at the carrier, and an even pace inside it."""

from __future__ import annotations

from collections import deque
from uuid import UUID

WINDOW_S = 10.0
BURST_S = 0.5
"""How much of a second's calls may be taken at once after a pause, and one more: at a few calls a second, what is left
of a call between two looks would be lost."""
MARGIN_S = 0.05
"""How long after its channel was reported an INVITE may still leave."""


def window_s(per_second: float) -> float:
    """How long a call counts against the rate: ten seconds, longer for rates below one call in that time."""
    return max(WINDOW_S, _most(per_second) / per_second) + MARGIN_S


def _most(per_second: float) -> int:
    # 10 x 0.3 may be 2.999…: without the last digit a third of such a rate would be lost.
    return max(1, int(WINDOW_S * per_second + 1e-9))


class TokenBucket:
    """An even pace: so many a second, and after a pause little more than half a second's at once."""

    def __init__(self, per_second: float) -> None:
        """`per_second`: calls a second; 0: none."""
        self.per_second = per_second
        """May be set at any time."""
        self._tokens = 1.0
        self._filled_at: float | None = None

    def allowance(self, now: float) -> int:
        """How many calls may be sent at this instant (monotonic seconds)."""
        self._refill(now)
        return max(0, int(self._tokens + 1e-9)) if self.per_second > 0 else 0

    def take(self, now: float) -> None:
        """One call is about to be sent."""
        self._refill(now)
        self._tokens -= 1.0

    def _refill(self, now: float) -> None:
        capacity = 1.0 + BURST_S * self.per_second
        passed = now - self._filled_at if self._filled_at is not None else BURST_S
        self._tokens = min(capacity, self._tokens + passed * self.per_second)
        self._filled_at = now


class RateLimit:
    """A token bucket before sending, under a bound that no delay inside Asterisk can break. It keeps its own books.

    The promise: of any 10 s at the carrier, look at the INVITE whose order was taken last; the 10 s hold at most 10 x
    the rate that held when it was taken (one call, for rates below one in 10 s). An order counts from when it is taken
    until 10 s after its channel was reported: when that last one was taken, each other either still waited or had left
    within the 10 s before, and was counted.

    `now` is monotonic seconds and never goes back. Every order that was taken must be reported `made` or `gone` in the
    end; one of which nothing is heard counts for ever, so that lost news can make the pace lower, never higher.
    """

    def __init__(self, per_second: float) -> None:
        """`per_second`: calls a second; 0: none."""
        self._bucket = TokenBucket(per_second)
        self._waiting: set[UUID] = set()
        self._made_at: deque[float] = deque()

    @property
    def per_second(self) -> float:
        """May be set at any time; what was sent and made before counts under the new rate."""
        return self._bucket.per_second

    @per_second.setter
    def per_second(self, per_second: float) -> None:
        self._bucket.per_second = per_second

    def allowance(self, now: float) -> int:
        """How many calls may be taken at this instant."""
        self._forget(now)
        even = self._bucket.allowance(now)
        return max(0, min(even, _most(self.per_second) - self._counted(now))) if even else 0

    def take(self, order: UUID, now: float) -> None:
        """This call is about to be sent, and is sent within seconds or `gone`."""
        self._bucket.take(now)
        self._waiting.add(order)

    def made(self, order: UUID, now: float) -> None:
        """Asterisk reported the order's channel. Anything but the first report of an order taken here is ignored."""
        if order in self._waiting:
            self._waiting.discard(order)
            self._made_at.append(now)

    def gone(self, order: UUID, now: float, *, placed: bool) -> None:
        """The order ended. `placed`: its INVITE left or may have left, so that it counts, as if made now if the report
        of its channel was lost; False only where it is known that nothing left."""
        if placed:
            self.made(order, now)
        else:
            self._waiting.discard(order)

    def assume(self, count: int, now: float) -> None:
        """Counts what an engine before this one sent lately, as if it left now."""
        self._made_at.extend([now] * count)

    def _forget(self, now: float) -> None:
        # The last stays: it is what a rate below one call in 10 s looks back at, for as long as that takes.
        while len(self._made_at) > 1 and self._made_at[0] <= now - WINDOW_S - MARGIN_S:
            self._made_at.popleft()

    def _counted(self, now: float) -> int:
        old = bool(self._made_at) and self._made_at[0] <= now - window_s(self.per_second)
        return len(self._waiting) + len(self._made_at) - old
