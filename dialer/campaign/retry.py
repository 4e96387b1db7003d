"""The campaign file's `retry`: what happens after each disposition, and after an answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from dialer.campaign.values import Duration, Part, Wrong, parse_wall_time, refuse

TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
UNTIL = r"^(completed|([0-9]{4}-[0-9]{2}-[0-9]{2} )?([01][0-9]|2[0-3]):[0-5][0-9])$"

ANOTHER_TIME, ANY_TIME = "another-time-of-day", "any-time"
COMPLETED = "completed"


def _kind_of_wait(value: Any) -> str:
    return "<growing>" if isinstance(value, list) else "<wait>"


def _kind_of_time(value: Any) -> str:
    if isinstance(value, list):
        return "<times>"
    return "<time>" if isinstance(value, str) and value[:1].isdigit() else "<word>"


def _kind_of_rule(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<retry>"


TimeOfDay = Annotated[str, Field(pattern=TIME)]
Times = Annotated[list[TimeOfDay], Field(min_length=1, max_length=24)]
Wait = Annotated[int, Duration(shortest_s=1, longest_s=30 * 86400)]
Waits = Annotated[
    Annotated[Wait, Tag("<wait>")] | Annotated[list[Wait], Field(min_length=1, max_length=50), Tag("<growing>")],
    Discriminator(_kind_of_wait),
]
At = Annotated[
    Annotated[Literal["another-time-of-day", "any-time"], Tag("<word>")]
    | Annotated[TimeOfDay, Tag("<time>")]
    | Annotated[Times, Tag("<times>")],
    Discriminator(_kind_of_time),
]


class Retry(Part):
    """What happens after one disposition or answer: when, how often and at which number to call again."""

    after: Waits = Field(
        description="How long after the end of the last call, from 1s to 30d; a list grows: the first wait, the second "
        "…, and the last one from then on."
    )
    times: int | None = Field(
        default=None, ge=1, le=50, description="How often, for this disposition. Default: once, or once a listed wait."
    )
    at: At | None = Field(
        default=None,
        description="By the callee's clock, then or later: another-time-of-day (morning, afternoon, evening), or at "
        "one of these times, as 17:00. Default: the campaign's `waves`; any-time sets them aside.",
    )
    number: Literal["next", "same", "first", "others-first"] = Field(
        default="next", description="Which of the person's numbers; others-first tries all before it waits."
    )
    until: str | None = Field(
        default=None,
        pattern=UNTIL,
        description="No retry that is due after 20:00 of the same day, or after 2026-12-24 20:00, by the callee's "
        "clock; or completed: as often as `attempts` allows.",
    )

    @property
    def retries(self) -> int:
        """How often, unless `is_endless`."""
        return self.times or (len(self.after) if isinstance(self.after, list) else 1)

    @property
    def is_endless(self) -> bool:
        """It goes on until the dialogue is completed; only the person's attempts bound it."""
        return self.until == COMPLETED

    def wait_s(self, nth: int) -> int:
        """The wait before the nth retry, from 1."""
        waits = self.after if isinstance(self.after, list) else [self.after]
        return waits[min(nth, len(waits)) - 1]

    @model_validator(mode="after")
    def _fits_together(self) -> Retry:
        wrongs = []
        if self.is_endless and self.times is not None:
            message = "`times` does not go with `until: completed`"
            fix = "remove `times`: `attempts` bounds the calls to a person"
            wrongs.append(Wrong(key=("times",), code="contradiction", message=message, fix=fix))
        if self.until is not None and " " in self.until:
            try:
                parse_wall_time(self.until)
            except ValueError as error:
                fix = "write a day of the calendar, such as 2026-12-24 20:00"
                wrongs.append(Wrong(key=("until",), code="wrong-form", message=str(error), fix=fix))
        if wrongs:
            raise refuse(wrongs)
        return self


Rule = Annotated[
    Annotated[Retry, Tag("<retry>")] | Annotated[Literal["stop"], Tag("<word>")], Discriminator(_kind_of_rule)
]
RuleOrHold = Annotated[
    Annotated[Retry, Tag("<retry>")] | Annotated[Literal["stop", "hold"], Tag("<word>")], Discriminator(_kind_of_rule)
]


RETRYABLE = (
    "completed", "busy", "no_answer", "unreachable", "rejected", "invalid_number", "out_of_order", "congestion",
    "trunk_refused", "media_error", "rtp_lost", "hung_up", "partial", "no_input", "refused", "dialogue_error",
    "unknown", "not_placed", "cancelled",
)  # fmt: skip


class RetryPolicy(Part):
    """Per disposition: `stop`, or wait and try again. What is not named has the default of docs/dispositions.md."""

    attempts: int = Field(default=5, ge=1, le=50, description="Calls to a person, in all.")
    waves: Times | None = Field(
        default=None, description="Times of day by the callee's clock: a retry that counts waits for the next of them."
    )
    answers: dict[str, Annotated[dict[str, Rule], Field(min_length=1)]] = Field(
        default={}, description="A question and its answers: what happens after a call in which it was answered so."
    )
    completed: Rule | None = None
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
