"""Promise 6 on a real PostgreSQL: lists, caps and the least gap hold in the claim, over all campaigns, also at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from dialer.calls.disposition import Disposition
from dialer.clock import utc_now
from dialer.contacts.contact import Claim
from dialer.contacts.suppress import NO_CAPS, CapRules, Caps, DncScope, DncSource, WaitsFor
from dialer.errors import DialerError
from dialer.pacing.decide import Binding
from dialer.storage import claims, dnc, rules
from dialer.storage.dnc import DncList
from dialer.storage.session import async_engine
from tests.support.claiming import called, ended, make_campaign, numbers, order, store_of

NONE = Caps()
ONE_A_DAY = CapRules(number=Caps(day=1), person=NONE, gap_s=0)
ONE_A_PERSON = CapRules(number=NONE, person=Caps(day=1), gap_s=0)
A, B, C = "+48500000000", "+48500000001", "+48500000002"
SITE = DncList(scope=DncScope.SITE)


@pytest.fixture
async def stores(database):
    """The engines of two nodes, each with a pool of its own."""
    made = [store_of(async_engine(database.settings, pool_size=4), database, f"node-{n}") for n in (1, 2)]
    for store in made:
        assert await store.hold_node()
    yield made
    for store in made:
        await store.close()


@pytest.fixture
def claim(database, stores) -> Callable[..., Awaitable[list[Claim]]]:
    async def claims(campaign_id: int, *, node: int = 0, **wanted: Any) -> list[Claim]:
        return (await stores[node].claim(order(database, campaign_id, **wanted))).claims

    return claims


def campaign(database, name: str = "c", *people: str, tenant: str = "t") -> int:
    """A campaign with these people, each under a number of that name."""
    campaign_id = make_campaign(database, name, people or [A])
    if tenant != "t":
        database.run("update campaign set tenant_id = :t where id = :id", t=tenant, id=campaign_id)
    return campaign_id


def with_numbers(database, campaign_id: int, person: str, *listed: str) -> None:
    """Gives a person of a campaign these numbers; the first is next."""
    database.run(
        "update contact c set numbers = :listed, next_number = :next from person p "
        "where p.id = c.person_id and p.person_key = :person and c.campaign_id = :campaign",
        listed=list(listed), next=listed[0], person=person, campaign=campaign_id,
    )  # fmt: skip


def listed(database, *numbers: str, on: DncList = SITE, until: datetime | None = None) -> None:
    """Puts numbers on a list, as the command does."""
    with database.engine.begin() as connection:
        rows = ((number, None) for number in numbers)
        dnc.add(connection, on, rows, source=DncSource.COMMAND, by="ann@host", until=until)
        dnc.hold_claims(connection)


def contact(database, campaign_id: int) -> dict[str, Any]:
    names = "next_number, next_attempt_at, waits_for, closed_as"
    ((number, at, waits_for, closed_as),) = database.rows(
        f"select {names} from contact where campaign_id = :id", id=campaign_id
    )
    return {"number": number, "at": at, "waits_for": waits_for, "closed_as": closed_as}


# -- lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "called_at_all"),
    [
        (SITE, False),
        (DncList(scope=DncScope.TENANT, tenant_id="t"), False),
        (DncList(scope=DncScope.TENANT, tenant_id="u"), True),
        (DncList(scope=DncScope.CAMPAIGN, tenant_id="t", campaign_id=1), False),
        (DncList(scope=DncScope.CAMPAIGN, tenant_id="t", campaign_id=2), True),
    ],
)
async def test_a_list_is_about_its_own_campaigns(database, claim, on, called_at_all):
    one = campaign(database, "one")
    campaign(database, "two", B)
    assert one == 1
    listed(database, A, on=on)
    assert len(await claim(one)) == called_at_all
    assert contact(database, one)["closed_as"] == (None if called_at_all else "dnc")


async def test_an_entry_that_is_over_keeps_nobody_back_and_one_for_a_time_is_waited_for(database, claim):
    until = utc_now().replace(microsecond=0) + timedelta(days=3)
    past, future = campaign(database, "past"), campaign(database, "future", B)
    listed(database, A, until=utc_now() - timedelta(seconds=1))
    listed(database, B, until=until)
    assert len(await claim(past)) == 1
    assert await claim(future) == []
    assert contact(database, future) == {"number": B, "at": until, "waits_for": "dnc", "closed_as": None}


async def test_a_listed_number_gives_way_to_the_next_in_the_same_claim(database, claim):
    campaign_id = campaign(database)
    with_numbers(database, campaign_id, A, A, B, C)
    database.run("update contact set avoid_trunks = '{b}'")
    listed(database, A, B)
    (one,) = await claim(campaign_id)
    assert one.attempt.number == C
    events = database.rows("select type, subject_type, seq, payload from event where subject_type = 'contact'")
    assert events == [
        ("contact.suppressed", "contact", 1,
         {"campaign": campaign_id, "rules": ["dnc.site"], "number": 1, "next_number": 3,
          "next_attempt_at": events[0][3]["next_attempt_at"], "closed_as": None}),
    ]  # fmt: skip


async def test_who_is_on_the_list_with_every_number_is_closed(database, claim):
    campaign_id = campaign(database)
    with_numbers(database, campaign_id, A, A, B)
    listed(database, A, B)
    assert await claim(campaign_id) == []
    assert contact(database, campaign_id) == {"number": None, "at": None, "waits_for": None, "closed_as": "dnc"}
    assert database.rows("select payload->>'closed_as' from event where type = 'contact.suppressed'") == [("dnc",)]


async def test_a_number_that_does_not_exist_is_not_what_a_listed_one_gives_way_to(database, claim):
    campaign_id = campaign(database)
    with_numbers(database, campaign_id, A, A, B)
    called(database, campaign_id, B, "2 days", person=A, disposition=Disposition.INVALID_NUMBER)
    listed(database, A)
    assert await claim(campaign_id) == []
    assert contact(database, campaign_id)["closed_as"] == "dnc"


async def test_a_long_listed_head_is_passed_within_few_claims(database, stores):
    people = numbers(900)
    campaign_id = make_campaign(database, "c", people)
    listed(database, *people[:-5])
    wanted = order(database, campaign_id, most=5)
    found = [await stores[0].claim(wanted) for _ in range(3)]
    assert sum(len(one.claims) for one in found) == 5
    assert {one.bound for one in found if not one.claims} <= {Binding.RULES}
    assert {claim.attempt.number for one in found for claim in one.claims} == set(people[-5:])


# -- caps and the gap ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "ago", "waits_h"),
    [
        ({"day": 1}, ["23 hours"], 1),
        ({"day": 1}, ["25 hours"], None),
        ({"day": 2}, ["23 hours"], None),
        ({"day": 2}, ["23 hours", "2 hours"], 1),
        ({"week": 1}, ["25 hours"], 143),
        ({"month": 2}, ["29 days", "8 days"], 24),
        ({"month": 2}, ["31 days", "8 days"], None),
        ({"day": 1, "week": 2}, ["1 hour", "30 hours"], 138),
    ],
)
@pytest.mark.parametrize("subject", ["number", "person"])
async def test_a_cap_counts_calls_in_a_window_that_rolls(database, claim, subject, caps, ago, waits_h):
    """The calls were another campaign's; of a person, at another number."""
    earlier, campaign_id = campaign(database, "earlier"), campaign(database, "c")
    for one in ago:
        called(database, earlier, A if subject == "number" else B, one, person=A)
    limits = CapRules(**{"number": NONE, "person": NONE, subject: Caps(**caps)}, gap_s=0)
    assert len(await claim(campaign_id, rules=limits)) == (waits_h is None)
    if waits_h is not None:
        kept = contact(database, campaign_id)
        assert (kept["number"], kept["waits_for"]) == (A, "cap")
        assert abs(kept["at"] - utc_now() - timedelta(hours=waits_h)) < timedelta(minutes=1)


