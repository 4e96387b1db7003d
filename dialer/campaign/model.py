"""What a campaign file may say: the pydantic model behind validation, the JSON Schema and the engine.

Values are strict where YAML is loose: a text is a text, a count is a count. Durations are `30s`, `5m`, `2h`, `3d`
and become seconds; keys of the keypad are the texts `0` … `9`, `*`, `#`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

from dialer.campaign.calling import Calling
from dialer.campaign.capacity import Capacity
from dialer.campaign.number_base import Contacts
from dialer.campaign.retry import RetryPolicy
from dialer.campaign.values import Duration, Part, Wrong, refuse

NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
STEP_NAME = r"^[a-z][a-z0-9_]{0,39}$"
LANGUAGE = r"^[a-z]{2,3}(-[A-Za-z]{2,8})?$"
KEYS = r"^[0-9*#]{1,20}$"
DIGITS = r"^[0-9]{1,2}(-[0-9]{1,2})?$"
RANGE = r"^[0-9]{1,9}-[0-9]{1,9}$"


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
    """One step of the flow: exactly one word that says what it does, and what goes with it."""

    say: Prompt | None = Field(default=None, description="Speaks a text or plays a recorded file.")
    ask: Prompt | None = Field(default=None, description="A question answered on the keypad; the answer is stored.")
    menu: Prompt | None = Field(default=None, description="A choice: each key leads to a step.")
    opt_out: Prompt | None = Field(
        default=None, description="Puts the person's numbers on the do-not-call list, says so, and ends the call."
    )
    callback: Prompt | None = Field(
        default=None, description="The person wants to be called again: says when (`after`), or asks for a time."
    )
    goto: str | None = Field(default=None, description="Goes on at another step.")
    hangup: Literal["completed", "refused"] | None = Field(default=None, description="Ends the call with a result.")

    keys: Keys | None = Field(default=None, description="ask: keys to answers; menu: keys to steps.")
    digits: DigitCount | None = Field(
        default=None, description="ask: how many digits, as 4 or 1-2; fewer than the most are ended with #."
    )
    range: str | None = Field(default=None, pattern=RANGE, description="ask: allowed values, as 0-20.")
    scope: Literal["site", "tenant", "campaign"] | None = Field(
        default=None, description="opt_out: who does not call any more. Default: tenant."
    )
    after: Annotated[int, Duration(shortest_s=60, longest_s=30 * 86400)] | None = Field(
        default=None, description="callback: how long from now, from 1m to 30d; without it the person types a time."
    )
    day: Literal["next", "tomorrow"] | None = Field(
        default=None, description="callback: the typed time as the clock shows it next, or tomorrow. Default: next."
    )
    timeout: Annotated[int, Duration(shortest_s=1, longest_s=60)] | None = Field(
        default=None, description="Questions: silence after the prompt, or between digits, from 1s to 60s. Default 5s."
    )
    tries: int | None = Field(default=None, ge=1, le=9, description="Questions: how often to ask. Default 3.")
    on_silence: Prompt | None = Field(default=None, description="Questions: said when no key was pressed.")
    on_wrong: Prompt | None = Field(default=None, description="Questions: said when the key was not allowed.")
    otherwise: str | None = Field(default=None, description="Questions: the step after the last try; else it ends.")
    next: Next | None = Field(
        default=None, description="The step that follows, or answers to steps. Default: the next in the file."
    )
    complete: YesNo = Field(default=False, description="From here on the dialogue counts as completed.")

    @property
    def word(self) -> str:
        """Which of the words this step is; `complete` where it stands alone."""
        return next((word for word in WORDS if getattr(self, word) is not None), "complete")

    @model_validator(mode="after")
    def _fits_together(self) -> Step:
        wrongs = contradictions(self.model_fields_set)
        wrongs += [
            Wrong(key=(word,), code="wrong-value", message=f"`{word}` is what the person hears",
                  fix=f'write a text, such as `{word}: "{example}"`')
            for word, example in _NOT_SWITCHES.items()
            if getattr(self, word) in ("yes", "no")
        ]  # fmt: skip
        if self.word == "complete" and not self.complete:
            wrongs.append(Wrong(key=("complete",), code="wrong-value", message="the step does nothing",
                                fix="write `complete: yes`, or remove the step"))  # fmt: skip
        if wrongs:
            raise refuse(wrongs)
        return self


WORDS = ("say", "ask", "menu", "opt_out", "callback", "goto", "hangup")
"""What a step may do. `complete` may stand alone as well: such a step says nothing."""
_NOT_SWITCHES = {"opt_out": "We will not call you again.", "callback": "We will call you again in two hours."}
_QUESTION = {"timeout", "tries", "on_silence", "on_wrong", "otherwise"}
_ALLOWED: dict[str, set[str]] = {
    "say": {"next", "complete"},
    "ask": _QUESTION | {"keys", "digits", "range", "next", "complete"},
    "menu": _QUESTION | {"keys", "complete"},
    "opt_out": {"scope"},
    "callback": _QUESTION | {"after", "day", "next"},
    "complete": {"next", "complete"},
    "goto": set(),
    "hangup": set(),
}

_PARTS = tuple(dict.fromkeys(key for allowed in _ALLOWED.values() for key in sorted(allowed)))


def contradictions(given: Collection[str]) -> list[Wrong]:
    """What does not fit together among the keys of a step."""
    words = [word for word in WORDS if word in given] or (["complete"] if "complete" in given else [])
    if len(words) != 1:
        message = f"has {' and '.join(words)}, but a step does one thing" if words else "does not say what to do"
        fix = "make each a step of its own" if words else f"add one of {', '.join(WORDS)}, complete"
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
    if word == "callback" and "after" in given and {*_QUESTION, "day"} & {*given}:
        wrong("`after` says when to call again, so nothing is asked", "remove `after`, or what goes with a question")
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
