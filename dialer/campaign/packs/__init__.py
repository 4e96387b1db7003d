"""Rule packs: hours and limits as data files, the shipped ones beside this module; read when a campaign is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialer.campaign import yaml_file
from dialer.campaign.calling import Pack
from dialer.campaign.wording import Finding, findings, located
from dialer.campaign.yaml_file import YamlFile
from dialer.errors import InvalidInput, Problem

FOLDER = Path(__file__).parent


def shipped() -> dict[str, Path]:
    """The packs that come with the product, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def expand(file: YamlFile, path: Path) -> YamlFile:
    """A campaign file with each named pack's content in the name's place, and with the faults of the packs.

    A revision so keeps the rules that it was accepted with, whatever becomes of the pack's file. Files are found from
    the campaign file's folder.
    """
    calling = file.data.get("calling")
    rules = calling.get("rules") if isinstance(calling, dict) else None
    if not isinstance(calling, dict) or not isinstance(rules, list):
        return file
    contents: list[Any] = []
    problems: list[Problem] = []
    for place, rule in enumerate(rules):
        if not isinstance(rule, str):
            contents.append(rule)
        elif (pack := _file(rule, path.resolve().parent)) is None:
            problems += located(path, file.lines, [_unknown(rule, place)])
        else:
            content, faults = _read(pack)
            contents += [content] if content is not None else []
            problems += faults
    data = {**file.data, "calling": {**calling, "rules": contents}}
    return replace(file, data=data, problems=(*file.problems, *problems))


def _file(rule: str, folder: Path) -> Path | None:
    """The file of a pack: a name alone is a shipped one's, and anything with an ending or a folder is a path."""
    return folder / rule if re.search(r"/|\.ya?ml$", rule) else shipped().get(rule)


def _unknown(rule: str, place: int) -> Finding:
    names = list(shipped())
    close = get_close_matches(rule, names, 1, 0.6)
    fix = f"did you mean {close[0]}?" if close else f"name one of {', '.join(names)}, or a file such as our-rules.yaml"
    return Finding(
        key=("calling", "rules", place), code="unknown-pack", message=f"there is no rule pack {rule!r}", fix=fix
    )


def _read(path: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """A pack's content, or everything that is wrong with its file."""
    try:
        file = yaml_file.read(path)
    except InvalidInput as error:
        return None, list(error.problems)
    problems = [*file.problems, *located(path, file.lines, _wrong(file))]
    return None if problems else file.data, problems


def _wrong(file: YamlFile) -> Iterator[Finding]:
    try:
        Pack.model_validate(file.data)
    except ValidationError as error:
        yield from findings(error, file.written, Pack)
