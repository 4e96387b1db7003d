"""What operators want of campaigns and how far these are: written by commands, followed by the node's engine."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, insert, text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialer.calls.log import event_row
from dialer.campaign.model import Campaign
from dialer.campaign.running import Overrides, RunningCampaign, Wanted, WantedRun, running
from dialer.storage import leases, tables

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Order:
    """Who wants what of a campaign, and why."""

    verb: str
    """As the event log has it: run, pause, resume, drain, stop; of the engine finished, drained, left, refused."""
    wanted: Wanted
    by: str
    why: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A campaign's run as the database holds it."""

    campaign_id: int
    revision_id: int
    node: str
    wanted: Wanted
    wanted_at: datetime
    wanted_by: str
    wanted_why: str | None
    progress: dict[str, Any] | None
    progress_at: datetime | None
    engine_live: bool
    """An engine dials through its node."""
    followed: bool
    """That engine runs this campaign: it said so lately, or was told to after it began."""


_BEGIN = text("""
insert into campaign_run (campaign_id, revision_id, node, wanted, wanted_at, wanted_by, wanted_why, orders,
                          max_concurrent, calls_per_second)
values (:campaign, :revision, :node, 'running', clock_timestamp(), :by, :why, 1, :ceiling, :rate)
on conflict (campaign_id) do update set revision_id = excluded.revision_id, node = excluded.node, wanted = 'running',
  wanted_at = excluded.wanted_at, wanted_by = excluded.wanted_by, wanted_why = excluded.wanted_why,
  orders = campaign_run.orders + 1, max_concurrent = excluded.max_concurrent,
  calls_per_second = excluded.calls_per_second, progress = null, progress_at = null
returning orders, wanted_at
""")
_CHANGE = text("""
update campaign_run set wanted = :wanted, wanted_at = clock_timestamp(), wanted_by = :by, wanted_why = :why,
  orders = orders + 1
where campaign_id = :campaign and wanted = any(:from)
returning orders, wanted_at
""")
_FIND = text("""
select w.*, coalesce(w.progress_at > clock_timestamp() - interval '15 seconds' or w.wanted_at >= l.taken_at, false)
  as followed
from campaign_run w left join engine_lease l on l.node = w.node where w.campaign_id = :campaign
""")
_WANTED = text("""
select w.*, r.document
from campaign_run w join revision r on r.id = w.revision_id
where w.node = :node and w.wanted <> 'idle'
  and (:all or w.campaign_id = any(:own)
       or w.wanted_at >= (select taken_at from engine_lease where node = :node and epoch = :epoch))
order by w.wanted_at
""")
_PROGRESS = text("""
update campaign_run w set progress = cast(d.progress as jsonb), progress_at = clock_timestamp()
from unnest(cast(:campaigns as bigint[]), cast(:progress as text[])) as d(campaign_id, progress)
where w.campaign_id = d.campaign_id
""")


def begin(connection: Connection, campaign: RunningCampaign, node: str, by: str, why: str | None = None) -> None:
    """Wants a campaign to run on a node, by a revision and limits; whatever was wanted before."""
    row = connection.execute(
        _BEGIN,
        {"campaign": campaign.id, "revision": campaign.revision_id, "node": node, "by": by, "why": why,
         "ceiling": campaign.max_concurrent, "rate": campaign.calls_per_second},
    ).one()  # fmt: skip
    order = Order(verb="run", wanted=Wanted.RUNNING, by=by, why=why)
    connection.execute(
        insert(tables.event), [_event(campaign.id, campaign.tenant_id, order, row.orders, row.wanted_at)]
    )


def change(connection: Connection, campaign_id: int, tenant_id: str, order: Order, from_: Sequence[Wanted]) -> bool:
    """Gives an order to a campaign that is in one of these conditions, and logs it; False when it is in another."""
    row = connection.execute(
        _CHANGE,
        {"campaign": campaign_id, "wanted": order.wanted.value, "by": order.by, "why": order.why,
         "from": [one.value for one in from_]},
    ).first()  # fmt: skip
    if row is None:
        return False
    connection.execute(insert(tables.event), [_event(campaign_id, tenant_id, order, row.orders, row.wanted_at)])
    return True


def find(connection: Connection, campaign_id: int) -> StoredRun | None:
    """A campaign's run; None when it never ran."""
    row = connection.execute(_FIND, {"campaign": campaign_id}).first()
    if row is None:
        return None
    engine_live = leases.is_live(connection, row.node)
    return StoredRun(
        campaign_id=row.campaign_id,
        revision_id=row.revision_id,
        node=row.node,
        wanted=Wanted(row.wanted),
        wanted_at=row.wanted_at,
        wanted_by=row.wanted_by,
        wanted_why=row.wanted_why,
        progress=row.progress,
        progress_at=row.progress_at,
        engine_live=engine_live,
        followed=engine_live and row.followed,
    )


async def wanted(engine: AsyncEngine, node: str, epoch: int, own: Sequence[int] | None) -> list[WantedRun]:
    """What the node's engine is to run: campaigns ordered since it took the node, and its `own`; None: all.

    An order of days ago, whose engine died, is not taken up by an engine that somebody starts for another campaign.
    """
    async with engine.connect() as connection:
        values = {"node": node, "epoch": epoch, "all": own is None, "own": list(own or ())}
        rows = (await connection.execute(_WANTED, values)).all()
    return [one for one in map(_wanted, rows) if one is not None]


async def report(engine: AsyncEngine, node: str, epoch: int, progress: Mapping[int, dict[str, Any]]) -> None:
    """Stores how far campaigns are, for those who watch from elsewhere. Raises Fenced."""
    if not progress:
        return
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        texts = [json.dumps(one) for one in progress.values()]
        await connection.execute(_PROGRESS, {"campaigns": list(progress), "progress": texts})


async def finish(engine: AsyncEngine, node: str, epoch: int, campaign_id: int, tenant_id: str, last: Order) -> None:
    """Makes a campaign idle. Raises Fenced."""
    async with engine.begin() as connection:
        await leases.require(connection, node, epoch)
        active = [one for one in Wanted if one is not Wanted.IDLE]
        await connection.run_sync(change, campaign_id, tenant_id, last, active)


def _wanted(row: Row[Any]) -> WantedRun | None:
    try:
        campaign = Campaign.model_validate(row.document)
    except ValidationError:
        # Of another release, perhaps. The others must not suffer; this one is not dialled.
        log.exception("a campaign cannot be read", extra={"event": "campaign.unreadable", "id": row.campaign_id})
        return None
    limits = Overrides(max_concurrent=row.max_concurrent, calls_per_second=row.calls_per_second)
    return WantedRun(
        campaign=running(campaign, row.campaign_id, row.revision_id, limits),
        wanted=Wanted(row.wanted),
    )


def _event(campaign_id: int, tenant_id: str, order: Order, seq: int, at: datetime) -> dict[str, Any]:
    return event_row(
        tenant_id=tenant_id,
        occurred_at=at,
        type=f"campaign.{order.verb}",
        subject_type="campaign",
        subject_id=str(campaign_id),
        seq=seq,
        payload={"by": order.by, "why": order.why, "wanted": order.wanted.value},
    )
