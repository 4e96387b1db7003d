"""Tracker, loop and recovery where timing decides: slow stores, lost answers, calls from before."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.calls.events import Accepted, Answered, Created, GaveUp, HungUp, Refused, Responded, Ringing, Unclear
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.calls.witness import CelRecord
from dialer.campaign.running import Wanted, WantedRun
from dialer.contacts.contact import Leftover
from dialer.engine.campaign_loop import REFUSALS, REFUSED_PAUSE_S, SEND_WITHIN_S, CampaignLoop
from dialer.engine.campaign_run import CampaignRun
from dialer.engine.capacity import Capacity
from dialer.engine.recovery import Recovery
from dialer.engine.supervisor import HIRE_AFTER, Supervisor
from dialer.engine.tracker import Ended, Tracker
from dialer.engine.witness import Witness
from dialer.errors import DatabaseAway, Fenced, RestoredDatabase
from dialer.pacing.decide import Binding
from tests.support.engine_parts import (
    BOOT,
    CAMPAIGN,
    PLAN,
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
        self.capacity = Capacity(PLAN, self.clock.monotonic)
        self.tracker.changed.append(self.capacity.note)
        self.loop = CampaignLoop(CAMPAIGN, parts, self.tracker, self.capacity, lambda: self.blocked, self.doubt)
        self.tracker.changed.append(self.loop.note)
        self.loop.may_use(CAMPAIGN.calls_per_second, 1e9)
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


async def test_a_call_that_was_asked_for_is_due_then_and_says_so(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    wanted = T0 + timedelta(hours=5)
    rig.store.results[claim.attempt.id] = replace(end_of(claim, FlowResult.PARTIAL), callback_at=wanted)
    for event in (Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)
    await rig.tracker._turn()
    change = rig.store.contacts[1]
    assert (change.next_attempt_at, change.next_number, change.waits_for) == (wanted, claim.attempt.number, "callback")
    assert rig.store.events[-1]["payload"]["waits_for"] == "callback"


async def test_who_opted_out_in_the_call_is_closed(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.store.results[claim.attempt.id] = replace(end_of(claim, FlowResult.PARTIAL), opted_out=True)
    for event in (Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)
    await rig.tracker._turn()
    assert (rig.store.contacts[1].closed_as, rig.store.contacts[1].next_attempt_at) == ("partial", None)


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


async def test_the_log_says_when_a_call_was_hung_up_and_whether_we_gave_up(rig):
    claims = [make_claim(), make_claim(), make_claim()]
    for claim in claims:
        rig.tracker.adopt(claim, TERMS)
    rang_out, declined, answered = (claim.attempt.id for claim in claims)
    gone = HungUp(at=T0 - timedelta(seconds=9), cause=19, tech_cause=480)
    for attempt_id, reason in ((rang_out, 3), (declined, 0)):
        rig.tracker.apply(attempt_id, Responded(at=T0, success=False, reason=reason))
        rig.tracker.apply(attempt_id, gone)
    for event in (Responded(at=T0, success=False, reason=3), Answered(at=T0), gone, GaveUp(at=T0)):
        rig.tracker.apply(answered, event)
    await rig.tracker.flush()
    told = [(one["subject_id"], one["payload"]) for one in rig.store.events if one["type"] == "attempt.ended"]
    assert [(subject, payload["reason"]) for subject, payload in told] == [
        (str(rang_out), "ring_limit"), (str(declined), None), (str(answered), None),
    ]  # fmt: skip
    assert {payload["hung_up_at"] for _, payload in told} == {gone.at.isoformat()}


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


async def test_nothing_is_sent_that_the_journal_does_not_hold(rig):
    rig.store.due, rig.journal.full = [claim := make_claim()], True
    await rig.turn()
    await rig.tracker.flush()
    assert not rig.telephony.orders
    assert rig.saved(claim).disposition.value == "returned"
    assert rig.loop.binding is Binding.DISK_FULL


async def test_the_journal_holds_a_call_before_it_is_sent(rig):
    rig.store.due = [claim := make_claim()]
    rig.telephony.answer = lambda order: Accepted(at=T0) if rig.journal.noted == [order.attempt_id] else Unclear(at=T0)
    await rig.turn()
    assert [attempt.state for attempt in rig.tracker.open_attempts] == [State.ACCEPTED]
    assert rig.journal.noted == [claim.attempt.id]


async def test_nothing_is_sent_to_another_boot_than_it_was_claimed_for(rig):
    rig.store.due = [claim := make_claim(boot="boot-0")]
    await rig.turn()
    await rig.tracker.flush()
    assert not rig.telephony.orders
    assert rig.saved(claim).disposition.value == "returned"


async def test_an_engine_that_lost_its_node_ends_and_does_not_go_on_storing(rig):
    async def fenced() -> None:
        raise Fenced("taken")

    rig.tracker.adopt(claim := make_claim(), TERMS)
    rig.tracker.apply(claim.attempt.id, Created(at=T0))
    rig.store.before_save = fenced
    with pytest.raises(Fenced):
        await rig.tracker.run()
    rig.store.before_save, rig.store.before_claim, rig.store.due = None, fenced, [make_claim(2)]
    with pytest.raises(Fenced):
        await rig.loop.turn()


async def test_the_verdict_waits_for_rows_that_this_host_has_not_stored_yet(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    for event in (Created(at=T0), Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)
    rig.store.kept_back = {claim.attempt.id}
    rig.clock.passed_s += 60
    await rig.tracker._turn()
    assert rig.tracker.open_attempts
    rig.store.kept_back, rig.store.results[claim.attempt.id] = set(), end_of(claim)
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == "completed"


async def test_rows_that_never_come_hold_a_verdict_up_for_a_call_and_a_minute_at_most(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    for event in (Created(at=T0), Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)
    rig.store.kept_back = {claim.attempt.id}
    rig.clock.passed_s += TERMS.longest_s + 66
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == "dialogue_error"


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


def let_the_record_be_complete(rig):
    async def complete(mark, within_s):
        return True

    rig.witness.complete = complete


@pytest.mark.parametrize(
    ("boot", "state", "expected"),
    [
        (BOOT, State.SUBMITTING, "not_placed"),
        (BOOT, State.UNCLEAR, "not_placed"),
        (BOOT, State.ACCEPTED, "not_placed"),
        # Its Asterisk is gone: whatever it did, nobody can say, but nothing more can come.
        ("boot-0", State.UNCLEAR, "unknown"),
        # It is not known with which run of Asterisk it was: it keeps its number.
        ("", State.UNCLEAR, None),
    ],
)
async def test_silence_proves_something_only_within_one_boot_and_a_complete_record(rig, boot, state, expected):
    let_the_record_be_complete(rig)
    claim = leave(rig, state=state, watched=False, boot=boot)
    found = await recovered(rig, claim)
    assert (found and found.disposition.value) == expected


async def test_silence_proves_nothing_while_the_record_is_not_known_to_be_complete(rig):
    claim = leave(rig, state=State.UNCLEAR, watched=False)
    assert await recovered(rig, claim) is None


async def test_silence_proves_nothing_of_calls_from_before_a_full_disk(rig):
    let_the_record_be_complete(rig)
    claim = leave(rig, state=State.UNCLEAR, watched=False)
    rig.recovery.distrust_record()
    assert await recovered(rig, claim) is None


async def test_a_call_whose_channel_was_seen_is_never_taken_for_not_placed(rig):
    let_the_record_be_complete(rig)
    claim = leave(rig, state=State.RINGING, watched=False, channel_seen=True)
    assert (await recovered(rig, claim)).disposition.value == "unknown"


@pytest.mark.parametrize("in_spool", [False, True])
async def test_a_dialogue_proves_the_answer_that_the_record_lacks(rig, in_spool):
    claim = leave(rig, state=State.RINGING, watched=False)
    rig.store.cel[claim.attempt.id] = [
        CelRecord(inode=1, offset=0, attempt_id=claim.attempt.id, kind=kind, at=T0, digit=None, cause=16)
        for kind in ("CHAN_START", "HANGUP")
    ]
    if in_spool:
        rig.store.kept_back = {claim.attempt.id}
        assert (await recovered(rig, claim)).state is State.CLOSING
        rig.store.kept_back = set()
    rig.store.results[claim.attempt.id] = end_of(claim)
    await recovered(rig, claim)
    assert rig.saved(claim).disposition.value == "completed"


async def test_a_node_that_does_not_answer_is_asked_again(rig):
    claim = leave(rig, state=State.RINGING, watched=False)
    rig.telephony.live = None
    await rig.recovery.adopt()
    assert not await rig.recovery.compare()
    assert rig.tracker.open_attempts
    rig.telephony.live = {}
    assert (await recovered(rig, claim)).disposition.value == "unknown"


async def test_a_row_that_was_read_before_its_verdict_was_stored_is_not_taken_up_again(rig):
    claim = make_claim()
    rig.tracker.adopt(claim, TERMS)
    rig.tracker.apply(claim.attempt.id, BUSY)
    await rig.tracker.flush()
    assert rig.saved(claim).disposition.value == "busy"
    rig.store.left = [Leftover(claim=claim, terms=TERMS)]
    await rig.recovery.adopt()
    assert not rig.tracker.open_attempts


async def test_a_claim_that_came_to_the_database_late_is_found_by_a_sweep(rig):
    rig.store.left = [Leftover(claim=make_claim(boot="boot-0"), terms=TERMS)]
    await rig.recovery.sweep()
    assert not rig.tracker.open_attempts, "it may be on its way to the tracker"
    rig.clock.passed_s += 61
    await rig.recovery.sweep()
    assert rig.tracker.open_attempts


async def test_the_time_that_the_database_was_away_is_no_patience_lost(rig):
    rig.tracker.adopt(claim := make_claim(), TERMS)
    for event in (Created(at=T0), Answered(at=T0), HungUp(at=T0, cause=16, tech_cause=None)):
        rig.tracker.apply(claim.attempt.id, event)

    async def away(attempt_ids: object) -> list[DialogueEnd]:
        raise DatabaseAway("gone")

    here, rig.store.flow_results = rig.store.flow_results, away
    rig.clock.passed_s += 500
    await rig.tracker._turn()
    rig.store.flow_results = here
    await rig.tracker._turn()
    assert rig.tracker.open_attempts, "the workers get their seconds to bring what they kept"
    rig.store.results[claim.attempt.id] = end_of(claim)
    await rig.tracker._turn()
    assert rig.saved(claim).disposition.value == "completed"


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
    rig.clock.passed_s += 15
    await rig.tracker._turn()
    assert rig.tracker.open_attempts, "the node and its record are asked first"
    await rig.recovery.compare()
    await rig.tracker.flush()
    assert rig.saved(claim).disposition.value == "unknown"


# -- the whole -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Well:
    first_prompt_s: float = 0.0
    lag_s: float = 0.0


async def yes() -> Well:
    return Well()


async def nothing(revision_id: int) -> None:
    return None


class Whole:
    """A supervisor over fakes."""

    def __init__(self, people: int) -> None:
        self.store = FakeStore(due=[make_claim(n) for n in range(1, people + 1)])
        self.telephony, self.clock = FakeTelephony(), FakeClock()
        self.full = ""
        self.parts = make_parts(self.store, self.telephony, self.clock)
        self.supervisor = Supervisor(self.parts, PLAN, yes, nothing, lambda: self.full)

    async def run(self) -> None:
        await asyncio.wait_for(self.supervisor.run([1]), 20)

    async def until(self, look) -> None:
        async with asyncio.timeout(20):
            while not look():
                await asyncio.sleep(0.01)


async def test_a_run_ends_when_everybody_has_a_verdict():
    whole = Whole(5)
    whole.telephony.answer = lambda order: Refused(at=T0, message="")
    await whole.run()
    assert whole.supervisor.progress(1).dispositions == {"not_placed": 5}
    assert whole.store.reported[1]["dispositions"] == {"not_placed": 5}
    assert whole.store.wanted is Wanted.IDLE
    assert len(whole.telephony.orders) == 5


async def test_a_run_is_not_over_while_calls_go_on_through_another_node():
    """Their verdicts may make people due again, and this node's engine may be the one to call them."""
    whole = Whole(1)
    whole.telephony.answer = lambda order: Refused(at=T0, message="")
    whole.store.elsewhere = 3
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.store.saved and whole.supervisor.tracker.is_settled())
    whole.clock.passed_s += 100
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert whole.store.wanted is Wanted.RUNNING
    whole.store.elsewhere = 0
    await running
    assert whole.store.wanted is Wanted.IDLE


