"""The states of an attempt, one pure function a state; `docs/attempt-states.md` holds the picture.

An event that a state does not list changes nothing: late, doubled and reordered AMI messages are normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Facts, verdict
from dialer.calls.events import (
    Accepted,
    Answered,
    CallEvent,
    Cancelled,
    Created,
    FlowEnded,
    GaveUp,
    HungUp,
    Refused,
    Responded,
    Returned,
    Ringing,
    Unclear,
    Unplaced,
    Unwatched,
    Vanished,
)

RING_LIMIT_CAUSE = 19
"""Q.850 "no answer": the remote side's 480 and our own ring limit both end with it; only the reason tells."""


def advance(attempt: Attempt, event: CallEvent, now: datetime) -> Attempt:
    """The attempt after an event; the same object when the event means nothing in its state."""
    if isinstance(event, Unwatched) and attempt.watched and attempt.state is not State.ENDED:
        return replace(attempt, watched=False)
    after = _STEPS[attempt.state](attempt, event)
    if after.state is State.ENDED and after is not attempt:
        return replace(after, ended_at=now, hung_up_at=after.hung_up_at or now)
    return after


def waits_for(attempt: Attempt) -> str | None:
    """What a verdict on a gone channel still needs: `flow_result`, `reason`, or nothing."""
    if attempt.answered_at is not None:
        return None if attempt.flow else "flow_result"
    if attempt.cause == RING_LIMIT_CAUSE and attempt.originate_reason is None:
        return "reason"
    return None


def _placing(attempt: Attempt, event: CallEvent) -> Attempt:
    """Submitting, unclear, accepted and ringing: everything before an answer."""
    match event:
        case Created(at=at):
            state = State.RINGING if attempt.state is State.RINGING else State.ACCEPTED
            return replace(attempt, state=state, accepted_at=attempt.accepted_at or at, channel_seen=True)
        case Ringing(at=at):
            return replace(attempt, state=State.RINGING, ringing_at=attempt.ringing_at or at, channel_seen=True)
        case Answered(at=at):
            return replace(attempt, state=State.ANSWERED, answered_at=at, channel_seen=True)
        case Responded(at=at, success=True):
            return replace(
                attempt, state=State.ANSWERED, answered_at=at, originate_reason=event.reason, channel_seen=True
            )  # fmt: skip
        case Responded(success=False):
            # The channel may still be there; its Hangup, or the engine's patience, closes the attempt.
            return replace(attempt, originate_reason=event.reason)
        case Cancelled() if not attempt.cancelled:
            return replace(attempt, cancelled=True)
        case HungUp():
            return _hang_up(attempt, event)
        case Unplaced() if not attempt.channel_seen:
            return _end(replace(attempt, unplaced=True))
        case GaveUp() | Vanished():
            return _end(attempt)
    return attempt


def _submitting(attempt: Attempt, event: CallEvent) -> Attempt:
    match event:
        case Accepted(at=at):
            return replace(attempt, state=State.ACCEPTED, accepted_at=at)
        case Unclear() if attempt.state is State.SUBMITTING:
            return replace(attempt, state=State.UNCLEAR)
        case Refused(message=message):
            return _end(replace(attempt, refusal=message))
        case Returned() if attempt.state is State.SUBMITTING:
            return _end(replace(attempt, returned=True))
    return _placing(attempt, event)


def _ringing(attempt: Attempt, event: CallEvent) -> Attempt:
    return attempt if isinstance(event, Ringing) else _placing(attempt, event)


def _answered(attempt: Attempt, event: CallEvent) -> Attempt:
    match event:
        case HungUp():
            return _hang_up(attempt, event)
        case Responded() if attempt.originate_reason is None:
            return replace(attempt, originate_reason=event.reason)
        case FlowEnded(end=end):
            return replace(attempt, flow=end, first_audio_at=end.audio_at)
        case Vanished(at=at):
            return _end_if_complete(replace(attempt, state=State.CLOSING, hung_up_at=at))
    return attempt


def _closing(attempt: Attempt, event: CallEvent) -> Attempt:
    match event:
        case FlowEnded(end=end):
            return _end_if_complete(replace(attempt, flow=end, first_audio_at=end.audio_at))
        case Responded() if attempt.originate_reason is None:
            return _end_if_complete(replace(attempt, originate_reason=event.reason))
        case GaveUp():
            return _end(attempt)
    return attempt


def _ended(attempt: Attempt, _event: CallEvent) -> Attempt:
    return attempt


def _hang_up(attempt: Attempt, event: HungUp) -> Attempt:
    gone = replace(
        attempt, state=State.CLOSING, hung_up_at=event.at, cause=event.cause, tech_cause=event.tech_cause,
        channel_seen=True,
    )  # fmt: skip
    return _end_if_complete(gone)


def _end_if_complete(attempt: Attempt) -> Attempt:
    return attempt if waits_for(attempt) else _end(attempt)


def _end(attempt: Attempt) -> Attempt:
    """The one way an attempt ends."""
    facts = Facts(
        refused=attempt.refusal is not None,
        returned=attempt.returned,
        unplaced=attempt.unplaced,
        cancelled=attempt.cancelled,
        channel_seen=attempt.channel_seen,
        watched=attempt.watched,
        answered=attempt.answered_at is not None,
        rang=attempt.ringing_at is not None,
        flow=attempt.flow.result if attempt.flow else None,
        answers=attempt.flow.answers if attempt.flow else 0,
        originate_reason=attempt.originate_reason,
        tech_cause=attempt.tech_cause,
        cause=attempt.cause,
    )
    return replace(attempt, state=State.ENDED, disposition=verdict(facts))


_STEPS: dict[State, Callable[[Attempt, CallEvent], Attempt]] = {
    State.SUBMITTING: _submitting,
    State.UNCLEAR: _submitting,
    State.ACCEPTED: _placing,
    State.RINGING: _ringing,
    State.ANSWERED: _answered,
    State.CLOSING: _closing,
    State.ENDED: _ended,
}
