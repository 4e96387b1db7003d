"""What operators want of campaigns and how far these are: written by commands, followed by the node's engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.log import event_row
from dialer.campaign.model import Campaign
from dialer.campaign.running import Overrides, RunningCampaign, Wanted, WantedRun, running
from dialer.pacing.shares import HOLD_S, NodeShare, next_share
from dialer.storage import audit, leases, tables

log = logging.getLogger(__name__)

RATE_FORGOTTEN_S = leases.LEASE_S + HOLD_S
"""An engine that has not looked at its share for so long has lost its lease, and its last calls count no more."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """Who wants what of a campaign, and why."""

    verb: str
    """As the event log has it: run, pause, resume, drain, stop, set, revise; of the engine finished, drained, left,
    refused."""
    wanted: Wanted
    by: str
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeRun:
    """A campaign's part on one of its nodes."""

    node: str
    progress: dict[str, Any] | None
    progress_at: datetime | None
    engine_live: bool
    """An engine dials through the node."""
    followed: bool
    """That engine runs this campaign: it said so lately, or was told to after it began."""


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A campaign's run as the database holds it."""

    campaign_id: int
    revision_id: int
    wanted: Wanted
    wanted_at: datetime
    wanted_by: str
    wanted_why: str | None
    nodes: tuple[NodeRun, ...]

    @property
    def engine_live(self) -> bool:
        """An engine dials through one of its nodes."""
        return any(one.engine_live for one in self.nodes)

    @property
    def followed(self) -> bool:
        """An engine runs it."""
        return any(one.followed for one in self.nodes)

    @property
    def progress(self) -> list[dict[str, Any]]:
        """What engines last said of it, of each node that said anything."""
        return [one.progress for one in self.nodes if one.progress is not None]


_BEGIN = text("""
insert into campaign_run (campaign_id, revision_id, wanted, wanted_at, wanted_by, wanted_why, orders, began_at,
                          max_concurrent, calls_per_second, priority, share)
values (:campaign, :revision, 'running', clock_timestamp(), :by, :why, 1, clock_timestamp(),
        :ceiling, :rate, :priority, :share)
on conflict (campaign_id) do update set revision_id = excluded.revision_id, wanted = 'running',
  wanted_at = excluded.wanted_at, wanted_by = excluded.wanted_by, wanted_why = excluded.wanted_why,
  orders = campaign_run.orders + 1, began_at = excluded.began_at, max_concurrent = excluded.max_concurrent,
  calls_per_second = excluded.calls_per_second, priority = excluded.priority, share = excluded.share
returning orders, wanted_at
""")
_LOCK_NODES = text("select from campaign_node where campaign_id = :campaign order by node for update")
# A share of the rate outlives the run, and a node's part in it: what was sent under it still counts.
_NODES = text("""
with gone as (update campaign_node set weight = 0 where campaign_id = :campaign and node <> all(:nodes))
insert into campaign_node (campaign_id, node, weight)
select :campaign, d.* from unnest(cast(:nodes as text[]), cast(:weights as int[])) as d(node, weight)
on conflict (campaign_id, node) do update set weight = excluded.weight, progress = null, progress_at = null
""")
_CHANGE = text("""
update campaign_run set wanted = :wanted, wanted_at = clock_timestamp(), wanted_by = :by, wanted_why = :why,
  orders = orders + 1
where campaign_id = :campaign and wanted = any(:from)
returning orders, wanted_at
""")
_SET = text("""
update campaign_run set max_concurrent = coalesce(:max_concurrent, max_concurrent),
  calls_per_second = coalesce(:calls_per_second, calls_per_second), priority = coalesce(:priority, priority),
  share = coalesce(:share, share), orders = orders + 1
where campaign_id = :campaign and wanted <> 'idle'
returning orders, wanted, clock_timestamp() as at, max_concurrent, calls_per_second, priority, share
""")
_REVISE = text("""
update campaign_run set revision_id = :revision, max_concurrent = coalesce(:max_concurrent, max_concurrent),
  calls_per_second = coalesce(:calls_per_second, calls_per_second), priority = coalesce(:priority, priority),
  share = coalesce(:share, share), orders = orders + 1
where campaign_id = :campaign and wanted <> 'idle'
returning orders, wanted, clock_timestamp() as at
""")
_WEIGH = text("""
update campaign_node n set weight = d.weight
from unnest(cast(:nodes as text[]), cast(:weights as int[])) as d(node, weight)
where n.campaign_id = :campaign and n.node = d.node and n.weight > 0
""")
_FIND = text("""
select w.campaign_id, w.revision_id, w.wanted, w.wanted_at, w.wanted_by, w.wanted_why
from campaign_run w where w.campaign_id = :campaign
""")
_NODES_OF = text("""
select n.node, n.progress, n.progress_at, coalesce(
  n.progress_at > clock_timestamp() - interval '15 seconds' or w.wanted_at >= l.taken_at, false) as followed
from campaign_node n join campaign_run w on w.campaign_id = n.campaign_id left join engine_lease l on l.node = n.node
where n.campaign_id = :campaign and n.weight > 0 order by n.node
""")
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


