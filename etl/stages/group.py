"""Group: finds the tickets, calls, waits and logins that have news, and the days that must be written anew for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from dialer.errors import DialerError
from etl.columns import KINDS, SUBJECT_INDEX, Columns, Kind
from etl.lake import from_day_number
from etl.sql.order import TEXTS
from etl.stages.work import INDEX, Work

COHORT: Columns = {**SUBJECT_INDEX, "was_day": "BIGINT", "events": "BIGINT"}
_COHORT = TEXTS["cohort"]
_DAYS = """
SELECT kind, day, was_day, CAST(sum(events) AS BIGINT) AS events
FROM cohort GROUP BY kind, day, was_day ORDER BY kind NULLS LAST, day NULLS LAST, was_day NULLS LAST
"""


@dataclass(kw_only=True)
class Affected:
    """What one kind of subjects needs on one cohort day."""

    events: int = 0
    """New ones, of subjects that begin on that day."""
    from_days: set[date] = field(default_factory=set)
    """Days that some of its subjects were counted on until now."""
    loses: bool = False
    """Some of its subjects turn out to have begun on another day."""
    came: int = 0
    """Earlier events that this day got from others, once it is written."""
    went: int = 0
    """Earlier events that others got from it."""

    @property
    def has_news(self) -> bool:
        """Whether its history must be written anew."""
        return bool(self.events) or self.loses


Days = dict[date, dict[Kind, Affected]]


def group(work: Work, again: Sequence[date]) -> Days:
    """Registers `cohort`, and says which days to write; `again` are days to compute anew without any news."""
    work.say("group")
    work.engine.register(INDEX, work.all_days(INDEX), SUBJECT_INDEX)
    with work.ledger.stage("group", "by subject") as stage:
        work.aside("cohort", _COHORT, COHORT)
        found = list(work.engine.rows(_DAYS, {}))
        ((stage.rows_in,),) = work.engine.rows("SELECT count(*) FROM kept", {})
        stage.rows_out = sum(events for *_, events in found)
    days: Days = {day: {} for day in again}
    for kind, number, was_number, events in found:
        if kind not in KINDS:
            raise DialerError(f"there are events of the kind {kind!r}, which no stage knows.")
        day = from_day_number(number)
        _of(days, day, kind).events += events
        if was_number not in (None, number):
            was_day = from_day_number(was_number)
            _of(days, day, kind).from_days.add(was_day)
            _of(days, was_day, kind).loses = True
    return dict(sorted(days.items()))


def _of(days: Days, day: date, kind: Kind) -> Affected:
    return days.setdefault(day, {}).setdefault(kind, Affected())
