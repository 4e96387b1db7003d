"""Tracker, loop and recovery where timing decides: slow stores, lost answers, calls from before."""

from __future__ import annotations

import asyncio

import pytest

from dialer.calls.attempt import State
from dialer.calls.events import Accepted, Answered, Created, HungUp, Refused, Responded, Ringing, Unclear
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.witness import CelRecord
from dialer.contacts.contact import Leftover
from dialer.engine.campaign_loop import REFUSALS, REFUSED_PAUSE_S, SEND_WITHIN_S, CampaignLoop
from dialer.engine.recovery import Recovery
from dialer.engine.supervisor import Supervisor
from dialer.engine.tracker import Tracker
from dialer.engine.witness import Witness
from dialer.errors import DatabaseAway
from dialer.pacing.decide import Binding
from tests.support.engine_parts import (
    CAMPAIGN,
    T0,
    TERMS,
    FakeClock,
    FakeJournal,
    FakeStore,
    FakeTelephony,
    make_claim,
    make_parts,
)

BUSY = HungUp(at=T0, cause=17, tech_cause=486)


class Rig:
    """An engine's parts, wired as the supervisor wires them."""

    def __init__(self) -> None:
        self.clock, self.store, self.telephony = FakeClock(), FakeStore(), FakeTelephony()
        self.journal = FakeJournal()
        parts = make_parts(self.store, self.telephony, self.clock, self.journal)
        self.tracker = Tracker(self.store, self.clock)
        self.blocked: Binding | None = None
        self.doubts = 0
        self.loop = CampaignLoop(CAMPAIGN, parts, self.tracker, lambda: self.blocked, self.doubt)
        self.witness = Witness(self.store, None, self.clock)
        self.recovery = Recovery(self.store, self.telephony, self.tracker, self.clock, self.witness)

    def doubt(self) -> None:
        self.doubts += 1

    async def turn(self) -> None:
        await self.loop.turn()
        for _ in range(5):
            await asyncio.sleep(0)

    def saved(self, claim):
        return self.store.saved[claim.attempt.id]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def end_of(claim, result=FlowResult.COMPLETED) -> DialogueEnd:
    return DialogueEnd(attempt_id=claim.attempt.id, result=result, step=None, answers=1, at=T0)


# -- the tracker ---------------------------------------------------------------------------------------------------


async def test_nothing_is_settled_while_the_last_verdict_is_being_stored(rig):
    """The run would end, and the retry that the verdict brings would never be made."""
    storing, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        storing.set()
        await go_on.wait()

    rig.store.before_save = slow
    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, BUSY)
    flushing = asyncio.create_task(rig.tracker.flush())
    await storing.wait()
    assert not rig.tracker.is_settled()
    go_on.set()
    await flushing
    assert rig.tracker.is_settled()
    assert rig.store.contacts[1].next_attempt_at is not None


async def test_a_verdict_that_is_not_stored_yet_is_not_taken_for_an_open_attempt(rig):
    async def away() -> None:
        raise DatabaseAway("away")

    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, BUSY)
    rig.store.before_save = away
    with pytest.raises(DatabaseAway):
        await rig.tracker.flush()
    rig.store.left = [Leftover(claim=claim, terms=TERMS)]
    await rig.recovery.adopt()
    await rig.recovery.compare()
    rig.store.before_save = None
    await rig.tracker.flush()
    assert rig.saved(claim).disposition.value == "busy"
    assert [event["type"] for event in rig.store.events] == ["attempt.ended"]


async def test_a_failed_store_keeps_everything_in_order(rig):
    failures = iter([True, False])

    async def first_fails() -> None:
        if next(failures):
            raise DatabaseAway("away")

    rig.store.before_save = first_fails
    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, Accepted(at=T0))
    with pytest.raises(DatabaseAway):
        await rig.tracker.flush()
    rig.tracker.apply(claim.attempt.id, Ringing(at=T0))
    await rig.tracker.flush()
    assert [event["seq"] for event in rig.store.events] == [1, 2]
    assert rig.saved(claim).state is State.RINGING


