"""Outcome rates of surveys: a contact counts once, by the best of its calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialer.calls.disposition import Disposition
from etl.reports.catalogue import REPORTS
from tests.support.facts import call, given

# What the calls of one contact came to, in their order, and what the contact counts as.
CONTACTS = {
    "busy, no_answer, completed": "complete",
    "completed, hung_up": "complete",
    "partial, refused": "partial",
    "refused": "refusal",
    "no_input, hung_up": "refusal",
    "dialogue_error, busy": "other",
    "no_input, no_answer": "non_contact",
    "invalid_number, no_answer": "unknown",
    "rejected": "unknown",
    "invalid_number, number_changed": "not_eligible",
}


def calls(*contacts: str) -> list[dict[str, object]]:
    told = ((person, nth, what) for person, text in enumerate(contacts, 1) for nth, what in enumerate(text.split(", ")))
    return [dict(call(10 * person + nth, f"10:0{nth}", what, contact=person)) for person, nth, what in told]


@pytest.mark.parametrize(("text", "outcome"), CONTACTS.items())
def test_a_contact_counts_by_the_best_of_its_calls(tmp_path: Path, text: str, outcome: str) -> None:
    with given(tmp_path) as facts:
        facts.add("call_fact", *calls(text))
        assert facts.report("survey_outcomes", "contacts", outcome) == [(1, 1)]


def test_the_rates_are_those_of_aapor(tmp_path: Path) -> None:
    with given(tmp_path) as facts:
        facts.add("call_fact", *calls(*CONTACTS))
        ((*found,),) = facts.report(
            "survey_outcomes", "contacts", "complete", "partial", "refusal", "other", "non_contact", "unknown",
            "not_eligible", "rr1_pct", "coop1_pct", "con1_pct",
        )  # fmt: skip
    # I 2, P 1, R 2, O 1, NC 1, UH 2: RR1 = 2/9, COOP1 = 2/6, CON1 = 6/9.
    assert [*found[:8], *map(str, found[8:])] == [10, 2, 1, 2, 1, 1, 2, 1, "22.22", "33.33", "66.67"]


def test_every_verdict_has_an_outcome(tmp_path: Path) -> None:
    names = ("complete", "partial", "refusal", "other", "non_contact", "unknown", "not_eligible")
    with given(tmp_path) as facts:
        facts.add("call_fact", *calls(*(verdict.value for verdict in Disposition)))
        (row,) = facts.report("survey_outcomes")
    assert sum(row[name] for name in names) == row["contacts"] == len(Disposition)
    assert not [one.value for one in Disposition if f"('{one.value}'," not in REPORTS["survey_outcomes"].query]
