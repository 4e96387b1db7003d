"""The FastAGI listener of one worker: lets in what Asterisk sends for our attempts, and drops everything else."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from agi.handshake import identity, reply
from agi.interpreter import Interpreter
from agi.line import Line
from agi.ports import CallerHungUp, PhoneBroken, SoundMissing, Voice
from agi.pulse import Pulse
from agi.records import LedElsewhere, Opened, Records
from agi.results import DialogueOver, NoDialogue
from agi.session import Session, read_headers
from agi.voice import LIMIT_S, SpeechVoice
from dialer import names, tokens
from dialer.clock import Clock
from dialer.crash_points import reach
from dialer.errors import DialerError
from dialer.log import Sparse
from dialer.settings import Settings
from sounds.catalogue import Catalogue, apology

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 4000
"""Dialogues and strangers together. There is no lower bound for those that have not shown a token yet: all calls of a
worker that dies ask the others in the same milliseconds, and who is not one of them is gone after HEADER_TIMEOUT_S."""
SPEECH_THREADS = 4


class AgiServer:
    """Serves one listening socket until `stop`."""

    def __init__(self, *, settings: Settings, records: Records, clock: Clock) -> None:
        self._settings, self._records, self._clock = settings, records, clock
        self._key = settings.mac_key()
        self._identity = identity(settings)
        self._pulse = Pulse(clock)
        self._watching: asyncio.Task[None] | None = None
        self._threads = ThreadPoolExecutor(SPEECH_THREADS, thread_name_prefix="speech")
        self._voices: dict[str, SpeechVoice] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._talking: set[UUID] = set()
        self._server: asyncio.Server | None = None
        self.strangers = Sparse(log, clock)

    async def start(self, listener: socket.socket) -> None:
        """Begins to accept on a socket that listens already."""
        self._records.start()
        self._watching = asyncio.get_running_loop().create_task(self._pulse.watch())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Line(self._accept), sock=listener, backlog=MAX_CONNECTIONS)

    async def stop(self, drain_s: float) -> None:
        """Stops accepting; live dialogues go on for `drain_s` at most, then end as our error."""
        if self._server is not None:
            self._server.close()
        if self._tasks:
            log.info("draining", extra={"dialogues": len(self._talking)})
            await asyncio.wait(self._tasks, timeout=drain_s)
        self.hurry()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
        await self._records.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def hurry(self) -> None:
        """Ends live dialogues now, as our error."""
        for task in self._tasks:
            task.cancel()

    @property
    def live(self) -> int:
        """Dialogues under way."""
        return len(self._talking)

    def _accept(self, line: Line) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            self.strangers.note("connection_refused", "too_many_connections")
            line.abort()
            return
        task = asyncio.get_running_loop().create_task(self._serve(line, self._clock.monotonic()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, line: Line, accepted_at_s: float) -> None:
        try:
            headers = await read_headers(line)
            if headers is None:
                self.strangers.note("connection_dropped", "no_agi_request")
                return
            await self._route(headers, line, accepted_at_s)
        except OSError:
            self.strangers.note("connection_dropped", "connection_lost")
        except Exception:
            log.exception("connection_failed")
        finally:
            line.close()

    async def _route(self, headers: Mapping[str, str], line: Line, accepted_at_s: float) -> None:
        route = headers.get("agi_network_script", "").partition("?")[0].strip("/")
        if route == names.AGI_HANDSHAKE_ROUTE:
            line.write(reply(self._identity, self._pulse.look(self.live)))
            return
        if route != names.AGI_FLOW_ROUTE:
            self.strangers.note("connection_dropped", "unknown_route")
            return
        attempt_id = tokens.verify(headers.get("agi_arg_1", ""), self._key)
        if attempt_id is None:
            self.strangers.note("connection_dropped", "bad_token")
        elif headers.get("agi_uniqueid") != names.channel_id(attempt_id):
            # The token belongs to another channel: somebody replays it.
            self.strangers.note("connection_dropped", "other_channel")
        elif attempt_id in self._talking:
            self.strangers.note("connection_dropped", "had_its_dialogue")
        else:
            self._talking.add(attempt_id)
            heard = self._pulse.opened(accepted_at_s)
            try:
                await self._talk(attempt_id, headers.get("agi_arg_2", "1") != "1", Session(line, heard))
            finally:
                self._talking.discard(attempt_id)
                heard()

    async def _talk(self, attempt_id: UUID, again: bool, session: Session) -> None:
        """`again`: the dialplan asks for this call once more, because nobody has told it that all is said."""
        try:
            opened = await self._records.open(attempt_id, again)
        except LedElsewhere:
            # It will ask again, when that worker may have let go.
            self.strangers.note("connection_dropped", "led_elsewhere")
            return
        except DialogueOver as over:
            self.strangers.note("nothing_to_say", "had_its_dialogue")
            await (self._done if over.said_all else self._apologise)(session)
            return
        except NoDialogue as error:
            # The token is ours and so is the channel: a person has picked up, whatever we think of the attempt.
            self.strangers.note("nothing_to_say", str(error))
            await self._apologise(session)
            return
        except Exception as error:
            log.error("dialogue_not_loaded", extra={"attempt": str(attempt_id), "reason": str(error)},
                      exc_info=None if isinstance(error, DialerError) else error)  # fmt: skip
            await self._apologise(session)
            return
        try:
            # However long Asterisk hangs, the dialogue ends: the call itself cannot be longer.
            async with asyncio.timeout(opened.dialogue.longest_call_s + 30):
                await self._interpret(opened, session)
        finally:
            opened.record.close()

    async def _interpret(self, opened: Opened, session: Session) -> None:
        dialogue = opened.dialogue
        if opened.memory is not None:
            log.warning("dialogue_resumed",
                        extra={"attempt": str(dialogue.attempt_id), "tries": len(opened.memory.tries)})  # fmt: skip
        voice = self._voice(dialogue.codec)
        interpreter = Interpreter(dialogue=dialogue, memory=opened.memory, phone=session, voice=voice,
                                  store=opened.record, clock=self._clock)  # fmt: skip
        try:
            await interpreter.run()
            reach("ending")
        except DialerError as error:
            log.error("result_not_stored_yet",
                      extra={"attempt": str(dialogue.attempt_id), "reason": str(error)})  # fmt: skip
        if not interpreter.speechless:
            await self._done(session)

    async def _apologise(self, session: Session) -> None:
        try:
            voice = self._voice(self._settings.trunks[0].codec)
            await session.play(await voice.name(apology("en")))
        except CallerHungUp:
            return
        except (SoundMissing, PhoneBroken, DialerError) as error:
            log.warning("apology_failed", extra={"reason": str(error)})
        else:
            await self._done(session)

    async def _done(self, session: Session) -> None:
        """Tells the dialplan that the person has heard all there is; without it, it says sorry itself."""
        if session.hung_up:
            return
        try:
            await session.set_variable(names.DONE_VARIABLE, "1")
        except CallerHungUp:
            return
        except PhoneBroken as error:
            log.warning("not_told_done", extra={"reason": str(error)})

    def _voice(self, codec: str) -> Voice:
        if codec not in self._voices:
            self._voices[codec] = SpeechVoice(
                Catalogue(self._settings.prompts_dir, codec, limit_s=LIMIT_S), self._threads
            )
        return self._voices[codec]
