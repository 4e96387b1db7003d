"""What `ask` and `menu` share: put the question, judge the keys, say what was wrong, put it again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agi.conversation import Conversation
from agi.ports import EndedBy, Pressed
from dialer.calls.results import Try, TryOutcome
from dialer.campaign import flow
from dialer.campaign.model import Prompt, Step

DEFAULT_TIMEOUT_S = 5
DEFAULT_TRIES = 3

LATE_HASH_S = 2.0
"""People end every number with #. After an input that ended by itself it arrives here, at the next question."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """Accepted keys, the campaign's word for them, and when they came."""

    keys: str
    value: str
    try_no: int
    at: datetime


async def put(name: str, step: Step, prompt: Prompt, visit: int, talk: Conversation) -> Given | None:
    """Asks until keys are accepted; None when the tries ran out. Every try is noted."""
    tries = step.tries or DEFAULT_TRIES
    for try_no in range(1, tries + 1):
        known = talk.recall(name, visit, try_no)
        pressed = await _listen(step, prompt, talk) if known is None else _pressed_before(step, known)
        talk.hash_may_follow = pressed.ended_by is EndedBy.FULL
        outcome, value = judge(step, pressed)
        talk.tried(name, visit, try_no, _as_pressed(pressed), outcome)
        if value is not None:
            at = known.at if known is not None else talk.clock.now()
            return Given(keys=pressed.digits or "#", value=value, try_no=try_no, at=at)
        correction = step.on_silence if outcome is TryOutcome.SILENCE else step.on_wrong
        if correction is not None and try_no < tries:
            await talk.say(correction)
    return None


async def _listen(step: Step, prompt: Prompt, talk: Conversation) -> Pressed:
    _, most = flow.digit_counts(step)
    timeout_s = step.timeout or DEFAULT_TIMEOUT_S
    started = talk.clock.monotonic()
    pressed = await talk.ask(prompt, most, timeout_s)
    late = (
        talk.hash_may_follow
        and _as_pressed(pressed) == "#"
        and "#" not in (step.keys or {})
        and talk.clock.monotonic() - started < LATE_HASH_S
    )
    if late:
        # It ended the answer before, so it is no try at this question, which the person has not heard yet.
        pressed = await talk.ask(prompt, most, timeout_s)
    return pressed


def _pressed_before(step: Step, known: Try) -> Pressed:
    """The keys of a stored try, as they were heard."""
    digits = known.keys.removesuffix("#")
    if digits != known.keys:
        return Pressed(digits=digits, ended_by=EndedBy.HASH)
    _, most = flow.digit_counts(step)
    return Pressed(digits=digits, ended_by=EndedBy.FULL if len(digits) >= most else EndedBy.TIMEOUT)


def _as_pressed(pressed: Pressed) -> str:
    return pressed.digits + ("#" if pressed.ended_by is EndedBy.HASH else "")


def judge(step: Step, pressed: Pressed) -> tuple[TryOutcome, str | None]:
    """What keys are worth at a question: accepted, with the campaign's word for them, or why not."""
    if not pressed.digits and pressed.ended_by is EndedBy.TIMEOUT:
        return TryOutcome.SILENCE, None
    return _judge_keys(step.keys, pressed) if step.keys is not None else _judge_digits(step, pressed)


def _judge_keys(keys: dict[str, str], pressed: Pressed) -> tuple[TryOutcome, str | None]:
    typed = pressed.digits or "#"
    if typed in keys:
        return TryOutcome.ACCEPTED, keys[typed]
    if any(key.startswith(typed) for key in keys):
        return TryOutcome.TOO_SHORT, None
    return TryOutcome.NOT_ALLOWED, None


def _judge_digits(step: Step, pressed: Pressed) -> tuple[TryOutcome, str | None]:
    fewest, _ = flow.digit_counts(step)
    if pressed.digits.strip("0123456789"):
        # A star, or one of the keys A to D that some telephones have.
        return TryOutcome.NOT_ALLOWED, None
    if len(pressed.digits) < fewest:
        return TryOutcome.TOO_SHORT, None
    value = flow.number_answer(step, pressed.digits)
    return (TryOutcome.OUT_OF_RANGE if value is None else TryOutcome.ACCEPTED), value
