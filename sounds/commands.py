"""`dialer prompts`: makes a campaign's spoken prompts, or says which are not made yet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click

from dialer import settings as settings_file
from dialer.campaign.model import Campaign
from sounds.build import build as build_prompts
from sounds.build import missing as missing_sounds
from sounds.catalogue import Recorded, Sound

_FILE = click.argument("file", type=click.Path(path_type=Path))
_SETTINGS = click.option("--settings", "path", type=click.Path(path_type=Path), help="The machine's settings file.")
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


class Loaded(Protocol):
    """What a loaded campaign file must tell (dialer.campaign.load.LoadedCampaign)."""

    @property
    def campaign(self) -> Campaign: ...

    @property
    def base_dir(self) -> Path: ...


def prompts_group(load_campaign: Callable[[Path], Loaded]) -> click.Group:
    """The `prompts` commands; `load_campaign` reads a file or raises InvalidInput with every problem."""

    @click.group()
    def prompts() -> None:
        """The spoken and recorded prompts, in the codecs of the trunks."""

    @prompts.command()
    @_FILE
    @_SETTINGS
    @_JSON
    def build(file: Path, path: Path | None, as_json: bool) -> None:
        """Make every fixed prompt of a campaign that is new or changed.

        Texts with {fields} are spoken while a call runs. `dialer run` does this before the first call.

        Example: dialer prompts build examples/health-check/campaign.yaml
        """
        loaded = load_campaign(file)

        def progress(done: int, of: int) -> None:
            click.echo(f"\rprompts {done} of {of}", err=True, nl=done == of)

        built = build_prompts(loaded.campaign, loaded.base_dir, settings_file.load(path), progress)
        facts = {"fixed": built.fixed, "made": built.made, "personal": built.personal}
        if as_json:
            click.echo(json.dumps(facts))
        else:
            click.echo(f"{built.fixed} fixed prompts, {built.made} made now; {built.personal} are personal", err=True)

    @prompts.command()
    @_FILE
    @_SETTINGS
    @_JSON
    @click.pass_context
    def missing(context: click.Context, file: Path, path: Path | None, as_json: bool) -> None:
        """List the fixed prompts that are not made yet; exit code 1 when there are any.

        Example: dialer prompts missing examples/health-check/campaign.yaml
        """
        loaded = load_campaign(file)
        lacking = missing_sounds(loaded.campaign, loaded.base_dir, settings_file.load(path))
        for sound in lacking:
            click.echo(json.dumps(_facts(sound), ensure_ascii=False) if as_json else " ".join(_facts(sound).values()))
        context.exit(1 if lacking else 0)

    return prompts


def _facts(sound: Sound) -> dict[str, Any]:
    if isinstance(sound, Recorded):
        return {"file": str(sound.file)}
    return {"language": sound.language, "text": sound.text}
