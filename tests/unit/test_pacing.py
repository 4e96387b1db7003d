"""The ceiling and the rate: no schedule of wishes may pass them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.decide import Binding, Situation, decide
from dialer.pacing.limits import RateLimit


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
            blocked=blocked,
        )
    )
    assert (decision.launch, decision.binding.value) == (launch, binding)


rates = st.floats(min_value=0.05, max_value=100)
waits = st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=80)
delays = st.lists(st.floats(min_value=0, max_value=12), min_size=1, max_size=10)


@given(rates, waits, delays)
def test_any_ten_seconds_at_the_carrier_hold_at_most_ten_times_the_rate(rate, waits, delays):
    """Greedy sending, however long each order waits inside Asterisk before its INVITE leaves."""
    limit, now, made = RateLimit(rate), 1000.0, []
    for wait in waits:
        now += wait
        waiting = sum(1 for at in made if at > now)
        for _ in range(limit.allowance(now, waiting, [at for at in made if at <= now])):
            limit.take()
            made.append(now + delays[len(made) % len(delays)])
    made.sort()
    most = max(1, int(10 * rate))
    first = 0
    for last, at in enumerate(made):
        while made[first] <= at - 10.0:
            first += 1
        assert last - first + 1 <= most


def test_the_pace_is_the_rate():
    limit, now, made = RateLimit(20), 0.0, []
    for _ in range(6000):
        now += 0.01
        while limit.allowance(now, 0, made):
            limit.take()
            made.append(now)
    assert 0.98 * 20 * 60 <= len(made) <= 20 * 60 + 5


def test_what_was_sent_before_a_restart_counts():
    limit = RateLimit(2)
    assert limit.allowance(100.0, 0, [100.0] * 20) == 0
    assert limit.allowance(109.9, 0, [100.0] * 20) == 0
    assert limit.allowance(110.1, 0, [100.0] * 20) > 0


def test_orders_without_a_channel_count_however_long():
    assert RateLimit(2).allowance(100.0, 20, []) == 0
