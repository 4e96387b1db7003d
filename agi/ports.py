"""What a dialogue needs from the world: a phone to speak through, a voice, and a store; tests bring their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol
from uuid import UUID

from dialer.calls.results import Writes
from dialer.campaign.model import Campaign
from sounds.catalogue import Sound


class CallerHungUp(Exception):
    """The channel is gone; nothing can be said any more."""


class SoundMissing(Exception):
    """Asterisk cannot find or read a sound file."""


class PhoneBroken(Exception):
    """What Asterisk sent is no answer that AGI knows."""


class EndedBy(Enum):
    """Why Asterisk stopped reading keys."""

    FULL = "full"
    """The most keys were pressed."""
    HASH = "hash"
    """# was pressed before that."""
    TIMEOUT = "timeout"
    """Nothing more was pressed in time."""


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """The keys of one try, without the # that ended it."""

    digits: str
    ended_by: EndedBy


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """One call's talk: whom we speak to, what to say, in which words."""

    attempt_id: UUID
    tenant_id: str
    revision_id: int
    campaign: Campaign
    base_dir: Path
    language: str
    codec: str
    longest_call_s: int
    fields: Mapping[str, str]
    zones: str = ""
    """The contact's calendar: its time zones, and the subdivision whose holidays count."""


class Phone(Protocol):
    """One answered call. Every method raises CallerHungUp once the person is gone."""

    async def play(self, sound: str) -> None:
        """Plays a file (absolute path, no extension) to its end. Raises SoundMissing."""
        ...

    async def ask(self, sound: str, max_digits: int, timeout_s: float) -> Pressed:
        """Plays a file until a key is pressed, then reads keys. Raises SoundMissing."""
        ...

    async def limit(self, seconds: int) -> None:
        """Asterisk ends the call after that many seconds, whatever happens to us."""
        ...


class Voice(Protocol):
    """Turns what is to be said into sound files."""

    async def name(self, sound: Sound) -> str:
        """The file's absolute path without extension, made now if need be. Raises SpeechFailed."""
        ...

    def prepare(self, sound: Sound) -> None:
        """Begins to make a sound that is soon needed; failures show when it is asked for."""
        ...

    def forget(self, sound: Sound) -> None:
        """Takes a sound for missing: the next `name` makes it again."""
        ...


class Store(Protocol):
    """Where the rows of one dialogue go."""

    def note(self, writes: Writes) -> None:
        """Takes rows that nobody waits for; they are stored before any that come later."""
        ...

    async def save(self, writes: Writes) -> None:
        """Takes the rows at once, and returns when they are safe.

        Raises DialerError when neither PostgreSQL nor the disk takes them; they are tried again all the same.
        """
        ...
