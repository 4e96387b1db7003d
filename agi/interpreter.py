"""Walks a campaign's flow with one person, from the first step to a stored result."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from agi.conversation import Conversation
from agi.ports import CallerHungUp, Dialogue, Phone, PhoneBroken, SoundMissing, Store, Voice
from agi.steps import ask, goto, hangup, menu, say
from agi.steps.outcome import Ends, LeftOpen, Outcome
from dialer.calls.results import DialogueEnd, FlowResult
from dialer.campaign import flow
from dialer.campaign.model import Step
from dialer.clock import Clock
from dialer.errors import DialerError

log = logging.getLogger(__name__)

MAX_VISITS = 100
"""Steps in one dialogue: a menu that somebody's answering machine walks in circles ends here."""

WORDS: dict[str, Callable[[str, Step, int, Conversation], Awaitable[Outcome]]] = {
    "say": say.run,
    "ask": ask.run,
    "menu": menu.run,
    "goto": goto.run,
    "hangup": hangup.run,
}


class TooManyVisits(Exception):
    """The flow goes round and round."""


class Interpreter:
    """One dialogue: `run` it once."""

    def __init__(self, *, dialogue: Dialogue, phone: Phone, voice: Voice, store: Store, clock: Clock) -> None:
        self._dialogue, self._phone, self._clock = dialogue, phone, clock
        self._talk = Conversation(dialogue=dialogue, phone=phone, voice=voice, store=store, clock=clock)
        self._step: str | None = None
        self.speechless = False
        """We failed, and could not even say so: somebody else must."""

    async def run(self) -> DialogueEnd:
        """Speaks with the person and stores how it ended.

        Raises DialerError when the result could not be stored; it is then in the store's keeping.
        """
        try:
            result, detail = await self._speak()
        except asyncio.CancelledError:
            self.speechless = True
            await self._talk.end(FlowResult.ERROR, self._step, "stopped")
            raise
        return await self._talk.end(result, self._step, detail)

    async def _speak(self) -> tuple[FlowResult, str | None]:
        """The result of the dialogue, and its detail."""
        started = self._clock.monotonic()
        detail = None
        try:
            result = await self._walk()
        except CallerHungUp as gone:
            at_limit = self._clock.monotonic() - started >= self._dialogue.longest_call_s
            result, detail = FlowResult.HUNG_UP, "longest_call" if at_limit else str(gone) or None
        except Exception as error:
            result, detail = FlowResult.ERROR, await self._fail(error)
        if self._talk.completed and result is not FlowResult.REFUSED:
            result = FlowResult.COMPLETED
        return result, detail

    async def _walk(self) -> FlowResult:
        await self._phone.limit(self._dialogue.longest_call_s)
        await self._talk.begin()
        campaign = self._dialogue.campaign
        visits: Counter[str] = Counter()
        following: str | None = flow.first_step(campaign)
        while following is not None:
            self._step = following
            visits[following] += 1
            if visits.total() > MAX_VISITS:
                raise TooManyVisits(f"{MAX_VISITS} steps")
            step = campaign.flow[following]
            self._talk.prepare(following)
            outcome = await WORDS[step.word](following, step, visits[following], self._talk)
            if isinstance(outcome, Ends):
                return outcome.result
            if isinstance(outcome, LeftOpen):
                return FlowResult.PARTIAL if self._talk.any_key_accepted else FlowResult.NO_INPUT
            following = outcome.step
        return FlowResult.COMPLETED

    async def _fail(self, error: Exception) -> str:
        """Says sorry, and gives the detail that the result will carry."""
        expected = isinstance(error, DialerError | SoundMissing | PhoneBroken | TooManyVisits)
        log.error(
            "dialogue_failed",
            exc_info=None if expected else error,
            extra={"attempt": str(self._dialogue.attempt_id), "step": self._step, "reason": str(error)},
        )
        try:
            await self._talk.apologise()
        except Exception as second:
            # Whatever it was, the result must be stored.
            self.speechless = True
            log.warning("apology_failed",
                        extra={"attempt": str(self._dialogue.attempt_id), "reason": repr(second)})  # fmt: skip
        return f"{type(error).__name__}: {error}"[:500]
