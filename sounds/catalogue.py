"""Which file holds a spoken text or a recording: named by content, so that it is made once and never goes stale."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dialer.campaign import personal
from dialer.campaign.model import Recording
from sounds import tts

MAKING = "1"
"""Part of every name: raised when files are made differently, so that old ones are not used again."""

APOLOGY = {
    "en": "We are sorry. A technical error has occurred. Goodbye.",
    "pl": "Przepraszamy. Wystąpił błąd techniczny. Do widzenia.",
}
"""Said when we fail: a person who picked up never hears silence."""


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """A text, filled in, and the language that it is spoken in."""

    text: str
    language: str


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A recorded WAV file."""

    file: Path


Sound = Spoken | Recorded


def sound_of(said: str | Recording, language: str, fields: Mapping[str, str], base_dir: Path) -> Sound:
    """What a prompt sounds like for one person; recordings stand beside the campaign file or are absolute."""
    if isinstance(said, Recording):
        return Recorded(file=base_dir / said.file)
    return Spoken(text=personal.fill(said, fields), language=language)


def apology(language: str) -> Spoken:
    """The apology in a person's language, else in English."""
    spoken = language if language in APOLOGY else language.partition("-")[0]
    return Spoken(text=APOLOGY.get(spoken, APOLOGY["en"]), language=spoken if spoken in APOLOGY else "en")


class Catalogue:
    """The prompts of one codec below a folder (settings.prompts_dir)."""

    def __init__(self, prompts_dir: Path, codec: str) -> None:
        # Asterisk needs absolute names: it would look for others among its own sounds.
        self._folder = str(prompts_dir.resolve())
        self._codec = codec
        self._recordings: dict[Path, tuple[tuple[int, int], str]] = {}

    def path(self, sound: Sound) -> Path:
        """Where a sound stands or will stand, such as prompts/pl/<sha256>.alaw. Raises SpeechFailed."""
        if isinstance(sound, Recorded):
            return Path(f"{self._folder}/recorded/{self._hash_of(sound.file)}.{self._codec}")
        key = "\0".join((MAKING, sound.language, sound.text))
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        return Path(f"{self._folder}/{sound.language}/{digest}.{self._codec}")

    def ensure(self, sound: Sound) -> Path:
        """The file, made now when it is not there. Takes its time: not for an event loop. Raises SpeechFailed."""
        path = self.path(sound)
        if not path.is_file():
            self.make(sound, path)
        return path

    def make(self, sound: Sound, path: Path) -> None:
        """Makes the file. Raises SpeechFailed."""
        if isinstance(sound, Recorded):
            tts.convert(sound.file, self._codec, path)
        else:
            tts.speak(sound.text, sound.language, self._codec, path)

    def _hash_of(self, file: Path) -> str:
        try:
            stat = file.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            known = self._recordings.get(file)
            if known is None or known[0] != version:
                digest = hashlib.sha256(MAKING.encode() + file.read_bytes()).hexdigest()
                known = self._recordings[file] = (version, digest)
        except OSError as error:
            raise tts.SpeechFailed(f"cannot read the recording {file}: {error.strerror}.") from error
        return known[1]
