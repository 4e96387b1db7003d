"""The cost of one claim, with few open contacts and very many, with rules and without, in turns on one server."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.measure import database_cpu, percentile
from bench.private import PrivateDatabase, private_database
from bench.sides import rows_of
from dialer.clock import utc_now
from dialer.contacts.contact import ClaimOrder, ClaimResult
from dialer.contacts.suppress import NO_CAPS, CapRules, Caps
from dialer.pacing.routes import Route
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore

FEW = 10_000
MANY = 1_000_000
AT_A_TIME = 20
"""People a claim takes: what an engine asks for at some hundred calls a second."""
CLAIMS = 20
"""In a turn: short ones, so that what else a machine does meets all sides alike."""
ROUNDS = 11
"""Turns of each side; the first warms up."""
AIM = 1.2
MOST = 10_000
"""The limits: never what binds."""
RULES = CapRules(
    number=Caps(day=2, week=5, month=10, ever=50), person=Caps(day=2, week=5, month=10, ever=50), gap_s=3600
)
"""Every rule there is; the calls of three days ago keep nobody back."""


@dataclass(frozen=True, kw_only=True)
class _Campaign:
    """Whom to claim from; both campaigns share one database, and its lock."""

    id: int
    revision_id: int


@dataclass(frozen=True, kw_only=True)
class _Side:
    """From which campaign to claim, by which rules."""

    campaign: _Campaign
    rules: CapRules = NO_CAPS


def claims(folder: Path, size: Size) -> Result:
    """What a claim of 20 takes with a million open contacts, beside one with ten thousand."""
    many = size.calls or MANY
    with _two_campaigns(folder, many) as (database, small, large):
        took = _measured(database, {"few": _Side(campaign=small), "many": _Side(campaign=large)})
    figures = _compared(f"one claim with {many:,} open contacts", took["many"], took["few"])
    return [*figures, _short(took)], _conditions(f"the same with {FEW:,} open contacts")


def claims_rules(folder: Path, size: Size) -> Result:
    """What a claim of 20 takes with every rule on: lists, caps, the gap; a million contacts, then ten thousand."""
    many = size.calls or MANY
    with _two_campaigns(folder, many) as (database, small, large):
        _with_history(database, many)
        took = _measured(
            database, {"few": _Side(campaign=small, rules=RULES), "many": _Side(campaign=large, rules=RULES),
                  "lists alone": _Side(campaign=large)},
        )  # fmt: skip
    figures = _compared(f"one claim with {many:,} open contacts", took["many"], took["few"])
    figures += _compared("  beside it with lists alone", took["many"], took["lists alone"])
    conditions = _conditions(f"the same with {FEW:,} open contacts; then with {many:,} and no caps")
    return [*figures, _short(took)], conditions | {"numbers on lists": many, "earlier calls": (many + FEW) // 2}


@contextmanager
def _two_campaigns(folder: Path, many: int) -> Iterator[tuple[PrivateDatabase, _Campaign, _Campaign]]:
    """A campaign with few contacts, and one with many."""
    with private_database(folder) as database:
        yield database, _filled(database, FEW, "few", 0), _filled(database, many, "many", FEW)


def _with_history(database: PrivateDatabase, entries: int) -> None:
    """Every second person was called three days ago; of all numbers one in fifty is on the site's list of a million."""
    rows_of(
        database, "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, "
        "trunk, state, submitting_at, ended_at, slot_until, disposition, counted, seq) "
        "select gen_random_uuid(), c.campaign_id, k.revision_id, c.id, c.person_id, c.next_number, 1, 'node-1', "
        "'carrier-a', 'ended', now() - interval '3 days', now() - interval '3 days', now() - interval '3 days', "
        "'no_answer', true, 2 from contact c join campaign k on k.id = c.campaign_id "
        "where mod(c.id, 2) = 0 and k.name <> 'bench'",
    )  # fmt: skip
    rows_of(
        database, "insert into dnc (number, scope, source, added_by) "
        "select case mod(n, 50) when 0 then '+4850' else '+4860' end || lpad(n::text, 7, '0'), "
        f"'site', 'import', 'bench' from generate_series(1, {entries}) as n",
    )  # fmt: skip


def _compared(name: str, ours: _Took, others: _Took) -> list[Figure]:
    figures = [
        rounded(f"{name}, {word}", "ms", *(percentile(sorted(side.wall_ms), percent) for side in (ours, others)))
        for word, percent in (("median", 50), ("p99", 99))
    ]
    cpu = (statistics.mean(side.cpu_ms) for side in (ours, others))
    return [*figures, rounded("  CPU of PostgreSQL", "ms", *cpu)]


def _short(took: dict[str, _Took]) -> Figure:
    return Figure(name="claims that brought fewer", value=sum(t.short for t in took.values()), unit="claims")


def _conditions(ceiling: str) -> Conditions:
    return {
        "claims": CLAIMS * (ROUNDS - 1), "people a claim": AT_A_TIME, "aim": AIM, "ceiling column": ceiling,
    }  # fmt: skip


