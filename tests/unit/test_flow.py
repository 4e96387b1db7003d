"""The flow language: what follows what, and what is found wrong before anybody is called."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.campaign import flow, flow_checks, personal
from dialer.campaign.model import Campaign

ASK = {"ask": "Fever?", "keys": {"1": "yes", "2": "no"}}
A, B, C = {"say": "A"}, {"say": "B"}, {"say": "C"}


def campaign(steps: dict[str, object], languages: tuple[str, ...] = ("en",)) -> Campaign:
    return Campaign.model_validate({
        "campaign": "test", "calling": {"window": "any"}, "languages": list(languages),
        "contacts": {"from": "base.csv", "numbers": ["mobile"], "fields": ["first_name", "day of birth"]},
        "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567"},
        "flow": steps,
    })  # fmt: skip


def digits(digits: str, **more: object) -> dict[str, object]:
    return {"q": {"ask": "How many?", "digits": digits, **more}, "end": {"say": "Bye."}}


FOLLOWS = [
    ("a step goes on at the next in the file", {"a": A, "b": B}, "a", None, "b"),
    ("the last step is the end", {"a": A}, "a", None, None),
    ("unless it names another", {"a": {"say": "A", "next": "c"}, "b": B, "c": C}, "a", None, "c"),
    ("an answer may lead elsewhere", {"a": {**ASK, "next": {"no": "c"}}, "b": B, "c": C}, "a", "no", "c"),
    ("other answers go on", {"a": {**ASK, "next": {"no": "c"}}, "b": B, "c": C}, "a", "yes", "b"),
    ("a menu goes where it is told", {"a": {"menu": "?", "keys": {"1": "c"}}, "b": B, "c": C}, "a", "c", "c"),
    ("goto goes there", {"a": {"goto": "c"}, "b": B, "c": C}, "a", None, "c"),
    ("hangup is the end", {"a": {"hangup": "refused"}, "b": B}, "a", None, None),
    ("opting out is the end", {"a": {"opt_out": "Never again."}, "b": B}, "a", None, None),
    ("a call at another time goes on", {"a": {"callback": "Later.", "after": "2h"}, "b": B}, "a", None, "b"),
    ("and where it is told", {"a": {"callback": "When?", "next": "c"}, "b": B, "c": C}, "a", "17:30", "c"),
    ("complete goes on", {"a": {"complete": "yes"}, "b": B}, "a", None, "b"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "steps", "step", "value", "after"), FOLLOWS, ids=[row[0] for row in FOLLOWS])
def test_what_follows(what: str, steps: dict[str, object], step: str, value: str | None, after: str | None) -> None:
    assert flow.successor(campaign(steps), step, value) == after


WRONG = [
    ("goto nowhere", {"a": {"goto": "b"}}, "flow.a.goto unknown-step"),
    ("next nowhere", {"a": {"say": "A", "next": "b"}}, "flow.a.next unknown-step"),
    ("an answer leads nowhere", {"a": {**ASK, "next": {"yes": "b"}}}, "flow.a.next.yes unknown-step"),
    ("otherwise nowhere", {"a": {**ASK, "otherwise": "b"}}, "flow.a.otherwise unknown-step"),
    ("a menu leads nowhere", {"a": {"menu": "?", "keys": {"1": "b"}}}, "flow.a.keys.1 unknown-step"),
    ("nobody can answer maybe", {"a": {**ASK, "next": {"maybe": "a"}}}, "flow.a.next.maybe impossible-answer"),
    ("nobody can type 100", digits("1-2", next={"100": "end"}), "flow.q.next.100 impossible-answer"),
    ("21 is out of range", digits("1-2", range="0-20", next={"21": "end"}), "flow.q.next.21 impossible-answer"),
    ("with a range 05 is 5", digits("1-2", range="0-20", next={"05": "end"}), "flow.q.next.05 impossible-answer"),
    ("words are no digits", digits("1-2", next={"two": "end"}), "flow.q.next.two impossible-answer"),
    ("say gives no answer", {"a": {"say": "A", "next": {"yes": "b"}}, "b": B}, "flow.a.next next-without-answer"),
    ("nothing leads there", {"a": {"hangup": "completed"}, "b": B}, "flow.b unreachable-step"),
    ("goto circle", {"a": {"goto": "b"}, "b": {"say": "B", "next": "a"}}, "flow.a endless-loop"),
    ("a circle that promises calls", {"a": {"callback": "Later.", "after": "2h", "next": "b"}, "b": {"goto": "a"}},
     "flow.a endless-loop"),
    ("a circle that completes", {"a": {"complete": "yes", "next": "a"}}, "flow.a endless-loop"),
    ("nobody answers when", {"a": {"callback": "When?", "next": {"17:30": "b"}}, "b": B},
     "flow.a.next next-without-answer"),
    ("who hears all is listed", {"a": A, "b": {"opt_out": "Never."}}, "flow.a falls-into-opt-out"),
    ("who says no is listed, too", {"a": {**ASK, "next": {"yes": "c"}}, "b": {"opt_out": "Never."}, "c": C},
     "flow.a falls-into-opt-out"),
    ("an opt-out says something", {"a": {"opt_out": " "}}, "flow.a.opt_out empty-text"),
    ("otherwise nowhere, for a call at another time", {"a": {"callback": "When?", "otherwise": "b"}},
     "flow.a.otherwise unknown-step"),
    ("a step that is its own next", {"a": {"say": "A", "next": "a"}}, "flow.a endless-loop"),
    ("empty text", {"a": {"say": "  "}}, "flow.a.say empty-text"),
    ("endless text", {"a": {"say": "x" * 5000}}, "flow.a.say text-too-long"),
    ("unknown field", {"a": {"say": "Hello {frist_name}"}}, "flow.a.say unknown-field"),
    ("fields have no attributes", {"a": {"say": "{first_name.__class__}"}}, "flow.a.say unknown-field"),
    ("fields have no formats", {"a": {"say": "{first_name!r:>10}"}}, "flow.a.say unknown-field"),
    ("a lonely brace", {"a": {"say": "Hello {first_name"}}, "flow.a.say bad-braces"),
    ("a field without a name", {"a": {"say": "Hello {}"}}, "flow.a.say bad-braces"),
    ("in a correction too", {"a": {**ASK, "on_wrong": "{x}"}}, "flow.a.on_wrong unknown-field"),
    ("one key begins another", {"a": {"ask": "?", "keys": {"1": "a", "12": "b"}}}, "flow.a.keys.1 ambiguous-keys"),
    ("# ends the input", {"a": {"ask": "?", "keys": {"1#": "a"}}}, "flow.a.keys.1# hash-in-keys"),
    ("fewer than fewest", digits("3-1"), "flow.q.digits bad-digits"),
    ("no digits", digits("0"), "flow.q.digits bad-digits"),
    ("too many digits", digits("21"), "flow.q.digits bad-digits"),
    ("downward range", digits("1-2", range="20-0"), "flow.q.range bad-range"),
    ("20 needs two digits", digits("1", range="0-20"), "flow.q.range range-and-digits"),
    ("20 has not four digits", digits("4", range="0-20"), "flow.q.range range-and-digits"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "steps", "found"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_found_wrong(what: str, steps: dict[str, object], found: str) -> None:
    problems = flow_checks.problems(campaign(steps))
    assert [f"{'.'.join(problem.key)} {problem.code}" for problem in problems] == [found]
    assert all(problem.message and problem.fix for problem in problems)


FINE = [
    ("a loop with a question", {"a": A, "b": {**ASK, "next": {"no": "a"}}, "c": C}),
    ("a menu that comes back", {"a": {"menu": "?", "keys": {"1": "b", "#": "c"}}, "b": {"goto": "a"}, "c": C}),
    ("every answer leads away, so the next step needs another way", {
        "a": {**ASK, "next": {"yes": "b", "no": "c"}}, "c": C, "b": B}),
    ("reached only by otherwise", {"a": {**ASK, "next": "c", "otherwise": "b"}, "c": {"hangup": "completed"},
                                   "b": {"hangup": "refused"}}),
    ("a circle that asks for a time", {"a": {"callback": "When?", "next": "b"}, "b": {"goto": "a"}}),
    ("reached only when no time was typed", {
        "a": {"callback": "When?", "otherwise": "c", "next": "b"}, "b": {"hangup": "completed"}, "c": C}),
    ("an opt-out that is named", {"a": {**ASK, "next": {"yes": "c", "no": "b"}}, "b": {"opt_out": "Never."}, "c": C}),
    ("an opt-out behind an end", {"a": {"menu": "?", "keys": {"1": "c", "9": "b"}}, "c": {"hangup": "completed"},
                                  "b": {"opt_out": "Never."}}),
    ("an opt-out for everybody, in so many words", {"a": {"say": "A", "next": "b"}, "b": {"opt_out": "Never."}}),
    ("keys of several lengths", {"a": {"ask": "?", "keys": {"1": "a", "22": "b", "*": "c"}}}),
    ("fields with spaces, braces, all languages", {"a": {"say": "{{{first_name}}} {day of birth}"}}),
    ("numbers in a range", digits("1-2", range="0-20", next={"5": "end"})),
    ("a code with zeros", digits("4", next={"0042": "end"})),
]  # fmt: skip


@pytest.mark.parametrize(("what", "steps"), FINE, ids=[row[0] for row in FINE])
def test_what_is_fine(what: str, steps: dict[str, object]) -> None:
    assert flow_checks.problems(campaign(steps)) == []


def test_every_language_must_be_there_and_be_wanted() -> None:
    found = flow_checks.problems(
        campaign({"a": {"say": {"en": "A", "de": "A"}}, "b": {"say": "for all"}}, ("pl", "en"))
    )
    assert [(".".join(problem.key), problem.code) for problem in found] == [
        ("flow.a.say", "missing-language"), ("flow.a.say.de", "unused-language"),
    ]  # fmt: skip


def test_all_problems_come_in_one_go() -> None:
    steps: dict[str, object] = {"a": {"say": "{x}", "next": "nowhere"}, "b": {"ask": "", "digits": "0"}}
    assert [problem.code for problem in flow_checks.problems(campaign(steps))] == [
        "unknown-step", "unknown-field", "empty-text", "bad-digits", "unreachable-step",
    ]  # fmt: skip


@pytest.mark.parametrize(("wanted", "spoken"), [
    ("en", "en"), ("EN", "en"), ("en-GB", "en"), ("en_US", "en"), ("de", "pl"), ("", "pl"), (None, "pl"),
])  # fmt: skip
def test_the_language_of_a_person(wanted: str | None, spoken: str) -> None:
    assert flow.language_for(campaign({"a": A}, ("pl", "en")), wanted) == spoken


@pytest.mark.parametrize(("text", "filled"), [
    ("Hello {name}!", "Hello Ann!"), ("{ name }", "Ann"), ("{{name}}", "{name}"), ("{missing}", ""), ("{", "{"),
    ("{name.__class__}", ""), ("{{{name}}}", "{Ann}"), ("{long}", "x" * personal.MAX_FIELD_CHARS),
])  # fmt: skip
def test_personal_texts(text: str, filled: str) -> None:
    assert personal.fill(text, {"name": "Ann", "long": "x" * 10_000}) == filled


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}ab .!:[]"), st.dictionaries(st.sampled_from(["a", "b"]), st.text(max_size=5)))
def test_no_text_breaks_the_filling(text: str, values: dict[str, str]) -> None:
    personal.fill(text, values)


@given(st.text(max_size=50))
def test_what_a_field_holds_is_never_read_as_a_text(value: str) -> None:
    assert personal.fill("<{a}>", {"a": value}) == f"<{value}>"


_NAMES = st.sampled_from("abcd")
STEP = st.one_of(
    st.builds(lambda n: {"say": "A", "next": n}, _NAMES),
    st.builds(lambda n: {"goto": n}, _NAMES),
    st.builds(lambda n, o: {**ASK, "next": {"yes": n}, "otherwise": o}, _NAMES, _NAMES),
    st.builds(lambda n: {"callback": "Later.", "after": "2h", "next": n}, _NAMES),
    st.builds(lambda n: {"complete": "yes", "next": n}, _NAMES),
    st.just({"say": "A"}), st.just({"hangup": "completed"}), st.just({"opt_out": "Never again."}),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(_NAMES, STEP, min_size=1))
def test_a_flow_without_problems_always_comes_to_a_question_or_its_end(steps: dict[str, object]) -> None:
    made = campaign(steps)
    if flow_checks.problems(made):
        return
    for start in made.flow:
        name: str | None = start
        for _ in range(len(made.flow) + 1):
            if name is None or made.flow[name].word == "ask":
                break
            name = flow.successor(made, name)
        else:
            pytest.fail(f"{start} goes round and round")