@pytest.mark.parametrize(("counted", "expected"), [(False, 1), (True, 0), (None, 0)])
async def test_only_calls_that_used_up_an_attempt_count_and_those_of_which_it_is_not_known(
    database, claim, counted, expected
):
    campaign_id = campaign(database)
    called(database, campaign_id, A, "1 hour", counted=counted)
    rules = CapRules(number=Caps(day=1), person=NONE, gap_s=7200)
    assert len(await claim(campaign_id, rules=rules)) == expected


async def test_a_cap_for_ever_closes(database, claim):
    campaign_id = campaign(database)
    called(database, campaign_id, A, "900 days")
    assert await claim(campaign_id, rules=CapRules(number=NONE, person=Caps(ever=1), gap_s=0)) == []
    assert contact(database, campaign_id)["closed_as"] == "cap"


@pytest.mark.parametrize(("lasted", "expected"), [("10 minutes", 0), ("0 minutes", 1)])
async def test_the_gap_is_from_the_end_of_the_last_call(database, claim, lasted, expected):
    campaign_id = campaign(database)
    called(database, campaign_id, A, "65 minutes", lasted=lasted)
    assert len(await claim(campaign_id, rules=CapRules(number=NONE, person=NONE, gap_s=3600))) == expected
    if not expected:
        kept = contact(database, campaign_id)
        assert kept["waits_for"] == "gap"
        assert abs(kept["at"] - utc_now() - timedelta(minutes=5)) < timedelta(minutes=1)


