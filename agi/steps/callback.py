"""`callback`: the person wants to be called again, after a while or at a time that they type."""

from __future__ import annotations

from datetime import timedelta

from agi.conversation import Conversation
from agi.steps import question
from agi.steps.outcome import GoTo, LeftOpen, Outcome
from dialer.campaign import flow, moments
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """With `after` the moment holds from the prompt's first word; a typed time is an answer, by the callee's clock."""
    assert step.callback is not None
    if step.after is not None:
        talk.call_again(talk.clock.now() + timedelta(seconds=step.after))
        await talk.say(step.callback)
        return GoTo(step=flow.successor(talk.dialogue.campaign, name))
    given = await question.put(name, step, step.callback, visit, talk)
    if given is None:
        return GoTo(step=step.otherwise) if step.otherwise else LeftOpen()
    talk.answered(name, visit, given.try_no, given.keys, given.value)
    zones = moments.zones_of(talk.dialogue.zones)
    talk.call_again(moments.next_shown([given.value], zones, given.at, in_days=step.day == "tomorrow"))
    return GoTo(step=flow.successor(talk.dialogue.campaign, name))
