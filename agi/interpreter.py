"""Walks a campaign's flow with one person, from the first step to a stored result."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from agi.conversation import Conversation
from agi.ports import CallerHungUp, Dialogue, Phone, PhoneBroken, SoundMissing, Store, Voice
from agi.steps import ask, callback, complete, goto, hangup, menu, opt_out, say
from agi.steps.outcome import Ends, LeftOpen, Outcome
from dialer.calls.results import DialogueEnd, FlowResult, Memory
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
    "opt_out": opt_out.run,
    "callback": callback.run,
    "complete": complete.run,
    "goto": goto.run,
    "hangup": hangup.run,
}


class TooManyVisits(Exception):
    """The flow goes round and round."""


class Interpreter:
    """One dialogue: `run` it once."""

    def __init__(
        self,
        *,
        dialogue: Dialogue,
        phone: Phone,
        voice: Voice,
        store: Store,
        clock: Clock,
        memory: Memory | None = None,
    ) -> None:
        self._dialogue, self._phone, self._clock, self._memory = dialogue, phone, clock, memory
        self._talk = Conversation(dialogue=dialogue, phone=phone, voice=voice, store=store, clock=clock, memory=memory)
        self._step: str | None = None
        self.speechless = False
        """We failed, and could not even say so: somebody else must."""

    async def run(self) -> DialogueEnd:
        """Speaks with the person and stores how it ended.

        Raises DialerError when neither PostgreSQL nor the disk takes the result.
        """
        try:
            result, detail = await self._speak()
        except asyncio.CancelledError:
            self.speechless = True
            await self._talk.end(self._stands(FlowResult.ERROR), self._step, "stopped")
            raise
        return await self._talk.end(result, self._step, detail)

    async def _speak(self) -> tuple[FlowResult, str | None]:
        """The result of the dialogue, and its detail."""
        started, limit_s = self._clock.monotonic(), self._time_left_s()
        detail = None
        try:
            result = await self._walk(limit_s)
        except CallerHungUp as gone:
            at_limit = self._clock.monotonic() - started >= limit_s
            result, detail = FlowResult.HUNG_UP, "longest_call" if at_limit else str(gone) or None
        except Exception as error:
            result, detail = FlowResult.ERROR, await self._fail(error)
        return self._stands(result), detail

    def _stands(self, result: FlowResult) -> FlowResult:
        """The result that stands, however it ended then: who is cut off while they are thanked has answered all."""
        if result is FlowResult.REFUSED:
            return result
        if self._talk.completed:
            return FlowResult.COMPLETED
        if self._talk.opted_out:
            return FlowResult.REFUSED
        asked_for_another = result is FlowResult.COMPLETED and self._talk.callback_at is not None
        return self._left_open() if asked_for_another else result

    def _time_left_s(self) -> int:
        """Of the longest call, also when another worker has used up some of it; 0 would mean no limit at all."""
        if self._memory is None:
            return self._dialogue.longest_call_s
        used_s = max(0.0, (self._clock.now() - self._memory.started_at).total_seconds())
        return max(1, self._dialogue.longest_call_s - int(used_s))

    async def _walk(self, limit_s: int) -> FlowResult:
        await self._phone.limit(limit_s)
        campaign = self._dialogue.campaign
        visits: Counter[str] = Counter()
        following: str | None = flow.first_step(campaign)
        while following is not None:
            self._step = following
            visits[following] += 1
            if visits.total() > MAX_VISITS:
                raise TooManyVisits(f"{MAX_VISITS} steps")
            step = campaign.flow[following]
            self._talk.enter(following, visits[following], _word(step))
            self._talk.prepare(following)
            outcome = await WORDS[step.word](following, step, visits[following], self._talk)
            if isinstance(outcome, Ends):
                return outcome.result
            if isinstance(outcome, LeftOpen):
                return self._left_open()
            following = outcome.step
        return FlowResult.COMPLETED

    def _left_open(self) -> FlowResult:
        return FlowResult.PARTIAL if self._talk.any_key_accepted else FlowResult.NO_INPUT

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
        # PostgreSQL has no text with NUL in it.
        return f"{type(error).__name__}: {error}".replace("\0", "")[:500]


def _word(step: Step) -> str:
    """What the path calls a step; a `callback` with `after` puts no question, as one for a typed time does."""
    return "after" if step.callback is not None and not flow.listens(step) else step.word
