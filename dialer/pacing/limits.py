"""The rate of new calls: a hard bound on any ten seconds at the carrier, and an even pace inside it."""

from __future__ import annotations

from collections.abc import Iterable

WINDOW_S = 10.0
BURST_S = 0.25
"""How much of a second's calls may go out at once after a pause."""
MARGIN_S = 0.05
"""How long after its channel was reported an INVITE may still leave."""


def window_s(per_second: float) -> float:
    """How long a call counts against the rate: ten seconds, longer for rates below one call in that time."""
    return max(WINDOW_S, _most(per_second) / per_second) + MARGIN_S


def _most(per_second: float) -> int:
    return max(1, int(WINDOW_S * per_second))


class RateLimit:
    """A token bucket at sending, under a bound that no delay inside Asterisk can break.

    The promise: any 10 s at the carrier hold at most 10 x `per_second` INVITEs. An order counts from when it is sent
    until 10 s after its channel was reported. Take the INVITEs of any 10 s, and of these the order that was sent last:
    when it was sent, all others either still waited or had left within the 10 s before; both were counted.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, BURST_S * per_second)
        self._tokens = self._capacity
        self._filled_at: float | None = None

    def allowance(self, now: float, waiting: int, made_at: Iterable[float]) -> int:
        """How many calls may be sent at this instant (monotonic seconds).

        `waiting`: orders sent that have no channel yet; `made_at`: when channels were reported, lately.
        """
        since = now - window_s(self._per_second)
        counted = waiting + sum(1 for at in made_at if at > since)
        passed = now - self._filled_at if self._filled_at is not None else 0.0
        self._tokens = min(self._capacity, self._tokens + passed * self._per_second)
        self._filled_at = now
        return max(0, min(int(self._tokens + 1e-9), _most(self._per_second) - counted))

    def take(self) -> None:
        """One call is being sent."""
        self._tokens -= 1.0
