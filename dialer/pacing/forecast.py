"""When a campaign will be done: the calls that are left, at the pace that is seen, poured into the hours that are open.

A forecast, not a simulation: everybody needs as many calls as people have needed so far, and whoever shares an open
hour shares its calls. What it cannot know (who picks up, how long retries beyond those that are due will wait) makes it
early.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dialer.campaign.calendar import Interval

FEWEST_DONE = 20
"""So many people must be done before anything is said of how many calls a person needs."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Calls that are to be made from a moment on, while certain windows are open."""

    calls: float
    from_at: datetime
    windows: Sequence[Interval]
    """In order, none overlapping; of equal ones the same object, so that their calls are counted as one."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What becomes of some work at a pace."""

    done_at: datetime | None
    """None: it does not fit into the hours that are known."""
    calls_left: float
    """What is not done by the end of the last hour that is known."""
    closes_at: datetime | None
    """When the hours that are open now, or next, end; None: nothing is ever open."""
    left_then: float
    """Calls that are still to be made then."""


def calls_each(calls: int, done: int) -> float | None:
    """How many calls a person takes, by those who are done; None while too few are."""
    return max(1.0, calls / done) if done >= FEWEST_DONE else None


def forecast(works: Sequence[Work], per_second: float, now: datetime) -> Forecast:
    """When the last call is made, at so many a second."""
    left = {id(work.windows): 0.0 for work in works}
    windows = {id(work.windows): _Hours(work.windows) for work in works}
    arriving = sorted(works, key=lambda work: work.from_at)
    coming = sum(work.calls for work in works)
    closes_at: datetime | None = None
    left_then, was_open, done_at = 0.0, False, now
    for begin, end in _stretches(works, now):
        while arriving and arriving[0].from_at <= begin:
            work = arriving.pop(0)
            left[id(work.windows)] += work.calls
            coming -= work.calls
        open_now = [key for key, hours in windows.items() if hours.open_at(begin)]
        if was_open and not open_now and closes_at is None:
            closes_at, left_then = begin, coming + sum(left.values())
        was_open = was_open or bool(open_now)
        waiting = sum(left[key] for key in open_now)
        if waiting <= 0:
            continue
        room = per_second * (end - begin).total_seconds()
        if waiting <= room:
            done_at = begin + timedelta(seconds=waiting / per_second)
        for key in open_now:
            left[key] *= max(0.0, 1 - room / waiting)
    rest = coming + sum(left.values())
    return Forecast(
        done_at=done_at if rest < 1e-6 else None, calls_left=rest, closes_at=closes_at, left_then=left_then
    )  # fmt: skip


class _Hours:
    """Whether some windows are open at a moment."""

    def __init__(self, windows: Sequence[Interval]) -> None:
        self._windows = windows
        self._opens_at = [one.opens_at for one in windows]

    def open_at(self, at: datetime) -> bool:
        place = bisect_right(self._opens_at, at) - 1
        return place >= 0 and at < self._windows[place].closes_at


def _stretches(works: Sequence[Work], now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Spans of time in which nothing opens, closes or comes along."""
    moments = {now}
    for windows in {id(work.windows): work.windows for work in works}.values():
        moments |= {at for one in windows for at in (one.opens_at, one.closes_at)}
    moments |= {work.from_at for work in works}
    ordered = sorted(at for at in moments if at >= now)
    # Behind the last moment nothing is open.
    return zip(ordered, [*ordered[1:], ordered[-1] + timedelta(seconds=1)], strict=True)
