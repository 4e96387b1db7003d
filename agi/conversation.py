"""One dialogue under way: says and asks through the phone, and stores what was answered before saying more.

A dialogue that another worker began is walked again from the top: while tries are remembered nothing is said, each
question takes the try that is stored, and nothing is stored again. Behind the last of them the dialogue is live.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from agi.ports import Dialogue, Phone, Pressed, SoundMissing, Store, Voice
from dialer.calls.log import event_row
from dialer.calls.results import STARTED, Answer, DialogueEnd, FlowResult, Memory, OptOut, Try, TryOutcome, Writes
from dialer.campaign import flow
from dialer.campaign.model import Prompt
from dialer.clock import Clock
from dialer.contacts.suppress import DncScope
from dialer.crash_points import reach
from sounds.catalogue import Sound, apology, sound_of

T = TypeVar("T")

log = logging.getLogger(__name__)


class Conversation:
    """What the steps of a flow work with. Rows wait here until the next `say`, `ask` or `end`."""

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
        self.dialogue = dialogue
        self.clock = clock
        self.answers = 0
        self.any_key_accepted = False
        self.completed = self.opted_out = False
        self.callback_at: datetime | None = None
        """When the person wants to be called again."""
        self.hash_may_follow = False
        """The last question ended on its last digit: a # that people press out of habit may still come."""
        self._phone, self._voice, self._store = phone, voice, store
        self._resumed = memory is not None
        self._begun = False
        self._audio_at = memory.audio_at if memory else None
        self._seq = memory.seq if memory else 0
        self._stored = {(one.step, one.visit, one.try_no): one for one in memory.tries} if memory else {}
        self._ahead = set(self._stored)
        self._waiting = Writes()
        self._path: list[tuple[str, int, int, str]] = []
        self._memory_began_at = memory.started_at if memory else None
        used_s = (clock.now() - memory.started_at).total_seconds() if memory else 0.0
        self._origin_s = clock.monotonic() - max(0.0, used_s)
        self._recalled_ms = 0

    def _begin(self) -> None:
        """Notes `dialogue.started` as the first prompt is begun, `.resumed` also without one; waits for no commit."""
        self._begun = True
        if self._resumed:
            self._event("dialogue.resumed", {"revision": self.dialogue.revision_id, "tries": len(self._stored)})
        else:
            self._event(STARTED, {"revision": self.dialogue.revision_id, "language": self.dialogue.language})
        self._store.note(self._take())

    async def say(self, prompt: Prompt) -> None:
        """Plays a prompt to its end; keys pressed meanwhile are not read."""
        if self._ahead:
            return
        await self._flush()
        await self._with_sound(self._sound(prompt), self._phone.play)

    async def ask(self, prompt: Prompt, max_digits: int, timeout_s: float) -> Pressed:
        """Plays a prompt until a key is pressed, and reads the keys."""
        await self._flush()
        return await self._with_sound(self._sound(prompt), lambda name: self._phone.ask(name, max_digits, timeout_s))

    def enter(self, step: str, visit: int, word: str) -> None:
        """Notes that a step begins: the path is stored with the result."""
        self._path.append((step, self._lasted_ms(), visit, word))

    def prepare(self, step_name: str) -> None:
        """Begins to make the sounds of the steps that may come next, while this one is heard."""
        campaign = self.dialogue.campaign
        for name in flow.may_follow(campaign, step_name):
            for key, prompt in flow.prompts(campaign.flow[name]):
                if not key.startswith("on_"):
                    self._voice.prepare(self._sound(prompt))

    async def apologise(self) -> None:
        """Says that something went wrong: a person who picked up never hears silence."""
        await self._with_sound(apology(self.dialogue.language), self._phone.play)

    def recall(self, step: str, visit: int, try_no: int) -> Try | None:
        """The try that is stored, if this dialogue has come so far before."""
        known = self._stored.get((step, visit, try_no))
        if known is not None:
            self._ahead.discard((step, visit, try_no))
            assert self._memory_began_at is not None
            self._recalled_ms = max(self._recalled_ms, _ms((known.at - self._memory_began_at).total_seconds()))
        elif self._ahead:
            # What is stored lies on another path than this flow takes. Better ask again than be silent for ever.
            log.error("memory_does_not_fit", extra={"attempt": str(self.dialogue.attempt_id), "step": step})
            self._ahead.clear()
        return known

    def tried(self, step: str, visit: int, try_no: int, keys: str, outcome: TryOutcome) -> None:
        """Notes one try at a question, unless it is stored."""
        self.any_key_accepted |= outcome is TryOutcome.ACCEPTED
        if (step, visit, try_no) in self._stored:
            return
        reach("heard")
        self._waiting.tries.append(Try(attempt_id=self.dialogue.attempt_id, step=step, visit=visit, try_no=try_no,
                                       keys=keys, outcome=outcome, at=self.clock.now()))  # fmt: skip
        if outcome is not TryOutcome.ACCEPTED:
            self._tried(step, visit, try_no, keys, outcome, None)

    def chosen(self, step: str, visit: int, try_no: int, keys: str, value: str) -> None:
        """Notes the choice at a menu, unless its try is stored; the log has it, the answers do not."""
        if (step, visit, try_no) not in self._stored:
            self._tried(step, visit, try_no, keys, TryOutcome.ACCEPTED, value)

    def answered(self, step: str, visit: int, try_no: int, keys: str, value: str) -> None:
        """Notes an answer, unless its try is stored; it is safe before the person hears anything more."""
        self.answers += 1
        if (step, visit, try_no) in self._stored:
            return
        revision = self.dialogue.revision_id
        self._waiting.answers.append(Answer(attempt_id=self.dialogue.attempt_id, step=step, visit=visit,
                                            revision_id=revision, keys=keys, value=value,
                                            at=self.clock.now()))  # fmt: skip
        self._event("dialogue.answered",
                    {"step": step, "visit": visit, "keys": keys, "value": value, "revision": revision})  # fmt: skip

    def complete(self) -> None:
        """From here on the dialogue counts as completed; not for somebody who has asked to be called again."""
        self.completed |= self.callback_at is None

    def call_again(self, at: datetime) -> None:
        """Notes when the person wants to be called again; it is stored with the result."""
        self.callback_at = at

    def opt_out(self, scope: DncScope) -> None:
        """Notes that the person wants no more calls; safe before they hear anything more.

        A dialogue taken over may note it again: the list has each number once.
        """
        self.opted_out = True
        self._waiting.opt_outs.append(OptOut(attempt_id=self.dialogue.attempt_id, scope=scope, at=self.clock.now()))

    async def end(self, result: FlowResult, step: str | None, detail: str | None) -> DialogueEnd:
        """Stores the one result, with whatever still waits. Raises DialerError when nothing takes it."""
        if self._resumed and not self._begun:
            self._begin()
        # Whoever says no after all does not want that call either.
        callback_at = None if result is FlowResult.REFUSED else self.callback_at
        end = DialogueEnd(attempt_id=self.dialogue.attempt_id, result=result, step=step, answers=self.answers,
                          at=self.clock.now(), detail=detail, audio_at=self._audio_at, callback_at=callback_at,
                          opted_out=self.opted_out)  # fmt: skip
        self._waiting.ends.append(end)
        self._event("dialogue.ended", {"result": result.value, "step": step, "answers": self.answers,
                                       "callback_at": callback_at.isoformat() if callback_at else None,
                                       "opted_out": self.opted_out, "path": self._path,
                                       "lasted_ms": self._lasted_ms()})  # fmt: skip
        await self._store.save(self._take())
        return end

    async def _flush(self) -> None:
        if self._waiting:
            await self._store.save(self._take())
            reach("stored")

    def _take(self) -> Writes:
        writes, self._waiting = self._waiting, Writes()
        return writes

    def _lasted_ms(self) -> int:
        """Since the dialogue began; what another worker has heard already is walked again at the moments it came."""
        if self._ahead:
            return self._recalled_ms
        return max(self._recalled_ms, _ms(self.clock.monotonic() - self._origin_s))

    def _tried(
        self, step: str, visit: int, try_no: int, keys: str, outcome: TryOutcome, value: str | None
    ) -> None:  # fmt: skip
        self._event("dialogue.tried", {"step": step, "visit": visit, "try_no": try_no, "keys": keys,
                                       "outcome": outcome.value, "value": value})  # fmt: skip

    def _event(self, type: str, payload: dict[str, Any]) -> None:
        self._seq += 1
        self._waiting.events.append(event_row(
            tenant_id=self.dialogue.tenant_id, occurred_at=self.clock.now(), type=type, subject_type="dialogue",
            subject_id=str(self.dialogue.attempt_id), seq=self._seq, payload=payload))  # fmt: skip

    def _sound(self, prompt: Prompt) -> Sound:
        said = flow.said(prompt, self.dialogue.language)
        return sound_of(said, self.dialogue.language, self.dialogue.fields, self.dialogue.base_dir)

    async def _with_sound(self, sound: Sound, use: Callable[[str], Awaitable[T]]) -> T:
        try:
            return await self._use(await self._voice.name(sound), use)
        except SoundMissing:
            # Somebody cleaned the folder since we looked: make it again, once.
            self._voice.forget(sound)
            return await self._use(await self._voice.name(sound), use)

    async def _use(self, name: str, use: Callable[[str], Awaitable[T]]) -> T:
        first = self._audio_at is None
        if first:
            self._audio_at = self.clock.now()
        if not self._begun:
            self._begin()
        try:
            return await use(name)
        except SoundMissing:
            if first:
                self._audio_at = None
            raise


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
