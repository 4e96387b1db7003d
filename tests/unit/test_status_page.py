"""The page of `dialer status`: golden lines of what an operator reads, and the words for every limit."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dialer.campaign.capacity import Capacity
from dialer.engine.progress import Progress, as_data
from dialer.monitoring import status_facts, status_page
from dialer.monitoring.layout import duration
from dialer.monitoring.words import Hold, in_words
from dialer.pacing.decide import Binding
from dialer.storage.status import (
    CampaignStatus,
    EngineStatus,
    NodeStatus,
    PartStatus,
    RefusedDelivery,
    StatusPage,
    TrunkStatus,
    Use,
)

AT = datetime(2026, 11, 22, 9, 14, 7, tzinfo=UTC)
ENGINE = EngineStatus(
    live=True, holder="vm-a:4711", epoch=12, taken_at=AT - timedelta(hours=1), lease_until=AT + timedelta(seconds=8)
)
CAPACITY = Capacity.model_validate(
    {"max_concurrent": 900, "calls_per_second": 60, "trunks": ["carrier-a", "carrier-b", "carrier-c"],
     "caller_id": "+48221234567", "ramp_up": "5m"}
)  # fmt: skip


def use(in_use: int, most: int | None, rate: float, max_rate: float | None = None) -> Use:
    return Use(in_use=in_use, max=most, rate=rate, max_rate=max_rate)


def trunk(name: str, used: Use, *, breaker: str = "closed", until_s: float = 0.0, why: str = "") -> TrunkStatus:
    until = AT + timedelta(seconds=until_s) if until_s else None
    return TrunkStatus(name=name, use=used, breaker=breaker, until=until, why=why)


NODE = NodeStatus(
    name="node-1", use=use(702, 2500, 48.9, 50), is_wanted=True, engine=ENGINE, reported_at=AT, blocked=None, pace=50.0,
    strained=False, why="", strays=0,
    trunks=(
        trunk("carrier-a", use(402, 600, 31.2, 40)),
        trunk("carrier-b", use(300, 600, 0), breaker="open", until_s=4, why="503: 24 of 40 calls in 10 s"),
    ),
)  # fmt: skip
STRAINED = replace(
    NODE, name="node-2", use=use(502, 2500, 12.4, 50), pace=12.5, strained=True,
    why="answer to first audio 2.4 s (at most 1 s)", trunks=(trunk("carrier-c", use(502, None, 12.4)),),
)  # fmt: skip
DEAD = replace(
    NODE, name="node-3", use=use(0, 2500, 0), pace=None, trunks=(), reported_at=AT - timedelta(minutes=3),
    engine=replace(ENGINE, live=False, holder="vm-c:991"),
)  # fmt: skip


def part(node: str, binding: Binding, *, age_s: float = 0.2, refusal: str = "") -> PartStatus:
    at = AT - timedelta(seconds=age_s)
    progress = Progress(
        at=at, campaign="health-check", calls_now=602, unclear=0, answered=900, silent=9, max_concurrent=900,
        calls_per_second=30.0, max_calls_per_second=60.0, launched=2, wave=1, contacts=240_000, closed=118_332, held=0,
        due=31_204, due_now=31_204, never=0, next_call_at=None, dispositions={}, binding=binding, refusal=refusal,
        drained=False, judged=100, judged_silent=1,
    )  # fmt: skip
    return PartStatus(node=node, use=use(602, None, 30.6, 33.5), progress=as_data(progress), progress_at=at)


HEALTH_CHECK = CampaignStatus(
    name="health-check", use=use(1204, 900, 61.3, 60), wanted="running", wanted_at=AT - timedelta(minutes=12),
    wanted_by="ann@vm-a", wanted_why=None, began_at=AT - timedelta(minutes=12), priority=5, share=1, capacity=CAPACITY,
    parts=(part("node-1", Binding.NODE_RATE), part("node-2", Binding.STRAIN)), open={"ringing": 700, "answered": 504},
    recent={"no_answer": 5730, "completed": 4102, "busy": 811}, verdicts=None, held=None,
)  # fmt: skip
SURVEY = replace(
    HEALTH_CHECK, name="survey", use=use(0, 50, 0, 5), wanted="paused", wanted_by="dialer",
    wanted_why="7 of the last 100 answered calls were silent, and max_silent is 5%", parts=(), open={}, recent={},
)  # fmt: skip
PAGE = StatusPage(
    at=AT, site=use(1204, 5000, 61.3), nodes=(NODE, STRAINED, DEAD),
    campaigns=(HEALTH_CHECK, replace(SURVEY, parts=(part("node-1", Binding.PAUSED),))),
)  # fmt: skip


def golden(text: str) -> list[str]:
    """Without the indentation of the test, but with the page's own."""
    return [line[8:] for line in text.rstrip().splitlines()[1:]]


