"""The report of a survey's outcome rates, as data; the formulas are those of AAPOR's Standard Definitions."""

from __future__ import annotations

from etl.reports.columns import campaign, percent, whole
from etl.reports.model import Report, count

_TAKEN_IN = "outcome <> 'not_eligible'"
_CONTACTED = "outcome IN ('complete', 'partial', 'refusal', 'other')"
_OUTCOMES = {
    "complete": "the interview was completed",
    "partial": "some answers, and no completed call",
    "refusal": "nobody answered a question: they said no, or hung up first",
    "other": "they answered the call, and our side failed",
    "non_contact": "the call was answered, and no key was ever pressed: a machine, or nobody",
    "unknown": "nothing tells whether the person was there",
    "not_eligible": "the carrier knows no such number; these stand in no rate",
}

SURVEYS = (
    Report(
        name="survey_outcomes",
        says="One row a campaign: what came of its contacts, and the response, cooperation and contact rates of AAPOR.",
        basis="the contacts with a call that was submitted in the period, and the best of these calls",
        base="survey_outcomes", reads=("call_fact",), kind="call", keys=(campaign(),),
        rollup="call_quarter", quick="survey_outcomes",
        measures=(
            count("contacts"),
            *(count(name, f"outcome = '{name}'") for name in _OUTCOMES),
            count("taken_in", _TAKEN_IN),
            count("contacted", _CONTACTED),
        ),
        columns=(
            whole("contacts", says="contacts tried"),
            *(whole(name, says=says) for name, says in _OUTCOMES.items()),
            whole("taken_in", says="I + P + R + NC + O + UH"),
            whole("contacted", says="I + P + R + O"),
            percent("rr1", "complete", "taken_in", "response rate 1: I ÷ (I + P + R + NC + O + UH + UO)"),
            percent("coop1", "complete", "contacted", "cooperation rate 1: I ÷ (I + P + R + O)"),
            percent("con1", "contacted", "taken_in", "contact rate 1: (I + P + R + O) ÷ (those + NC + UH + UO)"),
        ),
    ),
)  # fmt: skip
