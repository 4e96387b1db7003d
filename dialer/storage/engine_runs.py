"""What a node's engine asks and says of the campaigns that it runs: its orders, its part of their rates, their end."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.campaign.model import Campaign
from dialer.campaign.running import Overrides, Wanted, WantedRun, running
from dialer.pacing.shares import HOLD_S, NodeShare, next_share
from dialer.storage import leases
from dialer.storage.runs import Order, change

log = logging.getLogger(__name__)

RATE_FORGOTTEN_S = leases.LEASE_S + HOLD_S
"""An engine that has not looked at its share for so long has lost its lease, and its last calls count no more."""

_WANTED = text("""
select w.*, extract(epoch from clock_timestamp() - w.began_at) as running_for_s, r.document
from campaign_node n join campaign_run w on w.campaign_id = n.campaign_id join revision r on r.id = w.revision_id
where n.node = :node and n.weight > 0 and w.wanted <> 'idle'
  and (:all or w.campaign_id = any(:own)
       or w.wanted_at >= (select taken_at from engine_lease where node = :node and epoch = :epoch))
order by w.wanted_at
""")
# In the order of _RATES, which locks the same rows: an update alone takes them as its plan comes upon them.
_PROGRESS = text("""
update campaign_node n set progress = cast(d.progress as jsonb), progress_at = clock_timestamp()
from (
  select campaign_id, node from campaign_node where node = :node and campaign_id = any(:campaigns)
  order by campaign_id for no key update
) as mine join unnest(cast(:campaigns as bigint[]), cast(:progress as text[])) as d(campaign_id, progress)
  on d.campaign_id = mine.campaign_id
where n.campaign_id = mine.campaign_id and n.node = mine.node
""")
_REPORT = text("""
insert into node_report (node, report, reported_at) values (:node, cast(:report as jsonb), clock_timestamp())
on conflict (node) do update set report = excluded.report, reported_at = excluded.reported_at
""")
# All rows of a campaign, so that engines look at its rate one after another.
_RATES = text("""
select n.campaign_id, n.node, case when n.able or n.node = :node then n.weight else 0 end as weight, n.rate_share,
  n.rate_high, extract(epoch from n.rate_high_until) as high_until, n.node = :node as ours,
  extract(epoch from clock_timestamp() - n.rate_at) as age_s, extract(epoch from clock_timestamp()) as now,
  w.calls_per_second as total,
  coalesce(l.lease_until > clock_timestamp() and w.wanted_at >= l.taken_at, false) as takes_part
from campaign_node n join campaign_run w on w.campaign_id = n.campaign_id left join engine_lease l on l.node = n.node
where n.campaign_id = any(:campaigns) order by n.campaign_id, n.node for update of n
""")
_KEEP_RATES = text("""
update campaign_node n set rate_share = d.share, rate_high = d.high, rate_high_until = to_timestamp(d.until),
  rate_at = clock_timestamp(), able = :able
from unnest(cast(:campaigns as bigint[]), cast(:shares as float8[]), cast(:highs as float8[]),
            cast(:untils as float8[])) as d(campaign_id, share, high, until)
where n.campaign_id = d.campaign_id and n.node = :node
""")
# A claim holds it shared until it commits: what it took is seen by whoever has this lock.
_LOCK_RUN = text("select from campaign_run where campaign_id = :campaign for no key update")
_TAKES_PART = text(
    "select exists (select from campaign_node where campaign_id = :campaign and node = :node and weight > 0)"
)
_STEP_ASIDE = text("update campaign_node set weight = 0 where campaign_id = :campaign and node = :node")
_HAS_NODES = text("select exists (select from campaign_node where campaign_id = :campaign and weight > 0)")
_STILL_CALLS = text("""
select exists (select from attempt a join engine_lease l on l.node = a.node
               where a.campaign_id = :campaign and a.state <> 'ended' and a.node <> :node
                 and l.lease_until > clock_timestamp())
