"""The facts of calls, their questions and their steps once more: slow, plain Python that shares nothing with the SQL.

Events are flat, as the lake has them (etl.columns.SEGMENT), and come in any order, doubled or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from typing import Any

Event = Mapping[str, Any]
Row = dict[str, Any]

MILESTONES = {
    "accepted_us": "attempt.accepted", "ringing_us": "attempt.ringing", "answered_us": "attempt.answered",
    "audio_us": "dialogue.started", "ended_us": "attempt.ended",
}  # fmt: skip
PICKED_UP = {"completed", "partial", "refused", "no_input", "hung_up", "dialogue_error", "rtp_lost"}
QUESTIONS = {"ask", "menu", "callback"}


@dataclass(frozen=True, kw_only=True)
class Price:
    """A tariff in units of its currency."""

    from_us: int
    currency: str
    connect: str
    per_minute: str
    initial_s: int
    increment_s: int


def cleaned(events: Iterable[Event]) -> dict[str, list[Row]]:
    """By subject: each event once, as it came in first, in the order in which they happened, with its `place`."""
    once: dict[tuple[str, str], Event] = {}
    for event in sorted(events, key=lambda one: (one["occurred_us"], one["ingested_us"])):
        once.setdefault((event["tenant"], event["event_id"]), event)
    subjects: dict[str, list[Row]] = defaultdict(list)
    for event in once.values():
        subjects[event["subject"]].append(dict(event))
    for own in subjects.values():
        own.sort(key=lambda one: (
            one["occurred_us"], one["seq"] is None, one["seq"] or 0, one["type_rank"], one["event_id"],
        ))  # fmt: skip
        for place, event in enumerate(own, 1):
            event["place"] = place
    return dict(subjects)


def call_facts(subjects: Mapping[str, Sequence[Event]], prices: Mapping[str, Sequence[Price]]) -> list[Row]:
    """A row a call, by tenant and call."""
    return _sorted((_call(own, prices) for own in subjects.values()), "call")


def answer_facts(subjects: Mapping[str, Sequence[Event]]) -> list[Row]:
    """A row a question and visit."""
    return _sorted((row for own in subjects.values() for row in _answers(own)), "call", "step", "visit")


def step_facts(subjects: Mapping[str, Sequence[Event]]) -> list[Row]:
    """A row a step entered."""
    return _sorted((row for own in subjects.values() for row in _steps(own)), "call", "place")


def most_at_once(calls: Iterable[Row], begin_us: int, end_us: int, as_of_us: int) -> int:
    """The most calls that were on a trunk at one moment of a period; whoever hangs up makes room first."""
    lasted = [
        (call["submitted_us"], next(at for at in (call["hung_up_us"], call["ended_us"], as_of_us) if at is not None))
        for call in calls
        if call["is_seizure"]
    ]
    moments = {max(begin_us, begun) for begun, _ in lasted if begun < end_us}
    return max((sum(begun <= at < over for begun, over in lasted) for at in moments), default=0)


def _sorted(rows: Iterable[Row], *key: str) -> list[Row]:
    return sorted(rows, key=lambda row: tuple(row[name] for name in ("tenant", *key)))


def _first(own: Sequence[Event], kind: str) -> Event | None:
    return next((event for event in own if event["type"] == kind), None)


def _call(own: Sequence[Event], prices: Mapping[str, Sequence[Price]]) -> Row:
    submitted, ended = _first(own, "attempt.submitting"), _first(own, "attempt.ended")
    spoke, over = _first(own, "dialogue.started"), _first(own, "dialogue.ended")
    of_submission = ("wave", "dial", "number_dial", "node", "trunk")
    row: Row = {"tenant": own[0]["tenant"], "call": own[0]["subject"]}
    row |= {name: _any(own, name) for name in ("campaign", "contact", "revision")}
    row |= {name: submitted[name] if submitted else None for name in of_submission}
    if submitted and submitted["revision"] is not None:
        row["revision"] = submitted["revision"]
    row["submitted_us"] = (submitted or own[0])["occurred_us"]
    for name, kind in MILESTONES.items():
        event = _first(own, kind)
        row[name] = event["occurred_us"] if event else None
    row["hung_up_us"] = _hung_up(own, ended)
    row |= {name: ended[name] if ended else None for name in ("disposition", "sip_code", "cause", "refusal")}
    if ended and ended["reason"] == "ring_limit":
        row["sip_code"] = None
    row |= {"result": over["result"] if over else None, "last_step": over["step"] if over else None}
    row["answers"] = sum(event["type"] == "dialogue.answered" for event in own)
    row["language"] = spoke["language"] if spoke else None
    row["is_open"] = ended is None
    _judge(row)
    _measure(row)
    _charge(row, prices)
    return row


def _any(own: Sequence[Event], name: str) -> Any:
    return max((event[name] for event in own if event[name] is not None), default=None)


def _hung_up(own: Sequence[Event], ended: Event | None) -> int | None:
    if ended and ended["hung_up_us"] is not None:
        return int(ended["hung_up_us"])
    closing = _first(own, "attempt.closing")
    return closing["occurred_us"] if closing else None


def _judge(row: Row) -> None:
    """E.425: what was answered, busy, rang without an answer, or was rejected there, the network delivered."""
    verdict, rang = row["disposition"], row["ringing_us"] is not None
    row["is_answered"] = row["is_human"] = row["answered_us"] is not None or verdict in PICKED_UP
    seen = any(row[name] is not None for name in ("accepted_us", "ringing_us", "answered_us", "cause"))
    if row["is_answered"]:
        row["ner_class"] = "answer"
    elif verdict is None:
        row["ner_class"] = "open"
    elif verdict in ("not_placed", "returned"):
        row["ner_class"] = "not_seized"
    elif verdict == "unknown" or (verdict == "cancelled" and not rang):
        row["ner_class"] = "excluded"
    elif verdict == "busy":
        row["ner_class"] = "user_busy"
    elif verdict in ("rejected", "blocked"):
        row["ner_class"] = "terminal_reject"
    elif verdict == "no_answer" or (rang and verdict in ("unreachable", "cancelled")):
        row["ner_class"] = "ring_no_answer"
    else:
        row["ner_class"] = "network"
    row["is_seizure"] = seen if row["ner_class"] in ("open", "excluded") else row["ner_class"] != "not_seized"
    row["is_ner"] = row["ner_class"] in ("answer", "user_busy", "ring_no_answer", "terminal_reject")


def _measure(row: Row) -> None:
    def between(begin: int | None, end: int | None) -> int | None:
        return None if begin is None or end is None else end - begin

    sign_of_life = row["ringing_us"] if row["ringing_us"] is not None else row["answered_us"]
    sent = row["accepted_us"] if row["accepted_us"] is not None else row["submitted_us"]
    rung_until = row["answered_us"] if row["answered_us"] is not None else row["hung_up_us"]
    raw = {
        "pdd_us": between(sent, sign_of_life),
        "ring_us": between(row["ringing_us"], rung_until),
        "talk_us": between(row["answered_us"], row["hung_up_us"]),
    }
    row |= {name: value if value is None else max(0, value) for name, value in raw.items()}
    row["clock_skew"] = any(value is not None and value < 0 for value in raw.values())


def _charge(row: Row, prices: Mapping[str, Sequence[Price]]) -> None:
    row |= {"currency": None, "billed_s": None, "cost_micro": None}
    valid = [one for one in prices.get(row["trunk"], ()) if one.from_us <= row["submitted_us"]]
    if not valid:
        return
    price = max(valid, key=lambda one: one.from_us)
    row["currency"] = price.currency
    if row["is_open"] or (row["is_answered"] and row["talk_us"] is None):
        return
    row |= {"billed_s": 0, "cost_micro": 0}
    if row["talk_us"]:
        steps = ceil(Decimal(row["talk_us"]) / 1_000_000 / price.increment_s)
        row["billed_s"] = max(price.initial_s, steps * price.increment_s)
        cost = Decimal(price.connect) + Decimal(row["billed_s"]) * Decimal(price.per_minute) / 60
        row["cost_micro"] = int((cost * 1_000_000).quantize(Decimal(1), ROUND_HALF_UP))


def _steps(own: Sequence[Event]) -> Iterator[Row]:
    path = [event for event in own if event["type"] == "dialogue.step"]
    path.sort(key=lambda one: (one["occurred_us"], one["try_no"], one["place"]))
    over = _first(own, "dialogue.ended")
    for place, event in enumerate(path, 1):
        following = path[place] if place < len(path) else None
        left = following or over
        yield {
            **_whose(own), "step": event["step"], "place": place, "entered_us": event["occurred_us"],
            "left_us": left["occurred_us"] if left else None, "next_step": following["step"] if following else None,
        }  # fmt: skip


def _whose(own: Sequence[Event]) -> Row:
    row = _call(own, {})
    return {name: row[name] for name in ("tenant", "call", "campaign", "contact", "revision")}


def _answers(own: Sequence[Event]) -> Iterator[Row]:
    reached: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in own:
        is_question = event["type"] == "dialogue.step" and event["code"] in QUESTIONS
        if is_question or event["type"] in ("dialogue.answered", "dialogue.tried"):
            reached[event["step"], event["visit"]].append(event)
    rows = [_answer(own, step, visit, events) for (step, visit), events in reached.items()]
    last: dict[str, int] = {}
    for row in rows:
        if row["answered_us"] is not None:
            last[row["step"]] = max(row["visit"], last.get(row["step"], 0))
    for row in rows:
        yield row | {"is_last": row["answered_us"] is not None and last[row["step"]] == row["visit"]}


def _answer(own: Sequence[Event], step: str, visit: int, events: Sequence[Event]) -> Row:
    given = next((e for e in events if e["type"] == "dialogue.answered" or e["outcome"] == "accepted"), None)
    silent = {event["try_no"] for event in events if event["outcome"] == "silence"}
    wrong = {event["try_no"] for event in events if event["outcome"] not in (None, "silence", "accepted")}
    asked = next((event["occurred_us"] for event in events if event["type"] == "dialogue.step"), None)
    return {
        **_whose(own), "step": step, "visit": visit, "asked_us": asked,
        "answered_us": given["occurred_us"] if given else None, "value": given["value"] if given else None,
        "keys": given["keys"] if given else None, "tries": len(silent) + len(wrong) + (given is not None),
        "invalid": len(wrong), "no_input": len(silent),
    }  # fmt: skip
