"""The campaign file's `calling`: when and how often people may be called; what file and rule packs come to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, combinations, product
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Strict, Tag, WithJsonSchema, model_validator

from dialer.campaign.calendar import Days, Hours, Slot, Timetable, is_zone
from dialer.campaign.holidays import CALLEE, PLACE, is_place
from dialer.campaign.values import (
    DAYS,
    Duration,
    Part,
    Percent,
    Wrong,
    parse_dates,
    parse_days,
    parse_slots,
    parse_wall_time,
    refuse,
    window_wrongs,
)
from dialer.contacts import suppress
from dialer.contacts.suppress import CapRules, strictest

if TYPE_CHECKING:
    from dialer.campaign.model import Campaign

OWN = "campaign"
"""The name of the campaign file's own timetable; the others have their packs' names."""
ENDS_INSIDE = "ends-inside"
_UNSENT_S = 2
"""So long a claim may wait until it is sent (promise 6); the call may end by so much later."""
_ALL_DAY: tuple[Slot, ...] = ((0, 1440),)


# -- how the file writes it -----------------------------------------------------------------------------------------


def _kind_of_window(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<days>"


def _readable_window(window: dict[str, str]) -> dict[str, str]:
    if wrongs := window_wrongs(window):
        raise refuse(wrongs)
    return window


DayHours = Annotated[dict[str, str], AfterValidator(_readable_window)]
Window = Annotated[
    Annotated[Literal["any"], Tag("<word>")] | Annotated[DayHours, Tag("<days>")], Discriminator(_kind_of_window)
]


def _as_list(value: Any) -> Any:
    """One place may be written without brackets."""
    return [value] if isinstance(value, str) else value


def _known_place(text: str) -> str:
    if text != CALLEE and not is_place(text):
        fix = f"write a country or one of its subdivisions by ISO 3166, such as PL or DE-BY, or {CALLEE}"
        raise refuse([Wrong(code="unknown-place", message=f"the holidays of {text!r} are not known", fix=fix)])
    return text


def _readable_dates(text: str) -> str:
    try:
        parse_dates(text)
    except ValueError as error:
        fix = "write a day as 2026-12-24, or the first and the last as 2026-12-31..2027-01-02"
        raise refuse([Wrong(code="wrong-form", message=str(error), fix=fix)]) from error
    return text


def _readable_slots(text: str) -> str:
    try:
        parse_slots(text)
    except ValueError as error:
        fix = 'write time spans as "09:00-13:00, 14:00-20:00"; midnight at the end is 24:00'
        raise refuse([Wrong(code="wrong-form", message=str(error), fix=fix)]) from error
    return text


def _readable_moment(text: str) -> str:
    try:
        parse_wall_time(text)
    except ValueError as error:
        fix = "write a day and a time, such as 2026-12-24 20:00"
        raise refuse([Wrong(code="wrong-form", message=str(error), fix=fix)]) from error
    return text


def _known_zone(name: str) -> str:
    if not is_zone(name):
        fix = "write an IANA name such as Europe/Warsaw"
        raise refuse([Wrong(code="unknown-time-zone", message=f"{name!r} is not a time zone", fix=fix)])
    return name


Place = Annotated[
    str,
    AfterValidator(_known_place),
    WithJsonSchema({"anyOf": [{"const": CALLEE}, {"type": "string", "pattern": PLACE}]}),
]
Places = Annotated[
    tuple[Place, ...],
    Strict(False),
    Field(max_length=100),
    BeforeValidator(_as_list, json_schema_input_type=Place | list[Place]),
]
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
Dates = Annotated[
    str,
    AfterValidator(_readable_dates),
    WithJsonSchema({"type": "string", "pattern": rf"^{_DATE}( *\.\. *{_DATE})?$"}),
]
Slots = Annotated[str, AfterValidator(_readable_slots)]


def _kind_of_last_call(value: Any) -> str:
    return "<word>" if value == ENDS_INSIDE else "<duration>"


LastCall = Annotated[
    Annotated[Literal["ends-inside"], Tag("<word>")]
    | Annotated[int, Duration(shortest_s=0, longest_s=4 * 3600), Tag("<duration>")],
    Discriminator(_kind_of_last_call),
]
Limit = Annotated[int, Field(ge=1, le=10_000)]


class Limits(Part):
    """The most calls within rolling windows of time; what is not named is not limited."""

    day: Limit | None = Field(default=None, description="Within any 24 hours.")
    week: Limit | None = Field(default=None, description="Within any 7 days.")
    month: Limit | None = Field(default=None, description="Within any 30 days.")
    ever: Limit | None = Field(default=None, description="In all.")


class Caps(Part):
    """The most calls to a number and to a person, over all campaigns together."""

    number: Limits = Limits()
    person: Limits = Limits()


class Restrictions(Part):
    """What a campaign and a rule pack may both ask for; of the two the stricter holds."""

    holidays: Places = Field(
        default=(),
        description="Where public holidays are closed: countries, subdivisions, or callee for wherever the callee is.",
        examples=["PL", ["PL", "DE-BY"], CALLEE],
    )
    closed: Annotated[tuple[Dates, ...], Strict(False), Field(max_length=1000)] = Field(
        default=(),
        description="Days on which nobody is called, by the callee's calendar.",
        examples=[["2026-12-24", "2026-12-31..2027-01-02"]],
    )
    last_call: LastCall = Field(
        default=0,
        description="How long before each closing the last call begins, up to 4h; ends-inside: so that all have ended.",
    )
    caps: Caps = Field(
        default=Caps(), description="The most calls to a number and to a person.", examples=[{"number": {"day": 2}}]
    )
    gap_s: Annotated[int, Duration(shortest_s=0, longest_s=90 * 86400)] = Field(
        default=0, alias="gap", description="The least time between two calls to a number or a person, up to 90d."
    )


class Pack(Restrictions):
    """A rule pack: hours and limits that several campaigns keep."""

    pack: str = Field(min_length=1, max_length=63, description="The pack's name, in messages and reports.")
    title: str = Field(default="", max_length=200)
    sources: list[str] = Field(default=[], description="Where its values come from.")
    window: DayHours | None = Field(
        default=None, description="Days to time spans in the callee's own time zone; without it every hour is open."
    )
    max_silent: Annotated[float, Percent()] | None = Field(
        default=None, description="The most answered calls without sound, as a share."
    )


def _read_before(value: Any) -> Any:
    """Names are replaced by what the packs say when the file is loaded, so that a revision keeps its rules."""
    if isinstance(value, str):
        fix = "load the file with dialer.campaign.load, which reads the packs"
        raise refuse([Wrong(code="unknown-pack", message=f"the rule pack {value!r} has not been read", fix=fix)])
    return value


PackName = Annotated[str, Field(min_length=1)]


class Calling(Restrictions):
    """When and how often people may be called."""

    window: Window = Field(
        description="Days to time spans in the callee's own time zone; `any` only in a lab.",
        examples=[{"mon-fri": "09:00-13:00, 14:00-20:00", "sat": "10:00-14:00"}],
    )
    opened: dict[Dates, Slots] = Field(
        default={},
        alias="open",
        max_length=1000,
        description="Days with hours of their own, though they are holidays or other weekdays; packs still hold.",
        examples=[{"2026-12-20": "10:00-14:00"}],
    )
    time_zone: Annotated[str, AfterValidator(_known_zone)] | None = Field(
        default=None, description="The campaign's IANA zone: for the deadline, and for numbers whose zone is not known."
    )
    deadline: Annotated[str, AfterValidator(_readable_moment)] | None = Field(
        default=None, description="No call begins from then on, on the campaign's clock.", examples=["2026-12-24 20:00"]
    )
    rules: Annotated[
        tuple[Annotated[Pack, BeforeValidator(_read_before, json_schema_input_type=PackName | Pack)], ...],
        Strict(False),
        Field(max_length=20),
    ] = Field(
        default=(),
        description="Rule packs that hold as well: names of shipped ones, files of yours, or written here.",
        examples=[["pl"], ["pl", "our-rules.yaml"]],
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Calling:
        wrongs = _clashing_days(self.closed, self.opened)
        if self.deadline is not None and self.time_zone is None:
            message = "nobody says on whose clock the deadline is"
            fix = "add `time_zone:` with the campaign's zone, such as Europe/Warsaw"
            wrongs.append(Wrong(key=("deadline",), code="missing-key", message=message, fix=fix))
        if wrongs:
            raise refuse(wrongs)
        return self


def _clashing_days(closed: Iterable[str], opened: Mapping[str, str]) -> list[Wrong]:
    fix = "let each day stand once in `closed` or `open`"
    shut, open_ = ([(text, parse_dates(text)) for text in texts] for texts in (closed, opened))
    return [
        Wrong(key=("open", text), code="named-twice", message=f"{text} and {other} hold the same day", fix=fix)
        for (text, days), (other, others) in chain(product(open_, shut), combinations(open_, 2))
        if _overlap(days, others)
    ]


def _overlap(one: Days, other: Days) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def at_any_hour(calling: Calling) -> bool:
    """Whether nothing names hours, neither the file nor a pack: `window: any`, for a lab."""
    return calling.window == "any" and all(pack.window is None for pack in calling.rules)


# -- what it comes to -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rules(Hours):
    """Everything that a revision asks for, its packs' rules among it: of each limit the strictest."""

    caps: CapRules
    max_silent: float
    packs: tuple[str, ...] = ()
    """Their names, as they stand in the file."""


