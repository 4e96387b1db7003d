"""What a worker says of itself: the worst of the last seconds, and who still waits."""

from __future__ import annotations

import asyncio

from agi.pulse import KEPT_S, LOOK_EVERY_S, Pulse, WorkersLook
from dialer.clock import SystemClock


class Hand(SystemClock):
    """Moved by hand; who sleeps oversleeps by `late_s`."""

    def __init__(self) -> None:
        self.seconds, self.late_s = 100.0, 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds + self.late_s
        await asyncio.sleep(0)


def test_the_slowest_first_prompt_is_told_for_a_while() -> None:
    clock = Hand()
    pulse = Pulse(clock)
    fast, slow = pulse.opened(100.0), pulse.opened(100.0)
    clock.seconds = 100.5
    fast()
    clock.seconds = 101.0
    assert pulse.look(2).first_prompt_s == 1.0, "who still waits counts"
    slow()
    slow()
    clock.seconds = 101.0 + KEPT_S
    assert pulse.look(1) == WorkersLook(dialogues=1, first_prompt_s=1.0, lag_s=0.0)
    clock.seconds += 0.1
    assert pulse.look(0).first_prompt_s == 0.0


def test_one_slow_call_among_many_says_nothing_of_the_worker() -> None:
    clock = Hand()
    pulse = Pulse(clock)
    calls = [pulse.opened(100.0) for _ in range(20)]
    clock.seconds = 100.25
    for heard in calls[:-1]:
        heard()
    clock.seconds = 101.0
    assert pulse.look(20).first_prompt_s == 0.25


async def test_a_loop_that_comes_round_late_is_told() -> None:
    clock = Hand()
    pulse = Pulse(clock)
    clock.late_s = 0.4
    watching = asyncio.create_task(pulse.watch())
    while clock.seconds == 100.0:
        await asyncio.sleep(0)
    clock.late_s = 0.0
    while clock.seconds < 101.0 + LOOK_EVERY_S:
        await asyncio.sleep(0)
    assert pulse.look(0).lag_s == 0.4
    watching.cancel()
