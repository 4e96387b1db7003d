"""Every contact stands in exactly one bucket, whatever its state: random lists against a judge that asks one by one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from dialer.campaign.calendar import Interval
from dialer.storage import funnel
from dialer.storage.funnel import COMING, Bucket, View, Way
from dialer.storage.reading import reading
from tests.support.claiming import make_campaign

AT = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
WARSAW, LISBON, NOWHERE = "Europe/Warsaw", "Europe/Lisbon@PT-11", ""
OPEN = Interval(opens_at=AT - timedelta(hours=1), closes_at=AT + timedelta(hours=2))
LATER = Interval(opens_at=AT + timedelta(hours=1), closes_at=AT + timedelta(hours=3))
WINDOWS = {WARSAW: [OPEN], LISBON: [LATER], NOWHERE: []}
WAYS = (
    Way(trunk="a", prefixes=("+48",)), Way(trunk="b", prefixes=("+4850", "+35"), cut_off=True),
    Way(trunk="c", prefixes=("+35121",)),
)  # fmt: skip
BEGINNINGS = ("+4850", "+4860", "+3520", "+3512", "+9900")


@dataclass(frozen=True, kw_only=True)
class Person:
    """A contact as a test makes it."""

    numbers: tuple[str, ...]
    zones: str
    closed_as: str | None
    on_hold: bool
    due_in_s: int | None
    waits_for: str | None
    dials: int
    avoid: tuple[str, ...] | None
    listed: frozenset[str]
    """Its numbers that are on a list that holds."""
    called_elsewhere: str
    """`person`, `number`, or nothing."""


def someone(chance: random.Random, place: int) -> Person:
    """Any state a contact may be in, the rare ones as often as the others."""
    numbers = tuple(f"{chance.choice(BEGINNINGS)}{place:05d}{n}" for n in range(chance.choice((1, 1, 2))))
    closed_as = chance.choice((None, None, None, None, "completed", "busy", "dnc", "cap", "withdrawn"))
    on_hold = closed_as is None and chance.random() < 0.1
    due = None if closed_as or on_hold else chance.choice((None, -7200, -600, -60, 0, 1, 600, 7200, 500_000))
    return Person(
        numbers=numbers,
        zones=chance.choice((WARSAW, WARSAW, WARSAW, LISBON, NOWHERE, "Pacific/Nauru")),
        closed_as=closed_as,
        on_hold=on_hold,
        due_in_s=due,
        waits_for=chance.choice((None, None, "cap", "gap", "callback", "dnc")) if due is not None else None,
        dials=chance.choice((0, 1, 3)),
        avoid=chance.choice((None, None, ("a",), ("a", "c"))) if due is not None else None,
        listed=frozenset(one for one in numbers if chance.random() < 0.15),
        called_elsewhere=chance.choice(("", "", "", "", "person", "number")) if due is not None else "",
    )


def judge(one: Person) -> Bucket:
    """Where it stands, asked in plain steps."""
    if one.closed_as is not None:
        return {"withdrawn": Bucket.WITHDRAWN, "dnc": Bucket.DNC}.get(one.closed_as, Bucket.CLOSED)
    if one.on_hold:
        return Bucket.HELD
    if one.due_in_s is None:
        return Bucket.IN_CALL
    number = one.numbers[0]
    if one.listed == set(one.numbers):
        return Bucket.DNC
    carrying = [way for way in WAYS if number.startswith(way.prefixes)]
    if not carrying:
        return Bucket.UNCARRIED
    if not WINDOWS.get(one.zones):
        return Bucket.NEVER
    if one.due_in_s > 0:
        waits = {"cap": Bucket.CAP, "gap": Bucket.GAP, "callback": Bucket.CALLBACK, "dnc": Bucket.LISTED}
        return waits[one.waits_for] if one.waits_for else Bucket.RETRY if one.dials else Bucket.PLANNED
    if one.zones == LISBON:
        return Bucket.WINDOW
    if one.called_elsewhere:
        return Bucket.ELSEWHERE
    if all(way.cut_off for way in carrying):
        return Bucket.BREAKER
    # Since five minutes trunks are not avoided any more; the run was ordered an hour ago.
    if one.avoid and one.due_in_s > -300 and {way.trunk for way in carrying if not way.cut_off} <= set(one.avoid):
        return Bucket.FAILOVER
    return Bucket.DUE


@pytest.fixture
def campaign(database) -> int:
    made = make_campaign(database, "c", [])
    make_campaign(database, "other", [])
    return made


def view(campaign_id: int, **changed) -> View:
    made = View(
        campaign_id=campaign_id, tenant_id="t", at=AT, windows=WINDOWS, ways=WAYS, hold="rate",
        wanted_at=AT - timedelta(hours=1),
    )  # fmt: skip
    return replace(made, **changed)


_CONTACT = text("""
insert into contact (campaign_id, person_id, numbers, zones, fields, closed_as, on_hold, next_attempt_at, next_number,
                     waits_for, dials, avoid_trunks)
values (:campaign, :person, :numbers, :zones, '{}', :closed_as, :on_hold, :at, :next, :waits_for, :dials, :avoid)
returning id
""")
_ATTEMPT = text("""
insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state,
                     submitting_at, seq)
