"""Two versions of a campaign file side by side."""

from __future__ import annotations

import pytest

from dialer.campaign.capacity import Capacity
from dialer.campaign.changes import ABSENT, changes, limits_changed, shown
from dialer.campaign.running import Overrides

BEFORE = {
    "campaign": "c",
    "calling": {"window": {"mon-fri": "09:00-17:00"}},
    "capacity": {"trunks": ["a"], "max_concurrent": 10},
    "flow": {"hello": {"say": "Hello"}, "bye": {"say": "Bye"}},
}


def changed(**parts):
    return {**BEFORE, **parts}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, []),
        (changed(title="T"), [("title", ABSENT, "T")]),
        ({key: value for key, value in BEFORE.items() if key != "calling"},
         [("calling", BEFORE["calling"], ABSENT)]),
        (changed(calling={"window": {"mon-fri": "10:00-17:00", "sat": "10:00-12:00"}}),
         [("calling.window.mon-fri", "09:00-17:00", "10:00-17:00"), ("calling.window.sat", ABSENT, "10:00-12:00")]),
        (changed(capacity={"trunks": ["a", "b"], "max_concurrent": 10}), [("capacity.trunks", ["a"], ["a", "b"])]),
        (changed(flow={"bye": {"say": "Bye"}, "hello": {"say": "Hello"}}),
         [("flow (order of the steps)", ["hello", "bye"], ["bye", "hello"])]),
        (changed(flow={"hello": {"say": "Hi"}, "more": {"say": "More"}, "bye": {"say": "Bye"}}),
         [("flow.hello.say", "Hello", "Hi"), ("flow.more", ABSENT, {"say": "More"})]),
    ],
)  # fmt: skip
def test_each_key_that_differs_is_told_once(after, expected):
    assert [(one.key, one.before, one.after) for one in changes(BEFORE, after)] == expected


def test_values_are_shown_on_one_short_line():
    assert shown("a\nb") == "a b"
    assert shown(ABSENT) == "(not there)"
    assert len(shown("x" * 500)) == 60
    assert shown({"sat": "10:00"}) == '{"sat": "10:00"}'


def test_only_limits_that_the_file_changed_are_set():
    """An operator's `dialer set` outlives a change of the prompts."""
    base = {"max_concurrent": 10, "calls_per_second": 5, "trunks": ["a"], "caller_id": "+48221234567"}
    before, after = (Capacity.model_validate(base | more) for more in ({}, {"calls_per_second": 2, "ring": "20s"}))
    assert limits_changed(before, after) == Overrides(calls_per_second=2)
