"""Sound files for live calls: found in the catalogue, or made in a few threads while something else is heard."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dialer.errors import DialerError
from sounds.catalogue import Catalogue, Sound

MAX_KNOWN = 20_000
LIMIT_S = 3.0
"""Somebody waits in silence meanwhile: after this an apology is better."""


class SpeechVoice:
    """The prompts of one codec (agi.ports.Voice)."""

    def __init__(self, catalogue: Catalogue, threads: ThreadPoolExecutor) -> None:
        self._catalogue, self._threads = catalogue, threads
        self._known: OrderedDict[Sound, str] = OrderedDict()
        self._making: dict[Sound, asyncio.Future[Path]] = {}

    async def name(self, sound: Sound) -> str:
        """The file's absolute path without extension, made now if need be, in 3 s at most. Raises DialerError."""
        known = self._known.get(sound)
        if known is not None:
            return known
        try:
            # Another dialogue may wait for the same file: one that gives up must not take it away.
            async with asyncio.timeout(LIMIT_S):
                path = await asyncio.shield(self._make(sound))
        except TimeoutError as error:
            raise DialerError(f"a sound was not made within {LIMIT_S:g} s: espeak-ng or the disk is slow.") from error
        name = str(path.with_suffix(""))
        self._known[sound] = name
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return name

    def prepare(self, sound: Sound) -> None:
        """Begins to make a sound that is soon needed; failures show when it is asked for."""
        if sound not in self._known:
            self._make(sound)

    def forget(self, sound: Sound) -> None:
        """Takes a sound for missing: the next `name` looks for it, or makes it again."""
        self._known.pop(sound, None)

    def _make(self, sound: Sound) -> asyncio.Future[Path]:
        making = self._making.get(sound)
        if making is None:
            loop = asyncio.get_running_loop()
            making = self._making[sound] = loop.run_in_executor(self._threads, self._catalogue.ensure, sound)
            making.add_done_callback(lambda done: self._made(sound, done))
        return making

    def _made(self, sound: Sound, done: asyncio.Future[Path]) -> None:
        del self._making[sound]
        if not done.cancelled():
            # Nobody may have waited for it; whoever asks next meets the error again.
            done.exception()
