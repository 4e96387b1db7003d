"""Says in an operator's words what pydantic found wrong with a campaign file, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dialer.campaign import capacity, model, number_base, retry, values
from dialer.campaign.yaml_file import Key, dotted
from dialer.errors import Problem

NOT_BUILT_YET = {
    ("retry", "per_day"): "a limit of calls a day is not built yet",
    ("retry", "machine"): "answering machines are not told from people yet",
    ("flow", "*", "confirm"): "confirming an answer is not built yet",
    ("flow", "*", "transfer"): "transfers are not built yet",
    ("flow", "*", "keys", "*", "transfer"): "transfers are not built yet",
    ("follow_ups",): "follow-ups are not built yet",
}
"""Keys that the file will have one day (`*` is any name). They are refused: ignoring one would change who is called."""
NOT_BUILT_FIX = "remove `{name}` until a release has it"

_EXAMPLES = {
    "campaign": "health-check",
    "contacts": "{from: contacts.csv, numbers: [mobile]}",
    "from": "contacts.csv",
    "numbers": "[mobile]",
    "types": "[mobile, fixed]",
    "countries": "[PL]",
    "calling": '{window: {mon-fri: "09:00-20:00"}}',
    "window": '{mon-fri: "09:00-20:00"}',
    "pack": "our-rules",
    "capacity": '{max_concurrent: 10, calls_per_second: 2, trunks: [carrier-a], caller_id: "+48221234567"}',
    "max_concurrent": "10",
    "calls_per_second": "2",
    "trunks": "[carrier-a]",
    "caller_id": '"+48221234567"',
    "pool": '["+48221234567", "+48221234568"]',
    "by_region": '{"+4822": "+48221234567"}',
    "otherwise": '"+48221234567"',
    "name": "carrier-a",
    "flow": '{welcome: {say: "Good morning."}}',
    "after": "5m",
    "waves": '["09:00", "17:00"]',
    "file": "welcome.wav",
}
_FORMS = {
    model.NAME: ("is not a name", "use small letters, digits and hyphens, at most 63, such as health-check"),
    model.STEP_NAME: ("is not a name for a step", "use small letters, digits and _, such as first_question"),
    model.LANGUAGE: ("is not a language", "write a language code such as en, pl or pt-BR"),
    model.KEYS: ("is not on a keypad", "use the keys 0 to 9, * and #"),
    capacity.PREFIX: ("is no beginning of E.164 numbers", 'write + and the first digits, in quotes: "+48" or "+4822"'),
    capacity.E164: ("is not a number in E.164 form", 'write + and the country code, in quotes: "+48221234567"'),
    number_base.REGION: ("is not a country", "write two capital letters, such as PL"),
    model.DIGITS: ("does not say how many digits", "write for example `digits: 4` or `digits: 1-2`"),
    retry.TIME: ("is not a time of day", 'write hours and minutes, such as "17:00"'),
    retry.UNTIL: ("does not say until when", 'write completed, or a time such as "20:00" or 2026-12-24 20:00'),
    model.RANGE: ("is not a range of numbers", "write for example `range: 0-20`"),
}
_TYPES = {
    "string_type": ("a text", 'put it between double quotes: "{written}"'),
    "int_type": ("a whole number", "write digits without quotes, such as 10"),
    "int_from_float": ("a whole number", "write digits without quotes, such as 10"),
    "float_type": ("a number", "write a number without quotes, such as 2 or 0.5"),
    "finite_number": ("a number", "write a number such as 2 or 0.5"),
    "bool_type": ("yes or no", "write yes or no"),
    "bool_parsing": ("yes or no", "write yes or no"),
    "tuple_type": ("a list", "write it between brackets: [{written}]"),
    "list_type": ("a list", "write it between brackets: [{written}]"),
    "dict_type": ("keys with values", "write `key: value` lines below it, indented"),
    "model_type": ("keys with values", "write `key: value` lines below it, indented"),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing wrong at a place of the file; the place may be a key that is missing."""

    key: Key
    code: str
    message: str
    fix: str


def findings(
    error: ValidationError, written: Mapping[Key, str], root: type[BaseModel] = model.Campaign
) -> Iterator[Finding]:
    """Everything that pydantic found in a file of this model; `written` holds the values as the file writes them."""
    errors = error.errors(include_url=False)
    for details in errors:
        place = details["loc"]
        if details["type"] == "too_short" and any(one["loc"][:-1][: len(place)] == place for one in errors):
            # Of a tuple whose items are all wrong, pydantic says that it is empty as well.
            continue
        key = tuple(part for part in place if not (isinstance(part, str) and part.startswith(("<", "["))))
        if details["type"] == values.REFUSED:
            for wrong in details["ctx"]["wrongs"]:
                yield Finding(key=key + wrong.key, code=wrong.code, message=wrong.message, fix=wrong.fix)
        elif (note := not_built(key)) is not None:
            yield note
        else:
            yield _worded(key, details, written.get(key, "..."), root)


