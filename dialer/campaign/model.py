"""What a campaign file may say: the pydantic model behind validation, the JSON Schema and the engine.

Values are strict where YAML is loose: a text is a text, a count is a count. Durations are `30s`, `5m`, `2h`, `3d`
and become seconds; keys of the keypad are the texts `0` … `9`, `*`, `#`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
STEP_NAME = r"^[a-z][a-z0-9_]{0,39}$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z]{2,8})?$"
KEYPAD = "0123456789*#"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SLOT = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]|24):([0-5]\d)")


def parse_duration(value: Any) -> Any:
    """`90s`, `5m`, `2h`, `3d` as whole seconds."""
    match = re.fullmatch(r"(\d{1,6})\s*([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a duration such as 30s, 5m, 2h or 3d")
    return int(match[1]) * _UNITS[match[2]]


Duration = Annotated[int, BeforeValidator(parse_duration, json_schema_input_type=str)]


def _between(shortest: int, longest: int) -> Any:
    return Field(ge=shortest, le=longest, json_schema_extra={"examples": ["30s", "5m", "2h"]})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


# -- contacts -----------------------------------------------------------------------------------------------------


class Contacts(_Part):
    """Where the people come from, and what their columns mean."""

    source: str = Field(alias="from", min_length=1, description="One CSV file, beside the campaign file or absolute.")
    person: str | None = Field(default=None, description="Column that says who is the same person; else the number.")
    numbers: Annotated[list[str], Field(min_length=1)] = Field(description="Columns with numbers, in the order to try.")
    region: str | None = Field(
        default=None, pattern=r"^[A-Z]{2}$", description="Country of numbers written without a country code, as PL."
    )
    language: str | None = Field(default=None, description="Column with the person's language.")
    time_zone: str | None = Field(default=None, description="Column with the IANA time zone; else from the number.")
    fields: list[str] = Field(default=[], description="Columns that prompts and reports may use.")


# -- calling ------------------------------------------------------------------------------------------------------


def parse_slots(text: str) -> list[tuple[int, int]]:
    """`09:00-13:00, 14:00-20:00` as half-open minutes of the day. Raises ValueError."""
    slots = []
    for part in text.split(","):
        match = _SLOT.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a time span such as 09:00-20:00")
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if not start < end <= 1440:
            raise ValueError(f"{part.strip()!r} must start before it ends, within one day")
        slots.append((start, end))
    slots.sort()
    if any(this[1] > following[0] for this, following in pairwise(slots)):
        raise ValueError("the time spans overlap")
    return slots


def parse_days(text: str) -> list[int]:
    """`mon`, `mon-fri` or `sat,sun` as weekdays (Monday is 0). Raises ValueError."""
    days: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise ValueError(f"{part.strip()!r} is not a day or a range of days such as mon-fri")
        start, end = DAYS.index(first), DAYS.index(last or first)
        if start > end:
            raise ValueError(f"{part.strip()!r} must go from an earlier day to a later one")
        days.extend(range(start, end + 1))
    return days


class Calling(_Part):
    """When people may be called."""

    window: Literal["any"] | dict[str, str] = Field(
        description="Days to time spans in the callee's own time zone; `any` only in a lab."
    )

    @model_validator(mode="after")
    def _window_is_readable(self) -> Calling:
        if self.window == "any":
            return self
        if not self.window:
            raise ValueError("the window is empty, so nobody could ever be called")
        seen: set[int] = set()
        for days, slots in self.window.items():
            numbers = parse_days(days)
            if seen & set(numbers):
                raise ValueError(f"{days!r} names a day that another line names too")
            seen |= set(numbers)
            parse_slots(slots)
        return self


# -- capacity -----------------------------------------------------------------------------------------------------


class Capacity(_Part):
    """How many calls at once, how fast, through which trunks."""

    max_concurrent: int = Field(ge=1, le=10_000, description="The most calls at once: a hard ceiling.")
    calls_per_second: float = Field(gt=0, le=500, strict=False, description="New calls a second, at most.")
    trunks: Annotated[list[str], Field(min_length=1, max_length=1)] = Field(description="Names from the settings.")
    caller_id: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="The number shown to people, in E.164.")
    ring: Annotated[Duration, _between(5, 120)] = Field(default=30, validate_default=False)
    longest_call: Annotated[Duration, _between(10, 3600)] = Field(default=240, validate_default=False)


# -- retry --------------------------------------------------------------------------------------------------------


class Retry(_Part):
    """What happens after one disposition: how long to wait, how often at most."""

    after: Annotated[Duration, _between(1, 30 * 86400)]
    times: int = Field(default=1, ge=1, le=50)


RETRYABLE = (
    "busy", "no_answer", "unreachable", "rejected", "invalid_number", "out_of_order", "congestion", "trunk_refused",
    "media_error", "rtp_lost", "hung_up", "partial", "no_input", "refused", "dialogue_error", "unknown",
    "not_placed",
)  # fmt: skip


class RetryPolicy(_Part):
    """Per disposition: `stop`, or wait and try again. What is not named has the default of docs/dispositions.md."""

    attempts: int = Field(default=5, ge=1, le=50, description="Calls to a person, in all.")
    busy: Retry | Literal["stop"] | None = None
    no_answer: Retry | Literal["stop"] | None = None
    unreachable: Retry | Literal["stop"] | None = None
    rejected: Retry | Literal["stop"] | None = None
    invalid_number: Retry | Literal["stop"] | None = None
    out_of_order: Retry | Literal["stop"] | None = None
    congestion: Retry | Literal["stop"] | None = None
    trunk_refused: Retry | Literal["stop"] | None = None
    media_error: Retry | Literal["stop"] | None = None
    rtp_lost: Retry | Literal["stop"] | None = None
    hung_up: Retry | Literal["stop"] | None = None
    partial: Retry | Literal["stop"] | None = None
    no_input: Retry | Literal["stop"] | None = None
    refused: Retry | Literal["stop"] | None = None
    dialogue_error: Retry | Literal["stop"] | None = None
    unknown: Retry | Literal["stop", "hold"] | None = None
    not_placed: Retry | Literal["stop"] | None = None


# -- flow ---------------------------------------------------------------------------------------------------------


class Recording(_Part):
    """A recorded file instead of a spoken text: WAV, beside the campaign file or absolute."""

    file: str = Field(min_length=1)


Prompt = str | Recording | dict[Annotated[str, Field(pattern=LANGUAGE)], str | Recording]
"""A text for everybody, a recorded file, or one of either a language."""

KeyText = Annotated[str, Field(pattern=r"^[0-9*#]{1,20}$")]


def _keys_as_text(value: Any) -> Any:
    """YAML reads `1:` as a number; on a keypad it is a key."""
    if isinstance(value, dict):
        return {str(k) if type(k) is int else k: _word(v) for k, v in value.items()}
    return value


def _word(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _yes_or_no(value: Any) -> Any:
    """In YAML 1.2 yes and no are words; here they answer a question."""
    return {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value


YesNo = Annotated[bool, BeforeValidator(_yes_or_no, json_schema_input_type=Literal["yes", "no"] | bool)]
Keys = Annotated[dict[KeyText, str], BeforeValidator(_keys_as_text), Field(min_length=1)]


class Step(_Part):
    """One step of the flow: exactly one of the words say, ask, menu, goto, hangup, and what goes with it."""

    say: Prompt | None = Field(default=None, description="Speaks a text or plays a recorded file.")
    ask: Prompt | None = Field(default=None, description="A question answered on the keypad; the answer is stored.")
    menu: Prompt | None = Field(default=None, description="A choice: each key leads to a step.")
    goto: str | None = Field(default=None, description="Goes on at another step.")
    hangup: Literal["completed", "refused"] | None = Field(default=None, description="Ends the call with a result.")

    keys: Keys | None = Field(default=None, description="ask: keys to answers; menu: keys to steps.")
    digits: Annotated[str, BeforeValidator(_word), Field(pattern=r"^\d{1,2}(-\d{1,2})?$")] | None = Field(
        default=None, description="ask: how many digits, as 4 or 1-2; fewer than the most are ended with #."
    )
    range: str | None = Field(default=None, pattern=r"^\d{1,9}-\d{1,9}$", description="ask: allowed values, as 0-20.")
    timeout: Annotated[Duration, _between(1, 60)] | None = Field(
        default=None, description="ask, menu: silence after the prompt, or between digits. Default 5s."
    )
    tries: int | None = Field(default=None, ge=1, le=9, description="ask, menu: how often to ask. Default 3.")
    on_silence: Prompt | None = Field(default=None, description="ask, menu: said when no key was pressed.")
    on_wrong: Prompt | None = Field(default=None, description="ask, menu: said when the key was not allowed.")
    otherwise: str | None = Field(default=None, description="ask, menu: the step after the last try; else it ends.")
    next: str | Annotated[dict[str, str], BeforeValidator(_keys_as_text)] | None = Field(
        default=None, description="The step that follows, or answers to steps. Default: the next in the file."
    )
    complete: YesNo = Field(default=False, description="From here on the dialogue counts as completed.")

    @property
    def word(self) -> str:
        """Which of the five words this step is."""
        return next(word for word in WORDS if getattr(self, word) is not None)

    @model_validator(mode="after")
    def _is_one_word(self) -> Step:
        words = [word for word in WORDS if getattr(self, word) is not None]
        if len(words) != 1:
            has = ", ".join(words) or "none"
            raise ValueError(f"a step needs exactly one of {', '.join(WORDS)}; this one has {has}")
        for key in _ALLOWED["ask"] | _ALLOWED["menu"] | _ALLOWED["say"]:
            given = getattr(self, key) not in (None, False)
            if given and key not in _ALLOWED[words[0]]:
                raise ValueError(f"{key!r} does not go with {words[0]!r}")
        if self.ask is not None and (self.keys is None) == (self.digits is None):
            raise ValueError("ask needs either `keys` (each key an answer) or `digits` (how many)")
        if self.menu is not None and self.keys is None:
            raise ValueError("menu needs `keys` (each key a step)")
        if self.range is not None and self.digits is None:
            raise ValueError("`range` goes with `digits`")
        return self


WORDS = ("say", "ask", "menu", "goto", "hangup")
_ASKING = {"keys", "timeout", "tries", "on_silence", "on_wrong", "otherwise", "complete"}
_ALLOWED: dict[str, set[str]] = {
    "say": {"next", "complete"},
    "ask": _ASKING | {"digits", "range", "next"},
    "menu": _ASKING,
    "goto": set(),
    "hangup": set(),
}

StepName = Annotated[str, Field(pattern=STEP_NAME)]


class Campaign(_Part):
    """A campaign file: what to say, to whom, when."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, title="dialer campaign")

    campaign: str = Field(pattern=NAME, description="The name used by every command.")
    title: str = Field(default="", max_length=200)
    tenant: str = Field(default="default", pattern=NAME)
    contacts: Contacts
    calling: Calling
    capacity: Capacity
    retry: RetryPolicy = RetryPolicy()
    languages: Annotated[list[Annotated[str, Field(pattern=LANGUAGE)]], Field(min_length=1)] = Field(
        default=["en"], description="The first is spoken to people whose language is not here."
    )
    flow: Annotated[dict[StepName, Step], Field(min_length=1)]