async def test_a_call_that_a_claim_places_counts_for_the_next_one(database, claim, stores):
    one, two = campaign(database, "one"), campaign(database, "two")
    (first,) = await claim(one, rules=ONE_A_DAY)
    await stores[0].save([ended(first)], [], [])
    assert await claim(two, rules=ONE_A_DAY, node=1) == []
    assert contact(database, two)["waits_for"] == "cap"


async def test_who_waited_and_is_called_waits_no_more(database, claim):
    campaign_id = campaign(database)
    database.run("update contact set waits_for = 'cap'")
    assert len(await claim(campaign_id)) == 1
    assert contact(database, campaign_id)["waits_for"] is None


async def test_the_first_priority_is_called_first_however_long_the_others_wait(database, claim):
    campaign_id = make_campaign(database, "c", numbers(6))
    database.run("update contact set next_attempt_at = now() - interval '1 day' where id % 2 = 0")
    database.run("update contact set priority = 1 where next_number = :b", b=B)
    database.run("update contact set priority = 9 where next_number = :a", a=A)
    found = await claim(campaign_id, most=1) + await claim(campaign_id, most=4)
    assert found[0].attempt.number == B
    assert A not in {one.attempt.number for one in found}


async def test_random_histories_are_judged_as_a_plain_count_judges_them(database):
    chance = random.Random(5)
    people = numbers(60)
    campaign_id = make_campaign(database, "c", people)
    for person in people:
        for _ in range(chance.randrange(7)):
            ago = f"{chance.randrange(1, 40 * 24 * 60)} minutes"
            called(database, campaign_id, chance.choice([person, person, people[0]]), ago, person=person,
                   counted=chance.choice([True, True, None, False]))  # fmt: skip
    limits = CapRules(number=Caps(day=1, week=2, month=4), person=Caps(week=3, ever=6), gap_s=36 * 3600)
    ids = [id for (id,) in database.rows("select id from contact order by id")]
    with database.engine.begin() as connection:
        verdicts = rules.verdicts(connection, limits, ids)
        now = utc_now()
    calls = database.rows(
        "select number, person_key, submitting_at, ended_at from attempt join person on person.id = person_id "
        "where counted is not false"
    )
    for person, verdict in zip(people, verdicts, strict=True):
        of_number = [(begun, over) for number, _, begun, over in calls if number == person]
        of_person = [(begun, over) for _, key, begun, over in calls if key == person]
        assert verdict.number == person
        assert {hold.rule for hold in verdict.holds} == {
            *_broken("number", of_number, limits.number, limits.gap_s, now),
            *_broken("person", of_person, limits.person, limits.gap_s, now),
        }  # fmt: skip


def _broken(subject: str, calls: list[tuple[datetime, datetime]], caps: Caps, gap_s: int, now: datetime) -> list[str]:
    windows = {"day": (caps.day, 1), "week": (caps.week, 7), "month": (caps.month, 30), "ever": (caps.ever, 99_999)}
    broken = [
        f"{subject}.{name}"
        for name, (cap, days) in windows.items()
        if cap is not None and sum(now - begun < timedelta(days=days) for begun, _ in calls) >= cap
    ]
    lately = any(now - over < timedelta(seconds=gap_s) for _, over in calls)
    return [*broken, f"{subject}.gap"] if lately else broken


async def test_explain_is_told_of_every_number_and_rule(database):
    campaign_id = campaign(database)
    with_numbers(database, campaign_id, A, A, B)
    called(database, campaign_id, B, "1 hour", person=A)
    listed(database, A, on=DncList(scope=DncScope.TENANT, tenant_id="t"))
    with database.engine.begin() as connection:
        of_a, of_b = rules.verdicts(connection, CapRules(number=Caps(day=1), person=Caps(week=1), gap_s=0), [1])
    assert (of_a.number, of_a.dnc, of_a.waits_for, of_a.until) == (A, DncScope.TENANT, WaitsFor.DNC, None)
    assert [hold.rule for hold in of_a.holds] == ["dnc.tenant", "person.week"]
    assert (of_b.number, of_b.dnc, of_b.waits_for) == (B, None, WaitsFor.CAP)
    assert [hold.rule for hold in of_b.holds] == ["person.week", "number.day"]


