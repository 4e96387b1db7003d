"""`menu`: a choice that leads to a step; its tries are stored, an answer is not."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps import question
from agi.steps.outcome import GoTo, LeftOpen, Outcome
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """Goes on at the chosen step; after the last try at `otherwise`."""
    assert step.menu is not None
    given = await question.put(name, step, step.menu, visit, talk)
    if given is None:
        return GoTo(step=step.otherwise) if step.otherwise else LeftOpen()
    talk.chosen(name, visit, given.try_no, given.keys, given.value)
    if step.complete:
        talk.complete()
    return GoTo(step=given.value)
