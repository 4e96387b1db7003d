"""The campaign file's `calling`: when people may be called."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from dialer.campaign.values import Part, refuse, window_wrongs


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
