"""Campaigns with people who are due now, and what an engine asks for when it claims some of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import Disposition
from dialer.clock import utc_now
from dialer.contacts.contact import Claim, ClaimOrder
from dialer.contacts.suppress import NO_CAPS, CapRules
from dialer.pacing.routes import Route
from dialer.storage.store import PostgresStore

DOCUMENT = """{"campaign": "c", "contacts": {"from": "c.csv", "numbers": ["n"]}, "calling": {"window": "any"},
"capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567", "ring": "20s"},
"retry": {"attempts": 2}, "flow": {"bye": {"say": "Goodbye"}}}"""
SHOWN = "+48221234567"
NOBODY = "host kernel ns 1 1"
"""A lease's holder on another machine, of whom nobody here knows whether it lives."""


def make_campaign(
    database: Any,
    name: str,
    people: Sequence[str],
    *,
    opens: str = "-1 hour",
    closes: str = "1 hour",
    nodes: Sequence[str] = ("node-1",),
    rate: float = 1,
) -> int:
    """A running campaign with one contact a number, due now, inside an open interval given relative to now."""
    ((campaign_id,),) = database.rows(
        "insert into campaign (tenant_id, name, created_at) values ('t', :name, now()) returning id", name=name
    )
    ((revision_id,),) = database.rows(
        "insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
        "values (:id, 1, 'x', cast(:document as jsonb), '/', now()) returning id",
        id=campaign_id, document=DOCUMENT,
    )  # fmt: skip
    database.run("update campaign set revision_id = :r where id = :id", r=revision_id, id=campaign_id)
    database.run(
        "insert into campaign_run (campaign_id, revision_id, wanted, wanted_at, wanted_by, orders, max_concurrent, "
        "calls_per_second) values (:c, :r, 'running', now(), 'ann@host', 1, 10000, :rate)",
        c=campaign_id, r=revision_id, rate=rate,
    )  # fmt: skip
    database.run(
        "insert into campaign_node (campaign_id, node) select :c, unnest(cast(:nodes as text[]))",
        c=campaign_id, nodes=list(nodes),
    )  # fmt: skip
    database.run(
        "insert into open_interval "
        "values (:r, 'Europe/Warsaw', now() + cast(:o as interval), now() + cast(:c as interval))",
        r=revision_id, o=opens, c=closes,
    )  # fmt: skip
    database.run(
        "insert into person (tenant_id, person_key) select 't', unnest(cast(:people as text[])) on conflict do nothing",
        people=list(people),
    )
    database.run(
        "insert into contact (campaign_id, person_id, numbers, zones, fields, next_attempt_at, next_number) "
        "select :id, p.id, array[n], 'Europe/Warsaw', '{}', now(), n "
        "from unnest(cast(:people as text[])) with ordinality as d(n, place) "
        "join person p on p.person_key = n order by place",
        people=list(people), id=campaign_id,
    )  # fmt: skip
    return int(campaign_id)


def numbers(count: int, begin: str = "+4850") -> list[str]:
    """Numbers that differ, all with the same beginning."""
    return [f"{begin}{number:07d}" for number in range(count)]


def route(trunk: str, *prefixes: str, priority: int = 1, weight: int = 1) -> Route:
    """A trunk of a campaign."""
    return Route(trunk=trunk, prefixes=prefixes, priority=priority, weight=weight)


def order(
    database: Any,
    campaign_id: int,
    *,
    ceiling: int = 10_000,
    most: int = 100,
    routes: Sequence[Route] = (route("a"),),
    room: Mapping[str, int] | None = None,
    rules: CapRules = NO_CAPS,
) -> ClaimOrder:
    """What a node's engine asks for; a trunk has room for all of it unless `room` says less."""
    ((revision_id,),) = database.rows("select revision_id from campaign where id = :id", id=campaign_id)
    return ClaimOrder(
        campaign_id=campaign_id, revision_id=revision_id, boot="b", ceiling=ceiling, most=most, routes=tuple(routes),
        room=room if room is not None else {one.trunk: most for one in routes}, placed={},
        identity=lambda trunk, number: SHOWN, rules=rules,
    )  # fmt: skip


def store_of(engine: Any, database: Any, node: str, holder: str | None = None) -> PostgresStore:
    """A node's engine as the database knows it; `holder`: as if it were another process."""
    made = PostgresStore(engine, node, database.settings.spool_dir, database.settings.journal_dir)
    made._holder = holder or made._holder
    return made


def ended(claim: Claim, disposition: Disposition = Disposition.BUSY, at: datetime | None = None) -> Attempt:
    """The attempt with a verdict, hung up at that time; None: now."""
    at = at or utc_now()
    return replace(claim.attempt, state=State.ENDED, disposition=disposition, hung_up_at=at, ended_at=at, seq=2)


def called(
    database: Any,
    campaign_id: int,
    number: str,
    ago: str,
    *,
    person: str | None = None,
    lasted: str = "0 seconds",
    counted: bool | None = True,
    disposition: Disposition = Disposition.NO_ANSWER,
) -> None:
    """An attempt of the past: of the contact whose person is `person` (None: the number's own), begun so long ago."""
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, ended_at, slot_until, disposition, counted, seq) "
        "select gen_random_uuid(), c.campaign_id, k.revision_id, c.id, c.person_id, :number, 1, 'node-1', 'a', "
        "'ended', now() - cast(:ago as interval), now() - cast(:ago as interval) + cast(:lasted as interval), now(), "
        ":as, :counted, 2 from contact c join campaign k on k.id = c.campaign_id join person p on p.id = c.person_id "
        "where c.campaign_id = :campaign and p.person_key = :person",
        campaign=campaign_id, number=number, person=person or number, ago=ago, lasted=lasted, counted=counted,
        **{"as": disposition.value},
    )  # fmt: skip
