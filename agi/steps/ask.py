"""`ask`: a question answered on the keypad; the answer is stored."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps import question
from agi.steps.outcome import GoTo, LeftOpen, Outcome
from dialer.campaign import flow
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """Goes on by the answer; after the last try to `otherwise`."""
    assert step.ask is not None
    given = await question.put(name, step, step.ask, visit, talk)
    if given is None:
        return GoTo(step=step.otherwise) if step.otherwise else LeftOpen()
    talk.answered(name, visit, given.try_no, given.keys, given.value)
    if step.complete:
        talk.complete()
    return GoTo(step=flow.successor(talk.dialogue.campaign, name, given.value))
