"""Overload control: on simulated nodes, healthy, noisy and asked for too much, and sign by sign."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.strain import BUSY, FLOOR, LIMITS, SHOWS_IN, START, Pace, Signs

WELL = Signs(channel_s=0.02, audio_s=0.06, unanswered=0.0, queue=3, lag_s=0.01)
NOTHING = Signs(channel_s=None, audio_s=None, unanswered=0.0, queue=None, lag_s=None)
SILENT_S = 2.0
TICKS = 10
TALK_S = 4.0
"""The caller presses a key so long after the first audio, which is the call's second half of work."""
FULL = 6.0
"""Calls at once for each call a second with which a node is full and well: 900 on one that carries 150."""


@dataclass
class Node:
    """Does the work of calls one after another, half of it at their beginning and half after they talked."""

    carries: float
    """Calls a second."""
    thrash: float = 0.0
    """How much slower it gets for each second's work that waits (beyond one second's)."""
    seed: int = 0
    open: int = 0
    completed: int = 0
    in_time: int = 0
    silent: int = 0
    _work: deque[tuple[bool, float]] = field(default_factory=deque)
    """Whether a call begins, and since when it waits."""
    _talk_until: deque[float] = field(default_factory=deque)
    _credit: float = 0.0
    _slow_still: float = 0.0

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    @property
    def late_s(self) -> float:
        return len(self._work) / 2 / self.carries

    def second(self, now: float, sent: int) -> Signs:
        self.open += sent
        audio: list[float] = []
        for tick in range(TICKS):
            at = now + tick / TICKS
            self._work.extend([(True, at)] * (sent * (tick + 1) // TICKS - sent * tick // TICKS))
            while self._talk_until and self._talk_until[0] <= at:
                self._work.append((False, self._talk_until.popleft()))
            audio.extend(self._do(at))
        audio.extend(now + 1 - since for begins, since in self._work if begins)
        return self._signs(sorted(audio))

    def _do(self, at: float) -> list[float]:
        heard = []
        self._credit += 2 * self.carries / (1 + self.thrash * max(0.0, self.late_s - 1)) / TICKS
        while self._work and self._credit >= 1:
            self._credit -= 1
            begins, since = self._work.popleft()
            if begins:
                heard.append(at - since + 0.05)
                self._talk_until.append(at + TALK_S)
            else:
                self.open -= 1
                self.completed += 1
        self._credit = min(self._credit, 1.0) if not self._work else self._credit
        self.silent += sum(took > SILENT_S for took in heard)
        self.in_time += sum(took <= SILENT_S for took in heard)
        return heard

    def _signs(self, audio: list[float]) -> Signs:
        """With noise: a loop's spikes by neighbours, and slow calls, one in twenty seconds, half of them told twice."""
        chance = self._random
        lag_s = 0.01 + 0.3 * self.late_s + (chance.uniform(0.1, 0.4) if chance.random() < 0.3 else 0)
        slow_s = self._slow_still or (chance.uniform(1, 4) if chance.random() < 0.05 else 0.0)
        self._slow_still = slow_s if not self._slow_still and chance.random() < 0.5 else 0.0
        heard = sorted(
            [*(chance.uniform(0.85, 1.15) * took for took in audio), *([slow_s] if slow_s and audio else [])]
        )
        return Signs(
            channel_s=0.02 + 0.3 * self.late_s,
            audio_s=heard[9 * len(heard) // 10] if heard else None,
            unanswered=0.0,
            queue=len(self._work) // 10,
            lag_s=lag_s,
        )


@dataclass
class Site:
    """A node, asked for `wanted` calls a second, with or without control."""

    node: Node
    wanted: float
    ceiling: float = 1e9
    pace: Pace = field(default_factory=lambda: Pace(1000))
    controlled: bool = True
    now: float = 500.0
    _owed: float = 0.0

    def run(self, seconds: int, each: Callable[[], None] = lambda: None) -> float:
        """Calls a second that heard their prompt in time."""
        before = self.node.in_time
        for _ in range(seconds):
            self._owed += min(self.wanted, self.pace.per_second) if self.controlled else self.wanted
            sent = min(int(self._owed), max(0, int(self.ceiling) - self.node.open))
            self._owed = min(1.0, self._owed - sent)
            signs = self.node.second(self.now, sent)
            self.now += 1.0
            self.pace.look(self.now, signs, sent)
            each()
        return (self.node.in_time - before) / seconds


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("thrash", [0.0, 0.1])
@pytest.mark.parametrize("carries", [20, 50, 150])
def test_asked_for_twice_what_it_carries_a_node_delivers_nine_tenths_and_hardly_anybody_hears_silence(
    carries, thrash, seed
):
    site = Site(Node(carries, thrash, seed), wanted=2 * carries)
    site.run(40)
    assert site.run(90) >= 0.9 * carries
    assert site.node.silent <= 0.01 * site.node.in_time


@pytest.mark.parametrize("thrash", [0.0, 0.1])
def test_without_control_the_same_node_collapses(thrash):
    site = Site(Node(50, thrash), wanted=100, controlled=False)
    site.run(40)
    assert site.run(90) < 5
    assert site.node.open > 60 * 50


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_full_node_that_is_well_carries_all_that_its_ceiling_allows(seed):
    with_it = Site(Node(150, 0.1, seed), wanted=1000, ceiling=FULL * 150)
    without = replace(with_it, node=Node(150, 0.1, seed), pace=Pace(1000), controlled=False)
    for site in (with_it, without):
        site.run(50)
        site.node.completed = 0
        site.run(120)
    assert with_it.node.completed >= 0.95 * without.node.completed
    assert with_it.node.silent == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("wanted", [10, 20, 60])
def test_noise_alone_keeps_no_call_back_for_longer_than_some_seconds(wanted, seed):
    site = Site(Node(150, 0.1, seed), wanted=wanted)
    site.run(40)
    paces: list[float] = []
    site.run(600, lambda: paces.append(site.pace.per_second))
    below = "".join("x" if pace < wanted else " " for pace in paces)
    assert max(len(run) for run in below.split(" ")) <= 5
    assert below.count("x") <= 0.01 * len(below)


def test_power_taken_away_and_given_back():
    node = Node(100, 0.1)
    site = Site(node, wanted=90)
    site.run(60)
    node.carries = 30
    site.run(6)
    assert site.pace.strained
    assert site.pace.per_second < 30
    site.run(54)
    assert node.silent < 5 * 90, "what was sent until it could be seen and acted on, and worked off, no more"
    node.carries = 100
    site.run(40)
    assert site.run(60) == pytest.approx(90, abs=2)


def test_calls_that_are_open_can_strain_a_node_and_then_none_starts():
    """Each call lasts 60 s, and above 500 at once the node is late however few are sent."""
    ends: deque[float] = deque()
    pace, now, most_open, held, sent_in_all = Pace(50), 0.0, 0, 0, 0
    for _ in range(900):
        sent = int(pace.per_second + (now % 1))
        sent_in_all += sent
        ends.extend([now + 60] * sent)
        while ends and ends[0] <= now:
            ends.popleft()
        now += 1.0
        late = max(0.0, len(ends) - 500) / 25
        pace.look(now, replace(WELL, audio_s=0.06 + late if sent else None, lag_s=0.01 + late / 2), sent)
        most_open, held = max(most_open, len(ends)), held + pace.hold
    assert most_open < 700
    assert held > 0
    assert sent_in_all > 0.7 * 900 * 500 / 60


def looks(pace: Pace, signs: list[Signs], sent: int | None = None, since: float = 0.0) -> list[float]:
    """The pace after each look, one a second, when all that is allowed is sent, or `sent`."""
    seen = []
    for turn, one in enumerate(signs):
        pace.look(since + turn, one, int(pace.per_second) if sent is None else sent)
        seen.append(pace.per_second)
    return seen


def steady(most: float = 100) -> Pace:
    pace = Pace(most)
    looks(pace, [WELL] * 60)
    assert pace.per_second == most
    return pace


def test_it_begins_with_ten_and_grows_the_faster_the_longer_nothing_shows():
    pace = Pace(1000)
    assert pace.per_second == START == 10
    assert pace.why == "growing from the start"
    assert looks(pace, [WELL] * 40)[9::10] == pytest.approx([13, 34, 91, 202], rel=0.01)
    assert Pace(4).per_second == 4


@pytest.mark.parametrize(
    ("sign", "why"),
    [
        ({"audio_s": 2.4}, "answer to first audio 2.4 s (at most 1.5 s)"),
        ({"channel_s": 1.3}, "order to channel 1.3 s (at most 1 s)"),
        ({"queue": 400}, "400 tasks wait in Asterisk (at most 250)"),
        ({"unanswered": 0.45}, "45% of the calls without a SIP answer (at most 20%)"),
        ({"lag_s": 1.61}, "an event loop is 1.61 s late (at most 1.5 s)"),
        ({"audio_s": 1.6, "channel_s": 5.0}, "order to channel 5.0 s (at most 1 s)"),
    ],
)
def test_each_sign_makes_the_pace_fall_and_is_named(sign, why):
    pace = steady()
    assert pace.why == ""
    first, second, third = looks(pace, [replace(WELL, **sign)] * 3, since=60.0)
    assert first == 100, "one look may be an outlier"
    assert second < 50
    assert third == second, "what a fall did is not seen at once"
    assert (pace.strained, pace.why) == (True, why)
    looks(pace, [WELL] * 3, since=63.0)
    assert (pace.strained, pace.why) == (False, f"growing again after: {why}")


@pytest.mark.parametrize(
    ("audio_s", "left"),
    [
        (0.75, 100),
        (0.8, 68),
        (1.5, 49),
        (9.0, 34),
    ],
)
def test_it_falls_the_further_the_worse_the_signs_are(audio_s, left):
    assert looks(steady(), [replace(WELL, audio_s=audio_s)] * 2, since=60.0)[-1] == pytest.approx(left, abs=1)


@pytest.mark.parametrize(
    ("later_s", "falls"),
    [
        # no better: again when the fall must have shown
        ([1.5] * SHOWS_IN, 1),
        ([1.5] * (SHOWS_IN - 1), 0),
        # better each second: what waits is worked off
        ([1.4, 1.3, 1.2, 1.1, 1.0, 0.9, 0.8], 0),
        # much worse: at once
        ([2.4], 1),
    ],
)
def test_it_waits_for_what_a_fall_does(later_s, falls):
    pace = steady()
    after = looks(pace, [replace(WELL, audio_s=1.5)] * 2, since=60.0)[-1]
    paces = [after, *looks(pace, [replace(WELL, audio_s=one) for one in later_s], since=62.0)]
    assert sum(now < before for before, now in pairwise(paces)) == falls


@pytest.mark.parametrize(
    ("signs", "sent"),
    [
        # a look in three that was bad
        ([replace(WELL, audio_s=9.0), WELL, WELL] * 20, 100),
        # what a machine shows that is full and well
        ([replace(WELL, audio_s=0.7, channel_s=0.3, lag_s=0.3)] * 60, 100),
        # neighbours
        ([replace(WELL, lag_s=0.7)] * 60, 100),
        # nothing measured is not a bad sign
        ([NOTHING] * 60, 100),
        # hardly anything is sent: one of two calls failed
        ([replace(WELL, unanswered=0.5)] * 60, 2),
        # a slow answer now and then, among few
        ([replace(WELL, audio_s=3.0), NOTHING, NOTHING] * 20, 1),
    ],
)
def test_what_is_no_strain(signs, sent):
    pace = steady()
    looks(pace, [WELL] * 9, sent=sent, since=60.0)
    assert set(looks(pace, signs, sent=sent, since=69.0)) == {100}


def test_one_slow_call_among_few_leaves_them_their_pace():
    """It is told twice, and is half of what was measured."""
    pace = Pace(100)
    looks(pace, [WELL] * 9, sent=5)
    assert looks(pace, [replace(WELL, audio_s=4.0)] * 2, sent=5, since=9.0)[-1] >= BUSY


def test_bad_signs_with_hardly_any_calls_stop_all_until_the_node_is_calm():
    pace = steady()
    bad = replace(WELL, lag_s=3.0)
    looks(pace, [bad] * 15, sent=1, since=60.0)
    assert pace.hold
    assert pace.strained
    assert pace.why.startswith("an event loop is 3.00 s late (at most 1.5 s) though hardly any calls are sent")
    assert set(looks(pace, [bad, bad, replace(WELL, lag_s=0.8)] * 20, since=75.0)) == {0}
    assert looks(pace, [NOTHING] * 2, since=135.0)[-1] == 0
    assert looks(pace, [NOTHING], since=137.0)[-1] == FLOOR
    assert not pace.hold


def test_it_takes_back_at_one_sign_what_cannot_have_shown_yet():
    pace = Pace(1000)
    grown = looks(pace, [WELL] * 35)
    assert looks(pace, [replace(WELL, audio_s=1.0)], since=35.0) == [grown[-1 - SHOWS_IN]]


def test_it_falls_from_what_is_sent_and_grows_only_by_what_is_used():
    pace = Pace(1000)
    looks(pace, [WELL] * 50)
    looks(pace, [WELL] * 9, sent=20, since=50.0)
    high = pace.per_second
    assert high > 300
    assert set(looks(pace, [WELL] * 30, sent=20, since=59.0)) == {high}
    looks(pace, [replace(WELL, audio_s=1.6)] * 2, sent=20, since=89.0)
    assert pace.per_second < 20


def test_it_grows_fast_to_what_was_fine_hardly_there_and_faster_again_beyond():
    pace = steady(400)
    pace.most = 1000
    assert looks(pace, [replace(WELL, audio_s=3.0)] * 2, since=60.0)[-1] == pytest.approx(136, rel=0.02)
    after = looks(pace, [WELL] * 30, since=62.0)
    growth = [now / before - 1 for before, now in pairwise(after[2:])]
    to_fine = next(turn for turn, one in enumerate(after) if one > 0.99 * 400)
    assert 8 < to_fine < 14
    assert growth[0] > 0.1
    assert max(growth[to_fine - 2 : to_fine + 2]) < 0.01
    assert growth[to_fine + 10] > 0.03


def test_strain_while_little_is_sent_does_not_make_it_forget_more_than_half():
    pace = Pace(1000)
    bad = [replace(WELL, audio_s=3.0)] * 3
    high = looks(pace, [WELL] * 30)[-1]
    looks(pace, [WELL] * 9, sent=8, since=30.0)
    looks(pace, bad, sent=8, since=39.0)
    assert pace.per_second < 8
    assert looks(pace, [WELL] * 20, since=42.0)[-1] > 0.45 * high


def test_the_limit_may_change_at_any_time():
    pace = steady(100)
    pace.most = 30
    assert pace.per_second == 30
    pace.most = 200
    assert 100 < looks(pace, [WELL] * 20, since=60.0)[-1] <= 200


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


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ("audio_s", "answer to first audio, 90th percentile | 1.5 s"),
        ("channel_s", "order to channel, 90th percentile | 1 s"),
        ("queue", "tasks that wait in Asterisk | 250"),
        ("unanswered", "orders without any SIP answer | 20 %"),
        ("lag_s", "an event loop of engine or workers is late | 1.5 s"),
    ],
)
def test_the_page_says_the_limits(sign, words):
    (most,) = (limit.most for limit in LIMITS if limit.sign == sign)
    assert f"\n| {words} |\n" in (Path(__file__).parents[2] / "docs" / "capacity.md").read_text(encoding="utf-8")
    assert words.split("| ")[1].split()[0] == f"{100 * most if sign == 'unanswered' else most:g}"


def test_every_limit_is_of_a_sign():
    assert {limit.sign for limit in LIMITS} == set(Signs.__dataclass_fields__)
    assert BUSY > FLOOR
