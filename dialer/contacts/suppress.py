"""What keeps a person from being called though their time has come: do-not-call lists, caps, the least gap.

Pure: the words, and what the rules make of what was found. The claim asks the database (storage.rules); whatever is
unknown or cannot be read means no call (promise 6).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum

from dialer.settings import CapSettings


class DncScope(Enum):
    """For whose calls an entry of the do-not-call list holds."""

    SITE = "site"
    """Everybody's here."""
    TENANT = "tenant"
    CAMPAIGN = "campaign"


class DncSource(Enum):
    """How an entry came to be."""

    COMMAND = "command"
    IMPORT = "import"
    CALL = "call"
    """The person asked for it in a call (flow word `opt_out`)."""


class WaitsFor(Enum):
    """The rule that moved a contact's next attempt behind the moment that the retry policy gave."""

    CAP = "cap"
    """So many calls of the number or of the person have been made already."""
    GAP = "gap"
    """The last call of the number or of the person, in any campaign, is too recent."""
    DNC = "dnc"
    """All its numbers are on a list, one of them only until then."""
    CALLBACK = "callback"
    """The person asked to be called then."""


class ClosedBy(Enum):
    """Why a contact was closed that no call has closed."""

    DNC = "dnc"
    """Every number that is left is on a do-not-call list."""
    CAP = "cap"
    """It was called as often as it ever may be."""


DAY, WEEK, MONTH = timedelta(hours=24), timedelta(days=7), timedelta(days=30)
"""The windows of caps, of so many hours wherever the callee lives: a day whose clock changes is none longer."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The most calls in any so long a time, over all campaigns; None: no limit of that kind."""

    day: int | None = None
    week: int | None = None
    month: int | None = None
    """Thirty days."""
    ever: int | None = None

    @property
    def most(self) -> int:
        """How many of the latest calls must be known to judge by these."""
        return max((cap for cap in (self.day, self.week, self.month, self.ever) if cap is not None), default=0)


@dataclass(frozen=True, kw_only=True)
class CapRules:
    """How often a number and a person may be called, and how long they are left alone between two calls."""

    number: Caps
    person: Caps
    gap_s: int
    """From the end of one call to the next, of the number as of the person; 0: no such rule."""


NO_CAPS = CapRules(number=Caps(), person=Caps(), gap_s=0)


def of_site(caps: CapSettings) -> CapRules:
    """What the settings say for every campaign."""
    number, person = (Caps(**limits.model_dump()) for limits in (caps.number, caps.person))
    return CapRules(number=number, person=person, gap_s=caps.gap_s)


def strictest(*rules: CapRules) -> CapRules:
    """What keeps all of these."""
    return CapRules(
        number=_least([one.number for one in rules]),
        person=_least([one.person for one in rules]),
        gap_s=max((one.gap_s for one in rules), default=0),
    )


def _least(caps: Sequence[Caps]) -> Caps:
    def least(name: str) -> int | None:
        return min((cap for one in caps if (cap := getattr(one, name)) is not None), default=None)

    return Caps(**{field.name: least(field.name) for field in fields(Caps)})


@dataclass(frozen=True, kw_only=True)
class Calls:
    """The calls of a number, or of a person, as far as its caps ask; None: there were not so many.

    `day_at` is when the latest but (day - 1) was begun: with two calls a day, the last but one; and so on.
    """

    day_at: datetime | None = None
    week_at: datetime | None = None
    month_at: datetime | None = None
    ever_at: datetime | None = None
    ended_at: datetime | None = None
    """When the latest was over; of one that is not, now."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is known of one number of a contact, at one moment."""

    contact_id: int
    number: str
    now: datetime
    listed: DncScope | None
    """The widest of the lists that it is on."""
    listed_until: datetime | None
    """None: for good."""
    of_number: Calls
    of_person: Calls


