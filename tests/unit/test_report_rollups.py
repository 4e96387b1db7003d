"""Reports from rollups and sets of contacts say the same, to the last call, as those that look at every fact."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from etl.reports import quick
from etl.reports.catalogue import REPORTS
from etl.sql.order import BY_NAME
from tests.support.facts import DAY, call, given
from tests.support.stories import at

SECOND = 1_000_000
ROLLED = sorted(name for name, report in REPORTS.items() if report.rollup)
ZONES = ("UTC", "America/Sao_Paulo", "Asia/Kathmandu")


def wild(seed: int):
    """Calls of three days, most of them around midnight of UTC; of few contacts, who are called again and again."""
    chance = random.Random(seed)
    dials: dict[int, int] = {}
    begins = sorted(
        at(chance.choice(("+-1d 23:57", "00:00", "23:58", "+1d 00:01", "12:00"))) + chance.randrange(-300, 300) * SECOND
        for _ in range(300)
    )
    for number, begin in enumerate(begins):
        contact = chance.randrange(40)
        dials[contact] = dials.get(contact, 0) + 1
        said = chance.choice(("completed", "completed", "partial", "hung_up", "busy", "no_answer", "not_placed", None))
        row = dict(call(number, "00:00", said))
        moved = begin - row["submitted_us"]
        row |= {
            name: value + moved
            for name, value in row.items()
            if name.endswith("ed_us") or name == "ringing_us"
            if value
        }
        if row["hung_up_us"] and chance.random() < 0.3:
            row["hung_up_us"] += chance.randrange(4000) * SECOND
        yield row | {
            "campaign": 1 + contact % 3, "contact": 1000 * (contact % 3) + contact, "dial": dials[contact],
            "number_dial": dials[contact], "trunk": chance.choice(("carrier-a", "carrier-b", None)),
            "pdd_us": chance.choice((None, chance.randrange(9 * SECOND))), "cost_micro": chance.choice((None, 250)),
            "currency": chance.choice((None, "EUR")) if contact % 2 else "EUR", "billed_s": 60,
            "sip_code": chance.choice((200, 302, 404, 486, 503, None)),
            "audio_us": row["audio_us"] if chance.random() < 0.5 else None,
        }  # fmt: skip


def told(tmp_path, calls, name, **asked):
    with given(tmp_path, campaigns={1: "one", 2: "two", 3: "three"}, as_of="+2d 12:00", **asked) as facts:
        facts.add("call_fact", *calls)
        return facts.report(name)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ROLLED)
def test_a_rollup_says_what_its_facts_say(tmp_path, name, seed, monkeypatch):
    calls = list(wild(seed))
    asked = {
        "zone": random.Random(seed).choice(ZONES), "first": DAY - timedelta(days=seed % 2), "last": DAY,
        "campaign": 2 if seed == 3 else None,
    }  # fmt: skip
    expected = told(tmp_path / "facts", calls, name, rolled=False, **asked)
    assert len(expected) > (1 if seed < 3 and name != "trunk_quality" else 0)
    assert told(tmp_path / "rollup", calls, name, **asked) == expected
    monkeypatch.setattr(quick, "MOST_BITS", 0)
    assert told(tmp_path / "without sets", calls, name, **asked) == expected


def test_the_quick_ways_were_gone(tmp_path, monkeypatch):
    """The test above would pass if they never were."""
    seen: list[str] = []
    asked = quick.asked
    monkeypatch.setattr(quick, "asked", lambda *terms: seen.append(text := asked(*terms)) or text)
    calls = list(wild(1))
    for name in ("campaign_summary", "campaign_by_attempt", "survey_outcomes"):
        told(tmp_path / name, calls, name)
        assert "bitstring_agg" in seen[-1]
    told(tmp_path / "trunks", calls, "trunk_quality")
    assert "load_quarter" in seen[-1]
    assert not told(tmp_path / "by campaign", [], "trunk_quality", campaign=1)


def test_facts_without_a_rollup_are_counted_one_by_one(tmp_path):
    """As an earlier release left them, until their day is computed again."""
    report = REPORTS["campaign_summary"]
    with given(tmp_path) as facts:
        question = facts.wanted("campaign_summary").question
    of = [tmp_path / f"dataset=call_fact/day=2026-11-{day}/part-0.parquet" for day in (20, 21)]
    rolled = [tmp_path / f"dataset={report.rollup}/day=2026-11-{day}/part-0.parquet" for day in (20, 21)]
    assert quick.whole(report, question, of, rolled)
    assert not quick.whole(report, question, of, rolled[:1])
    assert BY_NAME[report.rollup].of_whole_day


def test_clocks_off_the_quarter_of_an_hour_are_counted_one_by_one(tmp_path):
    """Monrovia was 44 min 30 s behind until 1972."""
    with given(tmp_path, zone="Africa/Monrovia", first=DAY.replace(year=1971), last=DAY.replace(year=1971)) as facts:
        assert not quick.whole(REPORTS["campaign_summary"], facts.wanted("campaign_summary").question, (), ())
