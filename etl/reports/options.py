"""What a user may say of any report; and for whom a CSV is: programs get what is there, spreadsheets what they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

ROWS_OF_A_SHEET = 1_048_575
"""Below the header, in Excel."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may say of any report."""

    first: date | None = None
    last: date | None = None
    """The last local day, which belongs to the period."""
    time_zone: str | None = None
    tenant: str | None = None
    campaign: str | None = None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """How a CSV is written."""

    delimiter: str = ","
    decimal_comma: bool = False
    bom: bool = False
    guard: bool = False
    most_rows: int | None = None


PROFILES: Mapping[str, Profile] = {
    "machine": Profile(),
    "excel": Profile(bom=True, guard=True, most_rows=ROWS_OF_A_SHEET),
    "excel-semicolon": Profile(delimiter=";", decimal_comma=True, bom=True, guard=True, most_rows=ROWS_OF_A_SHEET),
}