async def test_a_leftover_that_only_waits_for_its_result_ends_by_itself(rig):
    claim = make_claim(state=State.CLOSING, answered_at=T0, hung_up_at=T0)
    running = asyncio.create_task(rig.tracker.run())
    await asyncio.sleep(0)
    rig.tracker.adopt(claim, TERMS)
    rig.clock.passed_s += 6
    async with asyncio.timeout(5):
        while not rig.tracker.is_settled():
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert rig.saved(claim).disposition.value == "dialogue_error"


async def test_the_verdict_waits_for_the_dialogues_result(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    for event in (Accepted(at=T0), Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)
    await rig.tracker._turn()
    assert rig.saved(claim).state is State.CLOSING
    rig.store.results[claim.attempt.id] = end_of(claim)
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == "completed"


# -- the loop ------------------------------------------------------------------------------------------------------


async def test_a_claim_that_came_too_late_is_given_back_and_nothing_is_sent(rig):
    async def stall() -> None:
        rig.clock.passed_s += SEND_WITHIN_S + 1

    rig.store.due, rig.store.before_claim = [claim := make_claim()], stall
    await rig.turn()
    await rig.tracker.flush()
    assert rig.telephony.orders == []
    assert rig.saved(claim).disposition.value == "returned"
    assert rig.store.contacts[1].next_attempt_at is not None
    assert rig.store.contacts[1].attempts == 0


async def test_nothing_is_sent_that_was_stopped_during_its_claim(rig):
    async def stop() -> None:
        rig.blocked = Binding.DRAINING

    rig.store.due, rig.store.before_claim = [claim := make_claim()], stop
    await rig.turn()
    await rig.tracker.flush()
    assert rig.telephony.orders == []
    assert rig.saved(claim).disposition.value == "returned"


async def test_a_claim_without_an_answer_raises_doubt_and_sends_nothing(rig):
    async def lost() -> None:
        raise DatabaseAway("the answer to COMMIT was lost")

    rig.store.due, rig.store.before_claim = [make_claim()], lost
    await rig.turn()
    assert (rig.doubts, rig.telephony.orders) == (1, [])


async def test_a_row_that_recovery_found_first_is_not_sent(rig):
    claim = make_claim()

    async def recover() -> None:
        rig.tracker.adopt(claim, TERMS)
        rig.tracker.apply(claim.attempt.id, Unclear(at=T0))

    rig.store.due, rig.store.before_claim = [claim], recover
    await rig.turn()
    assert rig.telephony.orders == []


async def test_a_node_that_refuses_everything_does_not_use_the_list_up(rig):
    rig.telephony.answer = lambda order: Refused(at=T0, message="Extension does not exist.")
    rig.store.due = [make_claim(number) for number in range(1, 40)]
    for _ in range(20):
        rig.clock.passed_s += 0.1
        await rig.turn()
    asked = len(rig.telephony.orders)
    assert REFUSALS <= asked < 20
    assert rig.loop.binding is Binding.NODE_REFUSES
    assert rig.loop.refusal == "Extension does not exist."
    rig.clock.passed_s += REFUSED_PAUSE_S
    await rig.turn()
    assert len(rig.telephony.orders) == asked + 1


# -- recovery ------------------------------------------------------------------------------------------------------


def leave(rig, **attempt):
    claim = make_claim(**attempt)
    rig.store.left = [Leftover(claim=claim, terms=TERMS)]
    return claim


async def recovered(rig, claim):
    await rig.recovery.adopt()
    assert await rig.recovery.compare()
    await rig.tracker._turn()
    return rig.store.saved.get(claim.attempt.id)


async def test_a_live_call_from_before_goes_on(rig):
    claim = leave(rig, state=State.ACCEPTED, watched=False)
    rig.telephony.live = {claim.attempt.id: [Created(at=T0), Answered(at=T0)]}
    assert (await recovered(rig, claim)).state is State.ANSWERED


@pytest.mark.parametrize("state", [State.ACCEPTED, State.RINGING])
async def test_a_placed_call_that_is_gone_is_unknown_and_held(rig, state):
    claim = leave(rig, state=state, watched=False)
    assert (await recovered(rig, claim)).disposition.value == "unknown"
    assert rig.store.contacts[1].on_hold


@pytest.mark.parametrize("state", [State.SUBMITTING, State.UNCLEAR])
async def test_a_call_that_may_still_begin_keeps_its_number(rig, state):
    """Promise 1: at the latest until ring limit, longest call and a minute."""
    claim = leave(rig, state=state, watched=False)
    assert await recovered(rig, claim) is None
    rig.clock.passed_s += TERMS.longest_s + 30
    await rig.recovery.sweep()
    await rig.recovery.sweep()
    assert rig.tracker.open_attempts
    rig.clock.passed_s += 60
    await rig.recovery.sweep()
    await rig.recovery.sweep()
    await rig.tracker.flush()
    assert rig.saved(claim).disposition.value == "unknown"


@pytest.mark.parametrize("state", [State.SUBMITTING, State.ACCEPTED, State.ANSWERED])
async def test_a_dialogue_that_has_a_result_tells_how_the_call_went(rig, state):
    claim = leave(rig, state=state, watched=False, answered_at=T0 if state is State.ANSWERED else None)
    rig.store.results[claim.attempt.id] = end_of(claim)
    assert (await recovered(rig, claim)).disposition.value == "completed"


@pytest.mark.parametrize(
    ("state", "seen", "expected"),
    [
        (State.SUBMITTING, "CHAN_START HANGUP-17", "busy"),
        (State.UNCLEAR, "CHAN_START HANGUP-1", "invalid_number"),
        (State.ACCEPTED, "CHAN_START HANGUP-34", "congestion"),
        (State.RINGING, "CHAN_START", "unknown"),
        (State.SUBMITTING, "CHAN_START", "unknown"),
        (State.RINGING, "CHAN_START ANSWER HANGUP-16", "dialogue_error"),
    ],
)
async def test_the_nodes_own_record_tells_what_no_event_told(rig, state, seen, expected):
    claim = leave(rig, state=state, watched=False)
    for offset, word in enumerate(seen.split()):
        kind, _, cause = word.partition("-")
        rig.store.cel.setdefault(claim.attempt.id, []).append(
            CelRecord(inode=1, offset=offset, attempt_id=claim.attempt.id, kind=kind, at=T0, digit=None,
                      cause=int(cause) if cause else None)
        )  # fmt: skip
    await recovered(rig, claim)
    rig.clock.passed_s += 6
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == expected


async def test_a_node_that_does_not_answer_is_asked_again(rig):
    claim = leave(rig, state=State.RINGING, watched=False)
    rig.telephony.live = None
    await rig.recovery.adopt()
    assert not await rig.recovery.compare()
    assert rig.tracker.open_attempts
    rig.telephony.live = {}
    assert (await recovered(rig, claim)).disposition.value == "unknown"


async def test_a_missed_end_is_found_by_two_sweeps(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, Created(at=T0))
    rig.clock.passed_s += 11
    await rig.recovery.sweep()
    assert rig.tracker.open_attempts
    await rig.recovery.sweep()
    await rig.tracker.flush()
    assert rig.saved(claim).disposition.value == "unknown"


async def test_what_failed_unseen_is_not_called_not_placed(rig):
    """The link was down when the channel was made; its failure must not bring an uncounted redial."""
    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, Accepted(at=T0))
    rig.tracker.look_away()
    rig.tracker.apply(claim.attempt.id, Responded(at=T0, success=False, reason=0))
    rig.clock.passed_s += 5
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == "unknown"


# -- the whole -----------------------------------------------------------------------------------------------------


async def test_a_run_ends_when_everybody_has_a_verdict():
    store, telephony, clock = FakeStore(due=[make_claim(n) for n in range(1, 6)]), FakeTelephony(), FakeClock()
    telephony.answer = lambda order: Refused(at=T0, message="")

    async def yes() -> bool:
        return True

    async def nothing(revision_id: int) -> None:
        return None

    supervisor = Supervisor(make_parts(store, telephony, clock), yes, nothing)
    await asyncio.wait_for(supervisor.run([1]), 20)
    assert supervisor.progress(1).dispositions == {"not_placed": 5}
    assert store.reported[1]["dispositions"] == {"not_placed": 5}
    assert len(telephony.orders) == 5
