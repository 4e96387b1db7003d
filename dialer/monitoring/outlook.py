"""When a campaign will be done, from what has been seen of it, and whether its hours end first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dialer.campaign.calendar import DAYS_AHEAD, KNOWN_AHEAD, Interval
from dialer.engine.progress import Progress
from dialer.monitoring.layout import ARROW, iso, moment, number
from dialer.pacing.forecast import Forecast, Work, calls_each, forecast
from dialer.storage.funnel import Coming, Seen
from dialer.storage.status import RECENT, CampaignStatus

_UNSENT = ("returned", "not_placed")


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """A forecast, and what it rests on."""

    forecast: Forecast
    per_second: float
    each: float
    """Calls a person."""
    is_guess: bool
    """Too few people are done to say how many calls one needs: one is counted."""
    ends_at: datetime | None
    """When the last hour ends that is known; None: there is none."""

    @property
    def left_then(self) -> float:
        """People who are not done when the hours that are open now, or next, end."""
        return self.forecast.left_then / self.each

    @property
    def left(self) -> float:
        """People for whom the hours that are known do not suffice."""
        return self.forecast.calls_left / self.each

    def is_late(self, now: datetime) -> bool:
        """Whether the campaign ends for good with people left to call."""
        return self.forecast.done_at is None and (self.ends_at is None or self.ends_at < now + KNOWN_AHEAD)


def outlook(
    people: Iterable[Coming], windows: Mapping[str, Sequence[Interval]], limits: tuple[float, int], seen: Seen,
    now: datetime,
) -> Outlook | None:  # fmt: skip
    """Of people who are to be called, at the most that rate and ceiling (`limits`) allow; None: nobody is.

    So many calls at once, each as long as they have been, make so many a second.
    """
    by_hour: Counter[tuple[str, datetime]] = Counter()
    for one in people:
        by_hour[one.key, max(now, (one.due_at or now).replace(minute=0))] += one.people
    if not by_hour:
        return None
    rate, ceiling = limits
    found = calls_each(seen.calls, seen.done)
    each = found or 1.0
    per_second = min(rate, ceiling / seen.slot_s) if seen.slot_s else rate
    works = [Work(calls=count * each, from_at=at, windows=windows.get(key, ())) for (key, at), count in by_hour.items()]
    return Outlook(
        forecast=forecast(works, per_second, now), per_second=per_second, each=each, is_guess=found is None,
        ends_at=max((hours[-1].closes_at for hours in windows.values() if hours), default=None),
    )  # fmt: skip


def outlook_now(campaign: CampaignStatus, progress: Progress | None, now: datetime) -> Outlook | None:
    """A running campaign's, at the pace of the last minutes; None while nothing can be said.

    Of the hours it knows only that somebody may be called then, not whom.
    """
    if campaign.wanted != "running" or progress is None or not campaign.windows:
        return None
    done = progress.closed + progress.held
    left = progress.contacts - done - progress.never
    each = calls_each(_sent(progress.dispositions), done)
    if each is None or left <= 0:
        return None
    since = now - campaign.began_at if campaign.began_at is not None else RECENT
    lately = _sent(campaign.recent) / max(1.0, min(since, RECENT).total_seconds())
    is_busy = progress.due_now > progress.never
    per_second = lately if lately and is_busy else progress.max_calls_per_second
    from_at = now if is_busy else progress.next_call_at or now
    work = Work(calls=left * each, from_at=from_at, windows=campaign.windows)
    return Outlook(
        forecast=forecast([work], per_second, now), per_second=per_second, each=each, is_guess=False,
        ends_at=campaign.windows[-1].closes_at if campaign.windows else None,
    )  # fmt: skip


def _sent(verdicts: Mapping[str, int]) -> int:
    return sum(count for name, count in verdicts.items() if name not in _UNSENT)


def parts(found: Outlook, now: datetime) -> list[str]:
    """The outlook in words: when it is done, on what that rests, and who is left when hours end."""
    ahead, said = found.forecast, []
    if ahead.done_at is not None:
        said.append(f"done about {moment(ahead.done_at, now)}")
    elif found.is_late(now):
        ends = (
            f"when the last hour ends at {moment(found.ends_at, now)}" if found.ends_at else "for whom no hour is open"
        )
        said.append(f"about {found.left:,.0f} people left {ends}{ARROW}more calls a second, or more hours")
    else:
        said.append(f"not done within the {DAYS_AHEAD} days ahead")
    calls = "one call a person, as too few are done" if found.is_guess else f"{number(found.each)} calls a person"
    said.append(f"at {number(found.per_second)}/s and {calls}")
    if found.left_then >= 0.5 and ahead.closes_at is not None and not found.is_late(now):
        said.append(
            f"about {found.left_then:,.0f} people left when the window closes at {moment(ahead.closes_at, now)}"
        )
    return said


def in_words(found: Outlook | None, now: datetime) -> str:
    """The same as one sentence."""
    return "Nobody is left to call." if found is None else f"Forecast: {'; '.join(parts(found, now))}."


def as_data(found: Outlook | None, now: datetime) -> dict[str, Any] | None:
    """The outlook for programs; None where nothing can be said."""
    if found is None:
        return None
    return {
        "done_at": iso(found.forecast.done_at),
        "calls_per_second": found.per_second,
        "calls_each": found.each,
        "window_closes_at": iso(found.forecast.closes_at),
        "left_then": round(found.left_then),
        "left": round(found.left),
        "late": found.is_late(now),
    }
