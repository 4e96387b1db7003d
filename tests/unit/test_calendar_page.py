"""The coming calls by hour, and their picture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from dialer.campaign.calendar import Interval
from dialer.monitoring import calendar_page
from dialer.monitoring.calendar_page import Slot, slots
from dialer.storage.funnel import Bucket, Coming

NOW = datetime(2026, 5, 4, 7, 30, tzinfo=UTC)
WARSAW = "Europe/Warsaw"


def hour(hours: float) -> datetime:
    return datetime(2026, 5, 4, tzinfo=UTC) + timedelta(hours=hours)


WINDOWS = {WARSAW: [Interval(opens_at=hour(7), closes_at=hour(15)), Interval(opens_at=hour(31), closes_at=hour(39))]}


def coming(people: int, due_at: datetime | None, key: str = WARSAW, bucket: Bucket = Bucket.RETRY) -> Coming:
    return Coming(key=key, bucket=bucket, due_at=due_at, people=people)


def test_everybody_stands_in_the_first_open_hour_from_when_they_are_due():
    found, never = slots(
        [
            coming(5, None, bucket=Bucket.DUE),
            coming(2, hour(7.9)),
            coming(3, hour(14.5)),
            coming(4, hour(15)),
            coming(1, hour(20)),
            coming(6, hour(40)),
            coming(9, None, key="Pacific/Nauru"),
        ],
        WINDOWS,
        NOW,
    )
    assert [(slot.hour_at, slot.people) for slot in found] == [(hour(7), 7), (hour(14), 3), (hour(31), 5)]
    assert never == 15
    assert [slot.local for slot in found] == ["Mon 09:00", "Mon 16:00", "Tue 09:00"]


def test_the_picture_is_well_formed_whatever_the_names_are():
    found = [Slot(hour_at=hour(n % 300), key=f"<zone&{n % 9}>", people=1 + n) for n in range(600)]
    found.sort(key=lambda slot: (slot.hour_at, slot.key))
    root = ElementTree.fromstring(calendar_page.picture('a "title" & <more>', found))
    name = "{http://www.w3.org/2000/svg}"
    bars = [one for one in root.iter(f"{name}rect") if one.find(f"{name}title") is not None]
    assert len(bars) == 600
    bottom = {round(float(one.get("y")) + float(one.get("height")), 1) for one in bars}
    assert max(bottom) == 256.0
    assert min(float(one.get("y")) for one in bars) >= 40.0 - 0.01
    assert "others" in [one.text for one in root.iter(f"{name}text")]


def test_an_empty_calendar_says_so_and_draws_nothing():
    assert calendar_page.lines([]) == ["nobody is to be called"]
    ElementTree.fromstring(calendar_page.picture("none", []))


@pytest.mark.parametrize("hours", [1, 5, 12, 13, 48, 49, 336, 8760])
def test_the_marks_below_the_picture_do_not_run_into_each_other(hours):
    found = [Slot(hour_at=hour(n), key=WARSAW, people=1) for n in {0, hours - 1}]
    root = ElementTree.fromstring(calendar_page.picture("c", sorted(found, key=lambda slot: slot.hour_at)))
    marks = [float(one.get("x")) for one in root.iter("{http://www.w3.org/2000/svg}text") if one.text.endswith("Z")]
    assert 1 <= len(marks) <= 14
    assert all(after - before > 50 for before, after in pairwise(marks))
