"""The attempt's states: a call as a table of what happened and where that led."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.calls.attempt import Attempt, State
from dialer.calls.events import (
    Accepted,
    Answered,
    Created,
    FlowEnded,
    GaveUp,
    HungUp,
    Refused,
    Responded,
    Returned,
    Ringing,
    Unclear,
    Unwatched,
    Vanished,
)
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.states import advance

T0 = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
ID = UUID(int=1)


def attempt() -> Attempt:
    return Attempt(
        id=ID, tenant_id="t", campaign_id=1, revision_id=1, contact_id=1, number="+48221234567", wave=1,
        node="n", trunk="a", submitting_at=T0,
    )  # fmt: skip


def end(result: FlowResult) -> FlowEnded:
    return FlowEnded(end=DialogueEnd(attempt_id=ID, result=result, step=None, answers=1, at=T0))


WORDS = {
    "accepted": Accepted(at=T0),
    "refused": Refused(at=T0, message="no"),
    "unclear": Unclear(at=T0),
    "created": Created(at=T0),
    "ringing": Ringing(at=T0),
    "answered": Answered(at=T0),
    "responded-ok": Responded(at=T0, success=True, reason=4),
    "responded-0": Responded(at=T0, success=False, reason=0),
    "responded-3": Responded(at=T0, success=False, reason=3),
    "hung-up-16": HungUp(at=T0, cause=16, tech_cause=None),
    "hung-up-486": HungUp(at=T0, cause=17, tech_cause=486),
    "hung-up-480": HungUp(at=T0, cause=19, tech_cause=480),
    "completed": end(FlowResult.COMPLETED),
    "gave-up": GaveUp(at=T0),
    "vanished": Vanished(at=T0),
    "returned": Returned(at=T0),
    "unwatched": Unwatched(at=T0),
}
CALLS = [
    ("accepted created ringing answered responded-ok completed hung-up-16", "ended", "completed"),
    ("accepted created ringing answered hung-up-16", "closing", None),
    ("accepted created ringing answered hung-up-16 completed", "ended", "completed"),
    ("accepted created ringing answered hung-up-16 gave-up", "ended", "dialogue_error"),
    ("created accepted ringing hung-up-486", "ended", "busy"),
    ("accepted created ringing hung-up-486 responded-0", "ended", "busy"),
    ("accepted created ringing hung-up-480", "closing", None),
    ("accepted created ringing hung-up-480 responded-3", "ended", "no_answer"),
    ("accepted created ringing responded-3 hung-up-480", "ended", "no_answer"),
    ("accepted created hung-up-480 responded-3", "ended", "congestion"),
    ("accepted responded-0 gave-up", "ended", "not_placed"),
    ("refused", "ended", "not_placed"),
    ("unclear", "unclear", None),
    ("unclear created ringing answered", "answered", None),
    ("unclear vanished", "ended", "unknown"),
    ("accepted created ringing vanished", "ended", "unknown"),
    ("accepted created answered vanished", "closing", None),
    ("accepted created answered completed vanished", "ended", "completed"),
    ("accepted created ringing answered ringing accepted created", "answered", None),
    ("refused answered hung-up-16 completed", "ended", "not_placed"),
    ("returned", "ended", "returned"),
    # The channel's birth was missed while the link was down, or never stored: its death proves that it lived.
    ("accepted unwatched responded-0 hung-up-486", "ended", "busy"),
    ("accepted responded-0 hung-up-486", "ended", "busy"),
    ("accepted unwatched responded-0 gave-up", "ended", "unknown"),
    ("accepted unwatched hung-up-480 responded-3", "ended", "no_answer"),
]


def play(words: str) -> Attempt:
    now = attempt()
    for word in words.split():
        now = advance(now, WORDS[word], T0 + timedelta(seconds=9))
    return now


@pytest.mark.parametrize(("words", "state", "disposition"), CALLS)
def test_a_call(words, state, disposition):
    ended = play(words)
    assert ended.state.value == state
    assert (ended.disposition.value if ended.disposition else None) == disposition
    assert (ended.ended_at is not None) == (state == "ended")
    assert ended.hung_up_at is not None or state not in ("closing", "ended")


@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=12))
def test_no_order_of_events_goes_backward_or_changes_a_verdict(words):
    order = list(State)
    now = attempt()
    for word in words:
        after = advance(now, WORDS[word], T0)
        assert order.index(after.state) >= order.index(now.state) or now.state is State.UNCLEAR
        if now.state is State.ENDED:
            assert after is now
        assert (after.state is State.ENDED) == (after.disposition is not None)
        now = after
