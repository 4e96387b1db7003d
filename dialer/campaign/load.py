"""A campaign file: read, checked and judged as a whole; every problem of the file in one run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dialer.campaign import answer_rules, flow, flow_checks, model, packs, yaml_file
from dialer.campaign.calling import at_any_hour
from dialer.campaign.capacity import numbers_of
from dialer.campaign.holidays import CALLEE
from dialer.campaign.model import Campaign, Prompt, Recording
from dialer.campaign.values import duration_text
from dialer.campaign.wording import Finding, findings, located, not_built
from dialer.campaign.yaml_file import Key, YamlFile, dotted
from dialer.contacts import sources
from dialer.errors import InvalidInput, Problem
from dialer.phone import NumberReject, is_region, parse
from dialer.settings import Settings, TrunkSettings


@dataclass(frozen=True, kw_only=True)
class LoadedCampaign:
    """A campaign file that may be used.

    `document` is the file as plain JSON data, in the file's order, which says where the flow goes on; in the place of
    each rule pack's name stands what it says. `Campaign.model_validate(document)` gives the same campaign again.
    """

    campaign: Campaign
    document: dict[str, Any]
    base_dir: Path
    sha256: str
    path: Path
    lines: dict[Key, int]


def load_campaign(path: Path) -> LoadedCampaign:
    """The campaign in a file. Raises InvalidInput with every problem found."""
    file = packs.expand(yaml_file.read(path), path)
    base_dir = path.resolve().parent
    campaign, found = _judge(file, base_dir)
    problems = [*file.problems, *located(path, file.lines, _news(found, file.problems))]
    if problems or campaign is None:
        problems.sort(key=lambda problem: problem.line or 0)
        raise InvalidInput(f"{path} has {_count(len(problems), 'problem')}; nothing was started", problems)
    return LoadedCampaign(
        campaign=campaign,
        document=file.data,
        base_dir=base_dir,
        sha256=hashlib.sha256(file.raw).hexdigest(),
        path=path,
        lines=file.lines,
    )


def check_against(loaded: LoadedCampaign, settings: Settings) -> list[Problem]:
    """What this machine's settings say against a campaign: unknown trunks, calls too long, numbers not owned, and no
    hours at all where calls leave the machine."""
    found: list[Finding] = []
    calling, capacity = loaded.campaign.calling, loaded.campaign.capacity
    for place, use in enumerate(capacity.trunks):
        trunk = settings.trunk(use.name)
        if trunk is None:
            names = [one.name for one in settings.trunks]
            close = get_close_matches(use.name, names, 1, 0.6)
            fix = f"did you mean {close[0]}?" if close else f"name one of {', '.join(names)}"
            # Of a trunk written as its name alone this is the name's own line.
            found.append(Finding(key=("capacity", "trunks", place), code="unknown-trunk",
                                 message=f"the settings know no trunk {use.name!r}", fix=fix))  # fmt: skip
            continue
        if at_any_hour(calling) and not trunk.on_loopback:
            found.append(Finding(
                key=("calling", "window"), code="only-in-a-lab",
                message=f"`any` would call people at night: trunk {trunk.name} leads to {trunk.host}, outside this "
                "machine", fix='write days and times, such as `mon-fri: "09:00-20:00"`',
            ))  # fmt: skip
        if capacity.longest_call > (limit := settings.node(trunk.node).longest_call_s):
            found.append(Finding(
                key=("capacity", "longest_call"), code="longer-than-the-node-allows",
                message=f"node {trunk.node} ends every call after {duration_text(limit)}",
                fix=f"write `longest_call: {duration_text(limit)}` or less, or raise longest_call_s in the settings",
            ))  # fmt: skip
        key: Key = ("capacity", "caller_id") if use.caller_id is None else ("capacity", "trunks", place, "caller_id")
        for below, number in numbers_of(capacity.caller_id if use.caller_id is None else use.caller_id):
            if not settings.may_show(number, trunk):
                found.append(_not_ours((*key, *below), number, trunk, settings))
    return list(located(loaded.path, loaded.lines, dict.fromkeys(found)))


def _not_ours(key: Key, number: str, trunk: TrunkSettings, settings: Settings) -> Finding:
    """The refusal of a number that may not be shown: showing somebody else's is fraud, and carriers block it."""
    if settings.may_show(number, trunk.model_copy(update={"caller_ids": ()})):
        message = f"trunk {trunk.name} may not show {number}"
        fix = f"show one of its caller_ids, or add this one to them in the settings of trunk {trunk.name}"
    else:
        message = f"{number} is not among the numbers that this machine's settings own (caller_ids)"
        fix = f'if it is yours, add it to the settings: `caller_ids: ["{number}"]`'
    return Finding(key=key, code="not-owned", message=message, fix=fix)


