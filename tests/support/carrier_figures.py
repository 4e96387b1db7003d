"""The figures of the reports on calls, from the carrier's record alone: what it sent, received and heard."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from itertools import groupby
from math import ceil
from statistics import quantiles
from typing import Any

from dialer.calls.disposition import Disposition
from dialer.lab.truth import TruthRow

REACHED_THEM = {200, 480, 486, 600, 603}
"""Final statuses that say that the network brought the call to the person's telephone."""
GIVEN_UP = 487


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a person's keys come to at one question of the example campaign."""

    value: str | None
    invalid: int


def delivered(row: TruthRow) -> bool:
    """Answered, busy, refused there, or rung until the caller gave up."""
    return row.final_code in REACHED_THEM or (row.final_code == GIVEN_UP and row.ringing_at is not None)


def status(row: TruthRow) -> int | None:
    """The status that the carrier gave for a call that was not answered; none where the caller gave up."""
    return None if row.final_code in (200, GIVEN_UP) else row.final_code


def delay_s(row: TruthRow) -> float | None:
    """From the INVITE to the first sign of the person's telephone."""
    sign = row.ringing_at or row.answered_at
    return (sign - row.invited_at).total_seconds() if sign else None


def talk_s(row: TruthRow) -> float | None:
    """From the answer to the end."""
    return (row.ended_at - row.answered_at).total_seconds() if row.answered_at and row.ended_at else None


def percentile(values: Sequence[float], percent: int) -> float:
    """Between the two nearest, as PERCENTILE_CONT does."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def most_at_once(rows: Sequence[TruthRow]) -> int:
    """The most calls between INVITE and end at one moment."""
    steps = [(row.invited_at, 1) for row in rows] + [(row.ended_at, -1) for row in rows if row.ended_at]
    now = most = 0
    for _, same in groupby(sorted(steps), key=lambda step: step[0]):
        now += sum(change for _, change in same)
        most = max(most, now)
    return most


def most_within(rows: Sequence[TruthRow], seconds: float) -> int:
    """The most INVITEs within any time of this length."""
    at = sorted(row.invited_at.timestamp() for row in rows)
    return max(bisect_right(at, begin + seconds) - place for place, begin in enumerate(at))


def by_turn(truth: Mapping[str, Sequence[TruthRow]]) -> dict[int, list[TruthRow]]:
    """Every number's first call, second, and so on."""
    turns: dict[int, list[TruthRow]] = {}
    for rows in truth.values():
        for turn, row in enumerate(sorted(rows, key=lambda one: one.invited_at), 1):
            turns.setdefault(turn, []).append(row)
    return turns


def answers(row: TruthRow) -> dict[str, Given]:
    """What the keys of one call answer, by question: `fever` takes 1 or 2, `people` 0 to 20 and #; two tries each."""
    keys = "".join(key.key for key in row.keys)
    if not keys:
        return {}
    valid = next((place for place, key in enumerate(keys[:2]) if key in "12"), None)
    if valid is None:
        return {"fever": Given(value=None, invalid=len(keys[:2]))}
    found = {"fever": Given(value={"1": "yes", "2": "no"}[keys[valid]], invalid=valid)}
    typed = keys[valid + 1 :].rstrip("#")
    if keys[valid] == "1" and typed:
        found["people"] = Given(value=str(int(typed)), invalid=0)
    return found


# -- the reports against it: each function says where a report's rows do not agree --

Rows = Sequence[Mapping[str, Any]]
Truth = Mapping[str, Sequence[TruthRow]]
NEAR_S = 0.5
"""Asterisk's reports wait their turn on a machine that plays both sides of every call."""
NEAR_CALLS = 3
"""At a peak calls come and go within the milliseconds that an instant is told late."""
PRICE = {"from": "2026-01-01", "currency": "EUR", "per_minute": "0.0115", "connect": "0.002", "increment": 6}
"""The trunk's tariff in the test; the least is a step of six seconds."""
FAILED = {486: "busy", GIVEN_UP: "no_answer", 603: "rejected", 404: "invalid_number", 503: "congestion",
          403: "trunk_refused"}  # fmt: skip


