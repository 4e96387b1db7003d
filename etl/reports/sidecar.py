"""The side-car of a report's file: what was asked, of which state of the lake, and the hash of what was written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from etl.reports.columns import Column
from etl.reports.forms import Made
from etl.reports.target import opened


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The state of the lake that a report was made of."""

    as_of: datetime | None
    """Events that came in before are in it; None: no run has been."""
    late_events: int
    """Of them, those of the last run that came long after they had occurred: older reports may have changed."""
    runs: Sequence[str]
    """Whose files were read."""


def write(made: Made, asked: Mapping[str, Any], columns: Sequence[Column], standing: Standing) -> None:
    """Writes `FILE.json` beside a report's file."""
    assert made.path is not None
    said = {
        **asked,
        "watermark_utc": standing.as_of.isoformat() if standing.as_of else None,
        "late_events": standing.late_events,
        "runs": list(standing.runs),
        "rows": made.rows,
        "texts_cut": made.cut,
        "bytes": made.bytes,
        "sha256": made.sha256,
        "columns": [_described(column) for column in columns],
    }
    with opened(f"{made.path}.json") as file:
        file.write(json.dumps(said, ensure_ascii=False, indent=1).encode() + b"\n")


def _described(column: Column) -> dict[str, str]:
    facts = {"name": column.name, "type": column.kind.value, "unit": column.unit, "says": column.says}
    return {key: value for key, value in facts.items() if value}