def _judge(file: YamlFile, base_dir: Path) -> tuple[Campaign | None, list[Finding]]:
    """The model's verdict, then what only a whole campaign shows."""
    found = list(_several_not_built(file.data))
    campaign: Campaign | None = None
    whole: Campaign | None
    try:
        campaign = whole = Campaign.model_validate(file.data)
    except ValidationError as error:
        found += findings(error, file.written)
        found += _contradictions_beside(error, file.data)
        whole = _with_placeholders(file.data, found)
    if whole is not None:
        wrong = [*flow_checks.problems(whole), *answer_rules.problems(whole)]
        found += [Finding(key=p.key, code=p.code, message=p.message, fix=p.fix) for p in wrong]
        found += _missing_files(whole, base_dir)
        found += _doubtful_numbers(whole)
        found += _whereabouts_missing(whole)
    return campaign, _once(found)


def _several_not_built(data: dict[str, Any]) -> Iterator[Finding]:
    """Values of a right key that only a later release understands."""
    contacts = data.get("contacts")
    source = contacts.get("from") if isinstance(contacts, dict) else None
    if isinstance(source, list):
        yield Finding(key=("contacts", "from"), code="not-built-yet", message="several files are not built yet",
                      fix="name one file, or a folder that receives the daily base, such as base/")  # fmt: skip
    steps = data.get("flow")
    for name, step in steps.items() if isinstance(steps, dict) else ():
        keys = step.get("keys") if isinstance(step, dict) else None
        for key, target in keys.items() if isinstance(keys, dict) else ():
            if isinstance(target, dict) and "transfer" in target:
                note = not_built(("flow", name, "keys", key, "transfer"))
                if note is not None:
                    yield Finding(key=("flow", name, "keys", key), code=note.code, message=note.message, fix=note.fix)


def _contradictions_beside(error: ValidationError, data: dict[str, Any]) -> Iterator[Finding]:
    """Contradictions in steps of which pydantic only told the wrong values (it stops at those)."""
    steps = data.get("flow")
    for name in {
        details["loc"][1] for details in error.errors() if details["loc"][:1] == ("flow",) and details["loc"][1:]
    }:
        step = steps.get(str(name)) if isinstance(steps, dict) else None
        for wrong in model.contradictions(step.keys()) if isinstance(step, dict) else ():
            yield Finding(key=("flow", str(name), *wrong.key), code=wrong.code, message=wrong.message, fix=wrong.fix)


_PLACEHOLDERS: dict[str, Any] = {
    "campaign": "placeholder",
    "title": "",
    "tenant": "placeholder",
    "calling": {"window": "any"},
    "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["any"], "caller_id": "+48221234567"},
    "retry": {},
}
"""Sections that say nothing about the flow: wrong ones give way to these, so that the flow is checked all the same."""


def _with_placeholders(data: dict[str, Any], found: list[Finding]) -> Campaign | None:
    known = {info.alias or name for name, info in Campaign.model_fields.items()}
    wrong = {str(finding.key[0]) for finding in found if finding.key}
    mended = {name: value for name, value in data.items() if name in known and name not in wrong}
    try:
        return Campaign.model_validate(
            {**{name: _PLACEHOLDERS[name] for name in wrong & _PLACEHOLDERS.keys()}, **mended}
        )
    except ValidationError:
        return None