def _filled(database: PrivateDatabase, contacts: int, name: str, first: int) -> _Campaign:
    """A copy of the imported campaign with so many people, all due, set up by SQL."""
    columns = "tenant_id, created_at"
    (campaign,) = rows_of(
        database, f"insert into campaign (name, {columns}) select '{name}', {columns} from campaign "
        "where name = 'bench' returning id",
    )  # fmt: skip
    revision_columns = "number, document, base_dir, accepted_at"
    (revision,) = rows_of(
        database, f"insert into revision (campaign_id, sha256, {revision_columns}) select {campaign.id}, '{name}', "
        f"{revision_columns} from revision order by id limit 1 returning id",
    )  # fmt: skip
    rows_of(database, f"update campaign set revision_id = {revision.id} where id = {campaign.id}")
    rows_of(
        database, "insert into open_interval (revision_id, zones, opens_at, closes_at) "
        f"select {revision.id}, zones, opens_at, closes_at from open_interval "
        "where revision_id = (select min(id) from revision)",
    )  # fmt: skip
    rows_of(
        database, "insert into campaign_run (campaign_id, revision_id, wanted, wanted_at, wanted_by, orders, "
        f"max_concurrent, calls_per_second) values ({campaign.id}, {revision.id}, 'running', now(), 'bench', "
        f"1, {MOST}, 500)",
    )  # fmt: skip
    rows_of(database, f"insert into campaign_node (campaign_id, node) values ({campaign.id}, 'node-1')")
    # Half of them at one moment, as an import leaves them, half at different ones, as retries do; every tenth tomorrow.
    rows_of(
        database, "with people as (insert into person (tenant_id, person_key) select t.tenant_id, '+4850' || lpad((n + "
        f"{first})::text, 7, '0') from generate_series(1, {contacts}) as n, "
        "(select tenant_id from campaign limit 1) as t returning id, person_key) "
        "insert into contact (campaign_id, person_id, numbers, zones, fields, next_attempt_at, next_number) "
        f"select {campaign.id}, id, array[person_key], (select zones from open_interval limit 1), '{{}}', "
        "now() - case mod(id, 2) when 0 then 40000 else mod(id, 86400) end * interval '1 s' "
        "+ (mod(id, 10) = 0)::int * interval '2 days', person_key from people",
    )  # fmt: skip
    return _Campaign(id=campaign.id, revision_id=revision.id)


@dataclass(kw_only=True)
class _Took:
    """What claims of one campaign took."""

    wall_ms: list[float]
    cpu_ms: list[float]
    short: int = 0


def _measured(database: PrivateDatabase, sides: dict[str, _Side]) -> dict[str, _Took]:
    rows_of(database, "analyze")
    return asyncio.run(_in_turns(database, sides))


async def _in_turns(database: PrivateDatabase, sides: dict[str, _Side]) -> dict[str, _Took]:
    store = PostgresStore(
        async_engine(database.settings), "node-1", database.settings.spool_dir, database.settings.journal_dir
    )  # fmt: skip
    took = {name: _Took(wall_ms=[], cpu_ms=[]) for name in sides}
    try:
        await store.hold_node()
        await store.ensure_partitions(utc_now())
        await store.set_limits(None, MOST, {"carrier-a": None})
        for turn in range(ROUNDS):
            for name, side in sides.items():
                await store.hold_node()
                found = await _round(store, side, database.postmaster)
                if turn:
                    took[name].wall_ms += found.wall_ms
                    took[name].cpu_ms += found.cpu_ms
                    took[name].short += found.short
                # The calls end, outside of what is measured: their number must not be what grows.
                await asyncio.to_thread(
                    rows_of, database, "update attempt set state = 'ended', disposition = 'completed', "
                    "ended_at = now(), slot_until = now() where state <> 'ended'",
                )  # fmt: skip
                await asyncio.to_thread(rows_of, database, "analyze attempt")
    finally:
        await store.close()
    return took


async def _round(store: PostgresStore, side: _Side, postmaster: int) -> _Took:
    took = _Took(wall_ms=[], cpu_ms=[])
    cpu_before = database_cpu(postmaster)
    for _ in range(CLAIMS):
        began = time.perf_counter()
        result = await _claim(store, side)
        took.wall_ms.append(1000 * (time.perf_counter() - began))
        took.short += len(result.claims) < AT_A_TIME
    took.cpu_ms.append(1000 * (database_cpu(postmaster) - cpu_before) / CLAIMS)
    return took


async def _claim(store: PostgresStore, side: _Side) -> ClaimResult:
    """As the engine claims: through the store, on one trunk with room for all."""
    order = ClaimOrder(
        campaign_id=side.campaign.id, revision_id=side.campaign.revision_id, boot="bench", ceiling=MOST, most=AT_A_TIME,
        routes=(Route(trunk="carrier-a", prefixes=(), priority=1, weight=1),),
        room={"carrier-a": MOST}, placed={}, identity=lambda _trunk, _number: "+48221234567",
        rules=side.rules,
    )  # fmt: skip
    return await store.claim(order)
