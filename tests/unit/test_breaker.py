"""The breaker of a trunk: when it opens, what it lets through, and that it always comes back by itself."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.breaker import LONGEST_OPEN_S, SILENCE_S, Breaker, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Trunk:
    """A breaker with calls that it counts: a line of letters is what came of one call after another.

    `.` ok, `x` fault (503), `t` fault (timeout), `-` gone, `?` no word; a digit lets that many seconds pass.
    """

    def __init__(self) -> None:
        self.breaker, self.now = Breaker(), 1000.0
        self._orders = map(UUID, (f"{number:032x}" for number in count(1)))

    def send(self) -> UUID:
        order = next(self._orders)
        self.breaker.sent(order, self.now)
        return order

    def end(self, order: UUID, how: str) -> None:
        match how:
            case ".":
                self.breaker.ok(order, self.now)
            case "x" | "t":
                self.breaker.fault(order, self.now, "503" if how == "x" else "timeout")
            case "-":
                self.breaker.gone(order, self.now)

    def calls(self, line: str) -> BreakerState:
        for letter in line:
            if letter.isdigit():
                self.wait(int(letter))
            else:
                self.end(self.send(), letter)
        return self.breaker.state

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.breaker.allowance(self.now)


@pytest.mark.parametrize(
    ("line", "state", "why"),
    [
        ("", CLOSED, ""),
        ("........", CLOSED, ""),
        # by share: at least eight outcomes, at least half of them faults
        (".x.x.x.", CLOSED, ""),
        (".x.x.x.x", OPEN, "503: 4 of 8 calls in 10 s"),
        ("..x.x.x.x", CLOSED, ""),
        (".t.t.t.x", OPEN, "timeout: 4 of 8 calls in 10 s"),
        # only what came within ten seconds
        (".x.x91.x.x", CLOSED, ""),
        ("x.x.x.x.99.......x", CLOSED, ""),
        (".x.x9.x.x", OPEN, "503: 4 of 8 calls in 10 s"),
        # in a row, however slowly
        ("xxxx", CLOSED, ""),
        ("xxxxx", OPEN, "503: 5 calls in a row"),
        ("x99x99x99x99x", OPEN, "503: 5 calls in a row"),
        ("xxxx.xxx", OPEN, "503: 7 of 8 calls in 10 s"),
        ("xx99xx.99xx99xx", CLOSED, ""),
        ("xx-xx-x", OPEN, "503: 5 calls in a row"),
        # what says nothing of the trunk
        ("--------------------", CLOSED, ""),
        ("?????????" + "9" * 9, CLOSED, ""),
    ],
)
def test_when_it_opens(line, state, why):
    trunk = Trunk()
    assert trunk.calls(line) is state
    assert trunk.breaker.why == why


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("9", OPEN),
        ("91", HALF_OPEN),
        ("91..", HALF_OPEN),
        ("91...", CLOSED),
        ("91.-.-.", CLOSED),
        ("91x", OPEN),
        ("91..x", OPEN),
        ("91..-----", HALF_OPEN),
    ],
)
def test_how_it_comes_back(line, state):
    trunk = Trunk()
    trunk.calls("xxxxx")
    assert trunk.calls(line) is state


def test_the_time_open_doubles_until_a_quiet_minute():
    trunk, open_for = Trunk(), []

    def opened() -> None:
        assert trunk.breaker.state is OPEN
        open_for.append(trunk.breaker.until - trunk.now)
        trunk.wait(open_for[-1])

    trunk.calls("xxxxx")
    opened()
    for _ in range(6):
        trunk.calls("x")
        opened()
    trunk.calls("...")
    trunk.wait(59)
    trunk.calls("xxxxx")
    opened()
    trunk.calls("...")
    trunk.wait(60)
    trunk.calls("xxxxx")
    opened()
    assert open_for == [10, 20, 40, 80, 160, 300, 300, 300, 10]


@pytest.mark.parametrize("waiting", [0, 7])
def test_closed_it_bounds_nothing(waiting):
    trunk = Trunk()
    trunk.calls("..." + "?" * waiting)
    assert trunk.breaker.allowance(trunk.now) is None


def test_open_none_half_open_one_at_a_time():
    trunk = Trunk()
    trunk.calls("xxxxx")
    assert trunk.breaker.allowance(trunk.now) == 0
    trunk.wait(10)
    assert trunk.breaker.allowance(trunk.now) == 1
    probe = trunk.send()
    assert trunk.breaker.allowance(trunk.now) == 0
    trunk.end(probe, ".")
    assert trunk.breaker.allowance(trunk.now) == 1


def test_a_probe_without_a_word_for_a_minute_failed():
    trunk = Trunk()
    trunk.calls("xxxxx")
    trunk.wait(10)
    probe = trunk.send()
    trunk.wait(59)
    assert trunk.breaker.state is HALF_OPEN
    trunk.wait(1)
    assert trunk.breaker.state is OPEN
    assert trunk.breaker.why == "no word for 60 s of a call that tried the trunk"
    trunk.end(probe, ".")
    assert trunk.breaker.state is OPEN


@pytest.mark.parametrize("how", [".", "x"])
def test_calls_from_before_it_opened_neither_close_nor_open_it(how):
    trunk = Trunk()
    late = [trunk.send() for _ in range(30)]
    trunk.calls("xxxxx")
    until = trunk.breaker.until
    for order in late[:10]:
        trunk.end(order, how)
    assert (trunk.breaker.state, trunk.breaker.until) == (OPEN, until)
    trunk.wait(10)
    for order in late[10:20]:
        trunk.end(order, how)
    assert trunk.breaker.state is HALF_OPEN
    trunk.calls("...")
    for order in late[20:]:
        trunk.end(order, how)
    assert trunk.breaker.state is CLOSED


def test_a_call_counts_once_by_the_first_word():
    trunk = Trunk()
    for _ in range(20):
        order = trunk.send()
        for how in ".xx-x":
            trunk.end(order, how)
    assert trunk.breaker.state is CLOSED
    order = trunk.send()
    for _ in range(20):
        trunk.end(order, "x")
    assert trunk.breaker.state is CLOSED


events = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 30)),
        st.tuples(st.sampled_from(".xxt-"), st.integers(0, 400)),
        st.tuples(st.just("wait"), st.sampled_from([0, 1, 5, 10, 20, 61, 300])),
    ),
    max_size=150,
)


class Driven(Trunk):
    """Driven as the engine does: never more calls than allowed; results lost, doubled, late and out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[UUID] = []
        self.probes: dict[UUID, float] = {}
        """Sent while half open in the present period, without a result."""

    def play(self, what: str, value: int) -> None:
        before, until = self.breaker.state, self.breaker.until
        if what == "wait":
            self.wait(value)
        elif what == "send":
            allowed = self.breaker.allowance(self.now)
            for _ in range(value if allowed is None else min(value, allowed)):
                self.all.append(self.send())
                if self.breaker.state is HALF_OPEN:
                    self.probes[self.all[-1]] = self.now
        elif self.all:
            order = self.all[-1 - value % len(self.all)]
            self.end(order, what)
            self.probes.pop(order, None)
        after = self.breaker.state
        if before is OPEN and after is OPEN:
            assert self.breaker.until == until
        if what not in "xt" and what != "wait":
            assert after is not OPEN or before is OPEN
        assert (before, after) not in [(OPEN, CLOSED), (CLOSED, HALF_OPEN)]
        if after is not HALF_OPEN:
            self.probes.clear()
        assert len(self.probes) <= 1

    def recovers_in(self, results: str) -> float:
        """Seconds until it is closed, asked every second, when its calls come to these results in turn."""
        since = self.now
        for turn in count():
            if self.breaker.state is CLOSED or self.now - since > 10_000:
                return self.now - since
            if self.breaker.allowance(self.now):
                self.all.append(self.send())
                self.end(self.all[-1], results[turn % len(results)])
            self.wait(1)
        raise AssertionError


@given(events)
def test_whatever_is_lost_doubled_or_late(events):
    trunk = Driven()
    for what, value in events:
        trunk.play(what, value)
        if trunk.breaker.state is OPEN:
            assert trunk.breaker.allowance(trunk.now) == 0
            assert trunk.now < trunk.breaker.until <= trunk.now + LONGEST_OPEN_S
        else:
            assert trunk.breaker.until is None
    assert trunk.recovers_in(".") <= LONGEST_OPEN_S + SILENCE_S + LONGEST_OPEN_S + 5


@given(events, st.permutations(list(".........--??")))
def test_it_recovers_though_results_are_lost(events, results):
    trunk = Driven()
    for what, value in events:
        trunk.play(what, value)
    assert trunk.recovers_in("".join(results)) < 10_000


@given(
    st.lists(
        st.one_of(st.tuples(st.just("send"), st.integers(1, 30)), st.tuples(st.sampled_from(".-"), st.integers(0, 99)))
    )
)
def test_what_the_callee_causes_never_opens_it(events):
    trunk = Driven()
    for what, value in events:
        trunk.play(what, value)
    assert trunk.breaker.state is CLOSED