def verdict(row: TruthRow) -> str:
    """What a call of the example campaign came to."""
    if row.answered_at is None:
        return FAILED[row.final_code or 0]
    given = answers(row)
    if not given:
        return "hung_up" if row.ended_by == "callee" else "no_input"
    return "completed" if given["fever"].value == "no" or "people" in given else "partial"


def _calls(truth: Truth) -> list[TruthRow]:
    return [row for rows in truth.values() for row in rows]


def _percent(part: int, whole: int) -> str:
    return str((Decimal(100 * part) / whole).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _apart(row: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Where a row says something else; a wanted float may be half a second off, a range holds what it holds."""

    def agrees(found: Any, value: Any) -> bool:
        if isinstance(value, float):
            return found is not None and abs(float(found) - value) <= NEAR_S
        if isinstance(value, range):
            return found in value
        if isinstance(value, str) and isinstance(found, float):
            return Decimal(str(found)) == Decimal(value)
        return bool(found == value)

    return [f"{name}: {row[name]!r}, not {value!r}" for name, value in wanted.items() if not agrees(row[name], value)]


def _after(row: Mapping[str, Any], name: str, at: datetime | None) -> list[str]:
    """A moment of the report against the carrier's."""
    told = row[f"{name}_utc"]
    if (told is None) != (at is None):
        return [f"{name}: {told}, not {at}"]
    if told is None or at is None or abs((datetime.fromisoformat(told) - at).total_seconds()) <= NEAR_S:
        return []
    return [f"{name}: {told}, not {at}"]


def call_detail(rows: Rows, truth: Truth) -> list[str]:
    """Call by call: status, verdict, moments, delay, talk, which dial it was, and the identity shown."""
    wrong, ours = [], defaultdict(list)
    for row in sorted(rows, key=lambda one: str(one["submitted_utc"])):
        ours[row["number"]].append(row)
    if {number: len(own) for number, own in ours.items()} != {number: len(own) for number, own in truth.items()}:
        return ["the calls are not the carrier's"]
    for number, own in truth.items():
        for dial, (their, our) in enumerate(zip(own, ours[number], strict=True), 1):
            found = _apart(our, {
                "dial": dial, "sip_code": status(their), "disposition": verdict(their), "caller_id": their.caller,
                "pdd_s": delay_s(their), "talk_s": talk_s(their), "is_open": False, "clock_skew": False,
                "trunk": their.trunk,
            })  # fmt: skip
            found += _after(our, "ringing", their.ringing_at) + _after(our, "answered", their.answered_at)
            found += _after(our, "hung_up", their.ended_at)
            wrong += [f"{number} {dial}: {one}" for one in found]
    return wrong


def _ratios(truth: Truth) -> dict[str, Any]:
    calls = _calls(truth)
    answered = [row for row in calls if row.answered_at]
    reached = sum(map(delivered, calls))
    return {
        "attempts": len(calls), "not_seized": 0, "seizures": len(calls), "answered": len(answered),
        "asr_pct": _percent(len(answered), len(calls)), "abr_pct": _percent(len(answered), len(calls)),
        "delivered": reached, "judged": len(calls), "ner_pct": _percent(reached, len(calls)),
        "acd_s": sum(talk_s(row) or 0.0 for row in answered) / len(answered),
    }  # fmt: skip


def trunk_quality(rows: Rows, truth: Truth) -> list[str]:
    """Ratios, delays and peaks of the one trunk."""
    calls = _calls(truth)
    delays = [delay for delay in map(delay_s, calls) if delay is not None]
    peak = most_at_once(calls)
    codes = Counter(status(row) for row in calls)
    answered = sum(1 for row in calls if row.answered_at)
    (row,) = rows
    return _apart(row, _ratios(truth) | {
        "with_pdd": len(delays), "pdd_s": sum(delays) / len(delays), "pdd_p50_s": percentile(delays, 50),
        "pdd_p90_s": percentile(delays, 90), "pdd_p95_s": percentile(delays, 95),
        "ser_pct": _percent(answered, len(calls)),
        "seer_pct": _percent(answered + codes[480] + codes[486] + codes[600] + codes[603], len(calls)),
        "isa_pct": _percent(codes[408] + codes[500] + codes[503] + codes[504], len(calls)),
        "peak_channels": range(peak - NEAR_CALLS, peak + NEAR_CALLS + 1),
        # Orders of one of our seconds reach the carrier within little more than one; one of its seconds may lie across
        # two of ours, of which one then has half of it.
        "peak_cps": range(most_within(calls, 1.0) // 2, most_within(calls, 1.0 + NEAR_S) + 1),
    })  # fmt: skip


def campaign_summary(rows: Rows, truth: Truth) -> list[str]:
    """Contacts, verdicts and rates of the campaign."""
    reached = sum(any(row.answered_at for row in own) for own in truth.values())
    verdicts = Counter(map(verdict, _calls(truth)))
    (row,) = rows
    return _apart(row, {
        **_ratios(truth), **{one.value: verdicts[one.value] for one in Disposition}, "open": 0, "silent": 0,
        "contacts_tried": len(truth), "contacts_reached": reached, "contact_rate_pct": _percent(reached, len(truth)),
        "completion_of_contacts_pct": _percent(verdicts["completed"], len(truth)),
    })  # fmt: skip


def attempts_by_hour(rows: Rows, truth: Truth) -> list[str]:
    """The hours together; a call belongs to the one in which it was submitted."""
    wanted = {name: _ratios(truth)[name] for name in ("attempts", "seizures", "answered", "delivered")}
    return _apart({name: sum(row[name] for row in rows) for name in wanted}, wanted)


def calls_at_once(rows: Rows, truth: Truth) -> list[str]:
    """The highest hour."""
    peak = most_at_once(_calls(truth))
    return _apart({"peak": max(row["peak_calls"] for row in rows)},
                  {"peak": range(peak - NEAR_CALLS, peak + NEAR_CALLS + 1)})  # fmt: skip


def campaign_by_attempt(rows: Rows, truth: Truth) -> list[str]:
    """What the first, second, third call to a contact brought."""
    turns = by_turn(truth)
    if [row["dial"] for row in rows] != sorted(turns):
        return [f"dials {[row['dial'] for row in rows]}, not {sorted(turns)}"]
    firsts = Counter(
        next((turn for turn, row in enumerate(own, 1) if row.answered_at), None) for own in truth.values()
    )  # fmt: skip
    completed = Counter(
        next((turn for turn, row in enumerate(own, 1) if verdict(row) == "completed"), None) for own in truth.values()
    )
    wrong = []
    for row in rows:
        turn = row["dial"]
        answered = sum(1 for one in turns[turn] if one.answered_at)
        wrong += _apart(row, {
            "attempts": len(turns[turn]), "answered": answered, "human": answered, "first_reached": firsts[turn],
            "answer_rate_pct": _percent(answered, len(turns[turn])), "first_completed": completed[turn],
            "reached_so_far": sum(firsts[n] for n in range(1, turn + 1)),
        })  # fmt: skip
    return wrong


def hangup_causes(rows: Rows, truth: Truth) -> list[str]:
    """How many calls ended by each status and verdict."""
    found: Counter[tuple[int | None, str]] = Counter()
    for row in rows:
        found[row["sip_code"], row["disposition"]] += row["attempts"]
    wanted = Counter((status(row), verdict(row)) for row in _calls(truth))
    return [] if found == wanted else [f"{dict(found)}, not {dict(wanted)}"]


def question_answers(rows: Rows, truth: Truth) -> list[str]:
    """Each answer by how many gave it, and who came to the question."""
    talks = [row for row in _calls(truth) if row.answered_at and verdict(row) != "hung_up"]
    given = Counter((step, one.value) for row in talks for step, one in answers(row).items() if one.value is not None)
    found = {(row["step"], row["answer"]): row["given"] for row in rows if row["answer"] is not None}
    wrong = [] if found == dict(given) else [f"{found}, not {dict(given)}"]
    yes = sum(1 for row in talks if "people" in answers(row))
    reached = {"fever": len(talks), "people": yes}
    invalid = {"fever": sum(one.invalid for row in talks for one in answers(row).values()), "people": 0}
    for row in rows:
        answered = sum(count for (step, _), count in given.items() if step == row["step"])
        wrong += _apart(row, {"reached": reached[row["step"]], "answered": answered, "invalid": invalid[row["step"]]})
    return wrong


def ivr_funnel(rows: Rows, truth: Truth) -> list[str]:
    """How many calls came to each step, and ended there."""
    spoken = Counter(verdict(row) for row in _calls(truth) if row.answered_at)
    talks = spoken.total() - spoken["hung_up"]
    yes = sum(1 for row in _calls(truth) if "people" in answers(row))
    wanted = {
        "welcome": (spoken.total(), spoken["hung_up"]), "fever": (talks, spoken["no_input"]), "people": (yes, 0),
        "goodbye": (spoken["completed"], spoken["completed"]),
    }  # fmt: skip
    found = {row["step"]: (row["entered"], row["dropped"]) for row in rows}
    return [] if found == wanted else [f"{found}, not {wanted}"]


def survey_responses(rows: Rows, truth: Truth) -> list[str]:
    """Contact by contact: how often, how it ended, and what was answered."""
    if {row["number"] for row in rows} != set(truth):
        return ["the contacts are not the carrier's"]
    wrong = []
    for row in rows:
        own = truth[row["number"]]
        said = answers(own[-1])
        values = {f"answer_{step}": said[step].value if step in said else None for step in ("fever", "people")}
        wrong += [f"{row['number']}: {one}" for one in _apart(row, values | {
            "calls": len(own), "calls_reached": sum(1 for one in own if one.answered_at),
            "disposition": verdict(own[-1]), "is_completed": verdict(own[-1]) == "completed",
        })]  # fmt: skip
    return wrong


def survey_outcomes(rows: Rows, truth: Truth) -> list[str]:
    """The best of each contact's calls."""
    best = {"completed": "complete", "hung_up": "refusal", "no_input": "non_contact", "invalid_number": "not_eligible"}
    order = ("complete", "refusal", "non_contact", "unknown", "not_eligible")
    found = Counter(
        min((best.get(verdict(row), "unknown") for row in own), key=order.index) for own in truth.values()
    )  # fmt: skip
    (row,) = rows
    return _apart(row, {name: found[name] for name in order} | {"contacts": len(truth)})


def cost_summary(rows: Rows, truth: Truth) -> list[str]:
    """What the carrier would charge by its own clock, give or take the half second at the edges of a step."""

    def billed(late_s: float) -> int:
        talks = [talk for talk in map(talk_s, _calls(truth)) if talk is not None]
        return sum(max(6, 6 * ceil((talk + late_s) / 6)) for talk in talks)

    (row,) = rows
    answered = sum(1 for one in _calls(truth) if one.answered_at)
    wrong = _apart(row, {
        "attempts": len(_calls(truth)), "priced": len(_calls(truth)), "answered": answered, "currency": "EUR",
        "billed_s": range(billed(-NEAR_S), billed(NEAR_S) + 1),
    })  # fmt: skip
    cost = Decimal(str(PRICE["connect"])) * answered + Decimal(row["billed_s"]) * Decimal(str(PRICE["per_minute"])) / 60
    return wrong if Decimal(str(row["cost"])) == cost else [*wrong, f"cost: {row['cost']}, not {cost}"]


JUDGES = {
    judge.__name__: judge
    for judge in (
        call_detail, trunk_quality, campaign_summary, attempts_by_hour, calls_at_once, campaign_by_attempt,
        hangup_causes, question_answers, ivr_funnel, survey_responses, survey_outcomes, cost_summary,
    )
}  # fmt: skip
"""By report."""
