"""The ceiling and the rate: no schedule of wishes may pass them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.decide import Binding, Situation, decide
from dialer.pacing.limits import JITTER_S, RateLimit


@pytest.mark.parametrize(
    ("ceiling", "in_use", "rate", "waiting", "blocked", "launch", "binding"),
    [
        (10, 0, 3, 0, None, 3, "rate"),
        (10, 8, 5, 0, None, 2, "ceiling"),
        (10, 10, 5, 0, None, 0, "ceiling"),
        (5, 9, 5, 0, None, 0, "ceiling"),
        (900, 0, 500, 99, None, 1, "orders_waiting"),
        (10, 0, 5, 0, Binding.NODE_AWAY, 0, "node_away"),
        (10, 0, 5, 0, Binding.DRAINING, 0, "draining"),
    ],
)
def test_decide(ceiling, in_use, rate, waiting, blocked, launch, binding):
    decision = decide(
        Situation(
            max_concurrent=ceiling,
            in_use=in_use,
            rate_allowance=rate,
            orders_waiting=waiting,
            most_waiting=100,
            blocked=blocked,
        )
    )
    assert (decision.launch, decision.binding.value) == (launch, binding)


rates = st.floats(min_value=0.05, max_value=200)
steps = st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=120)


@given(rates, steps, st.lists(st.floats(min_value=0, max_value=JITTER_S), min_size=1, max_size=10))
def test_any_ten_seconds_at_the_carrier_hold_at_most_ten_times_the_rate(rate, waits, delays):
    """Greedy sending, and every delay between sending and the INVITE that the promise allows for."""
    limit = RateLimit(rate)
    now, arrivals = 1000.0, []
    for number, wait in enumerate(waits):
        now += wait
        for _ in range(min(limit.allowance(now), 3000)):
            limit.take(now)
            arrivals.append(now + delays[number % len(delays)])
    arrivals.sort()
    most = max(1, int(10 * rate))
    first = 0
    for last, at in enumerate(arrivals):
        while arrivals[first] <= at - 10.0:
            first += 1
        assert last - first + 1 <= most


def test_the_pace_is_close_to_the_rate():
    limit, now, sent = RateLimit(20), 0.0, 0
    for _ in range(6000):
        now += 0.01
        while limit.allowance(now):
            limit.take(now)
            sent += 1
    assert 0.96 * 20 * 60 <= sent <= 20 * 60


def test_a_restart_does_not_start_the_rate_anew():
    limit = RateLimit(2, sent_at=[100.0 - 0.1 * n for n in range(20)])
    assert limit.allowance(100.0) == 0
    assert limit.allowance(104.0) == 0
    assert limit.allowance(110.4) > 0
