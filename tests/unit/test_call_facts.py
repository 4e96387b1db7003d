"""Facts of calls: cases worked out by hand, and a random stream against a plain reference, on the embedded engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dialer.calls.disposition import Disposition
from dialer.settings import TrunkSettings
from etl import tariffs
from etl.engines import duckdb
from etl.engines.duckdb import DuckDb
from tests.support.call_facts import MIDNIGHT_US, Stream, facts, told
from tests.support.reference_calls import Price, answer_facts, call_facts, cleaned, step_facts

TRUNKS = [
    TrunkSettings.model_validate({"name": name, "node": "node-1", "host": "127.0.0.1", "tariff": tariff})
    for name, tariff in {
        "a": [{"from": "2026-01-01", "currency": "EUR", "per_minute": "0.0115", "connect": "0.002", "initial": 30,
               "increment": 6}],
        "b": [{"from": "2026-01-01", "currency": "EUR", "per_minute": "0.01", "increment": 60},
              {"from": "2026-06-21T12:00:00Z", "currency": "PLN", "per_minute": "0.019999"}],
        "c": [],
    }.items()
]  # fmt: skip
PRICES = {
    "a": [Price(from_us=0, currency="EUR", connect="0.002", per_minute="0.0115", initial_s=30, increment_s=6)],
    "b": [Price(from_us=0, currency="EUR", connect="0", per_minute="0.01", initial_s=60, increment_s=60),
          Price(from_us=1_782_043_200_000_000, currency="PLN", connect="0", per_minute="0.019999", initial_s=1,
                increment_s=1)],
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckDb]:
    opened = duckdb.open(512, 2, tmp_path / "spill")
    yield opened
    opened.close()


@pytest.fixture
def of(engine: DuckDb, tmp_path: Path) -> Any:
    def compute(*events: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        return facts(engine, cleaned(events), tariffs.query(TRUNKS), tmp_path / "facts")

    return compute


# What happened, and what it comes to. PDD, ringing and talk in ms, - for none; then what is billed (s) and its cost.
CALLS = """
0 submitting | 120 accepted | 1500 ringing | 6500 answered | 66400 closing | 66500 ended completed cause=16 \
  hung_up=66400 => answer 1380 5000 59900 60 13500
