"""What lists, caps and the least gap make of what was found, as tables; and beside it a plain count of calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.contacts.suppress import (
    NO_CAPS,
    Calls,
    CapRules,
    Caps,
    ClosedBy,
    DncScope,
    Found,
    Moved,
    Verdict,
    WaitsFor,
    judge,
    moved,
    of_site,
    strictest,
)
from dialer.settings import CapSettings

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ONE_A_DAY = CapRules(number=Caps(day=1), person=Caps(), gap_s=0)
HOME, MOBILE, WORK = "+48221000001", "+48501000001", "+48321000001"


def h(hours: float) -> datetime:
    """So many hours after now."""
    return NOW + timedelta(hours=hours)


NONE = Calls()


def found(
    *, listed: DncScope | None = None, until: datetime | None = None, number: Calls = NONE, person: Calls = NONE
) -> Found:  # fmt: skip
    return Found(
        contact_id=1, number=MOBILE, now=NOW, listed=listed, listed_until=until, of_number=number, of_person=person
    )


@pytest.mark.parametrize(
    ("what", "gap_s", "rules", "waits_for", "until"),
    [
        (found(), 3600, [], None, None),
        # lists
        (found(listed=DncScope.SITE), 0, ["dnc.site"], WaitsFor.DNC, None),
        (found(listed=DncScope.CAMPAIGN, until=h(5)), 0, ["dnc.campaign"], WaitsFor.DNC, h(5)),
        # caps: the latest call but so many frees its place a whole window after it began
        (found(number=Calls(day_at=h(-23))), 0, ["number.day"], WaitsFor.CAP, h(1)),
        (found(number=Calls(day_at=h(-24))), 0, [], None, None),
        (found(person=Calls(week_at=h(-24 * 6))), 0, ["person.week"], WaitsFor.CAP, h(24)),
        (found(person=Calls(month_at=h(-24 * 30 + 1))), 0, ["person.month"], WaitsFor.CAP, h(1)),
        (found(person=Calls(ever_at=h(-24 * 365 * 20))), 0, ["person.ever"], WaitsFor.CAP, None),
        # the gap, from the end of the last call; without such a rule the end means nothing
        (found(number=Calls(ended_at=h(-1))), 3601, ["number.gap"], WaitsFor.GAP, h(0) + timedelta(seconds=1)),
        (found(number=Calls(ended_at=h(-1))), 3600, [], None, None),
        (found(person=Calls(ended_at=h(-1))), 0, [], None, None),
        # several: whichever holds longest is waited for, and all are told
        (found(number=Calls(day_at=h(-20), ended_at=h(-1)), person=Calls(week_at=h(-24))), 7200,
         ["person.week", "number.day", "number.gap"], WaitsFor.CAP, h(24 * 6)),
        (found(listed=DncScope.TENANT, number=Calls(ever_at=h(-1), day_at=h(-1))), 0,
         ["dnc.tenant", "number.ever", "number.day"], WaitsFor.DNC, None),
    ],
)  # fmt: skip
def test_the_rule_that_holds_longest_is_waited_for(what, gap_s, rules, waits_for, until):
    verdict = judge(what, CapRules(number=Caps(), person=Caps(), gap_s=gap_s))
    assert [hold.rule for hold in verdict.holds] == rules
    assert (verdict.waits_for, verdict.until, verdict.dnc) == (waits_for, until, what.listed)
    assert verdict.allowed == (not rules)
    assert verdict.for_good == (bool(rules) and until is None)


WINDOWS = {"day": 24, "week": 24 * 7, "month": 24 * 30}


@given(
    ages_min=st.lists(st.integers(1, 60 * 24 * 40), max_size=12),
    caps=st.fixed_dictionaries({name: st.none() | st.integers(1, 5) for name in WINDOWS}),
)
def test_until_is_the_first_moment_at_which_a_plain_count_allows_the_call(ages_min, caps):
    begun = sorted((NOW - timedelta(minutes=age) for age in ages_min), reverse=True)

    def allowed(at: datetime) -> bool:
        return all(
            cap is None or sum(at - one < timedelta(hours=WINDOWS[name]) for one in begun) < cap
            for name, cap in caps.items()
        )

    facts = {f"{n}_at": begun[cap - 1] if cap and len(begun) >= cap else None for n, cap in caps.items()}
    verdict = judge(found(number=Calls(**facts)), CapRules(number=Caps(**caps), person=Caps(), gap_s=0))
    assert verdict.allowed == allowed(NOW)
    if verdict.until is not None:
        assert allowed(verdict.until)
        assert not allowed(verdict.until - timedelta(seconds=1))


def test_the_strictest_of_several_rules_holds():
    site = of_site(CapSettings.model_validate({"number": {"day": 3, "ever": 100}, "gap_s": 60}))
    own = CapRules(number=Caps(day=2, week=9), person=Caps(day=5), gap_s=30)
    both = CapRules(number=Caps(day=2, week=9, ever=100), person=Caps(day=5), gap_s=60)
    assert strictest(site, own) == strictest(own, site) == both
    assert strictest(NO_CAPS, NO_CAPS) == NO_CAPS
    assert (both.number.most, both.person.most, Caps().most) == (100, 5, 0)


def held(number: str, *, dnc: DncScope | None = None, until: datetime | None = None) -> Verdict:
    """What `judge` says of a number that a list or a cap keeps back until then; None: for good."""
    what = found(listed=dnc, until=until)
    calls = Calls(day_at=until - timedelta(days=1)) if until else Calls(ever_at=h(-1))
    verdict = judge(what if dnc else found(number=calls), ONE_A_DAY)
    return Verdict(contact_id=1, number=number, dnc=verdict.dnc, waits_for=verdict.waits_for, until=verdict.until,
                   holds=verdict.holds)  # fmt: skip


def free(number: str) -> Verdict:
    return Verdict(contact_id=1, number=number, dnc=None, waits_for=None, until=None)


SITE = DncScope.SITE


@pytest.mark.parametrize(
    ("verdicts", "dead", "expected"),
    [
        # what only takes time is waited for, whatever the other numbers are
        ([held(HOME), held(MOBILE, until=h(3)), free(WORK)], (),
         Moved(number=MOBILE, at=h(3), waits_for=WaitsFor.CAP)),
        # a list makes room for the next number, in the contact's order, around
        ([free(HOME), held(MOBILE, dnc=SITE), free(WORK)], (), Moved(number=WORK)),
        ([free(HOME), held(MOBILE, dnc=SITE), held(WORK, dnc=SITE)], (), Moved(number=HOME)),
        ([free(HOME), held(MOBILE, dnc=SITE), free(WORK)], (WORK,), Moved(number=HOME)),
        ([free(HOME), held(MOBILE, dnc=SITE, until=h(9)), held(WORK)], (), Moved(number=HOME)),
        ([free(HOME), held(MOBILE), held(WORK, until=h(2))], (), Moved(number=WORK, at=h(2), waits_for=WaitsFor.CAP)),
        # all are on a list: the first that comes off it, or nothing
        ([held(HOME, dnc=SITE), held(MOBILE, dnc=SITE, until=h(9)), held(WORK, dnc=SITE, until=h(4))], (),
         Moved(number=WORK, at=h(4), waits_for=WaitsFor.DNC)),
        ([held(HOME, dnc=SITE), held(MOBILE, dnc=SITE, until=h(9)), held(WORK)], (),
         Moved(number=MOBILE, at=h(9), waits_for=WaitsFor.DNC)),
        ([held(HOME, dnc=SITE), held(MOBILE, dnc=SITE), held(WORK)], (), Moved(closed_by=ClosedBy.DNC)),
        ([free(HOME), held(MOBILE, dnc=SITE), held(WORK)], (HOME,), Moved(closed_by=ClosedBy.DNC)),
        ([held(HOME), held(MOBILE), held(WORK)], (), Moved(closed_by=ClosedBy.CAP)),
        ([held(MOBILE)], (), Moved(closed_by=ClosedBy.CAP)),
    ],
)  # fmt: skip
def test_where_a_contact_goes_whose_number_may_not_be_called(verdicts, dead, expected):
    numbers = [verdict.number for verdict in verdicts]
    assert moved(numbers, MOBILE, {one.number: one for one in verdicts}, dead) == expected


def test_a_number_that_the_base_gave_up_meanwhile_gives_way_to_the_first():
    verdicts = {MOBILE: held(MOBILE, dnc=SITE), HOME: free(HOME), WORK: free(WORK)}
    assert moved([HOME, WORK], MOBILE, verdicts) == Moved(number=HOME)
