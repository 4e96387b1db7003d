"""Who gets how much: campaigns that meet on a trunk, and engines that share a rate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dialer.pacing.shares import HOLD_S, NodeShare, Want, divide, next_share


def want(text: str, number: int) -> Want:
    """`p1 x3 10` is priority 1, share 3, could make 10 now; `p1 x3 10 (7)` was served 7 lately."""
    priority, share, most, *served = text.split()
    return Want(
        campaign_id=number,
        priority=int(priority[1:]),
        share=int(share[1:]),
        most=int(most),
        served=int(served[0][1:-1]) if served else 0,
    )


@pytest.mark.parametrize(
    ("available", "wants", "given"),
    [
        (10, ["p1 x1 10"], [10]),
        (10, ["p1 x1 4"], [4]),
        # the more urgent one first, strictly
        (10, ["p5 x9 10", "p1 x1 8"], [2, 8]),
        (10, ["p5 x9 10", "p1 x1 20"], [0, 10]),
        # equals by share; what one cannot use is the others'
        (40, ["p1 x3 99", "p1 x1 99"], [30, 10]),
        (40, ["p1 x3 6", "p1 x1 99"], [6, 34]),
        (40, ["p1 x1 5", "p1 x1 99", "p1 x2 10"], [5, 25, 10]),
        # what cannot be split: to whoever got least for their share
        (1, ["p1 x1 9 (4)", "p1 x1 9 (3)"], [0, 1]),
        (1, ["p1 x3 9 (8)", "p1 x1 9 (3)"], [1, 0]),
        (1, ["p1 x1 9", "p1 x1 9"], [1, 0]),
        (5, ["p1 x1 9", "p1 x1 9 (7)"], [3, 2]),
        # nothing to give, nothing to do
        (0, ["p1 x1 9"], [0]),
        (-3, ["p1 x1 9"], [0]),
        (9, ["p1 x1 0", "p1 x1 9"], [0, 9]),
        (9, [], []),
    ],
)
def test_divide(available, wants, given):
    divided = divide(available, [want(text, number) for number, text in enumerate(wants)])
    assert [divided.get(number, 0) for number in range(len(wants))] == given


@given(
    st.integers(-1, 200),
    st.lists(
        st.builds(
            Want,
            campaign_id=st.integers(1, 99),
            priority=st.integers(1, 3),
            share=st.integers(1, 100),
            most=st.integers(0, 80),
            served=st.integers(0, 50),
        ),
        max_size=8,
        unique_by=lambda one: one.campaign_id,
    ),
)
def test_all_is_given_strictly_by_priority_and_fairly_among_equals(available, wants):
    divided = divide(available, wants)
    got = {one: divided.get(one.campaign_id, 0) for one in wants}
    assert sum(got.values()) == min(max(0, available), sum(one.most for one in wants))
    assert all(0 <= count <= one.most for one, count in got.items())
    for one in wants:
        if got[one] == one.most:
            continue
        assert all(got[other] == 0 for other in wants if other.priority > one.priority)
        for other in wants:
            if other.priority == one.priority:
                assert (got[other] - 1) / other.share < (got[one] + 1) / one.share


def test_one_call_at_a_time_adds_up_to_the_shares():
    served = {0: 0, 1: 0, 2: 0}
    for _ in range(600):
        wants = [
            Want(campaign_id=number, priority=1, share=share, most=1, served=served[number])
            for number, share in enumerate((1, 2, 3))
        ]
        (number,) = divide(1, wants)
        served[number] += 1
    assert served == {0: 100, 1: 200, 2: 300}


@dataclass
class Site:
    """Engines that look one after another, and what may truly be on its way to the carrier."""

    total: float
    now: float = 100.0
    rows: dict[str, NodeShare] = field(default_factory=dict)
    looked_at: dict[str, float] = field(default_factory=dict)
    used: list[tuple[float, str, float]] = field(default_factory=list)
    """(until, node, share): every share that was in force, until the look that ended it or the last one known."""

    def look(self, node: str, weight: float) -> None:
        self.drop_leavers()
        mine = replace(self.rows.get(node, NodeShare(node=node, weight=weight)), weight=weight)
        others = [row for row in self.rows.values() if row.node != node]
        self.rows[node] = next_share(self.now, self.total, mine, others)
        self.used += [(self.now, node, mine.share), (self.now, node, self.rows[node].share)]
        self.looked_at[node] = self.now

    def drop_leavers(self) -> None:
        self.rows = {node: row for node, row in self.rows.items() if self.now < self.looked_at[node] + HOLD_S}

    def on_its_way(self) -> float:
        """The highest share of each engine in the last HOLD_S, added up. An engine that does not look sends nothing."""
        highest: dict[str, float] = {}
        for until, node, share in self.used:
            if self.now < until + HOLD_S:
                highest[node] = max(share, highest.get(node, 0.0))
        return sum(highest.values())

    def run(self, weights: dict[str, float], seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            for node, weight in weights.items():
                self.look(node, weight)

    def shares(self) -> dict[str, float]:
        return {node: round(row.share, 6) for node, row in self.rows.items()}


looks = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from([0.0, 1.0, 1.5, 40.0]),
        st.one_of(st.floats(0, 2), st.sampled_from([0.0, 1.0, HOLD_S - 0.01, HOLD_S, 30.0])),
    ),
    max_size=60,
)
totals = st.one_of(st.floats(0.01, 200), st.sampled_from([0.05, 0.1, 0.3, 0.6, 1.0]))


@given(totals, looks)
@example(1.0, [("a", 1.0, 142.52892473623237), ("b", 1.0, HOLD_S)])  # a look on the instant at which a hold ends
def test_the_shares_never_exceed_the_total_for_any_order_of_looks_joins_and_leaves(total, looks):
    site = Site(total)
    for node, weight, wait in looks:
        site.now += wait
        site.look(node, weight)
        assert site.on_its_way() <= total * (1 + 1e-9)


@given(st.lists(totals, min_size=1, max_size=60), looks)
def test_when_the_total_changes_nobody_takes_more_before_what_is_held_has_fallen_below_it(totals, looks):
    site, highest = Site(totals[0]), totals[0]
    for turn, (node, weight, wait) in enumerate(looks):
        site.now += wait
        site.drop_leavers()
        site.total = totals[turn % len(totals)]
        before = sum(row.held(site.now) for row in site.rows.values())
        site.look(node, weight)
        held = sum(row.held(site.now) for row in site.rows.values())
        assert held <= max(before, site.total) * (1 + 1e-9)
        highest = max(highest, site.total)
        assert site.on_its_way() <= highest * (1 + 1e-9)


@given(totals, st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=1, max_size=4))
def test_engines_that_share_call_no_more_in_ten_seconds_than_one_alone(total, weights):
    """Each engine's gate rounds its share to whole calls; together that may not be more than the whole rounded."""
    site = Site(total)
    site.run({f"n{number}": weight for number, weight in enumerate(weights)}, 40)
    calls = sum(max(1, int(10 * row.share + 1e-9)) for row in site.rows.values() if row.share > 0)
    assert calls == max(1, int(10 * total + 1e-9))


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (50, {"a": 1}, {"a": 50}),
        (50, {"a": 1, "b": 1}, {"a": 25, "b": 25}),
        (50, {"a": 3, "b": 1, "c": 1}, {"a": 30, "b": 10, "c": 10}),
        (50, {"a": 1, "b": 0}, {"a": 50, "b": 0}),
        (0.5, {"a": 1, "b": 1}, {"a": 0.3, "b": 0.2}),
        (0.05, {"a": 1, "b": 1}, {"a": 0.05, "b": 0}),
        (0, {"a": 1, "b": 1}, {"a": 0, "b": 0}),
        (50, {"a": 0, "b": 0}, {"a": 0, "b": 0}),
    ],
)
def test_what_each_engine_comes_to(total, weights, shares):
    site = Site(total)
    site.run(weights, 40)
    assert site.shares() == shares


