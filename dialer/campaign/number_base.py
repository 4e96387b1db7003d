"""The campaign file's `contacts`: where the people come from, and what their columns mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, model_validator

from dialer.campaign.values import Duration, Part, Percent, Wrong, refuse

REGION = r"^[A-Z]{2}$"

Column = Annotated[str, Field(min_length=1, max_length=200)]
Encoding = Literal["utf-8", "utf-16", "windows-1250", "windows-1252", "iso-8859-1", "iso-8859-2"]
KindOfNumber = Literal[
    "mobile", "fixed", "voip", "toll_free", "voicemail", "premium", "shared_cost", "uan", "personal", "pager",
    "satellite",
]  # fmt: skip


def _kind_of_fields(value: Any) -> str:
    return "<names>" if isinstance(value, Mapping) else "<list>"


def _kind_of_priority(value: Any) -> str:
    return "<column>" if isinstance(value, str) else "<number>"


def _text(value: Any) -> Any:
    """YAML reads 1 as a number; in a CSV it is a text."""
    return str(value) if type(value) is int else value


def _texts(value: Any) -> Any:
    """One word, or several."""
    return [_text(one) for one in value] if isinstance(value, list) else [_text(value)]


_TEXT_SCHEMA: dict[str, Any] = {"type": ["string", "integer"]}
CellText = Annotated[str, BeforeValidator(_text), WithJsonSchema(_TEXT_SCHEMA)]
Words = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(_texts),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA, "minItems": 1}]}),
]
Fields = Annotated[
    Annotated[list[Column], Tag("<list>")] | Annotated[dict[Column, Column], Tag("<names>")],
    Discriminator(_kind_of_fields),
]
Priority = Annotated[
    Annotated[int, Field(ge=1, le=9), Tag("<number>")] | Annotated[Column, Tag("<column>")],
    Discriminator(_kind_of_priority),
]


class Contacts(Part):
    """Where the people come from, and what their columns mean."""

    source: str = Field(
        alias="from", min_length=1, description="A CSV, XLSX or ODS file; or a folder (base/) or pattern "
        "(base/base-{date}.csv) that receives the daily base. Beside the campaign file or absolute.",
    )  # fmt: skip
    encoding: Encoding | None = Field(default=None, description="Of a CSV; else it is found.")
    delimiter: Literal[",", ";", "\t", "|"] | None = Field(default=None, description="Of a CSV; else it is found.")
    sheet: str | None = Field(default=None, min_length=1, description="Of a spreadsheet; else its first.")
    person: Column | None = Field(default=None, description="Column that says who is the same person; else the number.")
    numbers: Annotated[list[Column], Field(min_length=1)] = Field(
        description="Columns with numbers, in the order to try."
    )
    region: str | None = Field(
        default=None, pattern=REGION, description="Country of numbers written without a country code, as PL."
    )
    types: Annotated[list[KindOfNumber], Field(min_length=1)] | None = Field(
        default=None, description="Kinds of numbers that may be called; default: all but those that cost extra."
    )
    countries: Annotated[list[Annotated[str, Field(pattern=REGION)]], Field(min_length=1)] | None = Field(
        default=None, description="Countries whose numbers may be called; default: all."
    )
    language: Column | None = Field(default=None, description="Column with the person's language.")
    time_zone: Column | None = Field(default=None, description="Column with the IANA time zone; else from the number.")
    subdivision: Column | None = Field(
        default=None, description="Column with the ISO 3166-2 code whose holidays count, as PL-14."
    )
    priority: Priority = Field(default=5, description="1 (first) to 9, or the column that says so.")
    consent: dict[Column, Words] = Field(
        default={}, description="Columns that must hold one of these words, else the person is not called."
    )
    fields: Fields = Field(
        default=[], description="Columns that prompts and reports may use; or their names there, and the columns."
    )
    constants: dict[Column, CellText] = Field(default={}, description="Fields that are the same for everybody.")
    defaults: dict[Column, CellText] = Field(default={}, description="What an empty cell of a column means.")
    not_called_within: Annotated[int, Duration(shortest_s=60, longest_s=366 * 86400)] | None = Field(
        default=None, description="Leaves out new people whom another campaign called within this time."
    )
    missing: Literal["withdraw", "keep"] = Field(
        default="withdraw", description="People who are not in the newest delivery: not called any more, or kept."
    )
    withdraw_at_most: Annotated[float, Percent()] = Field(
        default=0.5, description="A delivery that would withdraw a larger part of the open contacts is refused."
    )

    @property
    def field_columns(self) -> dict[str, str]:
        """The fields that come from columns: their names in prompts and reports, and the columns."""
        return dict(self.fields) if isinstance(self.fields, dict) else {name: name for name in self.fields}

    @property
    def field_names(self) -> tuple[str, ...]:
        """What prompts and reports may use."""
        return (*self.field_columns, *self.constants)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read, once."""
        priority = self.priority if isinstance(self.priority, str) else None
        named = (self.person, *self.numbers, self.language, self.time_zone, self.subdivision, priority,
                 *self.consent, *self.field_columns.values())  # fmt: skip
        return tuple(dict.fromkeys(name for name in named if name is not None))

    @model_validator(mode="after")
    def _fits_together(self) -> Contacts:
        wrongs = [*self._twice(), *self._unused()]
        if wrongs:
            raise refuse(wrongs)
        return self

    def _twice(self) -> Iterator[Wrong]:
        lists: list[tuple[str, Sequence[str]]] = [("numbers", self.numbers)]
        if isinstance(self.fields, list):
            lists.append(("fields", self.fields))
        for key, names in lists:
            for name in dict.fromkeys(names):
                if names.count(name) > 1:
                    yield Wrong(key=(key,), code="named-twice", message=f"{name!r} stands here twice",
                                fix="name each column once")  # fmt: skip
        for name in self.constants:
            if name in self.field_columns:
                yield Wrong(key=("constants", name), code="named-twice", message=f"{name!r} is a column's field too",
                            fix="give one of them another name")  # fmt: skip

    def _unused(self) -> Iterator[Wrong]:
        for name in self.defaults:
            if name not in self.columns:
                yield Wrong(key=("defaults", name), code="wrong-value", message=f"nothing reads a column {name!r}",
                            fix="name a column that is read; what is the same for everybody is a constant")  # fmt: skip
        for column, words in self.consent.items():
            if any(not word.strip() for word in words):
                yield Wrong(key=("consent", column), code="wrong-value", message="an empty cell is no consent",
                            fix="write the words that mean yes")  # fmt: skip