@dataclass(frozen=True, kw_only=True)
class Hold:
    """One rule that keeps a number from being called now."""

    rule: str
    """As in `dnc.tenant`, `number.day`, `person.gap`."""
    waits_for: WaitsFor
    until: datetime | None
    """None: for good."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a number of a contact may be called now, and why not."""

    contact_id: int
    number: str
    dnc: DncScope | None
    """The list that it is on."""
    waits_for: WaitsFor | None
    """The rule that holds longest; None: it may be called."""
    until: datetime | None
    """Until when that one holds; None: for good, or nothing holds."""
    holds: tuple[Hold, ...] = ()
    """Every rule that keeps it back, the one that holds longest first."""

    @property
    def allowed(self) -> bool:
        """Whether it may be called now."""
        return not self.holds

    @property
    def for_good(self) -> bool:
        """Whether it may never be called."""
        return bool(self.holds) and self.until is None


def judge(found: Found, rules: CapRules) -> Verdict:
    """What the rules make of what was found. A window is half-open: a call frees its place a day after it began."""
    holds = []
    if found.listed is not None:
        holds.append(Hold(rule=f"dnc.{found.listed.value}", waits_for=WaitsFor.DNC, until=found.listed_until))
    for subject, calls in (("number", found.of_number), ("person", found.of_person)):
        holds += _held_by_caps(subject, calls)
        if rules.gap_s and calls.ended_at is not None:
            until = calls.ended_at + timedelta(seconds=rules.gap_s)
            holds.append(Hold(rule=f"{subject}.gap", waits_for=WaitsFor.GAP, until=until))
    standing = [hold for hold in holds if hold.until is None or hold.until > found.now]
    # Sorting is stable: of those that hold for good, or equally long, the list comes first.
    standing.sort(key=lambda hold: (hold.until is not None, -hold.until.timestamp() if hold.until else 0.0))
    longest = standing[0] if standing else None
    return Verdict(
        contact_id=found.contact_id,
        number=found.number,
        dnc=found.listed,
        waits_for=longest.waits_for if longest else None,
        until=longest.until if longest else None,
        holds=tuple(standing),
    )


def _held_by_caps(subject: str, calls: Calls) -> list[Hold]:
    windows = (("day", calls.day_at, DAY), ("week", calls.week_at, WEEK), ("month", calls.month_at, MONTH))
    holds = [
        Hold(rule=f"{subject}.{name}", waits_for=WaitsFor.CAP, until=at + window)
        for name, at, window in windows
        if at is not None
    ]
    if calls.ever_at is not None:
        holds.append(Hold(rule=f"{subject}.ever", waits_for=WaitsFor.CAP, until=None))
    return holds


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What becomes of a contact whose number may not be called now: another number, another time, or nothing more."""

    number: str | None = None
    """The one to call next; None: it is closed."""
    at: datetime | None = None
    """Not before; None: when it was due."""
    waits_for: WaitsFor | None = None
    closed_by: ClosedBy | None = None


def moved(numbers: Sequence[str], current: str, verdicts: Mapping[str, Verdict], dead: Collection[str] = ()) -> Moved:
    """Where a contact goes whose `current` number may not be called now.

    What only takes time is waited for. A number that is on a list, or was called as often as it ever may be, gives
    way to the next that is neither, in the contact's own order, around; `dead` ones are no use. When all are on a list,
    the first that comes off it is waited for.
    """
    verdict = verdicts[current]
    if verdict.dnc is None and not verdict.for_good:
        return Moved(number=current, at=verdict.until, waits_for=verdict.waits_for)
    place = numbers.index(current) if current in numbers else -1
    others = [*numbers[place + 1 :], *numbers[: max(place, 0)]]
    left = [verdicts[one] for one in others if one != current and one not in dead and not verdicts[one].for_good]
    following = next((one for one in left if one.dnc is None), None)
    if following is not None:
        return Moved(number=following.number, at=following.until, waits_for=following.waits_for)
    if not verdict.for_good:
        left.append(verdict)
    if left:
        soonest = min(left, key=lambda one: one.until.timestamp() if one.until else 0.0)
        return Moved(number=soonest.number, at=soonest.until, waits_for=soonest.waits_for)
    listed = any(verdicts[one].dnc is not None for one in (current, *others))
    return Moved(closed_by=ClosedBy.DNC if listed else ClosedBy.CAP)
