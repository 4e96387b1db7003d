"""The rate of new calls: a hard bound on any ten seconds at the carrier, and an even pace inside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

WINDOW_S = 10.0
JITTER_S = 0.2
"""How much closer together two INVITEs may leave Asterisk than their Originates were sent. A longer stall cannot gather
more calls than `most_waiting` lets wait."""
BURST_S = 0.25
"""How much of a second's calls may go out at once after a pause."""


def most_waiting(per_second: float) -> int:
    """How many orders may wait for their channel: what the jitter margin of the rate can take if all leave at once."""
    return max(1, int(JITTER_S * per_second))


class RateLimit:
    """A token bucket at sending, over a window that no jitter can overfill.

    The promise: any 10 s at the carrier hold at most 10 x `per_second` calls. The bucket alone does not keep it (it
    starts full), so the sends of the last 10.2 s are remembered and counted too.
    """

    def __init__(self, per_second: float, sent_at: Iterable[float] = ()) -> None:
        """`sent_at`: monotonic seconds of what an engine before this one sent."""
        self._per_second = per_second
        self._most = max(1, int(WINDOW_S * per_second))
        self._window_s = RateLimit.memory_s(per_second)
        self._sent: deque[float] = deque(sorted(sent_at))
        self._capacity = max(1.0, BURST_S * per_second)
        self._tokens = 0.0 if self._sent else self._capacity
        self._filled_at = self._sent[-1] if self._sent else 0.0

    @staticmethod
    def memory_s(per_second: float) -> float:
        """How long a send counts: the window, longer for rates below one call in ten seconds, and the jitter."""
        return max(WINDOW_S, max(1, int(WINDOW_S * per_second)) / per_second) + JITTER_S

    def allowance(self, now: float) -> int:
        """How many calls may be sent at this instant (monotonic seconds)."""
        while self._sent and self._sent[0] <= now - self._window_s:
            self._sent.popleft()
        self._tokens = min(self._capacity, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return max(0, min(int(self._tokens + 1e-9), self._most - len(self._sent)))

    def take(self, now: float) -> None:
        """One call is being sent."""
        self._sent.append(now)
        self._tokens -= 1.0
