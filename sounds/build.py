"""Makes every fixed prompt of a campaign before its first call; only what is new takes time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dialer.campaign import flow, personal
from dialer.campaign.model import Campaign, Recording
from dialer.settings import Settings
from sounds import tts
from sounds.catalogue import Catalogue, Recorded, Sound, Spoken, apology, sound_of


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build found: prompts in all, made now, and those that each call speaks for itself."""

    fixed: int
    made: int
    personal: int


def codecs_of(campaign: Campaign, settings: Settings) -> list[str]:
    """The codecs of the campaign's trunks; trunks that the settings lack are somebody else's problem to report."""
    trunks = [settings.trunk(use.name) for use in campaign.capacity.trunks]
    return sorted({trunk.codec for trunk in trunks if trunk is not None}) or ["alaw"]


def build(
    campaign: Campaign, base_dir: Path, settings: Settings, progress: Callable[[int, int], None] = lambda done, of: None
) -> Built:
    """Makes what is missing, in every codec of the campaign's trunks.

    `progress(done, of)` is called after each file made. Raises SpeechFailed with what to install or mend.
    """
    fixed, spoken_later = fixed_sounds(campaign, base_dir)
    speech = spoken_later > 0 or any(isinstance(sound, Spoken) for sound in fixed)
    tts.require_tools(speech=speech)
    for language in campaign.languages if speech else ():
        tts.voice(language)
    todo = []
    for codec in codecs_of(campaign, settings):
        catalogue = Catalogue(settings.prompts_dir, codec)
        todo += [(catalogue, sound, path) for sound in fixed if not (path := catalogue.path(sound)).is_file()]
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        made = threads.map(lambda item: item[0].make(item[1], item[2]), todo)
        for done, _ in enumerate(made, start=1):
            progress(done, len(todo))
    for codec in codecs_of(campaign, settings):
        Catalogue(settings.prompts_dir, codec).put_apology_for_the_dialplan()
    return Built(fixed=len(fixed), made=len(todo), personal=spoken_later)


def fixed_sounds(campaign: Campaign, base_dir: Path) -> tuple[list[Sound], int]:
    """Every sound that does not depend on the person, apologies included; and how many prompts do."""
    sounds: dict[Sound, None] = {}
    spoken_later = 0
    for language in campaign.languages:
        sounds[apology(language)] = None
        for said in _said(campaign, language):
            if isinstance(said, str) and personal.names(said):
                spoken_later += 1
            else:
                sounds[sound_of(said, language, {}, base_dir)] = None
    # A worker that cannot even learn the language says sorry in English.
    sounds[apology("en")] = None
    return list(sounds), spoken_later


def missing(campaign: Campaign, base_dir: Path, settings: Settings) -> list[Sound]:
    """The fixed sounds that have not been made yet, or whose recording cannot be read."""
    fixed, _ = fixed_sounds(campaign, base_dir)
    catalogues = [Catalogue(settings.prompts_dir, codec) for codec in codecs_of(campaign, settings)]
    return [sound for sound in fixed if not all(_stands(catalogue, sound) for catalogue in catalogues)]


def _stands(catalogue: Catalogue, sound: Sound) -> bool:
    if isinstance(sound, Recorded) and not sound.file.is_file():
        return False
    if sound == apology("en") and not catalogue.dialplans_apology.is_file():
        return False
    return catalogue.path(sound).is_file()


def _said(campaign: Campaign, language: str) -> Iterator[str | Recording]:
    for step in campaign.flow.values():
        for _, prompt in flow.prompts(step):
            yield flow.said(prompt, language)
