"""Where everything stands, in a few queries: engines and their leases, campaigns, what is open and what is unclear."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from dialer.storage import leases

# Sparse: open attempts are few, and verdicts are counted from their campaign's index only when a campaign is named.
_OPEN = text(
    "select campaign_id, state, count(*) as number from attempt where state <> 'ended' group by 1, 2 order by 2"
)
_CAMPAIGNS = text("""
select c.id, c.name, w.node, w.wanted, w.wanted_at, w.wanted_by, w.wanted_why, w.max_concurrent, w.calls_per_second,
  w.progress, w.progress_at,
  coalesce(w.progress_at > clock_timestamp() - interval '15 seconds', false) as reported
from campaign c left join campaign_run w on w.campaign_id = c.id
where cast(:id as bigint) is null or c.id = :id
order by c.name
""")
_VERDICTS = text("""
select disposition, count(*) as number from attempt
where campaign_id = :id and disposition is not null group by 1 order by 2 desc, 1
""")
_HELD = text("select count(*) from contact where campaign_id = :id and on_hold")


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """A node's lease."""

    node: str
    live: bool
    holder: str
    """`pid N on HOST`."""
    epoch: int
    since: datetime


@dataclass(frozen=True, kw_only=True)
class CampaignStatus:
    """A campaign, whether or not it runs."""

    name: str
    wanted: str
    wanted_at: datetime | None
    wanted_by: str | None
    wanted_why: str | None
    node: str | None
    engine_live: bool
    """An engine dials it: it said so in the last seconds."""
    open: dict[str, int]
    """Attempts without a verdict, by state: `unclear` ones were perhaps sent, and keep their number and slot."""
    progress: dict[str, Any] | None
    progress_at: datetime | None
    verdicts: dict[str, int] | None
    """Only when the campaign was asked for by name; `unknown` calls may have happened, and nobody can say how."""
    held: int | None


def engines(connection: Connection) -> list[EngineStatus]:
    """Every node that ever had an engine."""
    return [
        EngineStatus(
            node=row.node, live=row.live and not leases.is_gone(row.holder), holder=_plain(row.holder),
            epoch=row.epoch, since=row.taken_at,
        )
        for row in leases.listed(connection)
    ]  # fmt: skip


def campaigns(connection: Connection, campaign_id: int | None = None) -> list[CampaignStatus]:
    """Every campaign, or one with its verdicts."""
    live = {one.node for one in engines(connection) if one.live}
    open_now: dict[int, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(_OPEN):
        open_now[row.campaign_id][row.state] = row.number
    found = []
    for row in connection.execute(_CAMPAIGNS, {"id": campaign_id}).all():
        named = {"id": campaign_id} if campaign_id is not None else None
        found.append(
            CampaignStatus(
                name=row.name,
                wanted=row.wanted or "idle",
                wanted_at=row.wanted_at,
                wanted_by=row.wanted_by,
                wanted_why=row.wanted_why,
                node=row.node,
                engine_live=row.node in live and row.reported,
                open=open_now[row.id],
                progress=row.progress,
                progress_at=row.progress_at,
                verdicts=dict(map(tuple, connection.execute(_VERDICTS, named).all())) if named else None,
                held=connection.execute(_HELD, named).scalar_one() if named else None,
            )
        )
    return found


def _plain(holder: str) -> str:
    host, _, rest = holder.partition(" ")
    return f"pid {rest.split()[-2]} on {host}"
