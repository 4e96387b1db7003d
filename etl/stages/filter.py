"""Filter: keeps the events that a metric reads, and says of the others why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etl.columns import KNOWN, SEGMENT
from etl.engines.sql import inline
from etl.sql.order import TEXTS
from etl.stages.work import Work

COUNTS = TEXTS["filter"]


def keep(work: Work, segments: Sequence[Path], expected: int, late_after_us: int) -> int:
    """Makes the view `kept` of what segments hold for metrics; returns how many of these events came late.

    `expected` is how many rows their extracts have dumped.
    """
    work.say("filter")
    known = [(name, one.version) for name, one in KNOWN.items()]
    work.engine.register("segment", segments, SEGMENT)
    work.engine.view("known", inline({"name": "STRING", "version": "BIGINT"}, known))
    work.engine.view("kept", "SELECT * FROM segment WHERE kind IS NOT NULL")
    late = 0
    with work.ledger.stage("filter", "segment") as stage:
        stage.rows_in = expected
        for reason, rows, came_late in work.engine.rows(COUNTS, {"late_after_us": late_after_us}):
            if reason is None:
                stage.rows_out, late = rows, came_late
            else:
                stage.dropped[reason] = rows
    return int(late)
