"""The voice of live calls: nobody waits long for a sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agi import voice
from agi.voice import SpeechVoice
from dialer.errors import DialerError
from sounds.catalogue import Catalogue, Sound, Spoken

ONE, TWO = Spoken(text="one", language="en"), Spoken(text="two", language="en")


class Slow(Catalogue):
    """Makes a sound only when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "alaw")
        self.let = threading.Event()
        self.made: list[Sound] = []

    def ensure(self, sound: Sound) -> Path:
        self.let.wait(10)
        self.made.append(sound)
        return self.path(sound)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Slow]:
    catalogue = Slow(tmp_path)
    yield catalogue
    catalogue.let.set()


async def test_a_sound_that_takes_too_long_is_given_up_also_when_it_only_waits_for_a_thread(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "LIMIT_S", 0.05)
    with ThreadPoolExecutor(1) as threads:
        speaking = SpeechVoice(slow, threads)
        speaking.prepare(ONE)
        with pytest.raises(DialerError, match="not made within"):
            await speaking.name(TWO)
        slow.let.set()
        monkeypatch.setattr(voice, "LIMIT_S", 5)
        assert await speaking.name(TWO) == str(slow.path(TWO).with_suffix(""))
    assert slow.made == [ONE, TWO], "what was begun for one that gave up serves the next"
