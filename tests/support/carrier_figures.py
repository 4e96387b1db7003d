"""The figures of the reports on calls, from the carrier's record alone: what it sent, received and heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from statistics import quantiles

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


def most_in_a_second(rows: Sequence[TruthRow], late: timedelta = timedelta(0)) -> int:
    """The most INVITEs within one whole second, by a clock that is so far behind."""
    return max(Counter((row.invited_at - late).replace(microsecond=0) for row in rows).values())


def by_turn(truth: dict[str, list[TruthRow]]) -> dict[int, list[TruthRow]]:
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
