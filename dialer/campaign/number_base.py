"""The campaign file's `contacts`: where the people come from, and what their columns mean."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dialer.campaign.values import Part, Wrong, refuse

REGION = r"^[A-Z]{2}$"

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
