"""`opt_out`: the person wants no more calls; it is stored before they hear so, and the call ends."""

from __future__ import annotations

from agi.conversation import Conversation
from agi.steps.outcome import GoTo, Outcome
from dialer.campaign.model import Step
from dialer.contacts.suppress import DncScope


async def run(name: str, step: Step, visit: int, talk: Conversation) -> Outcome:
    """It is one commit with the key that led here: whoever hangs up now is on the list all the same."""
    assert step.opt_out is not None
    talk.opt_out(DncScope(step.scope or DncScope.TENANT.value))
    await talk.say(step.opt_out)
    return GoTo(step=None)
