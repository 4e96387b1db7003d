"""`goto`: goes on at another step."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps.outcome import GoTo, Outcome
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """Nothing is said."""
    return GoTo(step=step.goto)