async def test_rules_that_cannot_be_read_mean_no_call(database, stores):
    campaign_id = campaign(database)
    database.run("alter table dnc rename to gone")
    with pytest.raises(DialerError):
        await stores[0].claim(order(database, campaign_id))
    assert database.rows("select count(*) from attempt") == [(0,)]
    assert contact(database, campaign_id)["number"] == A


# -- at once ---------------------------------------------------------------------------------------------------------


class Gate:
    """Stops the first claim that has judged its people until it is opened."""

    def __init__(self, monkeypatch) -> None:
        self.reached, self.open, self._first = asyncio.Event(), asyncio.Event(), True
        sift = rules.sift

        async def gated(*arguments: Any) -> set[int]:
            moved = await sift(*arguments)
            if self._first:
                self._first = False
                self.reached.set()
                await self.open.wait()
            return moved

        monkeypatch.setattr(claims.rules, "sift", gated)


@pytest.mark.parametrize(
    ("second", "limits"),
    [
        # one person with two numbers, in two campaigns
        ({"person": A, "number": B}, ONE_A_PERSON),
        # two people with one number
        ({"person": C, "number": A}, ONE_A_DAY),
    ],
)
async def test_a_claim_leaves_people_to_the_claim_that_is_judging_them(
    database, claim, stores, monkeypatch, second, limits
):
    one, two = campaign(database, "one"), campaign(database, "two", second["person"])
    with_numbers(database, two, second["person"], second["number"])
    gate = Gate(monkeypatch)
    judging = asyncio.create_task(claim(one, rules=limits))
    await gate.reached.wait()
    assert await claim(two, rules=limits, node=1) == []
    assert contact(database, two)["number"] == second["number"], "it is left as it was"
    gate.open.set()
    (first,) = await judging
    # Whatever becomes of that call, the other campaign's waits until the cap is free again.
    await stores[0].save([ended(first)], [], [])
    assert await claim(two, rules=limits, node=1) == []
    assert contact(database, two)["waits_for"] == "cap"


async def test_many_claims_at_once_never_pass_a_cap(database, claim, stores):
    """Twenty people, each in two campaigns under different numbers, and each number in two people's lists."""
    people = numbers(20)
    campaigns = [make_campaign(database, name, people) for name in ("one", "two")]
    for place, person in enumerate(people):
        with_numbers(database, campaigns[1], person, people[(place + 1) % len(people)])
    limits = CapRules(number=Caps(day=1), person=Caps(day=1), gap_s=0)

    async def busy(node: int) -> None:
        for turn in range(12):
            found = await claim(campaigns[(turn + node) % 2], node=node, rules=limits, most=4)
            await stores[node].save([ended(one) for one in found], [], [])

    await asyncio.gather(busy(0), busy(1))
    assert database.rows("select count(*) from attempt where counted is not false") != [(0,)]
    for column in ("number", "person_id"):
        assert database.rows(f"select {column} from attempt group by 1 having count(*) > 1") == []


async def test_a_list_waits_for_the_claims_that_cannot_know_of_it(database, claim, monkeypatch):
    one, two = campaign(database, "one", A, B), campaign(database, "two", C)
    gate = Gate(monkeypatch)
    judging = asyncio.create_task(claim(one))
    await gate.reached.wait()

    def keep_from_being_called() -> int:
        with database.engine.begin() as connection:
            dnc.add(connection, SITE, [(A, None), (C, None)], source=DncSource.COMMAND, by="ann@host")
            dnc.hold_claims(connection)
            return dnc.calls_under_way(connection, SITE, [A, C])

    adding = asyncio.create_task(asyncio.to_thread(keep_from_being_called))
    done, _ = await asyncio.wait({adding}, timeout=0.3)
    assert not done, "the claim that is judging has not seen it"
    gate.open.set()
    assert {claimed.attempt.number for claimed in await judging} == {A, B}
    assert await adding == 1, "whoever adds a number is told of its call"
    assert await claim(two, node=1) == []
    assert contact(database, two)["closed_as"] == "dnc"


async def test_no_rules_at_all_is_what_a_campaign_may_ask_for(database, claim):
    campaign_id = campaign(database)
    called(database, campaign_id, A, "1 second")
    assert len(await claim(campaign_id, rules=NO_CAPS)) == 1
