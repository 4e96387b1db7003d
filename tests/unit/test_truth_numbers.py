"""The table of numbers: what it means, and what is wrong in it; the behaviours' declarations."""

from __future__ import annotations

from pathlib import Path

import phonenumbers
import pytest

from dialer.calls.disposition import SIP, Disposition
from dialer.calls.results import TryOutcome
from dialer.errors import InvalidInput
from dialer.lab.carrier import extension
from dialer.lab.subscribers import Subscriber, load_behaviours, load_numbers

HEADER = "number,nth_invite,behaviour,args\n"


def load(tmp_path: Path, rows: str) -> list[Subscriber]:
    file = tmp_path / "numbers.csv"
    file.write_text(HEADER + rows, encoding="utf-8")
    return load_numbers(file)


# rows | what calls 1, 2, 3 get
NTH = [
    ("+48501100101,*,busy,", "busy busy busy"),
    ("+48501100101,1,busy,\n+48501100101,2,rejects,", "busy rejects rejects"),
    ("+48501100101,1,busy,\n+48501100101,*,rejects,", "busy rejects rejects"),
    ("+48501100101,*,busy,\n+48501100101,2,rejects,", "busy rejects busy"),
]


@pytest.mark.parametrize(("rows", "expected"), NTH)
def test_which_row_serves_which_call(tmp_path: Path, rows: str, expected: str) -> None:
    (subscriber,) = load(tmp_path, rows)
    assert " ".join(subscriber.act(nth).behaviour for nth in (1, 2, 3)) == expected


# row | code of the problem | its line
WRONG = [
    ("501100101,*,busy,", "bad-number"),
    ("+48501100101;x,*,busy,", "bad-number"),
    ("+48501100101,0,busy,", "bad-nth-invite"),
    ("+48501100101,often,busy,", "bad-nth-invite"),
    ("+48501100101,2,busy,", "missing-row"),
    ("+48501100101,*,sings,", "unknown-behaviour"),
    ("+48501100101,*,busy,5", "too-many-args"),
    ("+48501100101,*,answers_and_presses,", "bad-args"),
    ("+48501100101,*,answers_and_presses,5)System(id", "bad-args"),
    ("+48501100101,*,answers_late,5", "bad-args"),
    ("+48501100101,*,answers_late,soon 5", "bad-args"),
    ("+48501100101,*,busy,,more", "too-many-columns"),
    ("+48501100101,1,busy,\n+48501100101,1,rejects,", "duplicate-row"),
]


@pytest.mark.parametrize(("rows", "code"), WRONG)
def test_what_is_wrong_is_located(tmp_path: Path, rows: str, code: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(tmp_path, rows)
    assert [problem.code for problem in raised.value.problems] == [code]
    assert raised.value.problems[0].line == 1 + len(rows.splitlines())


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as raised:
        load(tmp_path, "1,*,busy,\n2,*,sings,\n")
    assert [(problem.line, problem.code) for problem in raised.value.problems] == [
        (2, "bad-number"),
        (3, "bad-number"),
        (3, "unknown-behaviour"),
    ]


@pytest.mark.parametrize("data", [b"", b"number,behaviour\n", b"\xff\xfe"])
def test_file_that_is_no_table(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "numbers.csv"
    file.write_bytes(data)
    with pytest.raises(InvalidInput):
        load_numbers(file)


def test_number_that_changes_counts_its_calls(tmp_path: Path) -> None:
    (subscriber,) = load(tmp_path, "+48501100101,1,busy,\n+48501100101,*,answers_and_presses,1 2#@0.5\n")
    assert extension(subscriber).splitlines() == [
        "exten = +48501100101,1,Set(DB(invites/${EXTEN})=$[0${DB(invites/${EXTEN})} + 1])",
        " same = n,GotoIf($[${DB(invites/${EXTEN})} = 1]?nth1)",
        " same = n,Gosub(answers_and_presses,s,1(1/2#@0.5))",
        " same = n(nth1),Gosub(busy,s,1())",
    ]


def test_number_that_never_changes_costs_one_step(tmp_path: Path) -> None:
    (subscriber,) = load(tmp_path, "+48501100101,*,busy,\n")
    assert extension(subscriber) == "exten = +48501100101,1,Gosub(busy,s,1())"


def test_default_numbers_are_valid_and_use_every_behaviour() -> None:
    subscribers = load_numbers()
    for subscriber in subscribers:
        assert phonenumbers.is_valid_number(phonenumbers.parse(subscriber.number)), subscriber.number
    used = {act.behaviour for each in subscribers for act in (*each.acts.values(), each.otherwise)}
    assert used == set(load_behaviours())
    assert any(each.act(1) != each.act(2) for each in subscribers)


@pytest.mark.parametrize("name", load_behaviours())
def test_declaration_uses_the_engines_words(name: str) -> None:
    expected = load_behaviours()[name].expected
    assert Disposition(expected.disposition)
    assert set(expected.tries) <= {outcome.value for outcome in TryOutcome}
    if expected.final_code >= 400 and expected.final_code != 487:
        assert SIP[expected.final_code].value == expected.disposition
    assert f"[{name}]" in load_behaviours()[name].dialplan
