"""What people write as a number, and what of it may be dialled."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.phone import E164, Number, NumberKind, NumberReject, mask, national, parse, read_range

R = NumberReject
TABLE = [
    # written                 region  becomes
    ("+48501100101",          None,   "+48501100101"),
    (" +48 501-100-101 ",     None,   "+48501100101"),
    ("501 100 101",           "PL",   "+48501100101"),
    ("(22) 621 00 01",        "PL",   "+48226210001"),
    ("0048501100101",         "PL",   "+48501100101"),
    ("٥٠١١٠٠١٠١",             "PL",   "+48501100101"),
    ("(212) 555-0123",        "US",   "+12125550123"),
    ("501100101",             None,   R.NOT_A_NUMBER),
    ("",                      "PL",   R.EMPTY),
    ("   ",                   "PL",   R.EMPTY),
    ("1-800-FLOWERS",         "US",   R.NOT_A_NUMBER),
    ("call me",               "PL",   R.NOT_A_NUMBER),
    ("sip:501@host",          "PL",   R.NOT_A_NUMBER),
    ("+48501100101#5",        None,   R.NOT_A_NUMBER),
    ("12",                    "PL",   R.INVALID),
    ("+48000000000",          None,   R.INVALID),
    ("+999501100101",         None,   R.NOT_A_NUMBER),
    ("112",                   "PL",   R.INVALID),
    ("999",                   "PL",   R.INVALID),
    ("701100101",             "PL",   R.COSTLY),
    ("1-900-234-5678",        "US",   R.COSTLY),
    ("+881612345678",         None,   R.COSTLY),
    ("5" * 300,               "PL",   R.NOT_A_NUMBER),
]  # fmt: skip


@pytest.mark.parametrize(("written", "region", "becomes"), TABLE)
def test_parse(written, region, becomes):
    parsed = parse(written, region)
    assert (parsed.number if isinstance(parsed, Number) else parsed) == becomes


@given(text=st.text() | st.from_regex(r"[+0-9 ()#*;,.x/-]{1,30}"), region=st.sampled_from((None, "PL", "US")))
def test_any_text_is_a_dialable_number_or_a_reason(text, region):
    parsed = parse(text, region)
    assert isinstance(parsed, NumberReject) or E164.fullmatch(parsed.number)


def test_zones_are_those_of_the_place():
    assert parse("+48501100101", None) == Number(
        number="+48501100101", zones=("Europe/Warsaw",), kind=NumberKind.MOBILE, country="PL"
    )
    american = parse("+18002345678", None)
    assert isinstance(american, Number)
    assert len(american.zones) > 5


@pytest.mark.parametrize(("text", "shown"), [("+48501100101", "+48501100***"), ("12345", "***"), ("", "***")])
def test_mask(text, shown):
    assert mask(text) == shown


@pytest.mark.parametrize(
    ("text", "number", "inside"),
    [
        ("+48225550100",              "+48225550100",  True),
        ("+48225550100",              "+48225550101",  False),
        ("+48221230000-+48221239999", "+48221230000",  True),
        ("+48221230000-+48221239999", "+48221239999",  True),
        ("+48221230000-+48221239999", "+48221229999",  False),
        ("+48221230000-+48221239999", "+48221240000",  False),
        ("+48221230000-+48221239999", "+482212350000", False),  # sorts between the ends, but is longer
        ("+48221230000-+48221239999", "+4822123",      False),
    ],
)  # fmt: skip
def test_ranges(text, number, inside):
    assert (number in read_range(text)) == inside


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "neither a number"),
        ("48225550100", "neither a number"),
        ("+48225550100-", "neither a number"),
        ("+48221230000-9999", "neither a number"),
        ("+48221230000-+48221239999-+48221240000", "neither a number"),
        ("+48221239999-+48221230000", "lower number"),
        ("+48221230000-+482212399990", "equal length"),
    ],
)
def test_what_is_no_range(text, wrong):
    with pytest.raises(ValueError, match=wrong):
        read_range(text)


@pytest.mark.parametrize(
    ("number", "written"),
    [("+48501100101", "501100101"), ("+12125550123", "2125550123"), ("+390612345678", "0612345678")],
)
def test_the_national_number_keeps_a_zero_that_belongs_to_it(number, written):
    assert national(number) == written