def begin(
    connection: Connection, campaign: RunningCampaign, nodes: Mapping[str, int], by: str, why: str | None = None
) -> None:
    """Wants a campaign to run on nodes (each with its weight), by a revision and limits; whatever was wanted before."""
    row = connection.execute(
        _BEGIN,
        {"campaign": campaign.id, "revision": campaign.revision_id, "by": by, "why": why,
         "ceiling": campaign.max_concurrent, "rate": campaign.calls_per_second, "priority": campaign.priority,
         "share": campaign.share},
    ).one()  # fmt: skip
    values = {"campaign": campaign.id, "nodes": list(nodes), "weights": list(nodes.values())}
    # In the order of _RATES, as any engine may be at it.
    connection.execute(_LOCK_NODES, values)
    connection.execute(_NODES, values)
    order = Order(verb="run", wanted=Wanted.RUNNING, by=by, why=why)
    _take_down(connection, campaign.id, campaign.tenant_id, order, row.orders, row.wanted_at)


def change(connection: Connection, campaign_id: int, tenant_id: str, order: Order, from_: Sequence[Wanted]) -> bool:
    """Gives an order to a campaign that is in one of these conditions, and logs it; False when it is in another."""
    row = connection.execute(
        _CHANGE,
        {"campaign": campaign_id, "wanted": order.wanted.value, "by": order.by, "why": order.why,
         "from": [one.value for one in from_]},
    ).first()  # fmt: skip
    if row is None:
        return False
    _take_down(connection, campaign_id, tenant_id, order, row.orders, row.wanted_at)
    return True


def set_limits(
    connection: Connection, campaign_id: int, tenant_id: str, limits: Overrides, by: str, why: str | None
) -> Overrides | None:
    """Changes a campaign's limits while it runs, and logs it; the limits then, None when it is idle."""
    values = {"campaign": campaign_id, **asdict(limits)}
    row = connection.execute(_SET, values).first()
    if row is None:
        return None
    now = Overrides(**{name: getattr(row, name) for name in asdict(limits)})
    order = Order(verb="set", wanted=Wanted(row.wanted), by=by, why=why)
    _take_down(connection, campaign_id, tenant_id, order, row.orders, row.at, asdict(now))
    return now


def revise(
    connection: Connection,
    campaign_id: int,
    tenant_id: str,
    revision: tuple[int, int],
    limits: Overrides,
    weights: Mapping[str, int],
    by: str,
    why: str | None,
) -> bool:
    """Lets a campaign under way go on by another revision (its id and number); False when it is idle.

    Claims by the old one are refused from the commit on. `limits` are those that the file has changed, the others stay
    as they were set; `weights` are the nodes', which stay the same ones. Whoever calls this holds `campaigns.lock`.
    """
    revision_id, number = revision
    row = connection.execute(
        _REVISE, {"campaign": campaign_id, "revision": revision_id, **asdict(limits)}
    ).first()  # fmt: skip
    if row is None:
        return False
    values = {"campaign": campaign_id, "nodes": list(weights), "weights": list(weights.values())}
    connection.execute(_LOCK_NODES, values)
    connection.execute(_WEIGH, values)
    order = Order(verb="revise", wanted=Wanted(row.wanted), by=by, why=why)
    _take_down(connection, campaign_id, tenant_id, order, row.orders, row.at, {"revision": number})
    return True


def find(connection: Connection, campaign_id: int) -> StoredRun | None:
    """A campaign's run; None when it never ran."""
    row = connection.execute(_FIND, {"campaign": campaign_id}).first()
    if row is None:
        return None
    live = leases.live(connection)
    nodes = tuple(
        NodeRun(
            node=one.node,
            progress=one.progress,
            progress_at=one.progress_at,
            engine_live=one.node in live,
            followed=one.node in live and one.followed,
        )
        for one in connection.execute(_NODES_OF, {"campaign": campaign_id})
    )
    return StoredRun(
        campaign_id=row.campaign_id,
        revision_id=row.revision_id,
        wanted=Wanted(row.wanted),
        wanted_at=row.wanted_at,
        wanted_by=row.wanted_by,
        wanted_why=row.wanted_why,
        nodes=nodes,
    )


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


def _take_down(
    connection: Connection,
    campaign_id: int,
    tenant_id: str,
    order: Order,
    seq: int,
    at: datetime,
    more: Mapping[str, Any] = {},
) -> None:
    """Into the event log, for what is reckoned from it, and into the audit, which keeps who ordered what for good."""
    event = event_row(
        tenant_id=tenant_id,
        occurred_at=at,
        type=f"campaign.{order.verb}",
        subject_type="campaign",
        subject_id=str(campaign_id),
        seq=seq,
        payload={"by": order.by, "why": order.why, "wanted": order.wanted.value, **more},
    )
    connection.execute(insert(tables.event), [event])
    audit.record(
        connection, who=order.by, what=event["type"], tenant_id=tenant_id, campaign_id=campaign_id, why=order.why,
        detail={"wanted": order.wanted.value, **more},
    )  # fmt: skip
