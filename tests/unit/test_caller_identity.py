"""The number that a callee sees."""

from __future__ import annotations

from typing import Any

import pytest

from dialer.campaign.caller_identity import Identities, in_words
from dialer.campaign.capacity import Capacity

ONE, TWO, THREE = "+48221230001", "+48221230002", "+48121230003"
WARSAW, CRACOW, MOBILE, GERMAN = "+48226210001", "+48126210001", "+48501100101", "+4930901820"
REGIONS = {"by_region": {"+48": ONE, "+4822": TWO, "+4812621": THREE, CRACOW: ONE}, "otherwise": TWO}


def identities(caller_id: Any, *trunks: Any) -> Identities:
    made = Capacity.model_validate(
        {"max_concurrent": 1, "calls_per_second": 1, "trunks": list(trunks) or ["a"], "caller_id": caller_id}
    )
    return Identities(made.caller_id, made.trunks)


@pytest.mark.parametrize(
    ("callee", "shown"),
    [
        # callee        shown
        (MOBILE,        ONE),    # +48
        (WARSAW,        TWO),    # +4822 is longer
        ("+48126219999", THREE), # +4812621 is longer still
        (CRACOW,        ONE),    # a whole number is the longest of all
        (GERMAN,        TWO),    # otherwise
    ],
)  # fmt: skip
def test_the_longest_beginning_of_the_callees_number_decides(callee, shown):
    assert identities(REGIONS).choose("a", callee) == shown


def test_one_number_is_shown_to_everybody():
    fixed = identities(ONE)
    assert [fixed.choose("a", callee) for callee in (MOBILE, GERMAN)] == [ONE, ONE]


def test_a_pool_takes_turns_over_the_trunks_that_have_none_of_their_own():
    pools = identities({"pool": [ONE, TWO, THREE]}, "a", "b", {"name": "c", "caller_id": {"pool": [THREE, TWO]}})
    trunks = ["a", "b", "c", "c", "a", "b", "c"]
    assert [pools.choose(trunk, MOBILE) for trunk in trunks] == [ONE, TWO, THREE, TWO, THREE, ONE, THREE]


def test_a_trunks_own_number_wins():
    own = identities(REGIONS, "a", {"name": "b", "caller_id": THREE})
    assert [own.choose(trunk, WARSAW) for trunk in ("a", "b")] == [TWO, THREE]


def test_nothing_is_shown_on_a_trunk_that_the_campaign_does_not_name():
    with pytest.raises(KeyError):
        identities(ONE).choose("z", MOBILE)


@pytest.mark.parametrize(
    ("caller_id", "said"),
    [
        (ONE, ONE),
        ({"pool": [ONE, TWO]}, f"{ONE}, {TWO} in turn"),
        ({"by_region": {"+4822": ONE}, "otherwise": TWO}, f"{ONE} to +4822…, {TWO} to others"),
    ],
)
def test_an_operator_reads_what_is_shown(caller_id, said):
    capacity = {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": caller_id}
    assert in_words(Capacity.model_validate(capacity).caller_id) == said
