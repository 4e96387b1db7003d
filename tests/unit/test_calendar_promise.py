"""A million attempts are planned, in every zone, over clock changes, leap days and holidays: none outside the rules.

The oracle knows nothing of intervals. It is asked about one moment: what does the callee's clock on the wall show, and
does every rule, as the file writes it, allow that minute, and each minute until the last call would be too late?
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from holidays import country_holidays
from ruamel.yaml import YAML

from dialer.campaign import packs
from dialer.campaign.calendar import DAYS_AHEAD, Interval, is_zone, open_intervals
from tests.support.calling import calendar_key, rules

WANTED = 1_000_000
SEED = 2026
SPAN = timedelta(days=DAYS_AHEAD)
ZONES = sorted(zone for zone in available_timezones() if is_zone(zone))
LANDS = {
    "PL": ("PL", None), "PL-14": ("PL", None), "US-CA": ("US", "CA"), "DE-BY": ("DE", "BY"), "GB": ("GB", None),
    "GB-ENG": ("GB", "ENG"), "GB-WLS": ("GB", "WLS"), "GB-SCT": ("GB", "SCT"), "GB-NIR": ("GB", "NIR"),
}  # fmt: skip
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SHIPPED = [YAML(typ="safe", pure=True).load(path) for path in packs.shipped().values()]

# -- the oracle -----------------------------------------------------------------------------------------------------


@cache
def land(place: str) -> Any:
    country, part = LANDS[place]
    return country_holidays(country, subdiv=part, years=range(2023, 2040))


def holds(text: str, day: str) -> bool:
    first, _, last = text.partition("..")
    return first <= day <= (last or first)


def slots(text: str) -> list[tuple[str, str]]:
    return [(part.strip()[:5], part.strip()[-5:]) for part in text.split(",")]


def hours(part: dict[str, Any], day: date, places: tuple[str, ...]) -> list[tuple[str, str]]:
    """What one part of the file says of a day, as texts of a clock."""
    for text, spans in part.get("open", {}).items():
        if holds(text, day.isoformat()):
            return slots(spans)
    if any(holds(text, day.isoformat()) for text in part.get("closed", ())):
        return []
    named = part.get("holidays", [])
    for place in [named] if isinstance(named, str) else named:
        if any(day in land(one) for one in (places if place == "callee" else (place,))):
            return []
    window = part.get("window", "any")
    if window == "any":
        return [("00:00", "24:00")]
    for names, spans in window.items():
        first, _, last = names.partition("-")
        if DAY_NAMES.index(first) <= day.weekday() <= DAY_NAMES.index(last or first):
            return slots(spans)
    return []


class Oracle:
    """Asks each clock of somebody, for one minute at a time."""

    def __init__(self, calling: dict[str, Any], margin: timedelta, zones: tuple[str, ...], places: tuple[str, ...]):
        self.parts = [calling, *calling.get("rules", ())]
        self.margin, self.places = margin, places
        self.clocks = [ZoneInfo(zone) for zone in zones]
        self.days: dict[date, list[list[tuple[str, str]]]] = {}
        if "deadline" in calling:
            shown = datetime.fromisoformat(calling["deadline"]).replace(tzinfo=ZoneInfo(calling["time_zone"]))
            self.deadline = shown.astimezone(UTC)
        else:
            self.deadline = datetime.max.replace(tzinfo=UTC)

    def allows(self, at: datetime, every_minute: bool) -> bool:
        """Whether a call may begin: the window stays open until the last call would be too late."""
        until = at + self.margin
        if until >= self.deadline or not (self.open_at(at) and self.open_at(until)):
            return False
        between = int(self.margin.total_seconds() // 60) if every_minute else 0
        return all(self.open_at(at + timedelta(minutes=passed)) for passed in range(1, between + 1))

    def open_at(self, at: datetime) -> bool:
        for clock in self.clocks:
            local = at.astimezone(clock)
            if (day := local.date()) not in self.days:
                self.days[day] = [hours(part, day, self.places) for part in self.parts]
            shown = f"{local.hour:02}:{local.minute:02}"
            if not all(any(begin <= shown < end for begin, end in spans) for spans in self.days[day]):
                return False
        return True


# -- what is planned ------------------------------------------------------------------------------------------------


def some_calling(random: Random, start: datetime) -> dict[str, Any]:
    """Rules as a file may have them, some of them at awkward hours."""
    windows: list[Any] = [
        "any",
        {"mon-sun": "00:00-24:00"},
        {"mon-fri": "09:00-13:00, 14:00-20:00", "sat": "10:00-14:00"},
        {"mon-fri": "02:15-09:00, 22:00-24:00", "sun": "00:00-02:45"},
        {"mon-sun": "00:00-01:30, 02:30-03:00, 23:59-24:00"},
        {"mon-thu": "08:00-08:01, 08:02-12:00", "fri": "08:00-08:10", "sat-sun": "01:00-03:30"},
    ]
    calling: dict[str, Any] = {"window": random.choice(windows)}
    day = [(start + timedelta(days=number)).date().isoformat() for number in range(DAYS_AHEAD + 2)]
    if random.random() < 0.5:
        calling["holidays"] = random.choice(["PL", "US-CA", ["PL", "DE-BY"], "callee", ["callee", "GB"]])
    if random.random() < 0.4:
        calling["closed"] = [day[3], f"{day[7]}..{day[8]}"]
    if random.random() < 0.4:
        calling["open"] = {day[5]: "10:00-12:00, 23:00-24:00", f"{day[10]}..{day[11]}": "00:00-06:00"}
    if random.random() < 0.5:
        calling["last_call"] = random.choice(["1m", "7m", "15m", "90m", "ends-inside"])
    if random.random() < 0.2:
        calling |= {"deadline": f"{day[random.randrange(4, 14)]} 12:30", "time_zone": "Asia/Tokyo"}
    if random.random() < 0.4:
        calling["rules"] = random.sample(SHIPPED, random.randrange(1, 3))
    return calling


def changes_of_the_clock(zone: str, year: int) -> list[datetime]:
    """Days of a year on which a zone's offset changes."""
    clock, first = ZoneInfo(zone), datetime(year, 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=number) for number in range(366)]
    return [
        day
        for day in days
        if day.astimezone(clock).utcoffset() != (day + timedelta(days=1)).astimezone(clock).utcoffset()
    ]