def rules_of(campaign: Campaign) -> Rules:
    """What a campaign file and its rule packs come to."""
    calling, capacity = campaign.calling, campaign.capacity
    parts: list[Restrictions] = [calling, *calling.rules]
    ends_inside_s = capacity.ring + capacity.longest_call + _UNSENT_S
    own = _timetable(OWN, None if calling.window == "any" else calling.window, calling, calling.opened)
    timetables = [own, *(_timetable(pack.pack, pack.window, pack) for pack in calling.rules)]
    return Rules(
        timetables=tuple(timetable for timetable in timetables if timetable is not None),
        last_call_s=max(ends_inside_s if p.last_call == ENDS_INSIDE else int(p.last_call) for p in parts),
        time_zone=calling.time_zone,
        deadline_at=_deadline_at(calling),
        caps=strictest(*(_cap_rules(part) for part in parts)),
        max_silent=min([capacity.max_silent, *(p.max_silent for p in calling.rules if p.max_silent is not None)]),
        packs=tuple(pack.pack for pack in calling.rules),
    )


def _cap_rules(part: Restrictions) -> CapRules:
    number, person = (suppress.Caps(**limits.model_dump()) for limits in (part.caps.number, part.caps.person))
    return CapRules(number=number, person=person, gap_s=part.gap_s)


def _timetable(
    name: str, window: Mapping[str, str] | None, part: Restrictions, opened: Mapping[str, str] | None = None
) -> Timetable | None:
    """None when it closes nothing, so that a lab's `any` asks for no time zone."""
    if window is None and not (part.holidays or part.closed or opened):
        return None
    week = [_ALL_DAY if window is None else ()] * len(DAYS)
    for names, slots in (window or {}).items():
        for day in parse_days(names):
            week[day] = tuple(parse_slots(slots))
    return Timetable(
        name=name,
        week=tuple(week),
        holidays=part.holidays,
        closed=tuple(parse_dates(text) for text in part.closed),
        opened=tuple((parse_dates(text), tuple(parse_slots(slots))) for text, slots in (opened or {}).items()),
    )


def _deadline_at(calling: Calling) -> datetime | None:
    if calling.deadline is None or calling.time_zone is None:
        return None
    shown = parse_wall_time(calling.deadline).replace(tzinfo=ZoneInfo(calling.time_zone))
    # A clock that is set back shows the hour twice, and one that is set forward skips it: the earlier reading holds.
    return min(shown.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