select gen_random_uuid(), c.id, c.revision_id, :contact, :person, :number, 1, 'n', 'a', 'ringing', now(), 1
from campaign c where c.name = 'other'
""")
_PERSON = text("insert into person (tenant_id, person_key) values ('t', :key) returning id")
_LISTED = text("""
insert into dnc (number, scope, tenant_id, campaign_id, source, added_by, until)
values (:number, :scope, :tenant, :campaign, 'command', 'ann@host', :until)
""")


def store(database, campaign_id: int, people: list[Person], chance: random.Random) -> dict[int, Person]:
    """Writes the people; lists that do not hold for the campaign are written as well."""
    made: dict[int, Person] = {}
    with database.engine.begin() as connection:
        for place, one in enumerate(people):
            person = connection.execute(_PERSON, {"key": f"p{place}"}).scalar_one()
            at = None if one.due_in_s is None else AT + timedelta(seconds=one.due_in_s)
            contact = connection.execute(
                _CONTACT,
                {"campaign": campaign_id, "person": person, "numbers": list(one.numbers), "zones": one.zones,
                 "closed_as": one.closed_as, "on_hold": one.on_hold, "at": at,
                 "next": one.numbers[0] if at is not None else None, "waits_for": one.waits_for, "dials": one.dials,
                 "avoid": list(one.avoid) if one.avoid else None},
            ).scalar_one()  # fmt: skip
            made[contact] = one
            if one.called_elsewhere:
                other = connection.execute(_PERSON, {"key": f"q{place}"}).scalar_one()
                by_person = one.called_elsewhere == "person"
                connection.execute(
                    _ATTEMPT,
                    {"contact": contact, "person": person if by_person else other,
                     "number": f"+4499{place:06d}" if by_person else one.numbers[0]},
                )  # fmt: skip
            for number in one.numbers:
                holds = number in one.listed
                scope, tenant, of, until = chance.choice(
                    [("site", None, None, None), ("tenant", "t", None, AT + timedelta(days=1)),
                     ("campaign", "t", campaign_id, None)] if holds else
                    [("site", None, None, AT - timedelta(days=1)), ("tenant", "u", None, None),
                     ("campaign", "t", campaign_id + 1, None)]
                )  # fmt: skip
                connection.execute(
                    _LISTED, {"number": number, "scope": scope, "tenant": tenant, "campaign": of, "until": until}
                )
    return made


@pytest.mark.parametrize("seed", range(5))
def test_the_buckets_are_the_judges_and_add_up_to_the_list(database, campaign, seed):
    chance = random.Random(seed)
    made = store(database, campaign, [someone(chance, place) for place in range(400)], chance)
    expected = {contact: judge(one) for contact, one in made.items()}
    with reading(database.engine) as connection:
        found = funnel.funnel(connection, view(campaign))
        placed = funnel.places(connection, view(campaign), list(made))
        coming = funnel.coming(connection, view(campaign))
        rows = {bucket: [row["person"] for row in funnel.people_in(connection, view(campaign), bucket)]
                for bucket in Bucket}  # fmt: skip
    assert {contact: bucket for contact, (bucket, _) in placed.items()} == expected
    assert found.totals == Counter(expected.values())
    assert found.contacts == len(made) == sum(map(len, rows.values()))
    assert {bucket: len(people) for bucket, people in rows.items() if people} == Counter(expected.values())
    assert sorted(one for people in rows.values() for one in people) == sorted(f"p{n}" for n in range(len(made)))
    assert sum(one.people for one in coming) == sum(expected[one] in COMING for one in made)
    assert sum(count.dials for count in found.counts) == sum(one.dials for one in made.values())


def test_rejected_rows_of_the_last_import_stand_beside_the_contacts(database, campaign):
    for name, rejected, days in (("old.csv", 7, 2), ("new.csv", 3, 1)):
        database.run(
            "insert into contact_import (campaign_id, sha256, path, accepted, rejected, imported_at) "
            "values (:c, :path, :path, 0, :rejected, now() - make_interval(days => :days))",
            c=campaign, path=name, rejected=rejected, days=days,
        )  # fmt: skip
    with reading(database.engine) as connection:
        found = funnel.funnel(connection, view(campaign))
    assert (found.totals, found.contacts, found.rejects_of) == ({Bucket.REJECTED: 3}, 0, "new.csv")


def test_two_views_see_the_same_people(database, campaign):
    """What `dialer plan` compares: another window, another trunk."""
    chance = random.Random(7)
    made = store(database, campaign, [someone(chance, place) for place in range(200)], chance)
    after = view(campaign, windows={WARSAW: [LATER], LISBON: [OPEN]}, ways=[Way(trunk="a", prefixes=())])
    with reading(database.engine) as connection:
        pairs = funnel.compared(connection, view(campaign), after)
        alone = funnel.funnel(connection, after)
    assert sum(one.people for one, _ in pairs) == len(made)
    before: Counter[Bucket] = Counter()
    then: Counter[Bucket] = Counter()
    for one, becomes in pairs:
        before[one.bucket] += one.people
        then[becomes] += one.people
    assert before == Counter(judge(one) for one in made.values())
    assert then == alone.totals


def test_what_has_been_seen_of_the_calls(database, campaign):
    with reading(database.engine) as connection:
        nothing = funnel.seen(connection, campaign)
    assert (nothing.calls, nothing.done, nothing.slot_s) == (0, 0, None)