def test_the_whole_page():
    assert status_page.lines(PAGE) == golden("""
          site          1,204 of 5,000 at once · 61.3/s · 2026-11-22 09:14:07Z
          node-1        702 of 2,500 at once · 48.9/s of 50 · engine vm-a:4711 (epoch 12), lease for 8 s more
            carrier-a   402 of 600 · 31.2/s of 40
        !   carrier-b   300 of 600 · 0/s · breaker open for 4 s more: 503: 24 of 40 calls in 10 s
        ! node-2        502 of 2,500 at once · 12.4/s of 50 · pace now 12.5/s: answer to first audio 2.4 s (at most 1 s) · engine vm-a:4711 (epoch 12), lease for 8 s more
            carrier-c   502 · 12.4/s
        ! node-3        0 of 2,500 at once · 0/s · no engine dials; the last one, vm-c:991, was heard of 3 min ago → dialer engine --node node-3

          health-check  running · 1,204 of 900 · 61.3/s of 60 · held back by: rate of node-1, pace of node-2
            last 5 min  no_answer 5,730, completed 4,102, busy 811 · silent 1% of 200 (pauses above 5%)
            people      31,204 due now · 118,332 of 240,000 closed
        ! survey        paused since 09:02Z (itself: 7 of the last 100 answered calls were silent, and max_silent is 5%) → dialer resume survey
            last 5 min  no verdicts · silent 1% of 100 (pauses above 5%)
            people      31,204 due now · 118,332 of 240,000 closed
    """)  # noqa: E501


def test_a_narrow_terminal_breaks_between_facts_and_never_within_a_command():
    page = replace(PAGE, nodes=(DEAD,), campaigns=(SURVEY,))
    assert status_page.lines(page, width=60) == golden("""
          site    1,204 of 5,000 at once · 61.3/s ·
                  2026-11-22 09:14:07Z
        ! node-3  0 of 2,500 at once · 0/s · no engine dials; the
                  last one, vm-c:991, was heard of 3 min ago →
                  dialer engine --node node-3

        ! survey  paused since 09:02Z (itself: 7 of the last 100
                  answered calls were silent, and max_silent is 5%)
                  → dialer resume survey ·
                  no engine dials it → dialer engine
    """)


def test_one_campaign_in_full():
    campaign = replace(
        HEALTH_CHECK, began_at=AT - timedelta(seconds=150), priority=6, open={"ringing": 700, "unclear": 2},
        verdicts={"completed": 100_000, "unknown": 3}, held=4,
    )  # fmt: skip
    assert status_page.lines_of(replace(PAGE, campaigns=(campaign,)), campaign) == golden("""
          health-check  running since 09:02Z (ann@vm-a), priority 6, share 1 · 1,204 of 900 · 61.3/s of 60 · held back by: rate of node-1, pace of node-2 · 2 unclear
            node-1      602 through carrier-a and carrier-b · 30.6/s of its share of 33.5
            node-2      602 through carrier-c · 30.6/s of its share of 33.5
            ramp-up     55% after 2 min of 5 min: 495 at once, 33/s
            last 5 min  no_answer 5,730, completed 4,102, busy 811 · silent 1% of 200 (pauses above 5%)
            people      31,204 due now · 118,332 of 240,000 closed
            open        ringing 700, unclear 2
            verdicts    completed 100,000, unknown 3
            in doubt    unclear 2, unknown 3 · people held for an operator 4
    """)  # noqa: E501


