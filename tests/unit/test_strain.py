"""Overload control: on simulated nodes, asked for twice what they carry, and sign by sign."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.strain import BUSY, FLOOR, LIMITS, START, Pace, Signs

WELL = Signs(channel_s=0.02, audio_s=0.06, unanswered=0.0, queue=3, lag_s=0.01)
NOTHING = Signs(channel_s=None, audio_s=None, unanswered=0.0, queue=None, lag_s=None)
SILENT_S = 2.0
TICKS = 10


@dataclass
class Node:
    """Answers calls one after another, and slower the more of them wait, as a server whose processors are full does."""

    carries: float
    """Calls a second."""
    thrash: float = 0.0
    """How much slower it gets for each second's calls that wait (beyond half a second's)."""
    waiting: deque[float] = field(default_factory=deque)
    in_time: int = 0
    silent: int = 0
    _credit: float = 0.0

    def second(self, now: float, sent: int) -> Signs:
        slowest = None
        for tick in range(TICKS):
            at = now + tick / TICKS
            self.waiting.extend([at] * (sent * (tick + 1) // TICKS - sent * tick // TICKS))
            crowd = max(0.0, len(self.waiting) / self.carries - 0.5)
            self._credit += self.carries / (1 + self.thrash * crowd) / TICKS
            while self.waiting and self._credit >= 1:
                self._credit -= 1
                took = at - self.waiting.popleft() + 0.05
                slowest = max(slowest or 0.0, took)
                self.in_time += took <= SILENT_S
                self.silent += took > SILENT_S
            if not self.waiting:
                self._credit = min(self._credit, 1.0)
        return replace(WELL, audio_s=slowest, queue=len(self.waiting) // 10)


@dataclass
class Site:
    """A node, asked for `wanted` calls a second, with or without control."""

    node: Node
    wanted: float
    pace: Pace = field(default_factory=lambda: Pace(1000))
    controlled: bool = True
    now: float = 500.0
    _owed: float = 0.0

    def run(self, seconds: int, each: Callable[[], None] = lambda: None) -> float:
        """Calls a second that heard their prompt in time."""
        before = self.node.in_time
        for _ in range(seconds):
            self._owed += min(self.wanted, self.pace.per_second) if self.controlled else self.wanted
            sent, self._owed = int(self._owed), self._owed % 1
            signs = self.node.second(self.now, sent)
            self.now += 1.0
            self.pace.look(self.now, signs, sent)
            each()
        return (self.node.in_time - before) / seconds


@pytest.mark.parametrize("thrash", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("carries", [20, 50, 100, 300])
def test_a_node_asked_for_twice_what_it_carries_delivers_nine_tenths_and_nobody_hears_silence(carries, thrash):
    site = Site(Node(carries, thrash), wanted=2 * carries)
    site.run(20)
    assert site.run(60) >= 0.9 * carries
    assert site.node.silent == 0
    assert len(site.node.waiting) < carries


@pytest.mark.parametrize("thrash", [0.0, 0.5])
def test_without_control_the_same_node_collapses(thrash):
    site = Site(Node(50, thrash), wanted=100, controlled=False)
    site.run(20)
    assert site.run(60) < 5
    assert len(site.node.waiting) >= 80 * 50


def test_a_node_that_carries_what_is_asked_is_left_alone():
    site = Site(Node(100), wanted=60)
    site.run(20)
    assert site.run(60) == pytest.approx(60, abs=1)
    assert not site.pace.strained


def test_power_taken_away_and_given_back():
    node = Node(100, 0.5)
    site = Site(node, wanted=90)
    site.run(60)
    node.carries = 30
    site.run(5)
    assert site.pace.strained
    assert site.pace.per_second < 30
    site.run(35)
    assert node.silent < 4 * 90, "what was sent until it could be seen and acted on, no more"
    node.carries = 100
    site.run(40)
    assert site.run(30) >= 75
    assert site.run(60) >= 81


def test_calls_that_are_open_can_strain_a_node_and_then_none_starts():
    """Each call lasts 60 s, and above 500 at once the node is late however few are sent."""
    ends: deque[float] = deque()
    pace, now, most_open, held = Pace(50), 0.0, 0, 0
    for _ in range(900):
        sent = int(pace.per_second + (now % 1))
        ends.extend([now + 60] * sent)
        while ends and ends[0] <= now:
            ends.popleft()
        now += 1.0
        late = max(0.0, len(ends) - 500) / 50
        pace.look(now, replace(WELL, audio_s=0.06 + late if sent else None, lag_s=0.01 + late / 4), sent)
        most_open, held = max(most_open, len(ends)), held + pace.hold
    assert most_open < 700
    assert held > 0
    assert pace.per_second > 0 or pace.hold


def looks(pace: Pace, signs: list[Signs], sent: int | None = None, since: float = 0.0) -> list[float]:
    """The pace after each look, one a second, when all that is allowed is sent, or `sent`."""
    seen = []
    for turn, one in enumerate(signs):
        pace.look(since + turn, one, int(pace.per_second) if sent is None else sent)
        seen.append(pace.per_second)
    return seen


def steady(most: float = 100) -> Pace:
    pace = Pace(most)
    looks(pace, [WELL] * 30)
    assert pace.per_second == most
    return pace


def test_it_begins_with_ten_and_doubles_every_two_seconds():
    pace = Pace(1000)
    assert pace.per_second == START == 10
    assert pace.why == "growing from the start"
    assert looks(pace, [WELL] * 6)[1::2] == pytest.approx([20, 40, 80], rel=0.06)
    assert Pace(4).per_second == 4


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        ({"audio_s": 2.4}, "answer to first audio 2.4 s (at most 1 s)"),
        ({"channel_s": 0.8}, "order to channel 0.8 s (at most 0.5 s)"),
        ({"queue": 400}, "400 tasks wait in Asterisk (at most 250)"),
        ({"unanswered": 0.45}, "45% of the calls without a SIP answer (at most 20%)"),
        ({"lag_s": 0.61}, "an event loop is 0.61 s late (at most 0.25 s)"),
        ({"audio_s": 1.1, "channel_s": 5.0}, "order to channel 5.0 s (at most 0.5 s)"),
    ],
)
def test_each_sign_makes_the_pace_fall_and_is_named(sign, why):
    pace = steady()
    assert pace.why == ""
    bad = replace(WELL, **sign)
    first, second, third = looks(pace, [bad] * 3, since=30.0)
    assert first == 100, "one look may be an outlier"
    assert third < second <= 70
    assert (pace.strained, pace.why) == (True, why)
    looks(pace, [WELL] * 3, since=33.0)
    assert (pace.strained, pace.why) == (False, f"growing again after: {why}")


@pytest.mark.parametrize(
    ("signs", "sent"),
    [
        # one call in three seconds that was slow
        ([replace(WELL, audio_s=9.0), WELL, WELL] * 20, 100),
        # nothing measured is not a bad sign
        ([NOTHING] * 60, 100),
        # hardly anything is sent: one of two calls failed
        ([replace(WELL, unanswered=0.5)] * 60, 2),
        # a slow answer now and then, among few
        ([replace(WELL, audio_s=3.0), NOTHING, NOTHING] * 20, 1),
        ([replace(WELL, audio_s=3.0)] * 4, 2),
    ],
)
def test_what_is_no_strain(signs, sent):
    pace = steady()
    looks(pace, [WELL] * 5, sent=sent, since=30.0)
    assert set(looks(pace, signs, sent=sent, since=35.0)) == {100}


def test_bad_signs_with_hardly_any_calls_stop_all_until_the_node_is_calm():
    pace = steady()
    looks(pace, [WELL] * 5, sent=1, since=30.0)
    bad = replace(WELL, lag_s=3.0)
    assert looks(pace, [bad] * 8, sent=1, since=35.0)[-1] == 0
    assert pace.hold
    assert pace.strained
    assert pace.why.startswith("an event loop is 3.00 s late (at most 0.25 s) though hardly any calls are sent")
    assert set(looks(pace, [bad] * 60, since=43.0)) == {0}
    assert looks(pace, [NOTHING] * 6, since=103.0)[-1] == FLOOR
    assert not pace.hold


def test_it_falls_from_what_is_sent_and_grows_only_by_what_is_used():
    pace = Pace(1000)
    looks(pace, [WELL] * 12)
    high = pace.per_second
    assert high > 400
    assert set(looks(pace, [WELL] * 30, sent=20, since=12.0)) == {high}
    looks(pace, [replace(WELL, audio_s=1.5)] * 2, sent=20, since=42.0)
    assert pace.per_second < 20


def test_it_grows_fast_to_what_was_fine_and_gently_above():
    pace = steady(400)
    assert looks(pace, [replace(WELL, audio_s=3.0)] * 4, since=30.0)[-1] < 60
    after = looks(pace, [WELL] * 20, since=34.0)
    fine = after[12]
    assert fine == pytest.approx(0.9 * 400, rel=0.02)
    assert fine < after[-1] <= fine * 1.03**7


def test_strain_while_little_is_sent_does_not_make_it_forget_more_than_half():
    pace = Pace(1000)
    bad = [replace(WELL, audio_s=3.0)] * 3
    looks(pace, [WELL] * 8)
    looks(pace, bad, since=8.0)
    fine = looks(pace, [WELL] * 20, since=11.0)[-1]
    looks(pace, [WELL] * 5, sent=8, since=31.0)
    looks(pace, bad, sent=8, since=36.0)
    assert pace.per_second < 8
    assert looks(pace, [WELL] * 15, since=39.0)[-1] > 0.35 * fine


def test_the_limit_may_change_at_any_time():
    pace = steady(100)
    pace.most = 30
    assert pace.per_second == 30
    pace.most = 200
    assert 100 < looks(pace, [WELL] * 20, since=30.0)[-1] <= 200


values = st.one_of(st.none(), st.floats(0, 5))
measured = st.builds(
    Signs,
    channel_s=values,
    audio_s=values,
    unanswered=st.floats(0, 1),
    queue=st.one_of(st.none(), st.integers(0, 2000)),
    lag_s=values,
)


@given(
    st.floats(0.5, 200),
    st.lists(st.tuples(measured, st.integers(0, 300), st.sampled_from([0.5, 1.0, 1.0, 7.0])), max_size=80),
)
def test_after_anything_at_all_the_pace_comes_back_by_itself(most, seconds):
    pace, now = Pace(most), 0.0
    for signs, sent, passed in seconds:
        now += passed
        pace.look(now, signs, sent)
        assert 0 <= pace.per_second <= most
        assert (pace.per_second == 0) == pace.hold
        assert pace.why or pace.per_second == most
    owed = 0.0
    for _ in range(400):
        now += 1.0
        owed += pace.per_second
        sent, owed = int(owed), owed % 1
        pace.look(now, WELL, sent)
    assert pace.per_second >= 0.9 * most


def test_every_limit_is_of_a_sign():
    assert {limit.sign for limit in LIMITS} == set(Signs.__dataclass_fields__)
    assert BUSY > FLOOR
