"""What a carrier charges for calls through a trunk, and from when on: the settings' `tariff` of a trunk."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MICRO = 1_000_000
"""Money is counted in millionths of a unit: an integer is the same on every engine."""

Price = Annotated[Decimal, Field(ge=0, le=1000, decimal_places=6)]
Seconds = Annotated[int, Field(ge=1, le=3600)]


class Tariff(BaseModel):
    """The price of a call that began at `since` or later, until the next tariff holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    since: AwareDatetime | date = Field(alias="from")
    currency: str = Field(pattern="^[A-Z]{3}$")
    per_minute: Price
    connect: Price = Decimal(0)
    """For each answered call, whatever its length."""
    increment: Seconds = 1
    """Seconds are charged in whole steps of so many."""
    initial: Seconds | None = None
    """The least that is charged of an answered call, in seconds; None: one step."""

    @model_validator(mode="after")
    def _steps_begin_with_the_first(self) -> Tariff:
        if self.least_s % self.increment:
            # 60/7: some carriers count the steps from the answer, some from the end of the first minute.
            raise _wrong(
                "ambiguous",
                f"{self.initial} s at first and then steps of {self.increment} s can be charged in two ways",
                "let `initial` be a multiple of `increment`, such as 60 and 6",
            )
        return self

    @property
    def least_s(self) -> int:
        """The least that is charged of an answered call."""
        return self.initial or self.increment

    @property
    def since_at(self) -> datetime:
        """A bare date begins at midnight UTC."""
        if isinstance(self.since, datetime):
            return self.since
        return datetime.combine(self.since, time(), UTC)

    @property
    def connect_micro(self) -> int:
        """`connect` in millionths."""
        return int(self.connect * MICRO)

    @property
    def minute_micro(self) -> int:
        """`per_minute` in millionths."""
        return int(self.per_minute * MICRO)


def _in_order(tariffs: tuple[Tariff, ...]) -> tuple[Tariff, ...]:
    ordered = tuple(sorted(tariffs, key=lambda one: one.since_at))
    for earlier, later in pairwise(ordered):
        if earlier.since_at == later.since_at:
            since = later.since_at.isoformat()
            raise _wrong("given-twice", f"two tariffs hold from {since} on", "keep one of them")
    return ordered


def _wrong(code: str, message: str, fix: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{said}", {"said": message, "fix": fix})


Tariffs = Annotated[tuple[Tariff, ...], AfterValidator(_in_order)]
"""The oldest first."""
