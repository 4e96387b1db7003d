"""The page of `dialer explain CAMPAIGN`: golden lines of every bucket, and words for whatever may stand there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dialer.campaign.calendar import Cause, Closed
from dialer.campaign.calling import rules_of
from dialer.campaign.running import Wanted
from dialer.contacts.suppress import NO_CAPS, WaitsFor
from dialer.engine.progress import as_data
from dialer.monitoring import explain_page, next_call, plan_page
from dialer.monitoring.explain_facts import Subject, hold_of
from dialer.monitoring.explain_page import closed_in_words
from dialer.pacing.decide import Binding
from dialer.storage.campaigns import StoredCampaign, StoredRevision
from dialer.storage.funnel import Bucket, Count, Funnel, View
from dialer.storage.status import CampaignStatus, EngineStatus, NodeStatus, PartStatus, StatusPage, Use
from tests.support.calling import campaign
from tests.unit.test_outlook import PROGRESS

AT = datetime(2026, 5, 4, 7, 12, 40, tzinfo=UTC)
FILE = campaign({"window": {"mon-fri": "10:00-18:00"}, "holidays": "PL"})


def status(wanted: str = "running", binding: Binding = Binding.RATE) -> CampaignStatus:
    use = Use(in_use=5, max=10, rate=2.0, max_rate=5.0)
    told = {**as_data(PROGRESS), "binding": binding.value}
    return CampaignStatus(
        name="health-check", use=use, wanted=wanted, wanted_at=AT - timedelta(hours=1), wanted_by="ann@ops",
        wanted_why=None, began_at=AT, priority=5, share=1, capacity=FILE.capacity,
        parts=(PartStatus(node="node-1", use=use, progress=told, progress_at=AT),), open={}, recent={}, verdicts=None,
        held=None,
    )  # fmt: skip


def page(live: bool = True) -> StatusPage:
    engine = EngineStatus(live=live, holder="vm:1", epoch=1, taken_at=AT, lease_until=AT + timedelta(seconds=8))
    node = NodeStatus(
        name="node-1", use=Use(in_use=0, rate=0.0), is_wanted=True, engine=engine, reported_at=AT, blocked=None,
        pace=None, strained=False, why="", strays=0, trunks=(),
    )  # fmt: skip
    return StatusPage(at=AT, site=Use(in_use=0, rate=0.0), nodes=(node,), campaigns=())


def subject(found: CampaignStatus) -> Subject:
    stored = StoredCampaign(
        campaign_id=1, tenant_id="t", name="health-check", revision_id=3, revision_number=3, sha256="x", document={},
        base_dir="/",
    )  # fmt: skip
    revision = StoredRevision(
        id=3,
        campaign_id=1,
        number=3,
        sha256="x",
        document={},
        base_dir="/",
        accepted_at=AT,
        accepted_by=None,
        note=None,
    )
    view = View(campaign_id=1, tenant_id="t", at=AT, windows={}, ways=[], hold=hold_of(found, page()))
    return Subject(
        stored=stored, revision=revision, campaign=FILE, rules=rules_of(FILE), caps=NO_CAPS, status=found, page=page(),
        view=view,
    )  # fmt: skip


def count(bucket: Bucket, people: int, detail: str = "", *in_minutes: int) -> Count:
    times = [AT + timedelta(minutes=one) for one in in_minutes]
    return Count(
        bucket=bucket, detail=detail, people=people, first_at=min(times, default=None), last_at=max(times, default=None)
    )  # fmt: skip


def golden(text: str) -> list[str]:
    return [line[8:] for line in text.rstrip().splitlines()[1:]]


def test_the_page():
    counts = (
        count(Bucket.CLOSED, 28_004, "completed"), count(Bucket.CLOSED, 2_108, "no_answer"),
        count(Bucket.DNC, 12, "closed"), count(Bucket.DNC, 3, "listed"), count(Bucket.IN_CALL, 41),
        count(Bucket.NEVER, 9, ""), count(Bucket.GAP, 77, "", 20), count(Bucket.RETRY, 1_920, "", 8, 233),
        count(Bucket.WINDOW, 84_112, "Europe/Lisbon@PT", 108), count(Bucket.DUE, 1_204, "rate"),
        count(Bucket.REJECTED, 12),
    )  # fmt: skip
    found = explain_page.lines(subject(status()), Funnel(at=AT, counts=counts, rejects_of="base.csv"))
    assert found == golden("""
        health-check, revision 3, at 2026-05-04 07:12:40Z: running since 06:12Z (ann@ops)

         30,112  closed for good
                   28,004 completed
                   2,108 no_answer
             15  on do-not-call lists with all their numbers
                   12 closed for that
                   3 closed when their turn comes
             41  in a call now
              9  no hour of the coming year is open for them: no time zone (nobody knows their time zone)
             77  called too recently: until 07:32Z
          1,920  wait for their retry: until 07:20Z to 11:05Z
         84,112  due, but their window is closed: Europe/Lisbon (PT) opens at 09:00Z (outside the hours)
          1,204  may be called now: held back by: its rate
             12  rows of the last import, rejected: see base.csv.report.csv (or state_dir's rejects/)

        117,490  contacts, and 12 rows that are no contacts
    """)


@pytest.mark.parametrize(
    ("found", "live", "hold"),
    [
        (status("idle"), True, "idle"),
        (status("paused"), True, "paused"),
        (status(), False, "no_engine"),
        (status(binding=Binding.CEILING), True, "ceiling"),
        (status(binding=Binding.NOTHING_DUE), True, "next"),
        (status(binding=Binding.WINDOW_CLOSED), True, "next"),
    ],
)
def test_what_holds_back_those_who_may_be_called(found, live, hold):
    assert hold_of(found, page(live)) == hold
    assert explain_page.held_by(found, page(live))


def test_there_are_words_for_everything():
    assert set(explain_page.WORDS) == set(Bucket)
    assert set(plan_page.WORDS) == set(plan_page.Move)
    assert set(next_call.WAITS) == {one.value for one in WaitsFor}
    for cause in Cause:
        assert closed_in_words(Closed(cause=cause))
    for wanted in Wanted:
        assert explain_page.held_by(status(wanted.value), page())


def test_a_closed_calendar_names_who_closed_it():
    assert closed_in_words(Closed(cause=Cause.HOURS, by="campaign")) == "outside the hours"
    assert closed_in_words(Closed(cause=Cause.HOURS, by="pl")) == "outside the hours of pl"
    assert closed_in_words(Closed(cause=Cause.HOLIDAY, by="campaign", detail="PL: X")) == "a holiday (PL: X)"
