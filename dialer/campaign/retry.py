"""The campaign file's `retry`: what happens after each disposition."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from dialer.campaign.values import Duration, Part


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
