"""Forms of values in the settings, and what is said of one that has another form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from dialer import phone

NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]
Port = Annotated[int, Field(ge=1, le=65535)]
CallLimit = Annotated[int, Field(ge=1, le=100_000)]
RateLimit = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]


def wrong(code: str, message: str, fix: str) -> PydanticCustomError:
    """What a validator raises: what stands there, and what to write instead."""
    return PydanticCustomError(code, "{said}", {"said": message, "fix": fix})


def form(check: Callable[[str], object], fix: str) -> AfterValidator:
    """Takes a text that `check` raises no ValueError for."""

    def validate(text: str) -> str:
        try:
            check(text)
        except ValueError as error:
            raise wrong("wrong-form", str(error), fix) from error
        return text

    return AfterValidator(validate)


def _not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    # Not Field(min_length=1): of a tuple whose items are all wrong, pydantic says that it is empty as well.
    if not items:
        raise wrong("empty", "nothing stands here", "write at least one, or leave the key out where it may be")
    return items


OwnedNumbers = Annotated[str, form(phone.read_range, 'write "+48225550100" or "+48221230000-+48221239999", in quotes')]
Prefix = Annotated[str, form(phone.require_prefix, 'write + and the first digits, in quotes: "+48" or "+4822"')]
NumberFormat = Annotated[
    str,
    form(
        phone.require_format,
        'write one of {e164}, {digits}, {national}, beside it at most digits, * and #: "00{digits}" or "9{national}"',
    ),
]
SOME = AfterValidator(_not_empty)


class Part(BaseModel):
    """A section of the settings: a key that nobody knows is refused, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)