def only(page: StatusPage, label: str) -> str:
    """The line of that label, without the column's spaces."""
    return next(" ".join(one.split()) for one in status_page.lines(page) if one.lstrip("! ").startswith(f"{label} "))


ENGINES = [
    ({"engine": None}, "! node-1 702 of 2,500 at once · 48.9/s of 50 · no engine dials → dialer engine --node node-1"),
    ({"engine": None, "is_wanted": False}, "node-1 702 of 2,500 at once · 48.9/s of 50 · no engine dials"),
    ({"reported_at": None}, "lease for 8 s more, not dialling yet"),
    ({"reported_at": AT - timedelta(seconds=12)}, "lease for 8 s more, but its last report is 12 s ago"),
    ({"blocked": "node_away"}, "node-1 cannot be reached → start Asterisk there"),
    ({"blocked": "workers_away"}, "no FastAGI worker answers → dialer agi serve"),
    ({"blocked": "recovering"}, "asking node-1 about open calls"),
    ({"strays": 1}, "1 call of ours without an attempt"),
    ({"pace": 10.0, "why": "growing from the start"}, "pace now 10/s: growing from the start"),
]
TROUBLE = (True, False, False, True, True, True, False, True, False)


@pytest.mark.parametrize(("facts", "said", "trouble"), [(*one, bad) for one, bad in zip(ENGINES, TROUBLE, strict=True)])
def test_what_is_said_of_a_node(facts, said, trouble):
    line = only(replace(PAGE, nodes=(replace(NODE, **facts),)), "node-1")
    assert said in line
    assert line.startswith("!") is trouble


def test_a_breaker_that_is_tried():
    tried = trunk("carrier-b", use(1, 600, 0.1), breaker="half_open", why="503: 5 calls in a row")
    page = replace(PAGE, nodes=(replace(NODE, trunks=(tried,)),))
    assert only(page, "carrier-b").startswith("! carrier-b 1 of 600 · 0.1/s · breaker half open, one call at a time")


def test_what_was_said_long_ago_holds_no_more():
    page = replace(PAGE, campaigns=(replace(HEALTH_CHECK, parts=(part("node-1", Binding.NODE_RATE, age_s=12),)),))
    assert only(page, "health-check") == "health-check running · 1,204 of 900 · 61.3/s of 60"
    assert only(page, "people") == "people as of 12 s ago: 31,204 due · 118,332 of 240,000 closed"
    data = status_facts.as_data(page)["campaigns"][0]
    assert (data["due_now"], data["silent"], data["held_back_by"]) == (None, None, [])


def test_what_asterisk_says_cannot_steer_the_terminal():
    refused = part("node-1", Binding.NODE_REFUSES, refusal="no\x1b[2Jroom")
    line = only(replace(PAGE, campaigns=(replace(HEALTH_CHECK, parts=(refused,)),)), "health-check")
    assert line.startswith("! ")
    assert "node-1 refuses calls · Asterisk says: no?[2Jroom" in line


def test_campaigns_that_are_long_idle_are_only_counted():
    idle = replace(SURVEY, wanted="idle", wanted_by="dialer", wanted_why="nobody is left")
    long_idle = replace(idle, name="old", wanted_at=AT - timedelta(days=2))
    page = replace(PAGE, campaigns=(HEALTH_CHECK, idle, long_idle))
    assert only(page, "survey") == "survey idle since 09:02Z (itself: nobody is left)"
    assert only(page, "idle") == "idle 1 more campaign is idle; `dialer status NAME` says more"


