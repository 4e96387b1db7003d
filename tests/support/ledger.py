"""Every event that can happen to an attempt, and every attempt that they can lead to, found by driving `advance`."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from itertools import product
from typing import Any, get_args
from uuid import UUID

from dialer.calls.attempt import Attempt, State
from dialer.calls.events import CallEvent
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.states import advance

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
ID = UUID(int=1)
# Each field of an event, with the values that the code tells apart; an event with another field must be named here.
VALUES: dict[str, tuple[Any, ...]] = {
    "at": (T0,),
    "message": ("no",),
    "success": (True, False),
    "reason": (0, 3, 4),
    "cause": (0, 17, 19, 44),
    "tech_cause": (None, 408, 486),
    "end": tuple(
        DialogueEnd(attempt_id=ID, result=result, step=None, answers=answers, at=T0)
        for result in FlowResult
        for answers in (0, 1)
    ),
}


def new_attempt() -> Attempt:
    """An attempt as a claim makes it."""
    return Attempt(
        id=ID, tenant_id="t", campaign_id=1, revision_id=1, contact_id=1, number="+48221234567", wave=1,
        node="n", trunk="a", submitting_at=T0, seq=1,
    )  # fmt: skip


def all_events() -> list[CallEvent]:
    """Every kind of event with every combination of values that matters."""
    return [
        kind(**dict(zip(names, values, strict=True)))
        for kind in get_args(CallEvent)
        for names in [[field.name for field in fields(kind)]]
        for values in product(*(VALUES[name] for name in names))
    ]


@cache
def all_steps() -> list[tuple[Attempt, CallEvent, Attempt]]:
    """Each attempt that can come to be, each event there, and what it makes of the attempt."""
    events, first = all_events(), new_attempt()
    seen, ahead, steps = {first}, [first], []
    while ahead:
        before = ahead.pop()
        for event in events:
            after = advance(before, event, T0)
            steps.append((before, event, after))
            if after not in seen:
                seen.add(after)
                ahead.append(after)
    return steps


def moves() -> dict[tuple[State, State], set[str]]:
    """From which state to which other an attempt can go in one step, and the names of the events that do it."""
    found: dict[tuple[State, State], set[str]] = {}
    for before, event, after in all_steps():
        if after.state is not before.state:
            found.setdefault((before.state, after.state), set()).add(type(event).__name__)
    return found
