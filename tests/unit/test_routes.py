"""Which trunk a call takes, as a table, and what holds for any list."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.pacing.routes import Candidate, Route, assign, carries

PL, DE, ALL = ("+48",), ("+49", "+43"), ()


def route(text: str, prefixes: tuple[str, ...] = ALL) -> Route:
    """`a 1 x3` is trunk a, priority 1, weight 3."""
    trunk, priority, weight = text.split()
    return Route(trunk=trunk, prefixes=prefixes, priority=int(priority), weight=int(weight[1:]))


def people(*numbers: str, avoid: str = "") -> list[Candidate]:
    return [Candidate(contact_id=i, number=number, avoid=avoid) for i, number in enumerate(numbers)]


@pytest.mark.parametrize(
    ("prefixes", "number", "carried"),
    [
        (ALL, "+14155550100", True),
        (PL, "+48501000001", True),
        (PL, "+49301000001", False),
        (DE, "+43120000001", True),
        (("+4822",), "+48501000001", False),
    ],
)
def test_carries(prefixes, number, carried):
    assert carries(route("a 1 x1", prefixes), number) is carried


@pytest.mark.parametrize(
    ("routes", "room", "placed", "candidates", "expected"),
    [
        # the number decides first
        ([route("pl 1 x1", PL), route("de 1 x1", DE)], {"pl": 9, "de": 9}, {}, people("+49301", "+48501"), "de pl"),
        ([route("pl 1 x1", PL)], {"pl": 9}, {}, people("+49301", "+48501"), "- pl"),
        # then priority, as long as there is room
        ([route("b 2 x1"), route("a 1 x1")], {"a": 2, "b": 9}, {}, people("+48", "+48", "+48"), "a a b"),
        ([route("a 1 x1"), route("b 2 x1")], {"a": 1, "b": 1}, {}, people("+48", "+48", "+48"), "a b -"),
        # then weight, counting what was placed before
        ([route("a 1 x3"), route("b 1 x1")], {"a": 9, "b": 9}, {}, people(*["+48"] * 8), "a b a a a b a a"),
        ([route("a 1 x1"), route("b 1 x1")], {"a": 9, "b": 9}, {"a": 2}, people("+48", "+48", "+48"), "b b a"),
        # no trunk that failed this number, no trunk without room, none that nobody gave room
        ([route("a 1 x1"), route("b 2 x1")], {"a": 9, "b": 9}, {}, people("+48", avoid="a"), "b"),
        ([route("a 1 x1")], {"a": 9}, {}, people("+48", avoid="a"), "-"),
        ([route("a 1 x1"), route("b 1 x1")], {"a": -3, "b": 1}, {}, people("+48", "+48"), "b -"),
        ([route("a 1 x1")], {}, {}, people("+48"), "-"),
        ([], {"a": 9}, {}, people("+48"), "-"),
        # one who finds no room does not stop the next
        ([route("pl 1 x1", PL), route("de 1 x1", DE)], {"pl": 1, "de": 1}, {}, people("+48", "+48", "+49"), "pl - de"),
    ],
)
def test_assign(routes, room, placed, candidates, expected):
    chosen = assign(candidates, routes, room, placed)
    assert [chosen.get(person.contact_id, "-") for person in candidates] == expected.split()


@given(
    st.lists(
        st.builds(
            Route,
            trunk=st.sampled_from("abcde"),
            prefixes=st.sampled_from([ALL, PL, DE, ("+4850",)]),
            priority=st.integers(1, 3),
            weight=st.integers(1, 9),
        ),
        unique_by=lambda one: one.trunk,
    ),
    st.dictionaries(st.sampled_from("abcde"), st.integers(-2, 6)),
    st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50)),
    st.lists(st.tuples(st.sampled_from(["+48501", "+48221", "+49301", "+1415"]), st.sampled_from(["", *"abcde"]))),
)
def test_nobody_is_sent_where_they_may_not_go_and_nobody_is_left_out_with_room(routes, room, placed, wishes):
    candidates = [Candidate(contact_id=i, number=number, avoid=avoid) for i, (number, avoid) in enumerate(wishes)]
    chosen = assign(candidates, routes, room, placed)
    used = Counter(chosen.values())
    assert all(count <= room[trunk] for trunk, count in used.items())
    for person in candidates:
        may = {one.trunk: one for one in routes if one.trunk not in person.avoid and carries(one, person.number)}
        if person.contact_id in chosen:
            assert chosen[person.contact_id] in may
        else:
            assert all(used[trunk] >= room.get(trunk, 0) for trunk in may)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 300))
def test_shares_follow_the_weights(weights, calls):
    routes = [route(f"t{i} 1 x{weight}") for i, weight in enumerate(weights)]
    used = Counter(assign(people(*["+48"] * calls), routes, {one.trunk: calls for one in routes}, {}).values())
    behind = [used[one.trunk] / one.weight for one in routes]
    assert all(used[one.trunk] / one.weight <= min(behind) + 1 / one.weight + 1e-9 for one in routes)
