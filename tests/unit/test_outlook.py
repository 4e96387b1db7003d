"""The forecast on `dialer status`: when it is done, who is left when hours end, and when that is trouble."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dialer.campaign.calendar import Interval
from dialer.campaign.capacity import Capacity
from dialer.engine.progress import Progress, as_data
from dialer.monitoring import outlook, status_facts, status_page
from dialer.pacing.decide import Binding
from dialer.storage.funnel import Bucket, Coming, Seen
from dialer.storage.status import CampaignStatus, PartStatus, StatusPage, Use

AT = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
PROGRESS = Progress(
    at=AT, campaign="c", calls_now=5, unclear=0, answered=0, silent=0, max_concurrent=10, calls_per_second=2.0,
    max_calls_per_second=5.0, launched=1, wave=1, contacts=10_000, closed=3_000, held=0, due=7_000, due_now=7_000,
    never=0, next_call_at=None, dispositions={"completed": 3_000, "busy": 3_000}, binding=Binding.RATE, refusal="",
    drained=False,
)  # fmt: skip


def hours(*spans: tuple[float, float]) -> tuple[Interval, ...]:
    """Open from so many hours after now to so many."""
    return tuple(
        Interval(opens_at=AT + timedelta(hours=begin), closes_at=AT + timedelta(hours=end)) for begin, end in spans
    )


TODAY, DAYS = (-1, 3), [(24.0 * day - 1, 24.0 * day + 3) for day in range(14)]


def campaign(windows: tuple[Interval, ...], *, lately: int = 600, **progress: object) -> CampaignStatus:
    """Running for an hour, 7,000 people left; 600 calls within five minutes are two a second."""
    told = replace(PROGRESS, **progress)  # type: ignore[arg-type]
    use = Use(in_use=5, max=10, rate=2.0, max_rate=5.0)
    return CampaignStatus(
        name="c", use=use, wanted="running", wanted_at=AT, wanted_by="ann@host", wanted_why=None,
        began_at=AT - timedelta(hours=1), priority=5, share=1,
        capacity=Capacity.model_validate(
            {"max_concurrent": 10, "calls_per_second": 5, "trunks": ["a"], "caller_id": "+48221234567"}
        ),
        parts=(PartStatus(node="n", use=use, progress=as_data(told), progress_at=AT),), open={},
        recent={"busy": lately, "returned": 50} if lately else {}, verdicts=None, held=None, windows=windows,
    )  # fmt: skip


def line(found: CampaignStatus) -> str:
    """The forecast of the status page, its columns one space apart; empty when there is none."""
    page = StatusPage(at=AT, site=Use(in_use=5, rate=2.0), nodes=(), campaigns=(found,))
    return next((" ".join(one.split()) for one in status_page.lines(page) if " forecast " in one), "")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        # 7,000 people need 14,000 calls, which take 1 h 57 min at two a second.
        (campaign(hours(TODAY)), "forecast done about 10:56Z · at 2/s and 2 calls a person"),
        (campaign(hours((-1, 1), *DAYS[1:])),
         "forecast done about 2026-05-05 08:56Z · at 2/s and 2 calls a person · "
         "about 3,400 people left when the window closes at 10:00Z"),
        (campaign(hours((-1, 1))),
         "! forecast about 3,400 people left when the last hour ends at 10:00Z → more calls a second, "
         "or more hours · at 2/s and 2 calls a person"),
        # Nobody is due before the window opens: then the campaign's own rate is all that is known.
        (campaign(hours((1, 3)), lately=0, due_now=0, next_call_at=AT + timedelta(hours=1)),
         "forecast done about 10:46Z · at 5/s and 2 calls a person"),
        (campaign(hours(*DAYS), contacts=9_000_000, due_now=8_000_000),
         "forecast not done within the 14 days ahead · at 2/s and 2 calls a person · "
         "about 8,986,200 people left when the window closes at 12:00Z"),
        (campaign(hours(TODAY), closed=19), ""),
        (campaign(hours(TODAY), contacts=3_000), ""),
        (campaign(()), ""),
        (replace(campaign(hours(TODAY)), wanted="paused"), ""),
    ],
)  # fmt: skip
def test_what_the_status_page_says(found, said):
    assert line(found) == said


def test_the_forecast_for_programs():
    page = StatusPage(at=AT, site=Use(in_use=5, rate=2.0), nodes=(), campaigns=(campaign(hours((-1, 1))),))
    assert status_facts.as_data(page)["campaigns"][0]["forecast"] == {
        "done_at": None, "calls_per_second": 2.0, "calls_each": 2.0, "window_closes_at": "2026-05-04T10:00:00Z",
        "left_then": 3400, "left": 3400, "late": True,
    }  # fmt: skip


def test_calls_at_once_bound_the_pace():
    """Ten at once, each a minute long, are one in six seconds, whatever the rate is."""
    people = [Coming(key="z", bucket=Bucket.DUE, due_at=None, people=600)]
    windows = {"z": list(hours((0, 12)))}
    found = outlook.outlook(people, windows, (5.0, 10), Seen(calls=60, done=30, slot_s=60.0), AT)
    assert (found.per_second, found.each, found.is_guess) == (pytest.approx(1 / 6), 2.0, False)
    assert found.forecast.done_at == AT + timedelta(hours=2)
    guess = outlook.outlook(people, windows, (5.0, 10), Seen(calls=0, done=0, slot_s=None), AT)
    assert (guess.per_second, guess.each, guess.is_guess) == (5.0, 1.0, True)
    assert "one call a person" in outlook.in_words(guess, AT)
    assert outlook.outlook([], windows, (5.0, 10), Seen(calls=0, done=0, slot_s=None), AT) is None


def test_nobody_is_counted_twice_by_hours():
    people = [
        Coming(key="z", bucket=Bucket.RETRY, due_at=AT + timedelta(minutes=minute), people=1) for minute in range(90)
    ]
    found = outlook.outlook(people, {"z": list(hours((0, 12)))}, (1000.0, 10), Seen(calls=0, done=0, slot_s=None), AT)
    assert found.forecast.calls_left == pytest.approx(0)
    assert found.forecast.done_at == pytest.approx(AT + timedelta(hours=1), abs=timedelta(seconds=1))
