"""What operators want of campaigns and how far these are: orders, limits and revisions, as commands give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, text

from dialer.calls.log import event_row
from dialer.campaign.running import Overrides, RunningCampaign, Wanted
from dialer.storage import audit, leases, tables


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
