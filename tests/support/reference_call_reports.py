"""The figures of the reports on calls once more, in exact fractions, from facts in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.support.reference_calls import Row, most_at_once
from tests.support.reference_reports import by, percent, percentile, seconds, shown

HOUR_US = 3_600_000_000
Cells = dict[tuple[Any, ...], Row]


def ratios(calls: Sequence[Row]) -> Row:
    """What every table of calls begins with."""
    seizures = [call for call in calls if call["is_seizure"]]
    judged = [call for call in seizures if call["ner_class"] != "excluded" and not call["is_open"]]
    answered, reached = _count(calls, "is_answered"), _count(calls, "is_ner")
    return {
        "attempts": len(calls), "not_seized": len(calls) - len(seizures), "seizures": len(seizures),
        "answered": answered, "asr_pct": percent(answered, len(seizures)), "abr_pct": percent(answered, len(calls)),
        "delivered": reached, "judged": len(judged), "ner_pct": percent(reached, len(judged)),
    }  # fmt: skip


def trunk_quality(calls: Iterable[Row], from_us: int, to_us: int, as_of_us: int) -> Cells:
    """By trunk."""
    return {
        key: _trunk(own, from_us, to_us, as_of_us) for key, own in by(calls, lambda c: (c["node"], c["trunk"])).items()
    }


def _trunk(own: Sequence[Row], from_us: int, to_us: int, as_of_us: int) -> Row:
    delays = [call["pdd_us"] for call in own if call["pdd_us"] is not None]
    seized = [call for call in own if call["is_seizure"]]
    codes = [call["sip_code"] for call in seized]
    straight = [code for code in codes if code is None or not 300 <= code < 400]
    effective = sum(c["is_answered"] or c["sip_code"] in (200, 480, 486, 600, 603) for c in seized)
    failed = sum(not c["is_answered"] and c["sip_code"] in (408, 500, 503, 504) for c in seized)
    in_seconds = by(seized, lambda c: (c["submitted_us"] // 10**6,))
    return ratios(own) | {
        "acd_s": _mean_talk(own), "with_pdd": len(delays), "pdd_s": seconds(sum(delays), len(delays)),
        **{f"pdd_p{of}_s": _at(delays, of) for of in (50, 90, 95)},
        "ser_pct": percent(sum(c["is_answered"] or c["sip_code"] == 200 for c in seized), len(straight)),
        "seer_pct": percent(effective, len(straight)), "isa_pct": percent(failed, len(seized)),
        "peak_channels": most_at_once(own, from_us, to_us, as_of_us) or None,
        "peak_cps": max(map(len, in_seconds.values()), default=None),
    }  # fmt: skip


def campaign_summary(calls: Iterable[Row]) -> Cells:
    """By campaign."""
    return {key: _campaign(own) for key, own in by(calls, lambda call: (call["campaign"],)).items()}


def _campaign(own: Sequence[Row]) -> Row:
    tried = {call["contact"] for call in own}
    reached = {call["contact"] for call in own if call["is_human"]}
    completed = sum(call["disposition"] == "completed" for call in own)
    human = _count(own, "is_human")
    return ratios(own) | {
        "contacts_tried": len(tried), "contacts_reached": len(reached),
        "contact_rate_pct": percent(len(reached), len(tried)), "human": human,
        "connect_rate_pct": percent(human, len(own)), "completed": completed,
        "completion_pct": percent(completed, human),
        "completion_of_contacts_pct": percent(completed, len(tried)), "open": _count(own, "is_open"),
        "talk_s": seconds(sum(call["talk_us"] or 0 for call in own)), "acd_s": _mean_talk(own),
        **{verdict: sum(call["disposition"] == verdict for call in own) for verdict in ("busy", "hung_up", "unknown")},
    }  # fmt: skip


def hangup_causes(calls: Iterable[Row]) -> Cells:
    """By campaign, trunk, status, cause and verdict."""
    keys = ("campaign", "node", "trunk", "sip_code", "cause", "disposition")
    found = by(calls, lambda call: tuple(call[name] for name in keys))
    trunks = {key: len(own) for key, own in by(calls, lambda call: tuple(call[name] for name in keys[:3])).items()}
    return {
        key: {"attempts": len(own), "of_trunk": trunks[key[:3]], "share_pct": percent(len(own), trunks[key[:3]])}
        for key, own in found.items()
    }


def cost_summary(calls: Iterable[Row]) -> Cells:
    """By campaign, trunk and currency."""
    keys = ("campaign", "node", "trunk", "currency")
    return {key: _cost(own) for key, own in by(calls, lambda call: tuple(call[name] for name in keys)).items()}


def _cost(own: Sequence[Row]) -> Row:
    priced = [call for call in own if call["cost_micro"] is not None]
    micro, billed = sum(call["cost_micro"] for call in priced), sum(call["billed_s"] for call in priced)
    tried = {call["contact"] for call in own}
    return {
        "attempts": len(own), "priced": len(priced), "billed_s": billed, "cost": shown(Fraction(micro, 10**6), 6),
        "cost_per_minute": shown(Fraction(60 * micro, 10**6 * billed), 6) if billed else None,
        "cost_per_contact": shown(Fraction(micro, 10**6 * len(tried)), 6),
    }  # fmt: skip


def ivr_funnel(steps: Iterable[Row]) -> Cells:
    """By campaign, revision and step."""
    return {
        key: {
            "entered": (entered := len({step["call"] for step in own})), "visits": len(own),
            "dropped": (dropped := sum(step["next_step"] is None for step in own)),
            "drop_pct": percent(dropped, entered),
            **{f"dwell_p{of}_s": _at([step["left_us"] - step["entered_us"] for step in own], of) for of in (50, 90)},
        }
        for key, own in by(steps, lambda step: (step["campaign"], step["revision"], step["step"])).items()
    }  # fmt: skip


def question_answers(answers: Iterable[Row]) -> Cells:
    """By campaign, revision, step and answer; without one, of those who gave none."""
    asked = by(answers, lambda one: (one["campaign"], one["revision"], one["step"]))
    cells: Cells = {}
    for key, own in asked.items():
        valid, reached = [one for one in own if one["is_last"]], sum(one["visit"] == 1 for one in own)
        of_question = {
            "reached": reached, "answered": len(valid), "tries": _sum(own, "tries"),
            "no_input": _sum(own, "no_input"), "invalid": _sum(own, "invalid"),
            "response_pct": percent(len(valid), reached),
        }  # fmt: skip
        for value in {one["value"] for one in valid} | ({None} if len(valid) < len(own) else set()):
            given = sum(one["value"] == value for one in valid)
            cells[*key, value] = of_question | {"given": given, "share_pct": percent(given, len(valid))}
    return cells


def calls_at_once(calls: Sequence[Row], from_us: int, to_us: int, as_of_us: int) -> Cells:
    """By hour's beginning and campaign, None for all of them; hours without a call are left out."""
    campaigns = {call["campaign"] for call in calls} | {None}
    cells: Cells = {}
    for hour in range(from_us, to_us, HOUR_US):
        for campaign in campaigns:
            own = [call for call in calls if campaign in (None, call["campaign"])]
            if peak := most_at_once(own, hour, hour + HOUR_US, as_of_us):
                cells[hour, campaign] = {"peak_calls": peak}
    return cells


def _count(rows: Iterable[Row], name: str) -> int:
    return sum(bool(row[name]) for row in rows)


def _sum(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def _at(values: Sequence[int], of_100: int) -> Decimal | None:
    return seconds(percentile(values, of_100))


def _mean_talk(own: Sequence[Row]) -> Decimal | None:
    return seconds(sum(call["talk_us"] or 0 for call in own), _count(own, "is_answered"))
