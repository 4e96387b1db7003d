"""Rollups: what reports of calls add up, counted each night by quarters of an hour, so that years are few rows.

Every zone's clock is whole quarters away from UTC, so a local day, and an hour, is made of them. What a rollup counts
is said by the same measures as in the reports.
"""

from __future__ import annotations

from dataclasses import dataclass

from etl.columns import Columns
from etl.reports.call_measures import BY_CALL, COST, DELAYS, IDS, RESPONSES, SILENT, TALK, VERDICTS
from etl.reports.model import Measure, text_of

QUARTER_US = 900_000_000


@dataclass(frozen=True, kw_only=True)
class Rollup:
    """One: the rows of a report's base, counted by these keys and the quarter in which the call was submitted."""

    name: str
    base: str
    keys: Columns
    measures: tuple[Measure, ...]

    @property
    def key(self) -> tuple[str, ...]:
        """What no two rows of a day have in common."""
        return ("tenant", "at_us", *self.keys)

    @property
    def columns(self) -> Columns:
        """Of the dataset."""
        counted: Columns = dict.fromkeys((measure.name for measure in self.measures), "BIGINT")
        return {"tenant": "STRING", "at_us": "BIGINT", **self.keys, **counted}

    @property
    def query(self) -> str:
        """In the words of both engines, as a transform."""
        base = text_of(f"sql/{self.base}")
        keys = ", ".join(self.keys)
        quarter = f"base.at_us - base.at_us % {QUARTER_US}"
        measures = ",\n  ".join(f"{measure.sql} AS {measure.name}" for measure in self.measures)
        return (
            f"WITH base AS (\n{base}\n)\nSELECT :tenant AS tenant, {quarter} AS at_us, {keys},\n  {measures}\n"
            f"FROM base\nGROUP BY {quarter}, {keys}"
        )


ROLLUPS = (
    Rollup(
        name="call_quarter", base="calls",
        keys={"campaign": "BIGINT", "node": "STRING", "trunk": "STRING", "currency": "STRING"},
        measures=(*BY_CALL, *VERDICTS, SILENT, *TALK, *DELAYS, *RESPONSES, *COST, *IDS),
    ),
    Rollup(
        name="dial_quarter", base="calls", keys={"campaign": "BIGINT", "dial": "BIGINT", "currency": "STRING"},
        measures=(*(one for one in BY_CALL if one.name in ("attempts", "answered", "human")), *COST[-1:], *IDS),
    ),
)  # fmt: skip
