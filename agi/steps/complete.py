"""`complete`: the dialogue counts as completed from here on; nothing is said."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps.outcome import GoTo, Outcome
from dialer.campaign import flow
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """Goes on as `say` does."""
    talk.complete()
    return GoTo(step=flow.successor(talk.dialogue.campaign, name))
