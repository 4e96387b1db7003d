"""The ledger stands in four places that are equal: the states' functions, the tables, the guards, and the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from sqlalchemy import CheckConstraint

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.events import CallEvent
from dialer.storage.guards import statements
from dialer.storage.tables import attempt
from tests.support.ledger import moves

PAGE = (Path(__file__).parents[2] / "docs" / "attempt-states.md").read_text(encoding="utf-8")
ORDER = list(State)
OPEN = "state <> 'ended'"


def slugs(sql: str) -> list[str]:
    return re.findall(r"'(\w+)'", sql)


def checks() -> dict[str, str]:
    return {
        str(one.name).removeprefix("attempt_").removesuffix("_check"): str(one.sqltext)
        for one in attempt.constraints
        if isinstance(one, CheckConstraint)
    }


def test_the_page_has_every_move_and_what_makes_it():
    rows = re.findall(r"(?m)^\| (\w+) \| (\w+) \| ([\w, ]+) \|$", PAGE)[1:]
    said = {(State(was), State(now)): set(events.split(", ")) for was, now, events in rows}
    assert said == moves()
    assert len(rows) == len(said)


def test_the_picture_shows_the_states_and_events_that_there_are():
    drawing = "\n".join(line for line in PAGE.splitlines() if line.startswith("    "))
    assert set(re.findall(r"│ *([a-z]+) *[│├]", drawing)) == {state.value for state in State}
    named = set(re.findall(r"\b(?!AMI\b)[A-Z]\w+", drawing))
    assert named <= {kind.__name__ for kind in get_args(CallEvent)}
    listed = re.findall(r"\*\*(\w+)\*\*", PAGE)
    assert listed == [state.value for state in ORDER]


def test_an_attempt_only_goes_forward_in_the_order_of_its_states():
    assert not [(was, now) for was, now in moves() if ORDER.index(now) <= ORDER.index(was)]
    assert {was for was, _ in moves()} == set(State) - {State.ENDED}
    assert {now for _, now in moves()} == set(State) - {State.SUBMITTING}


def test_the_table_holds_the_same_states_and_ends_only_with_a_verdict():
    found = checks()
    assert slugs(found["state"]) == [state.value for state in ORDER]
    assert slugs(found["disposition"]) == [one.value for one in Disposition]
    assert found["verdict"] == "(state = 'ended') = (disposition is not null)"
    assert found["ended"] == "(state = 'ended') = (ended_at is not null)"


def test_the_table_lets_one_attempt_a_number_and_a_person_be_open():
    unique = {
        tuple(column.name for column in index.columns): str(index.dialect_options["postgresql"]["where"])
        for index in attempt.indexes
        if index.unique
    }
    assert unique == {("number",): OPEN, ("person_id",): OPEN}


def test_the_guards_know_the_same_order():
    (passed,) = re.findall(r"passed constant text\[\] := array\[(.*)\]", statements()[0])
    assert slugs(passed) == [state.value for state in ORDER]
