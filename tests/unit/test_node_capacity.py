"""What campaigns share on a node: room taken once, breakers that hear the right things, strain without echoes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.engine.campaign_loop import CampaignLoop
from dialer.engine.capacity import Capacity
from dialer.engine.tracker import Tracker
from dialer.pacing.breaker import BreakerState
from dialer.pacing.decide import Binding
from dialer.settings import TrunkSettings
from tests.support.engine_parts import (
    CAMPAIGN,
    PLAN,
    T0,
    FakeClock,
    FakeStore,
    FakeTelephony,
    make_claim,
    make_parts,
)

TWO = replace(
    PLAN,
    trunks=tuple(TrunkSettings(name=name, node="n", host="127.0.0.1") for name in "ab"),
    prefixes={"a": (), "b": ()},
)


class Node:
    """A node's capacity, and attempts that go through their states by hand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.capacity = Capacity(TWO, lambda: self.now)

    def send(self, number: int, trunk: str = "a"):
        attempt = replace(make_claim(number).attempt, trunk=trunk)
        self.capacity.note(None, attempt)
        self.capacity.take(attempt)
        return attempt

    def become(self, before, **change):
        after = replace(before, **change)
        self.capacity.note(before, after)
        return after

    def end(self, before, disposition: str, **change):
        return self.become(before, state=State.ENDED, disposition=Disposition(disposition), **change)

    def breaker(self, trunk: str = "a") -> BreakerState:
        return self.capacity._trunks[trunk].breaker.state

    def signs(self):
        return self.capacity.look(queue=None, lag_s=None, audio_s=None)


@pytest.mark.parametrize(
    ("ending", "state"),
    [
        ({"disposition": "congestion", "tech_cause": 503, "channel_seen": True}, "open"),
        ({"disposition": "trunk_refused", "tech_cause": 403, "channel_seen": True}, "open"),
        ({"disposition": "not_placed", "originate_reason": 0}, "open"),
        ({"disposition": "congestion", "tech_cause": 503, "channel_seen": True, "ringing_at": T0}, "closed"),
        ({"disposition": "busy", "tech_cause": 486, "channel_seen": True}, "closed"),
        ({"disposition": "rejected", "tech_cause": 603, "channel_seen": True}, "closed"),
        ({"disposition": "invalid_number", "tech_cause": 404, "channel_seen": True}, "closed"),
        ({"disposition": "not_placed", "refusal": "no such endpoint"}, "closed"),
        ({"disposition": "returned", "returned": True}, "closed"),
        ({"disposition": "unknown"}, "closed"),
    ],
)
def test_a_breaker_opens_for_the_trunks_own_faults_alone(ending, state):
    node = Node()
    for number in range(8):
        node.end(node.send(number), **ending)
    assert node.breaker("a").value == state
    assert node.breaker("b").value == "closed"
    assert node.capacity.of_trunks("ab", node.now)["b"][0] > 0


def test_an_order_of_which_nothing_is_heard_is_no_sign_of_strain():
    node = Node()
    node.become(node.send(1), state=State.UNCLEAR)
    lost = node.send(2)
    node.now += 60
    assert node.signs().channel_s == 60, "one is waited for"
    node.become(lost, watched=False)
    node.now += 1
    assert node.signs().channel_s is None
    assert node.capacity.of_node(node.now)[Binding.ORDERS_WAITING] == 98, "both may still come"


def test_what_was_heard_minutes_ago_is_no_news():
    node = Node()
    for number, talked_s in ((1, 8), (2, 180)):
        heard_at = T0 + timedelta(seconds=5)
        end = DialogueEnd(
            attempt_id=make_claim().attempt.id, result=FlowResult.COMPLETED, step=None, answers=1,
            at=T0 + timedelta(seconds=5 + talked_s), audio_at=heard_at,
        )  # fmt: skip
        answered = node.become(node.send(number), state=State.ANSWERED, answered_at=T0, channel_seen=True)
        node.become(answered, flow=end, first_audio_at=heard_at)
        assert node.signs().audio_s == (5.0 if talked_s == 8 else None)


def test_slots_and_orders_are_given_back_however_a_call_ends():
    node = Node()
    for number, ending in enumerate(("completed", "not_placed", "returned", "unknown")):
        node.end(node.become(node.send(number), watched=number % 2 == 0), ending)
    report = node.capacity.report(node.signs())
    assert (report["calls"], report["orders_waiting"], report["trunks"][0]["calls"]) == (0, 0, 0)


def campaign(number: int, priority: int, trunk: str):
    capacity = CAMPAIGN.capacity.model_copy(update={"trunks": (CAMPAIGN.capacity.trunks[0].model_copy(
        update={"name": trunk}),)})  # fmt: skip
    return replace(CAMPAIGN, id=number, priority=priority, capacity=capacity)


def test_a_campaign_whose_trunk_is_closed_leaves_the_others_their_turn():
    node, clock = Node(), FakeClock()
    clock.monotonic = lambda: node.now  # type: ignore[method-assign]
    parts = make_parts(FakeStore(), FakeTelephony(), clock)
    tracker = Tracker(parts.store, clock)
    loops = [
        CampaignLoop(one, parts, tracker, node.capacity, lambda: None, lambda: None)
        for one in (campaign(1, 1, "a"), campaign(2, 5, "b"))
    ]
    for loop in loops:
        loop.may_use(100.0, 1e9)
        loop.is_hungry = True
        node.capacity.join(loop.campaign.id, loop.want)
    assert node.capacity.part_of(2, 10) == 0, "the first goes first"
    for number in range(8):
        node.end(node.send(number, "a"), "congestion", tech_cause=503, channel_seen=True)
    assert node.capacity.part_of(2, 10) == 10


def test_a_ramp_begins_with_the_first_call_and_is_one_over_all_nodes():
    node, clock = Node(), FakeClock()
    clock.monotonic = lambda: node.now  # type: ignore[method-assign]
    ramped = replace(CAMPAIGN, capacity=CAMPAIGN.capacity.model_copy(update={"ramp_up": 100}))
    parts = make_parts(FakeStore(), FakeTelephony(), clock)
    loop = CampaignLoop(ramped, parts, Tracker(parts.store, clock), node.capacity, lambda: None, lambda: None)
    loop.may_use(50.0, 1e9)
    node.now += 36_000
    loop._own(node.now)
    assert loop._gate.per_second == 5.0, "a tenth of this node's half, after ten hours outside the window"