def test_one_who_joins_waits_until_what_was_given_up_can_no_longer_arrive():
    site = Site(50)
    site.run({"a": 1}, 5)
    site.run({"a": 1, "b": 1}, 2)
    assert site.shares() == {"a": 25, "b": 0}
    site.run({"a": 1, "b": 1}, 13)
    assert site.shares() == {"a": 25, "b": 0}
    site.run({"a": 1, "b": 1}, 2)
    assert site.shares() == {"a": 25, "b": 25}


def test_what_a_dead_engine_had_comes_to_the_others():
    site = Site(50)
    site.run({"a": 1, "b": 1}, 40)
    site.run({"a": 1}, 14)
    assert site.shares()["a"] == 25
    site.run({"a": 1}, 2)
    assert site.shares() == {"a": 50}


def test_weights_that_tremble_do_not_keep_the_rate_down():
    site = Site(50)
    for second in range(300):
        site.run({"a": 1.0 + 0.2 * (second % 3), "b": 1.0 + 0.3 * (second % 2)}, 1)
        if second > 40:
            assert sum(row.share for row in site.rows.values()) >= 0.8 * 50


def test_giving_up_twice_keeps_the_first_height():
    site = Site(50)
    site.run({"a": 1}, 5)
    site.run({"a": 1, "b": 1}, 2)
    site.total = 20
    site.run({"a": 1, "b": 1}, 1)
    site.total = 50
    site.run({"a": 1, "b": 1}, 10)
    assert site.shares() == {"a": 25, "b": 0}
