"""`say`: speaks a text or plays a recording, and goes on."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps.outcome import GoTo, Outcome
from dialer.campaign import flow
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """A `complete` step counts from its first word: people hang up while they are thanked."""
    if step.complete:
        talk.complete()
    assert step.say is not None
    await talk.say(step.say)
    return GoTo(step=flow.successor(talk.dialogue.campaign, name))