0 submitting | 120 accepted | 620 answered | 10620 ended partial hung_up=10620 => answer 500 - 10000 30 7750
0 submitting | 120 accepted | 620 answered | 30621 ended partial hung_up=30621 => answer 500 - 30001 36 8900
0 submitting | 120 accepted | 620 answered | 620 ended hung_up hung_up=620 => answer 500 - 0 0 0
0 submitting | 900 ringing | 20900 ended no_answer sip_code=480 cause=19 hung_up=20900 => ring_no_answer 900 20000 - 0 0
0 submitting | 100 accepted | 400 ended busy sip_code=486 cause=17 hung_up=400 => user_busy - - - 0 0
0 submitting | 100 accepted | 400 ended no_answer sip_code=480 cause=19 hung_up=400 => ring_no_answer - - - 0 0
0 submitting | 100 accepted | 32100 ended unreachable cause=20 hung_up=32100 => network - - - 0 0
0 submitting | 100 accepted | 900 ringing | 32100 ended unreachable hung_up=32100 => ring_no_answer 800 31200 - 0 0
0 submitting | 100 accepted | 400 ended rejected sip_code=603 cause=21 hung_up=400 => terminal_reject - - - 0 0
0 submitting | 100 accepted | 400 ended invalid_number sip_code=404 cause=1 hung_up=400 => network - - - 0 0
0 submitting | 100 accepted | 6100 ended congestion cause=19 reason=ring_limit hung_up=6100 => network - - - 0 0
0 submitting | 100 accepted | 800 ringing | 5000 ended cancelled hung_up=5000 => ring_no_answer 700 4200 - 0 0
0 submitting | 100 accepted | 5000 ended cancelled hung_up=5000 => excluded - - - 0 0
0 submitting | 0 ended returned hung_up=0 => not_seized - - - 0 0
0 submitting | 50 ended not_placed hung_up=50 => not_seized - - - 0 0
0 submitting | 90000 ended unknown hung_up=90000 => excluded - - - 0 0
0 submitting | 120 accepted | 1500 ringing => open 1380 - - - -
0 submitting | 120 accepted | 620 answered => answer 500 - - - -
0 submitting trunk=c | 120 accepted | 620 answered | 10620 ended partial hung_up=10620 => answer 500 - 10000 - -
0 submitting | 120 accepted | 620 answered | 10620 ended partial hung_up=600 => answer 500 - 0 0 0
"""


def cases() -> list[Any]:
    rows = [[" ".join(cell.split()) for cell in line.split("=>")] for line in CALLS.strip().splitlines()]
    return [pytest.param(*row, id=f"{number} {row[1].split()[0]}") for number, row in enumerate(rows)]


@pytest.mark.parametrize(("text", "expected"), cases())
def test_a_call_comes_to_its_figures(of: Any, text: str, expected: str) -> None:
    (row,) = of(*told(text))["call_fact"]

    def ms(name: str) -> str:
        return "-" if row[name] is None else str(row[name] // 1000)

    found = [row["ner_class"], ms("pdd_us"), ms("ring_us"), ms("talk_us")]
    found += ["-" if row[name] is None else str(row[name]) for name in ("billed_s", "cost_micro")]
    assert " ".join(found) == expected


# E.425's classes, by the Q.850 cause that the verdict stands for: what counts as delivered, what as put on a trunk.
DELIVERED = "completed partial refused no_input hung_up dialogue_error rtp_lost busy no_answer rejected blocked"
AFTER_RINGING = "unreachable cancelled"
NOT_SEIZED = "not_placed returned"


@pytest.mark.parametrize("rang", [False, True])
@pytest.mark.parametrize("verdict", [one.value for one in Disposition])
def test_every_verdict_has_its_class(of: Any, verdict: str, rang: bool) -> None:
    ringing = " | 500 ringing" if rang else ""
    (row,) = of(*told(f"0 submitting | 100 accepted{ringing} | 900 ended {verdict} hung_up=900"))["call_fact"]
    delivered = DELIVERED.split() + (AFTER_RINGING.split() if rang else [])
    assert row["is_ner"] == (verdict in delivered)
    assert row["is_seizure"] == (verdict not in NOT_SEIZED.split())
    assert row["is_answered"] == (verdict in DELIVERED.split()[:7])
    left_out = verdict == "unknown" or (verdict == "cancelled" and not rang)
    assert (row["ner_class"] == "excluded") == left_out


def test_a_call_that_may_never_have_left_is_no_seizure(of: Any) -> None:
    (row,) = of(*told("0 submitting | 90 unclear | 90000 ended unknown hung_up=90000"))["call_fact"]
    assert (row["is_seizure"], row["ner_class"]) == (False, "excluded")


def test_no_status_is_shown_that_no_carrier_sent(of: Any) -> None:
    text = "0 submitting | 900 ringing | 20900 ended no_answer sip_code=480 cause=19 hung_up=20900"
    assert of(*told(text))["call_fact"][0]["sip_code"] == 480


def test_our_own_ring_limit_has_no_status(of: Any) -> None:
    text = "0 submitting | 900 ringing | 20900 ended no_answer sip_code=480 cause=19 reason=ring_limit hung_up=20900"
    (row,) = of(*told(text))["call_fact"]
    assert (row["sip_code"], row["cause"]) == (None, 19)


def test_clocks_that_differ_make_no_negative_time_and_are_told(of: Any) -> None:
    (row,) = of(*told("0 submitting | 100 accepted | 620 answered | 900 ended hung_up hung_up=600"))["call_fact"]
    assert (row["talk_us"], row["clock_skew"]) == (0, True)
    assert row["hung_up_us"] < row["answered_us"], "the instants stay as they were told"


def test_a_tariff_holds_from_its_moment_on(of: Any) -> None:
    call = "0 submitting trunk=b | 100 accepted | 620 answered | 1620 ended hung_up hung_up=1620"
    before, after = told(call, "before"), told(call, "on time")
    for one in before:
        one |= {"occurred_us": one["occurred_us"] + 43_199_999_999, "hung_up_us": None}
    for one in after:
        one |= {"occurred_us": one["occurred_us"] + 43_200_000_000, "hung_up_us": None}
    for one in (*before, *after):
        if one["type"] == "attempt.ended":
            one["hung_up_us"] = one["occurred_us"]
    rows = of(*before, *after)["call_fact"]
    assert [(row["currency"], row["billed_s"], row["cost_micro"]) for row in rows] == [
        ("EUR", 60, 10_000), ("PLN", 1, 333),
    ]  # fmt: skip


def test_half_a_millionth_is_rounded_up(of: Any) -> None:
    # 30 s at 19,999 millionths a minute: 9,999.5.
    call = "0 submitting trunk=b | 620 answered | 30620 ended hung_up hung_up=30620"
    later = told(call)
    for one in later:
        one["occurred_us"] += 50_000_000_000
        if one["hung_up_us"]:
            one["hung_up_us"] += 50_000_000_000
    assert of(*later)["call_fact"][0]["cost_micro"] == 10_000


DIALOGUE = (
    "0 submitting | 100 accepted | 500 answered | 700 started language=pl revision=3"
    " | 4000 tried step=fever visit=1 try_no=1 outcome=silence keys="
    " | 9000 tried step=fever visit=1 try_no=2 outcome=not_allowed keys=5"
    " | 12000 answered{} | 20000 tried step=which visit=1 try_no=1 outcome=accepted keys=2 value=fever"
    " | 30000 tried step=fever visit=2 try_no=1 outcome=too_short keys=1"
    " | 40000 over result=hung_up step=fever | 40100 ended partial hung_up=40000"
    " | 700 step step=hello visit=1 code=say try_no=1 | 2000 step step=fever visit=1 code=ask try_no=2"
    " | 12000 step step=which visit=1 code=menu try_no=3 | 20000 step step=mark visit=1 code=complete try_no=4"
    " | 20000 step step=fever visit=2 code=ask try_no=5"
).replace(" | 12000 answered{}", "")


def dialogue() -> list[dict[str, Any]]:
    events = told(DIALOGUE)
    answered = told("12000 tried step=fever visit=1 keys=1 value=yes")[0]
    events.append(answered | {"type": "dialogue.answered", "outcome": None, "event_id": "answer", "type_rank": 48})
    return events


def test_questions_have_their_tries_and_their_last_valid_answer(of: Any) -> None:
    rows = of(*dialogue())["answer_fact"]
    assert [
        (row["step"], row["visit"], row["value"], row["keys"], row["tries"], row["invalid"], row["no_input"],
         row["is_last"])
        for row in rows
    ] == [
        ("fever", 1, "yes", "1", 3, 1, 1, True),
        ("fever", 2, None, None, 1, 1, 0, False),
        ("which", 1, "fever", "2", 1, 0, 0, True),
    ]  # fmt: skip
    assert [(row["asked_us"] - MIDNIGHT_US) // 1000 for row in rows] == [2000, 20000, 12000]
    assert {(row["campaign"], row["contact"], row["revision"]) for row in rows} == {(1, 7, 3)}


def test_steps_follow_the_path_also_within_one_instant(of: Any) -> None:
    rows = of(*dialogue())["step_fact"]
    assert [
        (row["place"], row["step"], (row["entered_us"] - MIDNIGHT_US) // 1000, (row["left_us"] - MIDNIGHT_US) // 1000,
         row["next_step"])
        for row in rows
    ] == [
        (1, "hello", 700, 2000, "fever"), (2, "fever", 2000, 12000, "which"), (3, "which", 12000, 20000, "mark"),
        (4, "mark", 20000, 20000, "fever"), (5, "fever", 20000, 40000, None),
    ]  # fmt: skip


def test_a_question_that_was_reached_and_not_tried_counts_as_reached(of: Any) -> None:
    text = (
        "0 submitting | 500 answered | 700 started | 2000 step step=fever visit=1 code=ask try_no=1"
        " | 2000 step step=later visit=1 code=after try_no=2 | 3000 over result=hung_up step=fever"
    )
    rows = of(*told(text))["answer_fact"]
    assert [(row["step"], row["tries"], row["is_last"]) for row in rows] == [("fever", 0, False)]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_stream_comes_to_what_the_reference_says(engine: DuckDb, tmp_path: Path, seed: int) -> None:
    events = Stream(seed).events(1500)
    subjects = cleaned(events)
    found = facts(engine, subjects, tariffs.query(TRUNKS), tmp_path / "facts")
    assert_equal(found["call_fact"], call_facts(subjects, PRICES))
    assert_equal(found["answer_fact"], answer_facts(subjects))
    assert_equal(found["step_fact"], step_facts(subjects))
    assert {row["ner_class"] for row in found["call_fact"]} == {
        "answer", "user_busy", "ring_no_answer", "terminal_reject", "network", "excluded", "not_seized", "open",
    }  # fmt: skip
    assert any(row["clock_skew"] for row in found["call_fact"])
    assert {row["currency"] for row in found["call_fact"]} == {"EUR", "PLN", None}


def test_the_order_in_which_events_come_changes_nothing(engine: DuckDb, tmp_path: Path) -> None:
    events = Stream(3).events(300)
    first = facts(engine, cleaned(events), tariffs.query(TRUNKS), tmp_path / "first")
    Random(4).shuffle(events)
    assert facts(engine, cleaned(events), tariffs.query(TRUNKS), tmp_path / "again") == first


def assert_equal(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Row by row, with the first that differ in the message."""
    assert len(found) == len(expected)
    wrong = [
        {name: (row[name], other[name]) for name in row if row[name] != other[name]} | {"call": row["call"]}
        for row, other in zip(found, expected, strict=True)
        if row != other
    ]
    assert not wrong, wrong[:5]