""")


async def wanted(engine: AsyncEngine, node: str, epoch: int, own: Sequence[int] | None) -> list[WantedRun]:
    """What the node's engine is to run: campaigns ordered since it took the node, and its `own`; None: all.

    An order of days ago, whose engine died, is not taken up by an engine that somebody starts for another campaign.
    """
    async with engine.connect() as connection:
        values = {"node": node, "epoch": epoch, "all": own is None, "own": list(own or ())}
        rows = (await connection.execute(_WANTED, values)).all()
    return [one for one in map(_wanted, rows) if one is not None]


async def report(
    engine: AsyncEngine, node: str, epoch: int, progress: Mapping[int, dict[str, Any]], of_node: dict[str, Any]
) -> None:
    """Stores how far campaigns are on a node and how it is, for those who watch from elsewhere. Raises Fenced."""
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        texts = [json.dumps(one) for one in progress.values()]
        await connection.execute(_PROGRESS, {"node": node, "campaigns": list(progress), "progress": texts})
        await connection.execute(_REPORT, {"node": node, "report": json.dumps(of_node)})


async def rate_shares(
    engine: AsyncEngine, node: str, epoch: int, campaigns: Sequence[int], *, able: bool
) -> dict[int, float]:
    """How many calls a second of each campaign's this node may start from now on. Raises Fenced.

    `able`: it can call; if not, the others get its part.
    """
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        rows = (await connection.execute(_RATES, {"node": node, "campaigns": list(campaigns)})).all()
        mine = {row.campaign_id: row for row in rows if row.ours}
        found = {
            campaign: next_share(
                float(row.now), row.total, _share(row) if able else replace(_share(row), weight=0),
                [_share(one) for one in rows if one.campaign_id == campaign and not one.ours and _is_known(one)],
            )
            for campaign, row in mine.items()
        }  # fmt: skip
        await connection.execute(
            _KEEP_RATES,
            {"node": node, "able": able, "campaigns": list(found), "shares": [one.share for one in found.values()],
             "highs": [one.high for one in found.values()], "untils": [one.high_until for one in found.values()]},
        )  # fmt: skip
    return {campaign: one.share for campaign, one in found.items()}


def _share(row: Row[Any]) -> NodeShare:
    return NodeShare(
        node=row.node, weight=row.weight, share=row.rate_share, high=row.rate_high,
        high_until=float(row.high_until or 0.0),
    )  # fmt: skip


def _is_known(row: Row[Any]) -> bool:
    """Whether a node has a part: its engine is to begin, or looked so lately that what it sent may still count."""
    return bool(row.takes_part) or (row.age_s is not None and row.age_s < RATE_FORGOTTEN_S)


async def finish(engine: AsyncEngine, node: str, epoch: int, campaign_id: int, tenant_id: str, last: Order) -> bool:
    """Makes a campaign idle; False while another live engine has calls of it. Raises Fenced."""
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        values = {"campaign": campaign_id, "node": node}
        await connection.execute(_LOCK_RUN, values)
        if not (await connection.execute(_TAKES_PART, values)).scalar_one():
            return True  # it was ordered anew, without this node: its end is not ours to say
        if (await connection.execute(_STILL_CALLS, values)).scalar_one():
            return False
        active = [one for one in Wanted if one is not Wanted.IDLE]
        await connection.run_sync(change, campaign_id, tenant_id, last, active)
        return True


async def refuse(engine: AsyncEngine, node: str, epoch: int, campaign_id: int, tenant_id: str, last: Order) -> None:
    """Takes a node out of a campaign; `last` is its order when no other node is left. Raises Fenced."""
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        values = {"campaign": campaign_id, "node": node}
        await connection.execute(_LOCK_RUN, values)
        await connection.execute(_STEP_ASIDE, values)
        if not (await connection.execute(_HAS_NODES, values)).scalar_one():
            active = [one for one in Wanted if one is not Wanted.IDLE]
            await connection.run_sync(change, campaign_id, tenant_id, last, active)


async def pause(engine: AsyncEngine, node: str, epoch: int, campaign_id: int, tenant_id: str, why: str) -> None:
    """Pauses a running campaign on the engine's own account. Raises Fenced."""
    order = Order(verb="pause", wanted=Wanted.PAUSED, by="dialer", why=why)
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        await connection.run_sync(change, campaign_id, tenant_id, order, [Wanted.RUNNING])


def _wanted(row: Row[Any]) -> WantedRun | None:
    try:
        campaign = Campaign.model_validate(row.document)
    except ValidationError:
        # Of another release, perhaps. The others must not suffer; this one is not dialled.
        log.exception("a campaign cannot be read", extra={"event": "campaign.unreadable", "id": row.campaign_id})
        return None
    limits = Overrides(
        max_concurrent=row.max_concurrent, calls_per_second=row.calls_per_second, priority=row.priority, share=row.share
    )
    return WantedRun(
        campaign=running(campaign, row.campaign_id, row.revision_id, limits),
        wanted=Wanted(row.wanted),
        running_for_s=float(row.running_for_s),
    )