async def test_a_hangup_after_an_answer_that_nobody_saw_waits_until_the_record_was_asked():
    """The restart fell into the call, its end into the fence: by itself the hangup looks like a call nobody took."""
    whole = Whole(0)
    claim = make_claim(state=State.RINGING, ringing_at=T0, channel_seen=True, watched=False)
    whole.store.left = [Leftover(claim=claim, terms=TERMS)]
    whole.store.results[claim.attempt.id] = end_of(claim)
    whole.store.cel[claim.attempt.id] = [
        CelRecord(inode=1, offset=place, attempt_id=claim.attempt.id, kind=kind, at=T0, digit=None, cause=16)
        for place, kind in enumerate(("CHAN_START", "ANSWER", "HANGUP"))
    ]
    messages = [[(claim.attempt.id, HungUp(at=T0, cause=16, tech_cause=None))]]

    async def next_events():
        return messages.pop() if messages else await asyncio.Event().wait()

    whole.telephony.next_events = next_events
    await whole.run()
    assert whole.store.saved[claim.attempt.id].disposition.value == "completed"


async def test_a_paused_campaign_calls_nobody_until_it_is_resumed():
    whole = Whole(3)
    whole.telephony.answer = lambda order: Refused(at=T0, message="")
    whole.store.wanted = Wanted.PAUSED
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: (found := whole.supervisor.progress(1)) and found.binding is Binding.PAUSED)
    assert not whole.telephony.orders
    assert not running.done()
    whole.store.wanted = Wanted.RUNNING
    await running
    assert len(whole.telephony.orders) == 3


