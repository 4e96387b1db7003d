"""What a campaign file may say: the pydantic model behind validation, the JSON Schema and the engine.

Values are strict where YAML is loose: a text is a text, a count is a count. Durations are `30s`, `5m`, `2h`, `3d`
and become seconds; keys of the keypad are the texts `0` … `9`, `*`, `#`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from dialer.campaign.capacity import Capacity
from dialer.campaign.values import Duration, Part, Wrong, refuse, window_wrongs

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
STEP_NAME = r"^[a-z][a-z0-9_]{0,39}$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z]{2,8})?$"
KEYPAD = "0123456789*#"
KEYS = r"^[0-9*#]{1,20}$"
REGION = r"^[A-Z]{2}$"
DIGITS = r"^[0-9]{1,2}(-[0-9]{1,2})?$"
RANGE = r"^[0-9]{1,9}-[0-9]{1,9}$"


# -- contacts -----------------------------------------------------------------------------------------------------


Column = Annotated[str, Field(min_length=1, max_length=200)]


class Contacts(Part):
    """Where the people come from, and what their columns mean."""

    source: str = Field(alias="from", min_length=1, description="One CSV file, beside the campaign file or absolute.")
    person: Column | None = Field(default=None, description="Column that says who is the same person; else the number.")
    numbers: Annotated[list[Column], Field(min_length=1)] = Field(
        description="Columns with numbers, in the order to try."
    )
    region: str | None = Field(
        default=None, pattern=REGION, description="Country of numbers written without a country code, as PL."
    )
    language: Column | None = Field(default=None, description="Column with the person's language.")
    time_zone: Column | None = Field(default=None, description="Column with the IANA time zone; else from the number.")
    fields: list[Column] = Field(default=[], description="Columns that prompts and reports may use.")

    @model_validator(mode="after")
    def _names_columns_once(self) -> Contacts:
        wrongs = [
            Wrong(key=(key,), code="named-twice", message=f"{name!r} stands here twice", fix="name each column once")
            for key, names in (("numbers", self.numbers), ("fields", self.fields))
            for name in dict.fromkeys(names)
            if names.count(name) > 1
        ]
        if wrongs:
            raise refuse(wrongs)
        return self


# -- calling ------------------------------------------------------------------------------------------------------


def _kind_of_window(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<days>"


Window = Annotated[
    Annotated[Literal["any"], Tag("<word>")] | Annotated[dict[str, str], Tag("<days>")], Discriminator(_kind_of_window)
]


class Calling(Part):
    """When people may be called."""

    window: Window = Field(
        description="Days to time spans in the callee's own time zone; `any` only in a lab.",
        examples=[{"mon-fri": "09:00-13:00, 14:00-20:00", "sat": "10:00-14:00"}],
    )

    @model_validator(mode="after")
    def _window_is_readable(self) -> Calling:
        wrongs = [] if self.window == "any" else window_wrongs(self.window)
        if wrongs:
            raise refuse(wrongs)
        return self


# -- retry --------------------------------------------------------------------------------------------------------


class Retry(Part):
    """What happens after one disposition: how long to wait, how often at most."""

    after: Annotated[int, Duration(shortest_s=1, longest_s=30 * 86400)] = Field(
        description="How long after the end of the last call, from 1s to 30d."
    )
    times: int = Field(default=1, ge=1, le=50, description="How often, for this disposition.")


def _kind_of_rule(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<retry>"


Rule = Annotated[
    Annotated[Retry, Tag("<retry>")] | Annotated[Literal["stop"], Tag("<word>")], Discriminator(_kind_of_rule)
]
RuleOrHold = Annotated[
    Annotated[Retry, Tag("<retry>")] | Annotated[Literal["stop", "hold"], Tag("<word>")], Discriminator(_kind_of_rule)
]


RETRYABLE = (
    "busy", "no_answer", "unreachable", "rejected", "invalid_number", "out_of_order", "congestion", "trunk_refused",
    "media_error", "rtp_lost", "hung_up", "partial", "no_input", "refused", "dialogue_error", "unknown",
    "not_placed", "cancelled",
)  # fmt: skip


class RetryPolicy(Part):
    """Per disposition: `stop`, or wait and try again. What is not named has the default of docs/dispositions.md."""

    attempts: int = Field(default=5, ge=1, le=50, description="Calls to a person, in all.")
    busy: Rule | None = None
    no_answer: Rule | None = None
    unreachable: Rule | None = None
    rejected: Rule | None = None
    invalid_number: Rule | None = None
    out_of_order: Rule | None = None
    congestion: Rule | None = None
    trunk_refused: Rule | None = None
    media_error: Rule | None = None
    rtp_lost: Rule | None = None
    hung_up: Rule | None = None
    partial: Rule | None = None
    no_input: Rule | None = None
    refused: Rule | None = None
    dialogue_error: Rule | None = None
    unknown: RuleOrHold | None = None
    not_placed: Rule | None = None
    cancelled: Rule | None = None


# -- flow ---------------------------------------------------------------------------------------------------------


class Recording(Part):
    """A recorded file instead of a spoken text: WAV, beside the campaign file or absolute."""

    file: str = Field(min_length=1)


def _kind_of_speech(value: Any) -> str:
    return "<recording>" if isinstance(value, dict | Recording) else "<text>"


def _kind_of_prompt(value: Any) -> str:
    if isinstance(value, dict) and "file" not in value:
        return "<languages>"
    return _kind_of_speech(value)


Speech = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[Recording, Tag("<recording>")], Discriminator(_kind_of_speech)
]
Prompt = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[Recording, Tag("<recording>")]
    | Annotated[dict[Annotated[str, Field(pattern=LANGUAGE)], Speech], Field(min_length=1), Tag("<languages>")],
    Discriminator(_kind_of_prompt),
]
"""A text for everybody, a recorded file, or one of either a language."""

KeyText = Annotated[str, Field(pattern=KEYS)]


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


DigitCount = Annotated[
    str,
    Field(pattern=DIGITS),
    BeforeValidator(_word),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": DIGITS}]}),
]
YesNo = Annotated[bool, BeforeValidator(_yes_or_no, json_schema_input_type=Literal["yes", "no"] | bool)]
Word = Annotated[str, WithJsonSchema({"type": ["string", "integer"]})]
"""A text that YAML may read as a number, as in `keys: {1: 2}`."""
Keys = Annotated[dict[KeyText, Word], Field(min_length=1), BeforeValidator(_keys_as_text)]


def _kind_of_next(value: Any) -> str:
    return "<answers>" if isinstance(value, dict) else "<step>"


Next = Annotated[
    Annotated[str, Tag("<step>")]
    | Annotated[dict[str, str], Field(min_length=1), BeforeValidator(_keys_as_text), Tag("<answers>")],
    Discriminator(_kind_of_next),
]


class Step(Part):
    """One step of the flow: exactly one of the words say, ask, menu, goto, hangup, and what goes with it."""

    say: Prompt | None = Field(default=None, description="Speaks a text or plays a recorded file.")
    ask: Prompt | None = Field(default=None, description="A question answered on the keypad; the answer is stored.")
    menu: Prompt | None = Field(default=None, description="A choice: each key leads to a step.")
    goto: str | None = Field(default=None, description="Goes on at another step.")
    hangup: Literal["completed", "refused"] | None = Field(default=None, description="Ends the call with a result.")

    keys: Keys | None = Field(default=None, description="ask: keys to answers; menu: keys to steps.")
    digits: DigitCount | None = Field(
        default=None, description="ask: how many digits, as 4 or 1-2; fewer than the most are ended with #."
    )
    range: str | None = Field(default=None, pattern=RANGE, description="ask: allowed values, as 0-20.")
    timeout: Annotated[int, Duration(shortest_s=1, longest_s=60)] | None = Field(
        default=None, description="ask, menu: silence after the prompt, or between digits, from 1s to 60s. Default 5s."
    )
    tries: int | None = Field(default=None, ge=1, le=9, description="ask, menu: how often to ask. Default 3.")
    on_silence: Prompt | None = Field(default=None, description="ask, menu: said when no key was pressed.")
    on_wrong: Prompt | None = Field(default=None, description="ask, menu: said when the key was not allowed.")
    otherwise: str | None = Field(default=None, description="ask, menu: the step after the last try; else it ends.")
    next: Next | None = Field(
        default=None, description="The step that follows, or answers to steps. Default: the next in the file."
    )
    complete: YesNo = Field(default=False, description="From here on the dialogue counts as completed.")

    @property
    def word(self) -> str:
        """Which of the five words this step is."""
        return next(word for word in WORDS if getattr(self, word) is not None)

    @model_validator(mode="after")
    def _fits_together(self) -> Step:
        wrongs = contradictions(self.model_fields_set)
        if wrongs:
            raise refuse(wrongs)
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

_PARTS = tuple(dict.fromkeys(key for allowed in _ALLOWED.values() for key in sorted(allowed)))


def contradictions(given: Collection[str]) -> list[Wrong]:
    """What does not fit together among the keys of a step."""
    words = [word for word in WORDS if word in given]
    if len(words) != 1:
        message = f"has {' and '.join(words)}, but a step does one thing" if words else "does not say what to do"
        fix = "make each a step of its own" if words else f"add one of {', '.join(WORDS)}"
        return [Wrong(code="contradiction", message=f"the step {message}", fix=fix)]
    word = words[0]
    wrongs = [
        Wrong(key=(key,), code="contradiction", message=f"`{key}` does not go with `{word}`", fix=f"remove `{key}`")
        for key in _PARTS
        if key in given and key not in _ALLOWED[word]
    ]

    def wrong(message: str, fix: str) -> None:
        wrongs.append(Wrong(code="contradiction", message=message, fix=fix))

    if word == "ask" and "keys" not in given and "digits" not in given:
        wrong("the question does not say what may be pressed", "add `keys: {1: yes, 2: no}`, or `digits: 1-2`")
    if word == "ask" and "keys" in given and "digits" in given:
        wrong("`keys` and `digits` are two kinds of question", "keep one of them")
    if word == "ask" and "range" in given and "digits" not in given:
        wrong("`range` goes with `digits`", "add `digits: 1-2`, or remove `range`")
    if word == "menu" and "keys" not in given:
        wrong("the menu has no keys", "add `keys: {1: name_of_a_step}`")
    return wrongs


StepName = Annotated[str, Field(pattern=STEP_NAME)]


class Campaign(Part):
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
