"""Reports of facts that were worked out by hand: rates, peaks, intervals, service levels, and what is behind a cell."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dialer.settings import OpeningHours
from etl.reports import forms, make, query
from etl.reports.catalogue import REPORTS
from etl.reports.model import Period
from etl.reports.options import PROFILES
from tests.support.facts import DAY, call, given, shown
from tests.support.stories import at

SECOND = 1_000_000


@pytest.fixture
def facts(tmp_path):
    with given(tmp_path) as made:
        yield made


def test_what_a_campaigns_calls_came_to(facts):
    facts.add(
        "call_fact",
        call(1, "10:00", "completed"),
        call(2, "10:01", "no_answer", contact=2),
        call(3, "10:02", "busy", contact=2, dial=2),
        call(4, "10:03", "invalid_number", contact=3, ner_class="network"),
        call(5, "10:04", "not_placed", contact=4, ner_class="not_seized"),
        call(6, "10:05", "cancelled", contact=5, ner_class="excluded"),
        call(7, "10:06", "hung_up", contact=2, dial=3, audio_us=None, talk_us=3 * SECOND),
        call(8, "10:07", None, contact=6, ner_class="open"),
        call(9, "10:08", "completed", campaign=2, contact=9),
    )
    spring, autumn = facts.report("campaign_summary")
    assert (spring["tenant"], spring["campaign"], autumn["campaign"]) == ("acme", "spring", "autumn")
    assert (spring["period_start_local"], spring["period_end_local"], spring["tz"]) == (
        "2026-11-21T00:00:00.000+00:00", "2026-11-22T00:00:00.000+00:00", "UTC",
    )  # fmt: skip
    wanted = {
        "attempts": 8, "not_seized": 1, "seizures": 7, "answered": 2, "asr_pct": "28.57", "abr_pct": "25.00",
        "delivered": 4, "judged": 5, "ner_pct": "80.00", "contacts_tried": 6, "contacts_reached": 2,
        "contact_rate_pct": "33.33", "human": 2, "connect_rate_pct": "25.00", "completed": 1, "completion_pct": "50.00",
        "hung_up": 1, "busy": 1, "silent": 1, "silent_pct": "50.00", "talk_s": "33.000", "acd_s": "16.500", "open": 1,
    }  # fmt: skip
    assert {name: _plain(spring[name]) for name in wanted} == wanted


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value


def test_a_ratio_of_nothing_is_empty(facts):
    facts.add("call_fact", call(1, "10:00", "not_placed"))
    assert facts.report("campaign_summary", "seizures", "asr_pct", "ner_pct", "acd_s") == [(0, None, None, None)]


def test_a_trunks_delays_and_peaks(facts):
    facts.add(
        "call_fact",
        # Carried in from the day before: on the trunk until 00:00:10.
        call(1, "+-1d 23:59:50", "completed", hung_up_us=at("00:00:10"), pdd_us=SECOND),
        call(2, "00:00:05", "completed", hung_up_us=at("00:00:10"), pdd_us=2 * SECOND, sip_code=200),
        # Begins in the microsecond in which the two others end: there were never three.
        call(3, "00:00:10", "completed", hung_up_us=at("00:00:40"), pdd_us=4 * SECOND),
        call(4, "00:00:10.5", "busy", hung_up_us=at("00:00:11"), pdd_us=None, sip_code=486),
        call(5, "00:00:10.9", "congestion", hung_up_us=at("00:00:11"), pdd_us=None, sip_code=503, ner_class="network"),
        call(6, "12:00", "not_placed"),
        call(7, "12:00", "completed", trunk="carrier-b", pdd_us=500),
    )
    (a, b) = facts.report("trunk_quality")
    assert (a["trunk"], a["attempts"], a["seizures"], a["peak_channels"], a["peak_cps"]) == ("carrier-a", 5, 4, 3, 3)
    assert [_plain(a[name]) for name in ("pdd_s", "pdd_p50_s", "pdd_p90_s", "pdd_p95_s")] == [
        "3.000", "3.000", "3.800", "3.900",
    ]  # fmt: skip
    assert [_plain(a[name]) for name in ("ser_pct", "seer_pct", "isa_pct")] == ["50.00", "75.00", "25.00"]
    assert (b["trunk"], b["peak_channels"], _plain(b["pdd_p50_s"])) == ("carrier-b", 1, "0.001")


def test_hours_are_those_of_the_clock_and_one_that_comes_twice_is_two(tmp_path):
    day = date(2026, 10, 25)
    # 00:30, 00:59 and 01:00 UTC: 02:30+02:00, 02:59+02:00, 02:00+01:00 in Warsaw.
    with given(tmp_path, zone="Europe/Warsaw", first=day, last=day) as facts:
        facts.add("call_fact", *(call(n, f"+-27d {clock}") for n, clock in enumerate(("00:30", "00:59", "01:00"))))
        assert facts.report("attempts_by_hour", "period_start_local", "period_end_local", "attempts") == [
            ("2026-10-25T02:00:00.000+02:00", "2026-10-25T02:00:00.000+01:00", 2),
            ("2026-10-25T02:00:00.000+01:00", "2026-10-25T03:00:00.000+01:00", 1),
        ]


def test_a_day_of_the_clock_begins_at_its_midnight(tmp_path):
    with given(tmp_path, zone="Europe/Warsaw") as facts:
        facts.add("call_fact", call(1, "+-1d 22:59:59"), call(2, "+-1d 23:00"), call(3, "22:59"), call(4, "23:00"))
        assert facts.report("call_detail", "call") == [(call(n, "00:00")["call"],) for n in (2, 3)]


def test_calls_at_once_are_carried_into_the_hours(facts):
    facts.add(
        "call_fact",
        call(1, "09:50", hung_up_us=at("12:10")),
        call(2, "09:55", hung_up_us=at("10:05")),
        call(3, "12:00", hung_up_us=at("12:01"), campaign=2),
    )
    assert facts.report("calls_at_once", "period_start_local", "campaign", "peak_calls") == [
        (f"2026-11-21T{hour}:00:00.000+00:00", campaign, peak)
        for hour, campaign, peak in (
            ("09", "spring", 2), ("09", None, 2), ("10", "spring", 2), ("10", None, 2), ("11", "spring", 1),
            ("11", None, 1), ("12", "spring", 1), ("12", "autumn", 1), ("12", None, 2),
        )
    ]  # fmt: skip


def test_what_the_nth_call_brings(facts):
    facts.add(
        "call_fact",
        call(1, "+-1d 10:00", "hung_up", contact=1),
        call(2, "10:00", "completed", contact=1, dial=2, cost_micro=3_000_000),
        call(3, "10:00", "no_answer", contact=2, cost_micro=0),
        call(4, "11:00", "completed", contact=2, dial=2, cost_micro=1_000_000),
        call(5, "12:00", "completed", contact=2, dial=3, cost_micro=1_000_000),
    )
    columns = ("dial", "attempts", "first_reached", "reached_so_far", "first_completed", "completed_so_far")
    assert facts.report("campaign_by_attempt", *columns) == [
        (1, 1, 0, 0, 0, 0), (2, 2, 1, 1, 2, 2), (3, 1, 0, 1, 0, 2),
    ]  # fmt: skip
    costs = facts.report("campaign_by_attempt", "cost_per_first_completed")
    assert [_plain(cost) for (cost,) in costs] == [None, "2.000000", None]


def test_how_calls_ended(facts):
    facts.add(
        "call_fact",
        *(call(n, "10:00", "busy", sip_code=486) for n in range(3)),
        call(3, "10:00", "completed", cause=16),
        call(4, "10:00", "busy", trunk="carrier-b", sip_code=600),
    )
    columns = ("trunk", "sip_code", "q850_cause", "disposition", "attempts", "share_pct")
    assert [tuple(map(_plain, row)) for row in facts.report("hangup_causes", *columns)] == [
        ("carrier-a", 486, 17, "busy", 3, "75.00"),
        ("carrier-a", None, 16, "completed", 1, "25.00"),
        ("carrier-b", 600, 17, "busy", 1, "100.00"),
    ]


def step(number: int, place: int, name: str, then: str | None, begin: str, end: str) -> dict[str, object]:
    return {
        "call": call(number, "10:00")["call"], "campaign": 1, "contact": number, "revision": 1, "step": name,
        "place": place, "entered_us": at(begin), "left_us": at(end), "next_step": then,
    }  # fmt: skip


def test_where_calls_leave_the_flow(facts):
    facts.add("call_fact", call(1, "10:00"), call(2, "10:00"))
    facts.add(
        "step_fact",
        step(1, 1, "hello", "fever", "10:00:05", "10:00:10"), step(1, 2, "fever", "hello", "10:00:10", "10:00:12"),
        step(1, 3, "hello", "bye", "10:00:12", "10:00:17"), step(1, 4, "bye", None, "10:00:17", "10:00:18"),
        step(2, 1, "hello", "fever", "10:00:05", "10:00:10"), step(2, 2, "fever", None, "10:00:10", "10:00:11"),
    )  # fmt: skip
    columns = ("step", "entered", "visits", "dropped", "drop_pct", "dwell_p50_s")
    assert [tuple(map(_plain, row)) for row in facts.report("ivr_funnel", *columns)] == [
        ("hello", 2, 3, 0, "0.00", "5.000"), ("fever", 2, 2, 1, "50.00", "1.500"), ("bye", 1, 1, 1, "100.00", "1.000"),
    ]  # fmt: skip
    assert facts.report("ivr_paths", "step", "next_step", "visits", "of_step") == [
        ("bye", None, 1, 1), ("fever", "hello", 1, 2), ("fever", None, 1, 2), ("hello", "bye", 1, 3),
        ("hello", "fever", 2, 3),
    ]  # fmt: skip


def answer(number: int, name: str, visit: int, value: str | None, *, last: bool = False, **said: object) -> dict:
    return {
        "call": call(number, "10:00")["call"], "campaign": 1, "contact": number, "revision": 1, "step": name,
        "visit": visit, "asked_us": at("10:00:10"), "answered_us": at(f"10:00:{10 + visit}") if value else None,
        "value": value, "tries": 1, "invalid": 0, "no_input": 0, "is_last": last, **said,
    }  # fmt: skip


def test_what_was_answered(facts):
    facts.add("call_fact", *(call(n, "10:00") for n in range(1, 5)))
    facts.add(
        "answer_fact",
        answer(1, "fever", 1, "no"), answer(1, "fever", 2, "yes", last=True),
        answer(2, "fever", 1, "yes", last=True, tries=3, invalid=1, no_input=1), answer(3, "fever", 1, "no", last=True),
        answer(4, "fever", 1, None, tries=2, no_input=2), answer(4, "people", 1, None, tries=1, no_input=1),
    )  # fmt: skip
    columns = ("step", "answer", "given", "share_pct", "reached", "answered", "response_pct", "no_input", "invalid")
    assert [tuple(map(_plain, row)) for row in facts.report("question_answers", *columns)] == [
        ("fever", "no", 1, "33.33", 4, 3, "75.00", 3, 1),
        ("fever", "yes", 2, "66.67", 4, 3, "75.00", 3, 1),
        ("fever", None, 0, "0.00", 4, 3, "75.00", 3, 1),
        ("people", None, 0, None, 1, 0, "0.00", 1, 0),
    ]


def test_a_contacts_answers_on_one_row(tmp_path):
    with given(tmp_path, campaign=1, steps=("fever", "people"), fields=("city", "=x:y")) as facts:
        facts.add("call_fact", call(1, "10:00", "partial", contact=7), call(2, "11:00", contact=7, dial=2))
        facts.add("call_fact", call(3, "12:00", "busy", contact=8), call(4, "12:00", contact=9, campaign=2))
        facts.add(
            "answer_fact",
            answer(1, "fever", 1, "yes", last=True, contact=7), answer(1, "people", 1, "3", last=True, contact=7),
            answer(2, "fever", 1, "no", last=True, contact=7, answered_us=at("11:00:20")),
            answer(4, "fever", 1, "yes", last=True, contact=9, campaign=2),
        )  # fmt: skip
        facts.add("respondent", {"contact": 7, "person": "P7", "number": "+48501", "field_1": "Łódź"})
        first, second = facts.report("survey_responses")
        wanted = {
            "person": "P7", "number": "+48501", "disposition": "completed", "calls": 2, "answer_fever": "no",
            "answer_people": "3", "field_city": "Łódź", "field_=x:y": None, "is_completed": True,
        }  # fmt: skip
        assert {name: first[name] for name in wanted} == wanted
        assert (second["disposition"], second["answer_fever"], second["person"]) == ("busy", None, None)


def test_calls_show_whom_and_what_was_said(tmp_path):
    with given(tmp_path, campaign=1, steps=("fever",)) as facts:
        facts.add("call_fact", call(1, "10:00:00.123456", pdd_us=1_500_500), call(2, "09:00", "busy"))
        facts.add("dialled", {"call": call(1, "10:00")["call"], "person": "P1", "number": "+48501"})
        facts.add("answer_fact", answer(1, "fever", 1, "yes", last=True))
        busy, done = facts.report("call_detail")
        assert (busy["disposition"], busy["number"], busy["answer_fever"]) == ("busy", None, None)
        wanted = {"submitted_utc": "2026-11-21T10:00:00.123Z", "pdd_s": "1.501", "person": "P1", "answer_fever": "yes"}
        assert {name: _plain(done[name]) for name in wanted} == wanted


def test_what_calls_cost(facts):
    cost = {"currency": "EUR", "billed_s": 60, "cost_micro": 15_000}
    facts.add(
        "call_fact",
        call(1, "10:00", contact=1, **cost),
        call(2, "11:00", "busy", contact=1, **cost | {"billed_s": 0, "cost_micro": 0}),
        call(3, "12:00", contact=3, **cost | {"billed_s": 90, "cost_micro": 22_501}),
        call(4, "12:00", contact=4, trunk="carrier-b"),
    )  # fmt: skip
    columns = ("currency", "priced", "billed_s", "cost", "cost_per_minute", "cost_per_contact", "cost_per_completed")
    assert [tuple(map(_plain, row)) for row in facts.report("cost_summary", *columns)] == [
        ("EUR", 3, 150, "0.037501", "0.015000", "0.018751", "0.018751"),
        (None, 0, 0, "0.000000", None, "0.000000", "0.000000"),
    ]


def entry(number: int, entered: str, wait_s: float, outcome: str | None, **said: object) -> dict[str, object]:
    begin = at(entered)
    end = begin + round(wait_s * SECOND)
    answered = outcome == "completed"
    return {
        "entry": f"q{number:05}", "queue": "support", "channel": "telephone", "entered_us": begin,
        "answered_us": end if answered else None, "ended_us": end, "outcome": outcome, "wait_us": end - begin,
        "ring_us": 0, "talk_us": 60 * SECOND if answered else 0, "hold_us": 0,
        "acw_us": 10 * SECOND if answered else None, "transfers": 0, "declined": 0, "is_open": False, **said,
    }  # fmt: skip


def test_the_five_service_levels_of_the_icmis_example(facts):
    waits = [("completed", 20, 860), ("completed", 21, 140), ("abandoned", 5, 10), ("abandoned", 20, 10),
             ("abandoned", 20.000001, 40)]  # fmt: skip
    kinds = [(outcome, wait) for outcome, wait, times in waits for _ in range(times)]
    facts.add("queue_fact", *(entry(n, "10:00", wait, outcome) for n, (outcome, wait) in enumerate(kinds)))
    (row,) = facts.report("queue_intervals_15m")
    assert [_plain(row[f"service_level_f{n}_pct"]) for n in range(1, 6)] == [
        "83.02",
        "86.00",
        "81.13",
        "82.69",
        "82.08",
    ]
    assert (row["offered"], row["answered"], row["abandoned"], row["short_abandoned"]) == (1060, 1000, 60, 10)
    assert _plain(row["abandon_pct"]) == "4.76", "(60 - 10) / (1060 - 10)"
    assert (_plain(row["asa_s"]), _plain(row["aht_s"])) == ("20.140", "70.000")


def test_waits_belong_to_the_quarter_in_which_they_began(facts):
    facts.add(
        "queue_fact", entry(1, "10:14:59.999999", 30, "completed"), entry(2, "10:15", 1, "full"),
        entry(3, "10:20", 0, None, is_open=True, wait_us=None, ended_us=None),
    )  # fmt: skip
    columns = ("period_start_local", "offered", "answered", "full", "open")
    assert facts.report("queue_intervals_15m", *columns) == [
        ("2026-11-21T10:00:00.000+00:00", 1, 1, 0, 0), ("2026-11-21T10:15:00.000+00:00", 2, 0, 1, 1),
    ]  # fmt: skip


def test_who_waited_and_who_was_not_let_in(facts):
    facts.add(
        "queue_fact", entry(1, "10:00", 10, "completed"), entry(2, "10:00", 4, "abandoned"),
        entry(3, "10:00", 30, "abandoned"), entry(4, "10:00", 60, "timeout"), entry(5, "10:00", 16, "leaveempty"),
        entry(6, "10:00", 0, "full"), entry(7, "10:00", 0, "joinempty"), entry(8, "10:00", 20, "exitwithkey"),
        entry(9, "10:00", 0, None, is_open=True, wait_us=None, ended_us=None),
    )  # fmt: skip
    (row,) = facts.report("queue_intervals_15m")
    wanted = {
        "offered": 9, "answered": 1, "abandoned": 2, "short_abandoned": 1, "full": 1, "joinempty": 1, "leaveempty": 1,
        "timeout": 1, "exitwithkey": 1, "open": 1, "asa_s": "10.000", "time_to_abandon_s": "17.000", "waited": 5,
        # (10 + 4 + 30 + 60 + 16) / 5: answered, abandoned, timeout, leaveempty.
        "avg_wait_s": "24.000", "abandon_pct": "12.50",
    }  # fmt: skip
    assert {name: _plain(row[name]) for name in wanted} == wanted


def span(state: str, begin: str, end: str | None, code: str | None = None) -> dict[str, object]:
    return {"session": "s1", "agent": "ann", "state": state, "code": code, "begin_us": at(begin),
            "end_us": at(end) if end else None}  # fmt: skip


def bound(number: int, state: str, begin: str, end: str, by: str | None = None) -> dict[str, object]:
    return {"entry": f"q{number}", "queue": "support", "channel": "chat", "agent": "ann", "state": state,
            "begin_us": at(begin), "end_us": at(end), "ended_by": by}  # fmt: skip


def agents(facts) -> None:
    facts.add(
        "agent_span_fact", span("available", "10:00", "10:10"), span("busy", "10:10", "10:40"),
        span("paused", "10:40", "10:50", "lunch"), span("available", "10:50", None),
    )  # fmt: skip
    facts.add(
        "queue_work_fact", bound(1, "talk", "10:10", "10:30"), bound(2, "talk", "10:20", "10:35"),
        bound(2, "acw", "10:35", "10:40"), bound(3, "ring", "10:50", "10:50:20", "declined"),
    )  # fmt: skip
    facts.add("ticket_work_fact", {"ticket": "T1", "agent": "ann", "begin_us": at("10:39"), "end_us": at("10:45")})
    facts.add("ticket_fact", {"ticket": "T1", "last_agent": "ann", "created_us": at("09:00"), "solved_us": at("10:45")})


def test_an_agents_day(tmp_path):
    with given(tmp_path, as_of="11:00") as facts:
        agents(facts)
        (row,) = facts.report("agent_daily")
        wanted = {
            "agent": "ann", "logins": 1, "logged_in_s": 3600, "available_s": 1200, "busy_s": 1800, "paused_s": 600,
            "talk_s": 2100, "acw_s": 300, "ring_s": 20, "ticket_work_s": 360,
            # 10:10 to 10:45 without a gap, whatever overlaps; available beside: 10:00-10:10 and 10:50-11:00.
            "handling_s": 2100, "engaged_s": 3300, "occupancy_pct": Decimal("63.64"),
            "utilisation_pct": Decimal("91.67"),
            "answered": 2, "declined": 1, "aht_s": 1200, "tickets_solved": 1,
        }  # fmt: skip
        assert {name: row[name] for name in wanted} == wanted


def test_time_is_cut_at_the_quarters(tmp_path):
    with given(tmp_path, as_of="11:00") as facts:
        agents(facts)
        rows = facts.report("agent_intervals", "period_start_local", "state", "code", "spent_s")
        spent = {(start[11:16], state, code): int(s) for start, state, code, s in rows if s}
        assert spent["10:00", "talk", None] == 300
        assert spent["10:15", "talk", None] == 900 + 600, "two conversations at once each count"
        assert spent["10:15", "handling", None] == 900
        assert spent["10:30", "paused", "lunch"] == 300
        assert spent["10:45", "paused", "lunch"] == 300
        assert sum(s for (_, state, _), s in spent.items() if state in ("available", "busy", "paused")) == 3600


def test_an_agents_time_is_never_below_nothing_nor_counted_twice(tmp_path):
    with given(tmp_path, as_of="11:00") as facts:
        facts.add(
            "agent_span_fact", span("available", "10:00", "10:30"),
            span("available", "10:20", "10:40") | {"session": "s2"},
            # Whose clock is ahead of ours: it has begun, and has not lasted.
            span("paused", "11:02", None, "lunch"),
        )  # fmt: skip
        facts.add(
            "queue_work_fact", bound(1, "talk", "10:05", "10:10", "transferred"), bound(2, "talk", "10:06", "10:06"),
            bound(3, "talk", "10:15", "10:16", "held"), bound(3, "hold", "10:16", "10:17", "transferred"),
            bound(4, "talk", "10:20", "10:21", "held"), bound(4, "hold", "10:21", "10:22", "transferred"),
            bound(4, "talk", "10:22", "10:25", "ended"), bound(5, "talk", "11:01", "11:01") | {"end_us": None},
            bound(6, "ring", "11:01", "11:01") | {"end_us": None},
        )  # fmt: skip
        facts.add("ticket_work_fact", {"ticket": "T1", "agent": "ann", "begin_us": at("11:01"), "end_us": None})
        (row,) = facts.report("agent_daily")
        wanted = {
            # Two logins of one agent at once: available twice, logged in once.
            "logins": 2, "logged_in_s": 2400, "available_s": 3000, "paused_s": 0, "engaged_s": 2400,
            "talk_s": 600, "hold_s": 120, "handling_s": 720, "ring_s": 0, "ticket_work_s": 0,
            # To answer takes no time; to hand a caller to oneself is no transfer.
            "answered": 5, "transferred": 2, "occupancy_pct": Decimal("30.00"), "utilisation_pct": Decimal("100.00"),
        }  # fmt: skip
        assert {name: row[name] for name in wanted} == wanted
        rows = facts.report("agent_intervals", "state", "spent_s", "times")
        assert all(spent >= 0 for _, spent, _ in rows)
        assert sum(times for state, _, times in rows if state == "talk") == 4


@pytest.mark.parametrize(("days_ago", "hours", "next_day"), [(27, 25, 13), (237, 23, 14)])
def test_a_day_on_which_the_clock_changes_is_as_long_as_it_is(tmp_path, days_ago, hours, next_day):
    day = DAY - timedelta(days=days_ago)
    with given(tmp_path, zone="Europe/Warsaw", first=day, last=day + timedelta(days=1), as_of="23:59") as facts:
        facts.add("agent_span_fact", span("available", f"+-{days_ago + 1}d 12:00", f"+-{days_ago - 1}d 12:00"))
        # The next day began at 23:00 or 22:00 UTC; she leaves at 12:00.
        assert facts.report("agent_daily", "logged_in_s") == [(hours * 3600,), (next_day * 3600,)]
        spent = [int(s) for state, s in facts.report("agent_intervals", "state", "spent_s") if state == "available"]
        assert spent == [900] * (hours + next_day) * 4


def test_a_days_tickets_and_its_backlog(tmp_path):
    with given(tmp_path, first=date(2026, 11, 20), as_of="+1d 01:00") as facts:
        facts.add(
            "ticket_fact",
            {"ticket": "T1", "channel": "email", "first_group": "a", "created_us": at("+-1d 10:00"),
             "first_response_us": 60 * SECOND, "first_resolution_us": 90 * SECOND, "full_resolution_us": 90 * SECOND,
             "solved_us": at("+-1d 10:01:30"), "reopens": 1, "one_touch": False, "late": True},
            {"ticket": "T2", "channel": "email", "first_group": "a", "created_us": at("+-1d 20:00"), "reopens": 0,
             "first_response_us": 120 * SECOND},
            {"ticket": "T3", "channel": "chat", "created_us": at("08:00"), "reopens": 0, "one_touch": True,
             "one_touch_final_us": at("+7d 08:00"), "first_resolution_us": 0, "solved_us": at("08:00")},
        )  # fmt: skip
        facts.add(
            "ticket_span_fact",
            *({"ticket": ticket, "status": status, "begin_us": at(begin), "end_us": at(end) if end else None}
              for ticket, status, begin, end in (
                  ("T1", "new", "+-1d 10:00", "+-1d 10:01:30"), ("T1", "solved", "+-1d 10:01:30", "12:00"),
                  ("T1", "open", "12:00", None), ("T2", "new", "+-1d 20:00", None), ("T3", "solved", "08:00", None))),
        )  # fmt: skip
        columns = ("period_start_local", "channel", "group", "created", "solved", "reopened_pct", "first_response_s",
                   "first_response_p50_s", "backlog", "backlog_age_p50_s", "one_touch_provisional", "late")  # fmt: skip
        rows = [(row[0][8:10], *map(_plain, row[1:])) for row in facts.report("ticket_cohort_daily", *columns)]
        assert rows == [
            ("20", "email", "a", 2, 1, "100.00", "90.000", "90.000", 1, "14400.000", 0, 1),
            ("21", "chat", None, 1, 1, "0.00", None, None, 0, None, 1, 0),
            # Both stand open at the midnight that ends the 21st: 38 and 28 hours old.
            ("21", "email", "a", 0, 0, None, None, None, 2, "118800.000", 0, 0),
        ]


@pytest.mark.parametrize("name", ["ticket_facts", "ticket_cohort_daily", "sla_daily"])
def test_a_ticket_is_found_that_was_told_of_weeks_before_it_was_created(facts, name):
    """As one is that was brought over with its old messages; its facts lie under the day of the first of them."""

    def files(dataset: str, first: date, last: date) -> list[Path]:
        read.append(first)
        return []

    read: list[date] = []
    make.table(facts.duck, replace(facts.sources(), files=files), facts.wanted(name))
    assert max(read) < DAY - timedelta(days=90)


def test_promises_are_met_broken_or_pending(tmp_path):
    def ticket(name: str, created: str, response_s: int | None) -> dict[str, object]:
        return {"ticket": name, "channel": "email", "created_us": at(created),
                "first_response_us": response_s * SECOND if response_s is not None else None}  # fmt: skip

    with given(tmp_path, as_of="12:00") as facts:
        facts.add(
            "ticket_fact", ticket("T1", "09:00", 3600), ticket("T2", "09:00", 3601), ticket("T3", "11:00", None),
            ticket("T4", "10:59:59", None),
        )  # fmt: skip
        facts.add(
            "ticket_wait_fact", {"ticket": "T1", "asked_us": at("10:00"), "answered_us": at("10:30")},
            {"ticket": "T1", "asked_us": at("11:30")},
        )  # fmt: skip
        columns = ("target", "within_s", "met", "breached", "pending", "sla_pct")
        assert [tuple(map(_plain, row)) for row in facts.report("sla_daily", *columns)] == [
            ("first_response", "3600.000", 1, 2, 1, "33.33"),
            ("full_resolution", "86400.000", 0, 0, 4, None),
            ("next_response", "3600.000", 1, 0, 1, "100.00"),
        ]


def test_promises_in_opening_hours(tmp_path):
    """From Friday 16:30 in Warsaw; the 21st is a Saturday, and it is Monday, an hour after the opening."""
    hours = OpeningHours(tenant="acme", group="a", time_zone="Europe/Warsaw", open={"mon-fri": "09:00-17:00"})
    friday, saturday = at("+-1d 15:30"), at("12:00")

    def ticket(name: str, created_us: int, response: str | None, group: str | None = "a") -> dict[str, object]:
        return {"ticket": name, "channel": "email", "first_group": group, "created_us": created_us,
                "first_response_us": at(response) - created_us if response else None}  # fmt: skip

    with given(tmp_path, first=date(2026, 11, 20), as_of="+2d 09:00", hours=[hours]) as facts:
        facts.add(
            "ticket_fact",
            ticket("half an hour before the weekend, and half an hour after it", friday, "+2d 08:30"),
            ticket("a second too late", friday, "+2d 08:30:01"),
            ticket("too late already", friday, None),
            ticket("an hour now", saturday, None),
            ticket("answered though nobody had to be there", saturday, "+1d 12:00"),
            ticket("its group has no hours, nor has its tenant", saturday, None, "b"),
            ticket("of no group", saturday, "13:00", None),
        )
        facts.add(
            "ticket_wait_fact",
            {"ticket": "too late already", "asked_us": at("+-1d 15:50"), "answered_us": at("22:00")},
            {"ticket": "too late already", "asked_us": at("22:10")},
            {"ticket": "of no group", "asked_us": at("10:00"), "answered_us": at("11:00:00.000001")},
        )
        columns = ("period_start_local", "group", "hours", "met", "breached", "pending", "sla_pct")
        rows = [(row[0], row[1][8:10], *map(_plain, row[2:])) for row in facts.report("sla_daily", "target", *columns)]
        assert [row for row in rows if row[0] != "full_resolution"] == [
            ("first_response", "20", "a", "opening", 1, 2, 0, "33.33"),
            ("next_response", "20", "a", "opening", 1, 0, 0, "100.00"),
            ("first_response", "21", "a", "opening", 1, 0, 1, "100.00"),
            ("first_response", "21", "b", "calendar", 0, 1, 0, "0.00"),
            ("first_response", "21", None, "calendar", 1, 0, 0, "100.00"),
            ("next_response", "21", "a", "opening", 0, 0, 1, None),
            ("next_response", "21", None, "calendar", 0, 1, 0, "0.00"),
        ]


def test_who_wrote_on_which_channel(facts):
    def message(ticket: str, clock: str, author: str, **said: str) -> dict[str, object]:
        return {"subject": ticket, "type": "ticket.message", "occurred_us": at(clock), "author": author,
                "visibility": "public", **said}  # fmt: skip

    facts.add(
        "ticket_fact", {"ticket": "T1", "channel": "email", "first_group": "a", "created_us": at("+-1d 10:00")},
        {"ticket": "T2", "channel": "whatsapp", "created_us": at("10:00")},
    )  # fmt: skip
    facts.add(
        "history_ticket", {"subject": "T1", "type": "ticket.created", "occurred_us": at("10:00"), "channel": "email"},
        message("T1", "+-1d 23:59", "customer"), message("T1", "09:00", "customer"), message("T1", "09:05", "bot"),
        message("T1", "09:10", "agent", visibility="internal"), message("T1", "09:15", "agent"),
        message("T1", "11:00", "customer", channel="whatsapp"), message("T1", "11:05", "agent", channel="whatsapp"),
        message("T2", "11:06", "system", channel="web_chat"), message("T2", "12:00", "customer"),
        message("T2", "12:01", "customer"),
    )  # fmt: skip
    counts = (f"messages_{kind}" for kind in ("agent", "customer", "bot", "internal"))
    assert facts.report("messages_daily", "channel", "group", *counts, "tickets") == [
        ("email", "a", 1, 1, 1, 1, 1), ("whatsapp", "a", 1, 1, 0, 0, 1), ("whatsapp", None, 0, 2, 0, 0, 1),
    ]  # fmt: skip


def test_who_hands_tickets_to_whom(facts):
    facts.add(
        "ticket_move_fact",
        *({"ticket": ticket, "at_us": at(clock), "what": what, "from_name": one, "to_name": other}
          for ticket, clock, what, one, other in (
              ("T1", "10:00", "agent", "ann", "bob"), ("T1", "10:05", "agent", "bob", "ann"),
              ("T1", "10:10", "agent", "ann", "bob"), ("T2", "10:00", "group", "a", "b"))),
    )  # fmt: skip
    assert facts.report("transfers_matrix", "what", "from", "to", "transfers", "tickets") == [
        ("agent", "ann", "bob", 2, 1), ("agent", "bob", "ann", 1, 1), ("group", "a", "b", 1, 1),
    ]  # fmt: skip


def many(facts, order: random.Random) -> None:
    """Facts of every kind, in any order."""
    verdicts = ("completed", "partial", "hung_up", "no_answer", "busy", "rejected", "congestion", "not_placed", None)
    random_ = random.Random(7)
    calls = [
        call(n, f"{random_.randrange(24):02}:{random_.randrange(60):02}:{random_.randrange(60):02}",
             random_.choice(verdicts), campaign=random_.choice((1, 2)), contact=n // 3, dial=n % 3 + 1,
             trunk=random_.choice(("carrier-a", "carrier-b")), sip_code=random_.choice((None, 200, 486, 503)),
             pdd_us=random_.randrange(5_000_000), cost_micro=random_.randrange(10**6), currency="EUR",
             billed_s=random_.randrange(90))
        for n in range(300)
    ]  # fmt: skip
    entries = [
        entry(n, f"10:{random_.randrange(60):02}", random_.randrange(40), random_.choice(("completed", "abandoned")))
        for n in range(100)
    ]
    steps = [step(n, 1, "hello", "bye", "10:00", "10:01") for n in range(50)]
    steps += [step(n, 2, "bye", None, "10:01", "10:02") for n in range(30)]
    answers = [answer(n, "fever", 1, random_.choice(("yes", "no")), last=True) for n in range(60)]
    for name, rows in (("call_fact", calls), ("queue_fact", entries), ("step_fact", steps), ("answer_fact", answers)):
        order.shuffle(rows)
        facts.add(name, *rows)
    agents(facts)


COUNTED = [
    name for name, report in REPORTS.items()
    if report.measures and name not in ("calls_at_once", "ticket_cohort_daily", "sla_daily", "transfers_matrix",
                                        "messages_daily")
]  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_every_count_is_as_many_rows_as_are_behind_it(tmp_path, name):
    report = REPORTS[name]
    with given(tmp_path) as facts:
        many(facts, random.Random(1))
        rows = facts.report(name)
        assert rows
        checked = 0
        for row in rows[:2]:
            keys = {key.name: "" if row[key.name] is None else str(row[key.name]) for key in report.keys}
            if report.period is not Period.WHOLE:
                keys["period_start_local"] = row["period_start_local"]
            for column in report.columns:
                measure = report.measure(column.name)
                if measure and (measure.sql.startswith("COUNT(CASE") or measure.sql == "COUNT(*)") and not column.over:
                    assert len(facts.behind(name, column.name, **keys)) == row[column.name], column.name
                    checked += 1
        assert checked


@pytest.mark.parametrize("name", [name for name, report in REPORTS.items() if not report.one_campaign])
def test_the_order_of_facts_changes_no_byte(tmp_path, name):
    written = []
    for seed in (1, 2):
        folder = tmp_path / str(seed)
        folder.mkdir()
        with given(folder) as facts:
            many(facts, random.Random(seed))
            (made,) = forms.write_csv(facts.duck, facts.table(name), str(folder / "out.csv"), PROFILES["machine"])
            written.append(made.sha256)
    assert written[0] == written[1]


def test_nothing_is_a_report_without_rows(facts):
    for name, report in REPORTS.items():
        if not report.one_campaign:
            assert shown(facts.duck, facts.table(name), ()) == [], name


def brute(calls: list[tuple[int, int]], from_us: int, to_us: int) -> int:
    """The most calls at once in [from, to), by looking at every moment at which one begins, and at the first."""
    moments = [from_us, *(begin for begin, _ in calls if from_us <= begin < to_us)]
    return max(sum(begin <= moment < end for begin, end in calls) for moment in moments)


@pytest.mark.parametrize("seed", range(8))
def test_the_most_calls_at_once_are_those_of_going_through_all(tmp_path, seed):
    random_ = random.Random(seed)
    step_us = random_.choice((1, SECOND, 7 * SECOND, 10 * SECOND))
    spans = []
    for _ in range(150):
        # Around midnight and around an hour, on moments that are often the same.
        begin = random_.choice((at("00:00"), at("09:00"))) + random_.randrange(-400, 400) * step_us
        spans.append((begin, begin + random_.randrange(1, 300) * random_.choice((step_us, SECOND))))
    with given(tmp_path) as facts:
        facts.add("call_fact", *(call(n, "00:00", submitted_us=begin, hung_up_us=end, campaign=n % 2 + 1)
                                 for n, (begin, end) in enumerate(spans)))  # fmt: skip
        rows = facts.report("calls_at_once", "period_start_local", "campaign", "peak_calls")
        trunks = facts.report("trunk_quality", "peak_channels")
    assert trunks == [(brute(spans, at("00:00"), at("+1d 00:00")),)]
    for start, campaign, peak in rows:
        hour = at(start[11:16])
        own = [one for n, one in enumerate(spans) if campaign is None or campaign == ("spring", "autumn")[n % 2]]
        assert peak == brute(own, hour, hour + 3600 * SECOND), (start, campaign)
    assert len(rows) >= 6


def test_percentiles_are_the_same_in_duckdbs_own_words(facts):
    many(facts, random.Random(1))
    for name in ("trunk_quality", "ivr_funnel", "queue_intervals_15m", "ticket_cohort_daily"):
        wanted = facts.wanted(name)
        facts.table(name)
        raw, own = (
            facts.duck.connection.execute(
                query.bound(query.raw(wanted.report, wanted.question, on_duckdb=on_duckdb), wanted.question)
            ).fetchall()
            for on_duckdb in (False, True)
        )
        assert raw == own, name
        assert raw or name == "ticket_cohort_daily"