async def test_a_stopped_campaign_hangs_its_live_calls_up():
    whole = Whole(1)
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.telephony.orders)
    attempt_id = whole.telephony.orders[0].attempt_id
    whole.supervisor.tracker.apply(attempt_id, Ringing(at=T0))
    whole.store.wanted = Wanted.STOPPING
    await whole.until(lambda: whole.telephony.hung_up)
    whole.supervisor.tracker.apply(attempt_id, HungUp(at=T0, cause=0, tech_cause=None))
    await running
    assert set(whole.telephony.hung_up) == {attempt_id}
    assert whole.store.saved[attempt_id].disposition.value == "cancelled"
    assert whole.supervisor.progress(1).drained


async def test_nobody_is_called_while_a_disk_is_full():
    whole = Whole(1)
    whole.full = "the disk of x is full"
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: (found := whole.supervisor.progress(1)) and found.binding is Binding.DISK_FULL)
    assert not whole.telephony.orders
    whole.full = ""
    whole.telephony.answer = lambda order: Refused(at=T0, message="")
    await running
    assert len(whole.telephony.orders) == 1


async def test_a_campaign_that_somebody_made_idle_under_a_live_engine_is_drained():
    """They took the engine for dead, and wrote that nobody dials it."""
    whole = Whole(0)
    whole.store.wanted = Wanted.PAUSED
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.supervisor.campaigns)
    whole.store.wanted = Wanted.IDLE
    await running
    assert whole.supervisor.progress(1).drained