def not_built(key: Key) -> Finding | None:
    """The refusal of a key that only a later release has; None for every other key."""
    for pattern, message in NOT_BUILT_YET.items():
        if len(pattern) == len(key) and all(p in ("*", part) for p, part in zip(pattern, key, strict=True)):
            return Finding(key=key, code="not-built-yet", message=message, fix=NOT_BUILT_FIX.format(name=key[-1]))
    return None


def located(path: Path, lines: Mapping[Key, int], found: Iterable[Finding]) -> Iterator[Problem]:
    """Findings as problems of a file, each at its own line or the nearest above it in the tree."""
    for finding in found:
        near = next((lines[finding.key[:n]] for n in range(len(finding.key), -1, -1) if finding.key[:n] in lines), None)
        yield Problem(
            file=str(path), line=near, key=dotted(finding.key), code=finding.code, message=finding.message,
            fix=finding.fix,
        )  # fmt: skip


def _worded(key: Key, details: ErrorDetails, written: str, root: type[BaseModel]) -> Finding:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    name = str(key[-1]) if key else "the file"
    code, message, fix = "wrong-value", f"{_shown(given)} is not allowed here", "see docs/campaign-file.md"
    if kind == "missing":
        code, message = "missing-key", f"`{name}` is missing"
        fix = f"add `{name}: {_EXAMPLES.get(name, '...')}`"
    elif kind == "extra_forbidden":
        code, message, fix = (
            "unknown-key",
            f"there is no key `{name}` here",
            _did_you_mean(name, _allowed(key[:-1], root)),
        )
    elif kind in _TYPES:
        wanted, fix = _TYPES[kind]
        code, message = "wrong-type", f"must be {wanted}, but is {_shown(given)}"
        fix = fix.format(written=_cut(written))
    elif kind == "string_pattern_mismatch":
        what, fix = _FORMS[context["pattern"]]
        code, message = "wrong-form", f"{_shown(given)} {what}"
    elif kind == "literal_error":
        message = f"{_shown(given)} is not one of the words that may stand here"
        fix = _choose(name, str(given), context["expected"])
    elif kind in ("too_long", "string_too_long"):
        code, message, fix = "too-long", f"`{name}` is too long", f"at most {context['max_length']} may stand here"
    elif kind in ("too_short", "string_too_short"):
        code, message, fix = "empty", f"`{name}` is empty", f"write for example `{name}: {_EXAMPLES.get(name, '...')}`"
    elif kind in _BOUNDS:
        limit = next(iter(context.values()))
        code, message = "out-of-range", f"{_shown(given)} is out of bounds"
        fix = f"write a number that is {_BOUNDS[kind]} {limit:g}"
    return Finding(key=key, code=code, message=message, fix=fix)


_BOUNDS = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}


def _shown(value: Any) -> str:
    """A value of the file in words, cut to a readable length."""
    match value:
        case None:
            return "empty"
        case bool():
            return f"the word {str(value).lower()}"
        case str():
            return f"the text {_cut(value)!r}"
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
    return "a mapping of keys to values"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _choose(name: str, given: str, expected: str) -> str:
    if name in retry.RetryPolicy.model_fields:
        return f"write {expected} or what to do, such as `{name}: {{after: 5m, times: 3}}`"
    if name == "at":
        return f'write {expected}, or times such as "17:00"'
    if name == "window":
        return 'write days and times, such as `mon-fri: "09:00-20:00"`; in a lab `window: any`'
    return f"write {expected}"


def _did_you_mean(name: str, allowed: list[str]) -> str:
    close = get_close_matches(name, allowed, 1, 0.6)
    return f"did you mean `{close[0]}`?" if close else f"remove it; what may stand here: {', '.join(allowed)}"


def _allowed(parent: Key, root: type[BaseModel]) -> list[str]:
    """The keys that may stand below a place of the file."""
    here: list[type[BaseModel]] = [root]
    for part in parent:
        fields = {info.alias or name: info for one in here for name, info in one.model_fields.items()}
        if isinstance(part, str) and part in fields:
            here = list(dict.fromkeys(_models_in(fields[part].annotation))) or here
    return list(dict.fromkeys(info.alias or name for one in here for name, info in one.model_fields.items()))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]