def test_a_refused_delivery_is_an_alarm_until_one_is_merged():
    refused = RefusedDelivery(
        at=AT - timedelta(minutes=5), file="base/b.csv", aside="base/aside/b.csv", why="b.csv:3: the file ends here"
    )
    page = replace(PAGE, campaigns=(replace(HEALTH_CHECK, refused_delivery=refused),))
    assert only(page, "base") == (
        "! base a delivery was refused at 09:09Z, the base stays as it was: b.csv:3: the file ends here · "
        "it lies in base/aside/b.csv"
    )
    assert status_facts.as_data(page)["campaigns"][0]["refused_delivery"]["at"] == "2026-11-22T09:09:07.000Z"
    assert status_facts.as_data(PAGE)["campaigns"][0]["refused_delivery"] is None


def test_whose_limit_binds_is_data_too():
    data = status_facts.as_data(PAGE)
    assert data["campaigns"][0]["held_back_by"] == [
        {"node": "node-1", "binding": "node_rate", "of": "node-1"},
        {"node": "node-2", "binding": "strain", "of": "node-2"},
    ]
    assert data["campaigns"][0]["silent"] == {"share": 0.01, "of": 200, "limit": 0.05}
    assert data["nodes"][0]["trunks"][1]["until"] == "2026-11-22T09:14:11.000Z"


FULL = trunk("carrier-a", use(600, 600, 31.2, 40))
OPEN = trunk("carrier-b", use(300, 600, 0), breaker="open", until_s=4, why="503: 5 calls in a row")
TRIED = trunk("carrier-c", use(1, None, 0.1), breaker="half_open", why="503: 5 calls in a row")
MEANT = [
    # what holds it                     its trunks             named
    (Binding.BREAKER_OPEN,              (FULL, OPEN),          "breaker of carrier-b"),
    (Binding.BREAKER_OPEN,              (FULL, OPEN, TRIED),   "breaker of carrier-b and carrier-c"),
    (Binding.BREAKER_OPEN,              (FULL,),               "breaker of carrier-a"),
    (Binding.TRUNK_CEILING,             (FULL, OPEN),          "ceiling of carrier-a"),
    (Binding.TRUNK_RATE,                (FULL, OPEN),          "rate of carrier-a"),
    (Binding.TRUNK_RATE,                (),                    "rate of its trunks"),
]  # fmt: skip


@pytest.mark.parametrize(("binding", "trunks", "said"), MEANT)
def test_only_the_trunks_that_hold_a_campaign_back_are_named(binding, trunks, said):
    campaign = replace(HEALTH_CHECK, parts=(part("node-1", binding),))
    page = replace(PAGE, nodes=(replace(NODE, trunks=trunks),), campaigns=(campaign,))
    assert only(page, "health-check").endswith(f"held back by: {said}")


def test_how_to_go_on_stands_behind_why_it_was_paused():
    page = replace(PAGE, campaigns=(replace(SURVEY, use=use(3, 50, 0.4, 5), open={"unclear": 1}),))
    assert "max_silent is 5%) → dialer resume survey · 3 of 50 · 0.4/s of 5 · 1 unclear" in only(page, "survey")


@pytest.mark.parametrize("binding", Binding)
def test_every_limit_has_words(binding):
    words = in_words([Hold(binding=binding, node="node-9", trunks=("carrier-x", "carrier-y"))])
    assert words
    assert "{" not in words
    if binding.value.startswith("trunk_"):
        assert "carrier-x and carrier-y" in words
    if binding.value.startswith("node_"):
        assert "node-9" in words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "0 s"), (89, "89 s"), (90, "2 min"), (3 * 60, "3 min"), (5400, "2 h"), (2 * 86400, "2 d")],
)
def test_durations_are_rough(seconds, said):
    assert duration(seconds) == said
