"""Makes sound files in a trunk's codec: texts spoken by espeak-ng, recordings, both converted by sox.

A file appears under its final name only when it is whole, also when several processes make it at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import unicodedata
from functools import lru_cache
from pathlib import Path

from dialer.errors import DialerError

MAX_SPOKEN_CHARS = 4000
MAX_SECONDS = 600
BUILD_LIMIT_S = 60.0
"""What one run of a tool may take while nobody waits on the telephone."""
_PACKAGES = {"espeak-ng": "espeak-ng", "sox": "sox"}

_ENCODINGS = {"alaw": "a-law", "ulaw": "mu-law"}
_SILENCE = {"alaw": b"\xd5", "ulaw": b"\xff"}
"""The code for zero (ITU-T G.711, even bits of A-law inverted)."""
_RATE = 8000


class SpeechFailed(DialerError):
    """A sound file cannot be made; the message says what is missing."""


class ToolRefused(SpeechFailed):
    """espeak-ng or sox ran, and did not like what it was given."""


def speak(text: str, language: str, codec: str, target: Path, limit_s: float = BUILD_LIMIT_S) -> None:
    """Writes the spoken text to `target`, headerless 8 kHz `alaw` or `ulaw`. Raises SpeechFailed."""
    spoken = speakable(text)
    # The text goes through stdin: as an argument it could begin with "-", and everybody on the machine would see it.
    command = ["espeak-ng", "-v", voice(language), "-b", "1", "--stdin", "--stdout"]
    wave = _run(command, spoken.encode(), limit_s) if spoken else b""
    if not wave:
        store(b"", target)
        return
    # espeak-ng cannot know the length in advance, so its WAV header lies about it.
    store(_run(["sox", "--ignore-length", "-t", "wav", "-", *_as_raw(codec)], wave, limit_s), target)


def convert(recording: Path, codec: str, target: Path, limit_s: float = BUILD_LIMIT_S) -> None:
    """Writes a recorded WAV of any rate to `target` as `speak` does. Raises SpeechFailed."""
    try:
        wave = recording.read_bytes()
    except OSError as error:
        raise SpeechFailed(f"cannot read the recording {recording}: {error.strerror}.") from error
    try:
        store(_run(["sox", "-t", "wav", "-", *_as_raw(codec)], wave, limit_s), target)
    except ToolRefused as error:
        raise SpeechFailed(f"{recording} is not a WAV file that sox can read. {error}") from error


def speakable(text: str) -> str:
    """A text with what espeak-ng would take for commands or phonemes turned to spaces, cut to a bearable length."""
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") else char for char in text)
    return " ".join(plain.replace("[[", " ").replace("]]", " ").split())[:MAX_SPOKEN_CHARS]


@lru_cache(maxsize=64)
def voice(language: str) -> str:
    """espeak-ng's voice for a language tag (en, en-GB, pl). Raises SpeechFailed when there is none."""
    for candidate in dict.fromkeys((language.lower(), language.lower().partition("-")[0])):
        try:
            _run(["espeak-ng", "-v", candidate, "--stdin", "-q"], b"")
        except ToolRefused:
            continue
        return candidate
    raise SpeechFailed(
        f"espeak-ng has no voice for {language!r}. `espeak-ng --voices` lists what it speaks (package espeak-ng-data); "
        "for another language give recorded files."
    )


def require_tools(*, speech: bool) -> None:
    """Raises SpeechFailed when sox, or espeak-ng where texts are spoken, is not installed."""
    for tool in ("espeak-ng", "sox") if speech else ("sox",):
        if shutil.which(tool) is None:
            raise _missing(tool)


def _as_raw(codec: str) -> list[str]:
    encoding = ["-r", str(_RATE), "-c", "1", "-e", _ENCODINGS[codec], "-b", "8"]
    return ["-t", "raw", *encoding, "-", "trim", "0", str(MAX_SECONDS)]


def _run(command: list[str], data: bytes, limit_s: float = BUILD_LIMIT_S) -> bytes:
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=limit_s, check=False)
    except FileNotFoundError as error:
        raise _missing(command[0]) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpeechFailed(f"{command[0]} did not work: {error}") from error
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ToolRefused(f"{command[0]} says: {reason[-1] if reason else f'exit code {done.returncode}'}")
    return done.stdout


def _missing(tool: str) -> SpeechFailed:
    return SpeechFailed(f"{tool} is not installed. Run `apt install {_PACKAGES[tool]}`.")


def store(sound: bytes, target: Path) -> None:
    """Writes a sound, whole or not at all, where Asterisk can read it.

    Nothing to hear becomes a moment of silence: an empty file would look like a missing one.
    """
    try:
        _make_readable_folder(target.parent)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".making-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(sound or _SILENCE[target.suffix[1:]] * (_RATE // 5))
                # mkstemp makes it private; Asterisk runs as another user.
                os.fchmod(file.fileno(), 0o644)
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SpeechFailed(f"cannot write {target}: {error.strerror}. Free some space or correct state_dir.") from error


def _make_readable_folder(folder: Path) -> None:
    """Makes what is missing down to prompts/pl, so that Asterisk, another user, may enter it whatever the umask is."""
    for level in reversed([folder, *folder.parents]):
        if not level.is_dir():
            level.mkdir(exist_ok=True)
            level.chmod(0o755)
