"""How one worker process fares: open dialogues, first prompts and loop lag of the last second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from dialer.clock import Clock

LOOK_EVERY_S = 0.25
KEPT_S = 1.5


@dataclass(frozen=True, kw_only=True)
class WorkersLook:
    """What a worker process says of its last second and a half; who asks meets any one of those that share the port."""

    dialogues: int
    """Calls that it leads at this moment."""
    first_prompt_s: float
    """From the accepted connection to the first prompt command, the 90th percentile; who still waits counts too."""
    lag_s: float
    """How late its event loop came round, at the worst."""


class Pulse:
    """Counts what `look` tells; `watch` runs beside it all."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent: dict[object, float] = {}
        self._prompts: deque[tuple[float, float]] = deque()
        self._lags: deque[tuple[float, float]] = deque()

    def opened(self, accepted_at_s: float) -> Callable[[], None]:
        """A call of ours is here since that monotonic second; what is given back is called when it hears something.

        Calling it again does nothing.
        """
        call = object()
        self._silent[call] = accepted_at_s

        def heard() -> None:
            since = self._silent.pop(call, None)
            if since is not None:
                now = self._clock.monotonic()
                _note(self._prompts, now, now - since)

        return heard

    async def watch(self) -> None:
        """Measures the loop's lag until it is cancelled."""
        while True:
            asked = self._clock.monotonic()
            await self._clock.sleep(LOOK_EVERY_S)
            now = self._clock.monotonic()
            _note(self._lags, now, now - asked - LOOK_EVERY_S)

    def look(self, dialogues: int) -> WorkersLook:
        """How it was lately."""
        now = self._clock.monotonic()
        prompts = sorted([*(now - since for since in self._silent.values()), *_lately(self._prompts, now)])
        return WorkersLook(
            dialogues=dialogues,
            first_prompt_s=round(prompts[9 * len(prompts) // 10] if prompts else 0.0, 3),
            lag_s=round(max([0.0, *_lately(self._lags, now)]), 3),
        )


def _note(seen: deque[tuple[float, float]], now: float, value: float) -> None:
    seen.append((now, value))
    while seen[0][0] < now - KEPT_S:
        seen.popleft()


def _lately(seen: deque[tuple[float, float]], now: float) -> list[float]:
    return [value for at, value in seen if at >= now - KEPT_S]
