"""`hangup`: ends the call with the result that the flow names."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps.outcome import Ends, Outcome
from dialer.calls.results import FlowResult
from dialer.campaign.model import Step


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """The flow's own word holds, also after a `complete` step."""
    return Ends(result=FlowResult(step.hangup))