def starts(random: Random, zone: str) -> Iterator[datetime]:
    """Where a fortnight begins: before a change of the clock, before a leap day, before a new year, and anywhere."""
    changes = changes_of_the_clock(zone, random.randrange(2024, 2037))
    soon = timedelta(days=random.randrange(1, 12), seconds=random.randrange(86_400))
    yield (random.choice(changes) if changes else datetime(2030, 6, 1, tzinfo=UTC)) - soon
    yield datetime(random.choice((2024, 2028, 2032, 2036)), 2, 29, tzinfo=UTC) - soon
    yield datetime(random.randrange(2025, 2037), 1, 1, tzinfo=UTC) - soon
    yield datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(12 * 365 * 86_400))


def clock_with_jumps(random: Random, start: datetime) -> Iterator[datetime]:
    """What a host's clock says from claim to claim: it goes on, stands, and is put back or forward."""
    now = start
    while True:
        now += timedelta(seconds=random.choice((0.25, 31.5, 600, 3600, 40_000, -3600, 3600, -86_400, 7200)))
        if not start <= now < start + SPAN:
            now = start + random.random() * SPAN
        yield now


def test_a_million_planned_attempts_and_none_outside_the_rules():
    random = Random(SEED)
    planned = waited = closed = 0
    each = WANTED // (len(ZONES) * 4) + 1
    for zone in ZONES:
        for start in starts(random, zone):
            while not (case := Case(random, zone, start)).intervals:
                case.never_open(random)
            for number in range(each):
                at, moved = case.claim()
                assert case.oracle.allows(at, number % 16 == 0), case.told(at)
                planned += 1
                waited += moved
            closed += case.edges_are_true(random)
    assert planned >= WANTED
    assert waited > WANTED // 10, "the clock stood outside the window often enough"
    assert closed > WANTED // 100, "and the other side of the edges was looked at"


class Case:
    """One fortnight of one set of zones under one set of rules, planned as the claim plans: due, then inside."""

    def __init__(self, random: Random, zone: str, start: datetime) -> None:
        self.calling, self.start = some_calling(random, start), start
        zones = (zone, random.choice(ZONES)) if random.random() < 0.2 else (zone,)
        places = (random.choice(list(LANDS)),)
        capacity = {"ring": "20s", "longest_call": "3m"}
        margin = {"ends-inside": 202, "1m": 60, "7m": 420, "15m": 900, "90m": 5400}
        self.key = calendar_key(zones, places)
        self.intervals = open_intervals(rules(self.calling, **capacity), self.key, start)
        self.opening = [one.opens_at for one in self.intervals]
        seconds = margin.get(self.calling.get("last_call", ""), 0)
        self.oracle = Oracle(self.calling, timedelta(seconds=seconds), zones, places)
        self.clock = clock_with_jumps(random, start)

    def interval_at(self, at: datetime) -> Interval | None:
        place = bisect_right(self.opening, at) - 1
        return self.intervals[place] if place >= 0 and at < self.intervals[place].closes_at else None

    def claim(self) -> tuple[datetime, bool]:
        """When the next attempt is made: now, or when the window opens next; and whether it had to wait."""
        while True:
            now = next(self.clock)
            if self.interval_at(now) is not None:
                return now, False
            if (following := bisect_right(self.opening, now)) < len(self.opening):
                return self.opening[following], True

    def edges_are_true(self, random: Random) -> int:
        """Intervals are the longest: open to their last instant, closed before and behind. How often it was closed."""
        found = 0
        instant = timedelta(microseconds=1)
        for one in random.sample(self.intervals, min(len(self.intervals), 4)):
            assert self.oracle.allows(one.opens_at, True), self.told(one.opens_at)
            assert self.oracle.allows(one.closes_at - instant, True), self.told(one.closes_at)
            for outside in (one.opens_at - instant, one.closes_at):
                if self.start <= outside < self.start + SPAN:
                    assert not self.oracle.allows(outside, True), self.told(outside)
                    found += 1
        found += self.never_open(random)
        return found

    def never_open(self, random: Random) -> int:
        """Outside the intervals nothing is allowed."""
        moments = [self.start + random.random() * SPAN for _ in range(8)]
        outside = [at for at in moments if self.interval_at(at) is None]
        for at in outside:
            assert not self.oracle.allows(at, True), self.told(at)
        return len(outside)

    def told(self, at: datetime) -> str:
        return f"{at.isoformat()} of {self.key} from {self.start.isoformat()} under {self.calling}"
