"""Lists of numbers as they come: with a header or without, well written or not."""

from __future__ import annotations

import pytest

from dialer.contacts.dnc_file import ListedNumber, Unreadable, read_list
from dialer.errors import InvalidInput
from dialer.phone import NumberReject

A, B, C = "+48501100101", "+48501100102", "+48221000003"


def read(text: str, **how: str) -> list[ListedNumber | Unreadable]:
    return list(read_list(text.splitlines(keepends=True), "list.csv", **how))


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        (f"{A}\n{B}\n", {}, [A, B]),
        (f"{A}\r\n\r\n  {B}  \r\n", {}, [A, B]),
        ("501 100 101\n(22) 100-00-03\n", {"region": "PL"}, [A, C]),
        (f"number\n{A}\n", {}, [A]),
        (f"name;Phone\nAnn;{A}\nBob;{B}\n", {}, [A, B]),
        (f"name\tgsm\nAnn\t{A}\n", {"column": "GSM"}, [A]),
        (f"Ann,{A}\nBob,{B}\n", {"column": "2"}, [A, B]),
        (f'"{A}","said ""no"""\n', {}, [A]),
        (f"id 2,phone\n7,{A}\n", {}, [A]),
        (f"phone 1,phone 2\n{A},{B}\n", {"column": "Phone 2"}, [B]),
        (f"{A},Ann\n{B},{C}\n", {}, [A, B]),
        # a number that no plan knows today is kept from being called all the same
        ("+48101100101\n", {}, ["+48101100101"]),
        # a premium number is a number here
        ("+48701100101\n", {}, ["+48701100101"]),
        ("", {}, []),
        ("\n\n", {}, []),
    ],
)
def test_every_way_to_write_a_list_gives_its_numbers(text, how, expected):
    assert [one.number for one in read(text, **how)] == expected


def test_a_reason_stands_beside_its_number():
    assert read(f"number,reason\n{A},asked by letter\n{B},\n") == [
        ListedNumber(number=A, reason="asked by letter"), ListedNumber(number=B, reason=None),
    ]  # fmt: skip


def test_what_cannot_be_read_is_told_with_its_line_and_hides_nothing_behind_it():
    found = read(f'{A}\n"{C}\n\n12\x003\n501100102\n{"9" * 20_000}\n{B}\n')
    assert [one.number for one in found if isinstance(one, ListedNumber)] == [A, C, B]
    assert [(one.line, one.reason) for one in found if isinstance(one, Unreadable)] == [
        (4, NumberReject.NOT_A_NUMBER),
        (5, NumberReject.NOT_A_NUMBER),
        (6, NumberReject.NOT_A_NUMBER),
    ]
    assert all(len(one.text) <= 40 for one in found if isinstance(one, Unreadable))


@pytest.mark.parametrize(
    ("text", "column"), [
        ("name,age\nAnn,7\n", None), ("name,number\nAnn,7\n", "phone"), (f"Ann,{A}\n", "7"), (f"Ann,{A}\n", "phone"),
        # whoever is in a column that is left out would be called
        (f"{A},{B},{C}\n", None), (f"phone,mobile\n{A},{B}\n", None), ("Ann,Bob 2\n", None),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_said_before_anything_is_read(text, column):
    with pytest.raises(InvalidInput, match="nothing was changed") as refused:
        read_list(iter(text.splitlines()), "list.csv", None, column)
    assert refused.value.problems[0].code == "no-such-column"
