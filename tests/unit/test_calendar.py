"""A window is open when the callee's own clock says so, on every day of the year."""

from datetime import UTC, datetime

import pytest

from dialer.campaign.calendar import closed_because, days_ahead, is_zone, open_intervals, read_key
from tests.support.calling import calendar_key, rules

WARSAW, NEW_YORK = "Europe/Warsaw", "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(calling, key: str, start: str, days: int) -> list[str]:
    """Open intervals as `month-dayThour:minute/…` in UTC."""
    return [
        f"{interval.opens_at:%m-%dT%H:%M}/{interval.closes_at:%m-%dT%H:%M}"
        for interval in open_intervals(rules(calling), key, utc(start), days)
    ]


PL, NY, BOTH = (WARSAW,), (NEW_YORK,), (NEW_YORK, WARSAW)
DAILY = "mon-sun"
TABLE = [
    # what                    window                        zones from          days  open, in UTC
    ("winter in Warsaw",      {DAILY: "09:00-17:00"},       PL,   "2026-01-12", 1, ["01-12T08:00/01-12T16:00"]),
    ("summer in Warsaw",      {DAILY: "09:00-17:00"},       PL,   "2026-07-13", 1, ["07-13T07:00/07-13T15:00"]),
    ("winter in New York",    {DAILY: "09:00-17:00"},       NY,   "2026-01-12", 1, ["01-12T14:00/01-12T22:00"]),
    ("a pause at noon",       {"mon": "09:00-13:00, 14:00-20:00"}, PL,   "2026-01-12", 1,
     ["01-12T08:00/01-12T12:00", "01-12T13:00/01-12T19:00"]),
    ("not on Sundays",        {"mon-sat": "09:00-10:00"},   PL,   "2026-01-17", 3,
     ["01-17T08:00/01-17T09:00", "01-19T08:00/01-19T09:00"]),
    ("already open",          {DAILY: "09:00-17:00"},       PL,   "2026-01-12T10:30", 1,
     ["01-12T10:30/01-12T16:00", "01-13T08:00/01-13T10:30"]),
    ("past midnight is one",  {DAILY: "00:00-02:00, 22:00-24:00"}, PL,   "2026-01-12", 1,
     ["01-12T00:00/01-12T01:00", "01-12T21:00/01-13T00:00"]),
    ("always",                {DAILY: "00:00-24:00"},       PL,   "2026-03-28", 3, ["03-28T00:00/03-31T00:00"]),
    # 29 March 2026: Warsaw's clock goes from 02:00 to 03:00 at 01:00 UTC.
    ("the day after the gap", {DAILY: "09:00-17:00"},       PL,   "2026-03-28", 2,
     ["03-28T08:00/03-28T16:00", "03-29T07:00/03-29T15:00"]),
    ("opens inside the gap",  {"sun": "02:30-04:00"},       PL,   "2026-03-29", 1, ["03-29T01:00/03-29T02:00"]),
    ("closes inside the gap", {"sun": "01:00-02:30"},       PL,   "2026-03-29", 1, ["03-29T00:00/03-29T01:00"]),
    ("all in the gap",        {"sun": "02:10-02:50"},       PL,   "2026-03-29", 1, []),
    # 25 October 2026: Warsaw's clock goes from 03:00 back to 02:00 at 01:00 UTC.
    ("all in the fold",       {"sun": "02:10-02:50"},       PL,   "2026-10-25", 1,
     ["10-25T00:10/10-25T00:50", "10-25T01:10/10-25T01:50"]),
    ("across the fold",       {"sun": "01:00-04:00"},       PL,   "2026-10-24T12:00", 1, ["10-24T23:00/10-25T03:00"]),
    ("the day after the fold", {DAILY: "09:00-17:00"},      PL,   "2026-10-24", 2,
     ["10-24T07:00/10-24T15:00", "10-25T08:00/10-25T16:00"]),
    ("open in both",          {DAILY: "09:00-17:00"},       BOTH, "2026-01-12", 1, ["01-12T14:00/01-12T16:00"]),
    # Between 8 and 29 March 2026 New York is on summer time and Warsaw is not.
    ("open in both, in March", {DAILY: "09:00-17:00"},      BOTH, "2026-03-16", 1, ["03-16T13:00/03-16T16:00"]),
    ("never open in both",    {DAILY: "09:00-12:00"},       ("Asia/Tokyo", NEW_YORK), "2026-01-12", 7, []),
    ("a half-hour zone",      {DAILY: "09:00-17:00"}, ("Asia/Kolkata",), "2026-01-12", 1, ["01-12T03:30/01-12T11:30"]),
    ("a day that was skipped", {"fri": "09:00-17:00"},      ("Pacific/Apia",),  "2011-12-29", 3, []),
    ("no zone",               {DAILY: "00:00-24:00"},       (),                 "2026-01-12", 7, []),
    ("unknown zone",          {DAILY: "00:00-24:00"},       ("Etc/Unknown",),   "2026-01-12", 7, []),
    ("no such zone",          {DAILY: "00:00-24:00"},       ("Mars/Olympus",),  "2026-01-12", 7, []),
    ("one of two unknown",    {DAILY: "00:00-24:00"},       ("Etc/Unknown", WARSAW), "2026-01-12", 7, []),
    ("a lab",                 "any",                  ("Etc/Unknown",), "2026-01-12", 14, ["01-12T00:00/01-26T00:00"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "window", "zones", "start", "days", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_open_intervals(what, window, zones, start, days, expected):
    assert spans({"window": window}, calendar_key(zones), start, days) == expected


OFFICE = {"mon-fri": "09:00-17:00"}
PACK = {"pack": "office", "window": {"mon-sat": "10:00-20:00"}}
LAST = {DAILY: "09:00-12:00, 13:00-17:00"}
DAYS_OFF = [
    # what                        calling                                                 key   from          days  open
    ("a public holiday",          {"window": OFFICE, "holidays": "PL"},                   WARSAW, "2026-11-11", 2,
     ["11-12T08:00/11-12T16:00"]),
    ("of another country",        {"window": OFFICE, "holidays": "DE"},                   WARSAW, "2026-11-11", 1,
     ["11-11T08:00/11-11T16:00"]),
    ("of two countries",          {"window": OFFICE, "holidays": ["DE", "PL"]},           WARSAW, "2026-11-11", 1, []),
    ("of Bavaria, for everybody", {"window": OFFICE, "holidays": "DE-BY"},                "Europe/Berlin@DE-BE",
     "2026-01-06", 1, []),
    ("of the callee's own land",  {"window": OFFICE, "holidays": "callee"},               "Europe/Berlin@DE-BY",
     "2026-01-06", 1, []),
    ("not of the callee's land",  {"window": OFFICE, "holidays": "callee"},               "Europe/Berlin@DE-BE",
     "2026-01-06", 1, ["01-06T08:00/01-06T16:00"]),
    ("a county has its country's", {"window": OFFICE, "holidays": "callee"},              "Europe/Warsaw@PL-14",
     "2026-11-11", 1, []),
    ("nobody knows where",        {"window": OFFICE, "holidays": "callee"},               WARSAW, "2026-11-12", 7, []),
    ("no such place",             {"window": OFFICE, "holidays": "callee"},               "Europe/Warsaw@XX",
     "2026-11-12", 7, []),
    ("a place that does not ask", {"window": OFFICE},                                     "Europe/Warsaw@XX",
     "2026-11-12", 1, ["11-12T08:00/11-12T16:00"]),
    ("a holiday in its own zone", {"window": {DAILY: "00:00-24:00"}, "holidays": "JP"},   "Asia/Tokyo",
     "2026-02-10", 3, ["02-10T00:00/02-10T15:00", "02-11T15:00/02-13T00:00"]),
    ("a closed day",              {"window": OFFICE, "closed": ["2026-01-13"]},           WARSAW, "2026-01-12", 2,
     ["01-12T08:00/01-12T16:00"]),
    ("closed over the new year",  {"window": {DAILY: "09:00-17:00"}, "closed": ["2026-12-31..2027-01-02"]}, WARSAW,
     "2026-12-30", 5, ["12-30T08:00/12-30T16:00", "01-03T08:00/01-03T16:00"]),
    ("29 February",               {"window": {DAILY: "09:00-17:00"}, "closed": ["2028-02-29"]}, WARSAW, "2028-02-28", 3,
     ["02-28T08:00/02-28T16:00", "03-01T08:00/03-01T16:00"]),
    ("open on a Sunday",          {"window": OFFICE, "open": {"2026-12-20": "10:00-12:00"}}, WARSAW, "2026-12-20", 1,
     ["12-20T09:00/12-20T11:00"]),
    ("open on a holiday",         {"window": OFFICE, "holidays": "PL", "open": {"2026-11-11": "10:00-12:00"}}, WARSAW,
     "2026-11-11", 1, ["11-11T09:00/11-11T11:00"]),
    ("a lab with a closed day",   {"window": "any", "closed": ["2026-01-13"]},            WARSAW, "2026-01-12T12:00", 2,
     ["01-12T12:00/01-12T23:00", "01-13T23:00/01-14T12:00"]),
    ("the pack is later",         {"window": OFFICE, "rules": [PACK]},                    WARSAW, "2026-01-16", 2,
     ["01-16T09:00/01-16T16:00"]),
    ("the pack's holidays stay",  {"window": OFFICE, "rules": [{"pack": "x", "holidays": "PL"}],
                                   "open": {"2026-11-11": "10:00-12:00"}},                WARSAW, "2026-11-11", 1, []),
    ("a lab with a pack",         {"window": "any", "rules": [PACK]},                     WARSAW, "2026-01-18", 2,
     ["01-19T09:00/01-19T19:00"]),
    ("a lab with a pack, no zone", {"window": "any", "rules": [PACK]},                    "", "2026-01-12", 7, []),
    ("the last call before each closing", {"window": LAST, "last_call": "15m"},           WARSAW, "2026-01-12", 1,
     ["01-12T08:00/01-12T10:45", "01-12T12:00/01-12T15:45"]),
    ("no call after the horizon's cut", {"window": LAST, "last_call": "15m"},             WARSAW, "2026-01-11T10:50", 1,
     ["01-11T12:00/01-11T15:45", "01-12T08:00/01-12T10:45"]),
    ("midnight is no closing",    {"window": {DAILY: "00:00-24:00"}, "last_call": "1h"},  WARSAW, "2026-01-12", 2,
     ["01-12T00:00/01-14T00:00"]),
    ("too short for a call",      {"window": {DAILY: "09:00-09:10, 12:00-13:00"}, "last_call": "15m"}, WARSAW,
     "2026-01-12", 1, ["01-12T11:00/01-12T11:45"]),
    ("all have ended",            {"window": OFFICE, "last_call": "ends-inside"},         WARSAW, "2026-01-12", 1,
     ["01-12T08:00/01-12T15:55"]),
    ("a deadline",                {"window": OFFICE, "time_zone": NEW_YORK, "deadline": "2026-01-12 08:00"}, WARSAW,
     "2026-01-12", 3, ["01-12T08:00/01-12T13:00"]),
    ("the last call before the deadline", {"window": OFFICE, "time_zone": WARSAW, "deadline": "2026-01-12 12:00",
                                           "last_call": "1h"}, WARSAW, "2026-01-12", 3, ["01-12T08:00/01-12T10:00"]),
    ("after the deadline",        {"window": "any", "time_zone": WARSAW, "deadline": "2026-01-12 12:00"}, "",
     "2026-01-12T11:00", 3, []),
    # Warsaw's clock shows 02:30 twice on 25 October 2026, and never on 29 March: the earlier reading holds.
    ("a deadline that comes twice", {"window": "any", "time_zone": WARSAW, "deadline": "2026-10-25 02:30"}, "",
     "2026-10-25", 1, ["10-25T00:00/10-25T00:30"]),
    ("a deadline that never comes", {"window": "any", "time_zone": WARSAW, "deadline": "2026-03-29 02:30"}, "",
     "2026-03-29", 1, ["03-29T00:00/03-29T00:30"]),
    ("the campaign's zone for no zone", {"window": OFFICE, "time_zone": WARSAW},          "", "2026-01-12", 1,
     ["01-12T08:00/01-12T16:00"]),
    ("the campaign's zone for an unknown one", {"window": OFFICE, "time_zone": WARSAW},   "Etc/Unknown",
     "2026-01-12", 1, ["01-12T08:00/01-12T16:00"]),
    ("beside a known one",        {"window": OFFICE, "time_zone": WARSAW},                f"{NEW_YORK},Etc/Unknown",
     "2026-01-12", 1, ["01-12T14:00/01-12T16:00"]),
    ("not for a wrong one",       {"window": OFFICE, "time_zone": WARSAW},                "Mars/Olympus",
     "2026-01-12", 7, []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "calling", "key", "start", "days", "expected"), DAYS_OFF, ids=[r[0] for r in DAYS_OFF]
)
def test_days_and_closings(what, calling, key, start, days, expected):
    assert spans(calling, key, start, days) == expected


FULL = {
    "window": OFFICE, "holidays": "PL", "closed": ["2026-01-13"], "last_call": "15m", "rules": [PACK],
    "time_zone": WARSAW, "deadline": "2026-01-20 12:00",
}  # fmt: skip
REASONS = [
    # at (UTC)            key                    why not, as cause, whose, on which clock
    ("2026-01-12T10:00", WARSAW, []),
    ("2026-01-12T08:30", WARSAW, [("hours", "office", WARSAW)]),
    ("2026-01-12T07:30", WARSAW, [("hours", "campaign", WARSAW), ("hours", "office", WARSAW)]),
    ("2026-01-12T16:30", f"{NEW_YORK},{WARSAW}", [("hours", "campaign", WARSAW)]),
    ("2026-01-13T10:00", WARSAW, [("closed_day", "campaign", WARSAW)]),
    ("2026-01-06T10:00", WARSAW, [("holiday", "campaign", WARSAW)]),
    ("2026-01-12T15:44", WARSAW, []),
    ("2026-01-12T15:45", WARSAW, [("last_call", "", "")]),
    ("2026-01-20T11:00", WARSAW, [("deadline", "", "")]),
    ("2026-01-12T10:00", "Mars/Olympus", [("no_zone", "", "")]),
]


@pytest.mark.parametrize(("at", "key", "expected"), REASONS)
def test_what_keeps_the_calendar_closed(at, key, expected):
    found = closed_because(rules(FULL), key, utc(at))
    assert [(one.cause.value, one.by, one.zone) for one in found] == expected


def test_a_holiday_is_named():
    (closed,) = closed_because(rules({"window": OFFICE, "holidays": "PL"}), WARSAW, utc("2026-11-11T10:00"))
    assert closed.detail == "PL: National Independence Day"


def test_the_key_of_a_calendar():
    assert read_key(WARSAW) == ((WARSAW,), ())
    assert read_key("America/New_York,Europe/Warsaw@DE,PL-14") == ((NEW_YORK, WARSAW), ("DE", "PL-14"))
    assert read_key("") == ((), ())


@pytest.mark.parametrize(
    ("calling", "last"),
    [
        ({}, "01-26T08:00/01-26T12:00"),
        ({"closed": ["2026-01-12..2026-02-20"]}, "02-23T08:00/02-23T12:00"),
        ({"closed": ["2026-01-14..2026-02-20"]}, "02-23T08:00/02-23T12:00"),
        ({"closed": ["2026-01-14..2028-02-20"]}, "01-13T08:00/01-13T16:00"),
        ({"time_zone": WARSAW, "deadline": "2026-01-14 20:00"}, "01-14T08:00/01-14T16:00"),
    ],
)
def test_the_days_ahead_reach_over_a_long_holiday_to_the_next_opening(calling, last):
    found = days_ahead(rules({"window": {"mon-fri": "09:00-17:00"}, **calling}), WARSAW, utc("2026-01-12T12:00"))
    assert f"{found[-1].opens_at:%m-%dT%H:%M}/{found[-1].closes_at:%m-%dT%H:%M}" == last
    assert found == sorted(found)


@pytest.mark.parametrize("name", ["Etc/Unknown", "", "../../etc/passwd", "Europe", "localtime", "PL ", "europe/warsaw"])
def test_what_is_no_zone(name):
    assert not is_zone(name)