async def test_a_drain_before_the_campaign_has_begun_here_is_not_forgotten():
    whole = Whole(3)
    whole.supervisor.drain_campaign(1)
    await whole.run()
    assert not whole.telephony.orders
    assert whole.store.wanted is Wanted.IDLE


async def test_an_engine_that_is_told_to_end_does_not_wait_for_a_paused_campaign():
    whole = Whole(3)
    whole.store.wanted = Wanted.PAUSED
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.supervisor.campaigns)
    whole.supervisor.drain()
    await running
    assert whole.store.wanted is Wanted.PAUSED, "the order stands for the next engine"


async def test_a_takeover_of_a_draining_campaign_settles_what_the_dead_engine_left():
    whole = Whole(0)
    claim = make_claim(state=State.RINGING, watched=False)
    whole.store.left, whole.store.wanted = [Leftover(claim=claim, terms=TERMS)], Wanted.STOPPING
    whole.telephony.live = {claim.attempt.id: [Created(at=T0), Ringing(at=T0)]}
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.telephony.hung_up)
    assert whole.supervisor.leaves_calls
    whole.supervisor.tracker.apply(claim.attempt.id, HungUp(at=T0, cause=16, tech_cause=None))
    await running
    assert whole.store.saved[claim.attempt.id].disposition is not None


async def test_a_campaign_whose_trunk_is_not_allowed_here_is_refused():
    whole = Whole(3)
    whole.supervisor._node_plan = replace(PLAN, trunks=(PLAN.trunks[0].model_copy(update={"name": "b"}),))
    await whole.run()
    assert not whole.telephony.orders
    assert whole.store.wanted is Wanted.IDLE
    assert "none of its trunks: a" in whole.store.paused_because


