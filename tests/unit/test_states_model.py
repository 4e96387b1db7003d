"""What holds of every attempt, whatever is lost, doubled or reordered: over all its steps, and through the one door."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.calls.events import Refused, Returned, Unplaced
from dialer.calls.states import advance
from dialer.contacts.contact import Claim, Contact
from dialer.engine.tracker import Tracker
from tests.support.engine_parts import TERMS, FakeClock, FakeStore
from tests.support.ledger import ID, T0, all_events, all_steps, new_attempt

D = Disposition
OF_ANSWERED = {D.COMPLETED, D.PARTIAL, D.REFUSED, D.NO_INPUT, D.HUNG_UP, D.DIALOGUE_ERROR, D.RTP_LOST}
PROOF = {D.RETURNED: (Returned,), D.NOT_PLACED: (Refused, Unplaced)}
"""Events that prove that no INVITE left; NOT_PLACED has one more way, an order that failed without a channel."""


def ends() -> list[tuple[Attempt, object, Attempt]]:
    return [
        (before, event, after)
        for before, event, after in all_steps()
        if after.state is State.ENDED and before.state is not State.ENDED
    ]


def test_the_steps_reach_every_state_and_every_verdict():
    """The laws below would hold of nothing, if nothing were reached."""
    assert {after.state for _, _, after in all_steps()} == set(State)
    assert len({after for _, _, after in all_steps()}) > 1000
    assert OF_ANSWERED | {D.NOT_PLACED, D.RETURNED, D.UNKNOWN} <= {after.disposition for _, _, after in ends()}


def test_nothing_changes_a_verdict():
    assert not [1 for before, _, after in all_steps() if before.state is State.ENDED and after is not before]


def test_an_attempt_has_a_verdict_and_its_moments_exactly_when_it_has_ended():
    for _, _, after in all_steps():
        ended = after.state is State.ENDED
        assert (after.disposition is not None, after.ended_at is not None) == (ended, ended)
        assert after.hung_up_at is not None or after.state not in (State.CLOSING, State.ENDED)


def test_a_verdict_says_answered_exactly_of_calls_that_were():
    wrong = [after for _, _, after in ends() if (after.answered_at is not None) != (after.disposition in OF_ANSWERED)]
    assert not wrong


def test_what_may_have_rung_is_never_taken_for_unplaced():
    """Both verdicts make the person due again: a call that was made would be made twice."""
    for _, event, after in ends():
        if after.disposition in PROOF:
            assert not after.channel_seen
            failed = after.disposition is D.NOT_PLACED and after.watched and after.originate_reason is not None
            assert isinstance(event, PROOF[after.disposition]) or failed, (event, after)


def test_the_same_event_twice_is_the_same_as_once():
    for _, event, after in all_steps():
        assert advance(after, event, T0) == after


def test_what_is_known_of_a_call_is_never_forgotten():
    for before, _, after in all_steps():
        for name in ("accepted_at", "ringing_at", "answered_at", "hung_up_at", "channel_seen", "originate_reason"):
            assert getattr(after, name) is not None or getattr(before, name) is None
        assert after.channel_seen or not before.channel_seen
        assert before.watched or not after.watched


def through_the_door(events) -> tuple[FakeStore, Tracker]:
    """The events at a tracker that holds one attempt, stored after each and at the end."""
    store = FakeStore()
    tracker = Tracker(store, FakeClock())
    claim = Claim(attempt=new_attempt(), contact=Contact(id=1, numbers=("+48221234567",), attempts=0))
    tracker.adopt(claim, TERMS)

    async def play() -> None:
        for number, event in enumerate(events):
            tracker.apply(ID, event)
            if number % 3 == 0:
                await tracker.flush()
        await tracker.flush()

    asyncio.run(play())
    return store, tracker


@settings(max_examples=300)
@given(st.lists(st.sampled_from(all_events()), max_size=15))
def test_the_log_holds_each_change_of_state_once_in_order(events):
    store, tracker = through_the_door(events)
    assert [event["seq"] for event in store.events] == list(range(2, 2 + len(store.events)))
    order = [state.value for state in State]
    passed = [order.index(event["type"].removeprefix("attempt.")) for event in store.events]
    assert all(earlier < later for earlier, later in pairwise([0, *passed]))
    verdicts = [event["payload"]["disposition"] for event in store.events if event["type"] == "attempt.ended"]
    saved = store.saved.get(ID)
    assert verdicts == ([saved.disposition.value] if saved and saved.disposition else [])
    assert bool(verdicts) == (tracker.open_attempts == []) == (1 in store.contacts)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(all_events()), max_size=8))
def test_doubled_events_change_neither_row_nor_log(events):
    once, _ = through_the_door(events)
    again, _ = through_the_door([event for event in events for _ in range(2)])
    assert [event["type"] for event in once.events] == [event["type"] for event in again.events]
    assert once.saved.get(ID) == again.saved.get(ID)
