"""Prompts: named by content, made once, whole or not at all, whatever the text holds."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.campaign.model import Campaign, Recording
from dialer.settings import Settings
from sounds import tts
from sounds.build import Built, build, fixed_sounds, missing
from sounds.catalogue import APOLOGY, Catalogue, Recorded, Spoken, apology, forget_personal, sound_of
from sounds.commands import prompts_group

SILENCE = {"alaw": 0xD5, "ulaw": 0xFF}


def settings_in(folder: Path, codec: str = "alaw") -> Settings:
    return Settings.model_validate({
        "database": "postgresql:///none", "state_dir": folder, "mac_key_file": folder / "key",
        "nodes": [{"name": "n", "ami": {"secret_file": folder / "secret"}}],
        "trunks": [{"name": "a", "node": "n", "host": "127.0.0.1", "codec": codec}],
    })  # fmt: skip


def campaign(say: object, **more: object) -> Campaign:
    return Campaign.model_validate({
        "campaign": "test", "calling": {"window": "any"},
        "contacts": {"from": "base.csv", "numbers": ["mobile"], "fields": ["name"]},
        "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567"},
        "flow": {"hello": {"say": say}}, **more,
    })  # fmt: skip


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "hello.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setparams((2, 2, 44100, 0, "NONE", ""))
        sound.writeframes(os.urandom(44100 * 4))
    return file


@pytest.mark.parametrize("codec", ["alaw", "ulaw"])
def test_a_text_becomes_speech_in_the_trunks_codec(tmp_path: Path, codec: str) -> None:
    path = Catalogue(tmp_path, codec).ensure(Spoken(text="Good morning, this is a test.", language="en"))
    sound = path.read_bytes()
    assert path.parent == tmp_path / "en"
    assert path.suffix == f".{codec}"
    assert 8000 < len(sound) < 40000
    assert sound.count(SILENCE[codec]) < len(sound) / 2
    assert path.stat().st_mode & 0o777 == 0o644, "Asterisk runs as another user"
    assert os.listdir(path.parent) == [path.name]


def test_a_recording_of_any_rate_becomes_8_khz(tmp_path: Path, recording: Path) -> None:
    path = Catalogue(tmp_path / "prompts", "alaw").ensure(Recorded(file=recording))
    assert path.stat().st_size == pytest.approx(8000, abs=20), "one second"


def test_a_changed_recording_is_another_file(tmp_path: Path, recording: Path) -> None:
    catalogue = Catalogue(tmp_path / "prompts", "alaw")
    before = catalogue.path(Recorded(file=recording))
    recording.write_bytes(recording.read_bytes()[:-400])
    assert catalogue.path(Recorded(file=recording)) != before


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\x00\x01"])
def test_nothing_to_say_is_a_moment_of_silence_and_not_an_empty_file(tmp_path: Path, text: str) -> None:
    sound = Catalogue(tmp_path, "alaw").ensure(Spoken(text=text, language="en")).read_bytes()
    assert sound == bytes([SILENCE["alaw"]]) * 1600


@pytest.mark.parametrize("text", [
    "-h", "--version", "Łódź, zażółć", "مرحبا", "😀", '"; rm -rf /', "$(id) `id`", "<speak>", "[[_^_EN]]",
    "x" * 100_000, "a\x01b\x1bc", "\ud800",
])  # fmt: skip
def test_any_text_is_spoken_or_skipped(tmp_path: Path, text: str) -> None:
    sound = Catalogue(tmp_path, "alaw").ensure(Spoken(text=text, language="pl")).read_bytes()
    assert 0 < len(sound) <= tts.MAX_SECONDS * 8000


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=500))
def test_what_is_spoken_holds_no_command_and_no_control_character(text: str) -> None:
    spoken = tts.speakable(text)
    assert len(spoken) <= tts.MAX_SPOKEN_CHARS
    assert "[[" not in spoken
    assert not [char for char in spoken if unicodedata.category(char) in ("Cc", "Cs")]
    spoken.encode()


def test_the_text_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    run = subprocess.run

    def watched(command: list[str], **options: object) -> object:
        seen.append(command)
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", watched)
    Catalogue(tmp_path, "alaw").ensure(Spoken(text="a secret diagnosis", language="en"))
    assert not [word for command in seen for word in command if "secret" in word]


def test_several_processes_make_one_whole_file(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sounds.catalogue import *;"
        "print(Catalogue(Path(sys.argv[1]), 'alaw').ensure(Spoken(text='Good morning to all of you.', language='en')))"
    )
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(
            lambda _: subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True), range(4)
        ))  # fmt: skip
    assert len(set(made)) == 1
    assert os.listdir(tmp_path / "en") == [Path(made[0].strip()).name]


def test_a_failed_making_leaves_nothing_behind(tmp_path: Path) -> None:
    text = tmp_path / "no.wav"
    text.write_text("not a WAV")
    with pytest.raises(tts.SpeechFailed, match="not a WAV file"):
        Catalogue(tmp_path / "prompts", "alaw").ensure(Recorded(file=text))
    assert not list((tmp_path / "prompts").rglob("*.alaw"))


def test_what_is_missing_is_named_with_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tts.SpeechFailed, match="no voice for 'xx'"):
        Catalogue(tmp_path, "alaw").ensure(Spoken(text="x", language="xx"))
    with pytest.raises(tts.SpeechFailed, match="cannot read the recording"):
        Catalogue(tmp_path, "alaw").ensure(Recorded(file=tmp_path / "none.wav"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(tts.SpeechFailed, match="apt install espeak-ng"):
        build(campaign("Hello."), tmp_path, settings_in(tmp_path))


def test_a_build_makes_only_what_is_new(tmp_path: Path) -> None:
    here = settings_in(tmp_path)
    both = {"pl": "Dzień dobry.", "en": "Good morning."}
    assert build(campaign(both, languages=["pl", "en"]), tmp_path, here) == Built(fixed=4, made=4, personal=0)
    assert build(campaign(both, languages=["pl", "en"]), tmp_path, here) == Built(fixed=4, made=0, personal=0)
    changed = campaign({**both, "en": "Good evening."}, languages=["pl", "en"])
    assert [sound.text for sound in missing(changed, tmp_path, here) if isinstance(sound, Spoken)] == ["Good evening."]
    assert build(changed, tmp_path, here) == Built(fixed=4, made=1, personal=0)
    assert missing(changed, tmp_path, here) == []


def test_the_dialplan_finds_an_apology_in_the_trunks_codec(tmp_path: Path) -> None:
    here = settings_in(tmp_path, codec="ulaw")
    build(campaign("Hello."), tmp_path, here)
    file = here.prompts_dir / "apology.ulaw"
    assert file.read_bytes() == Catalogue(here.prompts_dir, "ulaw").path(apology("en")).read_bytes()
    assert file.stat().st_mode & 0o777 == 0o644
    file.unlink()
    assert missing(campaign("Hello."), tmp_path, here) == [apology("en")]
    file.write_bytes(b"an old one")
    build(campaign("Hello."), tmp_path, here)
    assert file.stat().st_size > 8000


def test_personal_texts_wait_for_their_person(tmp_path: Path) -> None:
    sounds, personal = fixed_sounds(campaign("Hello {name}."), tmp_path)
    assert (sounds, personal) == ([apology("en")], 1)
    assert sound_of("Hello {name}.", "en", {"name": "Ann"}, tmp_path) == Spoken(
        text="Hello Ann.", language="en", personal=True
    )


def test_personal_sounds_stand_apart_and_go_after_a_day(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, "alaw")
    sounds = [
        sound_of(text, "en", {"name": "Ann"}, tmp_path) for text in ("Hello {name}.", "Bye {name}.", "Hello Ann.")
    ]
    old, young, fixed = (catalogue.ensure(sound) for sound in sounds)
    assert [path.parent.relative_to(tmp_path) for path in (old, young, fixed)] == [
        Path("personal/en"), Path("personal/en"), Path("en"),
    ]  # fmt: skip
    made_at = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for path, age_s in ((old, 86_401), (young, 86_399), (fixed, 1_000_000)):
        os.utime(path, times=(made_at.timestamp() - age_s,) * 2)
    assert forget_personal(tmp_path, made_at) == 1
    assert [path.is_file() for path in (old, young, fixed)] == [False, True, True]


def test_without_personal_sounds_there_is_nothing_to_forget(tmp_path: Path) -> None:
    assert forget_personal(tmp_path / "none", datetime(2026, 5, 1, tzinfo=UTC)) == 0


def test_asterisk_may_read_a_personal_sound_whatever_the_umask_is(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        said = sound_of("Hello {name}.", "en", {"name": "Ann"}, tmp_path)
        path = Catalogue(tmp_path / "prompts", "alaw").ensure(said)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert {folder.stat().st_mode & 0o777 for folder in list(path.parents)[:3]} == {0o755}


@pytest.fixture
def stuck_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """espeak-ng knows the voice and then speaks for ever."""
    tool = tmp_path / "bin" / "espeak-ng"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\ncase "$*" in *-q*) exit 0;; esac\nexec sleep 60\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")


@pytest.mark.usefixtures("stuck_espeak")
def test_a_tool_that_hangs_is_ended_in_time(tmp_path: Path) -> None:
    with pytest.raises(tts.SpeechFailed, match="timed out"):
        Catalogue(tmp_path, "alaw", limit_s=0.1).ensure(Spoken(text="x", language="en"))


def test_the_apology_is_in_the_persons_language_or_in_english() -> None:
    assert apology("pl").text == APOLOGY["pl"]
    assert apology("en-GB").language == "en"
    assert apology("de") == apology("en")


def test_recordings_stand_beside_the_campaign_file(tmp_path: Path) -> None:
    assert sound_of(Recording(file="a.wav"), "pl", {}, tmp_path) == Recorded(file=tmp_path / "a.wav")


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., click.testing.Result]:
    def run(*words: str) -> click.testing.Result:
        loaded = SimpleNamespace(campaign=campaign("Hello."), base_dir=tmp_path)
        return CliRunner().invoke(prompts_group(lambda path: loaded), [*words, "campaign.yaml"])

    monkeypatch.setattr("dialer.settings.load", lambda path: settings_in(tmp_path))
    return run


def test_the_commands(prompts: Callable[..., click.testing.Result]) -> None:
    assert prompts("missing").exit_code == 1
    assert prompts("build", "--json").stdout == '{"fixed": 2, "made": 2, "personal": 0}\n'
    assert (prompts("missing").exit_code, prompts("missing").output) == (0, "")
