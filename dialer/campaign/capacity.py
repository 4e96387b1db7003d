"""The `capacity` part of a campaign file: how many calls, how fast, through which trunks, showing which numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from dialer.campaign.values import Duration, Part, Percent, Wrong, refuse

E164 = r"^\+[1-9][0-9]{6,14}$"
PREFIX = r"^\+[1-9][0-9]{0,14}$"
LOWEST_PRIORITY = 9

Shown = Annotated[str, Field(pattern=E164)]
TrunkName = Annotated[str, Field(min_length=1)]


class Pool(Part):
    """Several numbers, shown in turn."""

    pool: Annotated[list[Shown], Field(min_length=1, max_length=1000)] = Field(
        description="The numbers, shown call after call in turn.", examples=[["+48221234567", "+48221234568"]]
    )

    @model_validator(mode="after")
    def _names_numbers_once(self) -> Pool:
        _refuse_doubles([(("pool", place), number) for place, number in enumerate(self.pool)], "number")
        return self


class ByRegion(Part):
    """The number shown depends on where the callee's number belongs."""

    by_region: Annotated[dict[Annotated[str, Field(pattern=PREFIX)], Shown], Field(min_length=1, max_length=1000)] = (
        Field(
            description="How the callee's number begins, and what is shown then; the longest beginning wins.",
            examples=[{"+4822": "+48221234567", "+4812": "+48121234567"}],
        )
    )
    otherwise: Shown = Field(description="Shown to everybody else.", examples=["+48221234567"])


def _kind_of_caller_id(value: Any) -> str:
    if isinstance(value, Pool) or (isinstance(value, dict) and "pool" in value):
        return "<pool>"
    return "<regions>" if isinstance(value, dict | ByRegion) else "<number>"


CallerId = Annotated[
    Annotated[Shown, Tag("<number>")] | Annotated[Pool, Tag("<pool>")] | Annotated[ByRegion, Tag("<regions>")],
    Discriminator(_kind_of_caller_id),
]
"""One number, several in turn, or one by the callee's region."""


class TrunkUse(Part):
    """A way out, and its part of the calls."""

    name: TrunkName = Field(description="The trunk, by its name in the settings.")
    weight: int = Field(default=1, ge=1, le=100, description="Its share of the calls among trunks of equal priority.")
    priority: int = Field(
        default=1, ge=1, le=LOWEST_PRIORITY, description="Lower numbers first; the others when those have no room."
    )
    caller_id: CallerId | None = Field(default=None, description="Shown on this trunk instead of the campaign's.")


def _named(value: Any) -> Any:
    """A trunk may be written as its name alone."""
    return {"name": value} if isinstance(value, str) else value


class Capacity(Part):
    """How many calls at once, how fast, through which trunks."""

    max_concurrent: int = Field(ge=1, le=10_000, description="The most calls at once: a hard ceiling.")
    calls_per_second: float = Field(gt=0, le=500, allow_inf_nan=False, description="New calls a second, at most.")
    trunks: Annotated[
        tuple[Annotated[TrunkUse, BeforeValidator(_named, json_schema_input_type=TrunkName | TrunkUse)], ...],
        Strict(False),
        Field(min_length=1, max_length=100),
    ] = Field(
        description="The ways out, by their names in the settings.",
        examples=[["carrier-a"], ["carrier-a", {"name": "carrier-b", "weight": 3, "priority": 2}]],
    )
    caller_id: CallerId = Field(
        description="The number shown to people, in E.164; or several in turn; or one by the callee's region.",
        examples=["+48221234567"],
    )
    ring: Annotated[int, Duration(shortest_s=5, longest_s=120)] = Field(
        default=30, description="How long a phone may ring, from 5s to 2m."
    )
    longest_call: Annotated[int, Duration(shortest_s=10, longest_s=3600)] = Field(
        default=240, description="Every call ends after this, from 10s to 1h."
    )
    ramp_up: Annotated[int, Duration(shortest_s=0, longest_s=3600)] = Field(
        default=0, description="From a tenth of both limits to the whole within this time, up to 1h."
    )
    priority: int = Field(
        default=5, ge=1, le=LOWEST_PRIORITY, description="Among campaigns on the same trunks: lower numbers first."
    )
    share: int = Field(default=1, ge=1, le=100, description="Its part among campaigns of equal priority.")
    max_silent: Annotated[float, Percent()] = Field(
        default=0.05, description="The campaign pauses itself above this share of answered calls without sound."
    )

    @model_validator(mode="after")
    def _names_trunks_once(self) -> Capacity:
        _refuse_doubles([(("trunks", place), use.name) for place, use in enumerate(self.trunks)], "trunk")
        return self


def _refuse_doubles(places: list[tuple[tuple[str | int, ...], str]], noun: str) -> None:
    counts = Counter(name for _, name in places)
    if wrongs := [
        Wrong(key=key, code="named-twice", message=f"{name!r} stands here twice", fix=f"name each {noun} once")
        for key, name in places
        if counts[name] > 1
    ]:
        raise refuse(wrongs)


def numbers_of(caller_id: CallerId) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every number that may be shown, and where below `caller_id` it stands."""
    match caller_id:
        case str():
            yield (), caller_id
        case Pool():
            yield from ((("pool", place), number) for place, number in enumerate(caller_id.pool))
        case ByRegion():
            yield from ((("by_region", prefix), number) for prefix, number in caller_id.by_region.items())
            yield ("otherwise",), caller_id.otherwise