def _missing_files(campaign: Campaign, base_dir: Path) -> Iterator[Finding]:
    source = campaign.contacts.source
    if sources.is_pattern(source):
        yield from _missing_folder(source, base_dir)
        source = ""
    places: list[tuple[Key, str]] = [(("contacts", "from"), source)] if source else []
    for name, step in campaign.flow.items():
        for word, prompt in flow.prompts(step):
            places += _recordings(("flow", name, word), prompt)
    for key, file in places:
        if "\0" in file or not (base_dir / file).is_file():
            yield Finding(key=key, code="no-such-file", message=f"there is no file {file!r} beside the campaign file",
                          fix="correct the path, or put the file there")  # fmt: skip


def _missing_folder(source: str, base_dir: Path) -> Iterator[Finding]:
    key: Key = ("contacts", "from")
    try:
        folder = sources.pattern_of(base_dir, source).folder
    except ValueError as error:
        yield Finding(key=key, code="wrong-form", message=f"{source!r}: {error}",
                      fix="write for example base/ or base/base-{date}.csv")  # fmt: skip
        return
    if not folder.is_dir():
        yield Finding(key=key, code="no-such-file", message=f"there is no folder {source.rpartition('/')[0]!r} beside "
                      "the campaign file", fix="correct the path, or make the folder")  # fmt: skip


def _recordings(key: Key, prompt: Prompt) -> Iterator[tuple[Key, str]]:
    if isinstance(prompt, Recording):
        yield (*key, "file"), prompt.file
    elif isinstance(prompt, dict):
        for language, item in prompt.items():
            yield from _recordings((*key, language), item)


def _doubtful_numbers(campaign: Campaign) -> Iterator[Finding]:
    region = campaign.contacts.region
    if region is not None and not is_region(region):
        yield Finding(key=("contacts", "region"), code="wrong-value", message=f"{region} is no country with telephones",
                      fix="write the two letters of ISO 3166, such as PL")  # fmt: skip
    for place, code in enumerate(campaign.contacts.countries or ()):
        if not is_region(code):
            yield Finding(key=("contacts", "countries", place), code="wrong-value", message=f"{code} is no country "
                          "with telephones", fix="write the two letters of ISO 3166, such as PL")  # fmt: skip
    capacity = campaign.capacity
    shown: list[tuple[Key, str]] = [(("capacity", "caller_id", *key), n) for key, n in numbers_of(capacity.caller_id)]
    for place, use in enumerate(capacity.trunks):
        for key, number in numbers_of(use.caller_id) if use.caller_id is not None else ():
            shown.append((("capacity", "trunks", place, "caller_id", *key), number))
    for key, number in shown:
        if parse(number, None) in (NumberReject.INVALID, NumberReject.NOT_A_NUMBER):
            yield Finding(key=key, code="invalid-number", message="no such number can exist; "
                          "carriers block calls that show one", fix="write a number of yours, in E.164")  # fmt: skip


def _whereabouts_missing(campaign: Campaign) -> Iterator[Finding]:
    """Holidays of the callee's own place when no column says where that is: nobody would ever be called."""
    places: list[Key] = [("calling",), *(("calling", "rules", place) for place in range(len(campaign.calling.rules)))]
    for key, part in zip(places, (campaign.calling, *campaign.calling.rules), strict=True):
        if CALLEE in part.holidays and campaign.contacts.subdivision is None:
            yield Finding(key=(*key, "holidays"), code="contradiction", message="no column says where the callees are",
                          fix="name it in `contacts`, as `subdivision: county`; or name countries here")  # fmt: skip


def _once(found: list[Finding]) -> list[Finding]:
    """Without doubles, and without what follows from a key that is not built yet."""
    refused = {finding.key for finding in found if finding.code == "not-built-yet"}
    return [
        finding
        for finding in dict.fromkeys(found)
        if finding.code == "not-built-yet"
        or not any(finding.key[:n] in refused for n in range(1, len(finding.key) + 1))
    ]


def _news(found: list[Finding], known: tuple[Problem, ...]) -> Iterator[Finding]:
    """What the reader has not said about the same place: a key without a value is not missing as well."""
    places = {problem.key for problem in known}
    return (finding for finding in found if dotted(finding.key) not in places)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
