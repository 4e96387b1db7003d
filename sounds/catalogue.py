"""Which file holds a spoken text or a recording: named by content, so that it is made once and never goes stale."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dialer import names
from dialer.campaign import personal
from dialer.campaign.model import Recording
from sounds import tts

MAKING = "1"
"""Part of every name: raised when files are made differently, so that old ones are not used again."""

PERSONAL_S = 86_400

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
    personal: bool = False
    """It may hold contact data, and is removed after a day."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A recorded WAV file."""

    file: Path


Sound = Spoken | Recorded


def sound_of(said: str | Recording, language: str, fields: Mapping[str, str], base_dir: Path) -> Sound:
    """What a prompt sounds like for one person; recordings stand beside the campaign file or are absolute."""
    if isinstance(said, Recording):
        return Recorded(file=base_dir / said.file)
    return Spoken(text=personal.fill(said, fields), language=language, personal=bool(personal.names(said)))


def apology(language: str) -> Spoken:
    """The apology in a person's language, else in English."""
    spoken = language if language in APOLOGY else language.partition("-")[0]
    return Spoken(text=APOLOGY.get(spoken, APOLOGY["en"]), language=spoken if spoken in APOLOGY else "en")


def forget_personal(prompts_dir: Path, now: datetime) -> int:
    """Removes the personal sounds that were made more than a day before `now`; how many. Raises OSError."""
    removed = 0
    for path in (prompts_dir / names.PERSONAL_FOLDER).glob("*/*"):
        # Another worker may remove the same file at this moment.
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < now.timestamp() - PERSONAL_S:
                path.unlink()
                removed += 1
    return removed


class Catalogue:
    """The prompts of one codec below a folder (settings.prompts_dir); `limit_s` is what making one may take."""

    def __init__(self, prompts_dir: Path, codec: str, *, limit_s: float = tts.BUILD_LIMIT_S) -> None:
        # Asterisk needs absolute names: it would look for others among its own sounds.
        self._folder = str(prompts_dir.resolve())
        self._codec, self._limit_s = codec, limit_s
        self._recordings: dict[Path, tuple[tuple[int, int], str]] = {}

    def path(self, sound: Sound) -> Path:
        """Where a sound stands or will stand: prompts/pl/<sha256>.alaw, prompts/personal/pl/… Raises SpeechFailed."""
        if isinstance(sound, Recorded):
            return Path(f"{self._folder}/recorded/{self._hash_of(sound.file)}.{self._codec}")
        key = "\0".join((MAKING, sound.language, sound.text))
        digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
        folder = f"{self._folder}/{names.PERSONAL_FOLDER}" if sound.personal else self._folder
        return Path(f"{folder}/{sound.language}/{digest}.{self._codec}")

    def ensure(self, sound: Sound) -> Path:
        """The file, made now when it is not there. Takes its time: not for an event loop. Raises SpeechFailed."""
        path = self.path(sound)
        if not path.is_file():
            self.make(sound, path)
        return path

    def make(self, sound: Sound, path: Path) -> None:
        """Makes the file. Raises SpeechFailed."""
        if isinstance(sound, Recorded):
            tts.convert(sound.file, self._codec, path, self._limit_s)
        else:
            tts.speak(sound.text, sound.language, self._codec, path, self._limit_s)

    @property
    def dialplans_apology(self) -> Path:
        """The English apology under the name that the dialplan knows."""
        return Path(f"{self._folder}/{names.APOLOGY_FILE}.{self._codec}")

    def put_apology_for_the_dialplan(self) -> None:
        """Makes `dialplans_apology` what it should be. Raises SpeechFailed."""
        said = self.ensure(apology("en")).read_bytes()
        target = self.dialplans_apology
        if not target.is_file() or target.read_bytes() != said:
            tts.store(said, target)

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