async def test_a_campaign_that_would_show_a_number_of_somebody_elses_is_refused():
    whole = Whole(3)
    whole.supervisor._node_plan = replace(PLAN, may_show=lambda number, trunk: number != CAMPAIGN.capacity.caller_id)
    await whole.run()
    assert not whole.telephony.orders
    assert whole.store.wanted is Wanted.IDLE
    assert "do not own +48221234567" in whole.store.paused_because


async def test_no_hours_at_all_are_refused_where_calls_leave_the_machine():
    whole = Whole(3)
    whole.supervisor._node_plan = replace(PLAN, trunks=(PLAN.trunks[0].model_copy(update={"host": "192.0.2.1"}),))
    whole.store.campaign = replace(CAMPAIGN, at_any_hour=True)
    await whole.run()
    assert not whole.telephony.orders
    assert whole.store.wanted is Wanted.IDLE
    assert "at any hour" in whole.store.paused_because


async def test_a_campaign_of_silent_calls_pauses_itself_and_stays_so_while_that_cannot_be_stored():
    whole = Whole(0)
    run = CampaignRun(
        WantedRun(campaign=CAMPAIGN, wanted=Wanted.RUNNING), whole.parts, whole.supervisor.tracker,
        whole.supervisor._capacity, lambda: None, lambda: None, lambda: False,
    )  # fmt: skip
    calls = [make_claim(n, answered_at=T0, hung_up_at=T0 + timedelta(seconds=9)).attempt for n in range(40)]
    heard = [replace(one, first_audio_at=T0 + timedelta(seconds=1)) for one in calls]
    for one in (*heard[:18], *calls[:1]):
        run.count(Ended(attempt=one, disposition=Disposition.COMPLETED, change=None))
    await run._pause_if_silent()
    assert run._blocked() is None, "nineteen answered calls say too little"

    async def away() -> None:
        raise DatabaseAway("away")

    whole.store.before_pause = away
    for one in calls[1:3]:
        run.count(Ended(attempt=one, disposition=Disposition.HUNG_UP, change=None))
    await run._pause_if_silent()
    run.want(WantedRun(campaign=CAMPAIGN, wanted=Wanted.RUNNING))
    assert run._blocked() is Binding.PAUSED, "3 of 21 were silent, whatever the database says"
    whole.store.before_pause = None
    await run._pause_if_silent()
    assert whole.store.paused_because == "3 of the last 21 answered calls were silent, at most 5% may be"
    run.want(WantedRun(campaign=CAMPAIGN, wanted=Wanted.PAUSED))
    run.want(WantedRun(campaign=CAMPAIGN, wanted=Wanted.RUNNING))
    assert run._blocked() is None, "an operator let it go on"


async def test_workers_are_started_again_when_none_answer_for_a_while():
    whole, hired, answers = Whole(0), [], [True]

    async def answer() -> Well | None:
        return Well() if answers[-1] else None

    whole.store.wanted = Wanted.PAUSED
    whole.supervisor = Supervisor(
        whole.parts, PLAN, answer, nothing, hire=lambda: (hired.append(1), answers.append(True))
    )
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.supervisor.campaigns)
    answers.append(False)
    for _ in range(HIRE_AFTER):
        assert not hired
        await whole.supervisor._look_around()
    assert hired
    whole.store.wanted = Wanted.IDLE
    await running


async def test_an_engine_whose_lease_another_took_ends_with_that_reason():
    whole = Whole(0)
    whole.store.wanted = Wanted.PAUSED
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.supervisor.progress(1))

    async def taken() -> float:
        raise Fenced("taken")

    whole.store.hold_node = taken
    with pytest.raises(Fenced):
        await running


async def test_an_engine_under_which_the_database_was_put_back_ends():
    whole = Whole(0)
    whole.store.wanted = Wanted.PAUSED
    running = asyncio.create_task(whole.run())
    await whole.until(lambda: whole.supervisor._recovered)

    async def away() -> float:
        whole.store.lost = "the database lacks 3 calls"
        raise DatabaseAway("restarting")

    whole.store.hold_node = away
    with pytest.raises(RestoredDatabase, match="lacks 3 calls"):
        await running


async def test_an_engine_does_not_start_on_a_database_that_forgot_calls():
    whole = Whole(1)

    async def unknown() -> list[object]:
        return [make_claim().attempt.id]

    whole.supervisor._witness.unknown_calls = unknown
    with pytest.raises(RestoredDatabase, match="restore-reconcile"):
        await whole.run()
    assert not whole.telephony.orders
