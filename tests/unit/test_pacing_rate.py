"""The rate of new calls: whatever is lost, doubled, late or out of order, any ten seconds hold what they may."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.pacing.limits import RateLimit

FATES = ("reported", "doubled", "report_lost", "end_before_report", "never_left")


def order(number: int) -> UUID:
    return UUID(int=number)


@dataclass
class Carrier:
    """Asterisk and a carrier: what each order comes to, and when we hear of it."""

    gate: RateLimit
    stall_s: float = 0.0
    """Asterisk lets orders out only at multiples of this: what it held back leaves at once."""
    now: float = 1000.0
    left: list[tuple[float, int, int]] = field(default_factory=list)
    """(INVITE at, number of the order, calls that any 10 s might hold when it was sent)."""
    _sent: count = field(default_factory=count)
    _news: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _news_number: count = field(default_factory=count)

    def send(self, fate: str, inside_s: float, report_s: float) -> None:
        number = next(self._sent)
        one = order(number)
        self.gate.take(one, self.now)
        leaves = self.now + inside_s
        if self.stall_s:
            leaves = math.ceil(leaves / self.stall_s) * self.stall_s
        reported = max(self.now, leaves + report_s)
        if fate == "never_left":
            self._tell(leaves, lambda at: self.gate.gone(one, at, placed=False))
            return
        self.left.append((leaves, number, max(1, int(10 * self.gate.per_second + 1e-9))))
        first, second = (reported, reported + 1) if fate != "end_before_report" else (reported + 1, reported)
        if fate != "report_lost":
            self._tell(first, lambda at: self.gate.made(one, at))
        if fate == "doubled":
            self._tell(reported + 0.5, lambda at: self.gate.made(one, at))
        self._tell(second, lambda at: self.gate.gone(one, at, placed=True))

    def _tell(self, at: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._news, (at, next(self._news_number), what))

    def until(self, now: float) -> None:
        while self._news and self._news[0][0] <= now:
            at, _, what = heapq.heappop(self._news)
            what(at)
        self.now = now

    def check(self) -> None:
        self.left.sort()
        first = 0
        for last, (at, _, _) in enumerate(self.left):
            while self.left[first][0] <= at - 10.0:
                first += 1
            within = self.left[first : last + 1]
            assert len(within) <= max(within, key=lambda one: one[1])[2]


rates = st.one_of(st.floats(min_value=0.05, max_value=60), st.sampled_from([0.0, 0.1, 0.3, 1.0]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.25, 1.0, 3.0])),
        st.tuples(st.just("wait"), st.floats(min_value=0, max_value=15)),
        st.tuples(st.just("rate"), rates),
    ),
    min_size=20,
    max_size=60,
)
calls = st.tuples(
    st.sampled_from(FATES),
    st.sampled_from([0.0, 0.02, 1.0, 9.0, 12.0]),
    st.one_of(st.just(-0.05), st.floats(-0.05, 5)),
)


@settings(max_examples=300)
@given(rates, st.sampled_from([0.0, 0.5, 5.0, 15.0, 40.0]), steps, st.lists(calls, min_size=1, max_size=12))
def test_any_ten_seconds_at_the_carrier_hold_at_most_ten_times_the_rate(rate, stall_s, steps, fates):
    """Greedy sending, for any delays, fates and changes of the rate."""
    carrier = Carrier(RateLimit(rate), stall_s)
    sent = 0
    for what, value in steps:
        if what == "rate":
            carrier.gate.per_second = value
        else:
            carrier.until(carrier.now + value)
        for _ in range(carrier.gate.allowance(carrier.now)):
            carrier.send(*fates[sent % len(fates)])
            sent += 1
    carrier.check()


def sent_in(gate: RateLimit, since: float, seconds: float, made_at_once: bool = True) -> int:
    """How many calls a greedy sender gets off, looking every 10 ms."""
    sent = 0
    for step in range(round(seconds * 100)):
        now = since + step / 100
        for _ in range(gate.allowance(now)):
            one = order(int(now * 1e6) * 1000 + sent)
            gate.take(one, now)
            if made_at_once:
                gate.made(one, now)
            sent += 1
    return sent


@pytest.mark.parametrize("rate", [0.3, 1, 20, 95.5])
def test_the_pace_is_the_rate(rate):
    assert 0.97 * rate * 60 - 1 <= sent_in(RateLimit(rate), 0.0, 60) <= rate * 60 + 1 + 0.5 * rate


def test_a_pause_is_not_made_up_for():
    gate = RateLimit(20)
    assert gate.allowance(0.0) == 11
    assert gate.allowance(500.0) == 11


def test_a_lower_rate_holds_at_once_and_a_higher_one_counts_what_was_sent():
    gate = RateLimit(20)
    assert sent_in(gate, 0.0, 10) >= 195
    gate.per_second = 2
    assert sent_in(gate, 10.0, 8.5) == 0
    gate.per_second = 40
    assert sent_in(gate, 19.0, 1) <= 60


def test_a_rate_below_one_call_in_ten_seconds_looks_back_further():
    gate = RateLimit(2)
    assert sent_in(gate, 0.0, 10) >= 18
    gate.per_second = 0.05
    assert sent_in(gate, 10.0, 19) == 0
    assert sent_in(gate, 29.0, 2) == 1


def test_no_rate_is_no_call():
    gate = RateLimit(0)
    assert sent_in(gate, 0.0, 30) == 0
    gate.per_second = 10
    assert gate.allowance(30.0) <= 2


def test_orders_without_a_channel_count_however_long():
    gate = RateLimit(2)
    assert sent_in(gate, 0.0, 60, made_at_once=False) == 20


def test_what_was_sent_before_a_restart_counts():
    gate = RateLimit(2)
    gate.assume(20, 100.0)
    assert gate.allowance(109.9) == 0
    assert gate.allowance(110.1) > 0


@pytest.mark.parametrize(
    ("news", "counts"),
    [
        ("made", True),
        ("gone placed", True),
        ("gone unplaced", False),
        ("made, gone unplaced", True),
        ("made, gone placed", True),
        ("gone placed, made", True),
        ("gone unplaced, made", False),
        ("nothing", True),
    ],
)
def test_what_counts(news, counts):
    gate = RateLimit(0.1)
    gate.take(order(1), 0.0)
    for what in news.split(", "):
        match what.split():
            case ["made"]:
                gate.made(order(1), 0.0)
            case ["gone", placed]:
                gate.gone(order(1), 0.0, placed=placed == "placed")
    # At 10 s the token is there again; only what counts holds the next call back.
    assert gate.allowance(10.0) == (0 if counts else 1)


def test_strangers_change_nothing():
    gate = RateLimit(0.1)
    gate.made(order(7), 0.0)
    gate.gone(order(8), 0.0, placed=True)
    assert gate.allowance(0.0) == 1
