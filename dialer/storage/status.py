"""Where everything stands at one moment, in a few queries: the site, its nodes and trunks, the campaigns.

Calls at once and calls a second are counted from the attempts of all engines, so that they hold whatever an engine says
or no longer says; what only an engine knows (pace, strain, breakers, progress) comes with the time of its report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, text

from dialer.campaign.calendar import Interval
from dialer.campaign.capacity import Capacity
from dialer.storage import leases

RATE_OVER = timedelta(seconds=10)
RECENT = timedelta(minutes=5)
FRESH = timedelta(seconds=5)
"""An engine reports each second: what it said longer ago is not of now."""

_NOW = text("select clock_timestamp()")
_OPEN = text("""
select campaign_id, node, trunk, state, count(*) as calls,
  count(*) filter (where slot_until is null or slot_until > :at) as slots
from attempt where state <> 'ended' or slot_until > :at group by 1, 2, 3, 4
""")
# A campaign at a time, by the index: as one join, without statistics of few campaigns, it reads every attempt there is.
_SENT = text("""
select w.campaign_id, a.node, a.trunk, a.calls
from campaign_run w cross join lateral (
  select node, trunk, count(*) as calls from attempt
  where campaign_id = w.campaign_id and submitting_at > :since
    and coalesce(disposition, '') not in ('returned', 'not_placed')
  group by 1, 2
) a where w.wanted <> 'idle' or w.wanted_at > :since
""")
# A slot ends about when its attempt does, and has an index: no more is read than was called in that time.
_RECENT = text("""
select campaign_id, disposition, count(*) as calls from attempt
where slot_until > cast(:since as timestamptz) - interval '1 minute' and ended_at > :since
group by 1, 2 order by 3 desc, 2
""")
_LIMITS = text("select scope, name, max_concurrent from capacity_limit order by scope, name")
_REPORTS = text("select node, report, reported_at from node_report order by node")
_CAMPAIGNS = text("""
select c.id, c.name, w.wanted, w.wanted_at, w.wanted_by, w.wanted_why, w.max_concurrent, w.calls_per_second,
  w.priority, w.share, w.began_at, r.document -> 'capacity' as capacity
from campaign c left join campaign_run w on w.campaign_id = c.id left join revision r on r.id = w.revision_id
where cast(:id as bigint) is null or c.id = :id
order by coalesce(w.wanted, 'idle') = 'idle',
  case when w.wanted = 'idle' then w.wanted_at end desc nulls last, c.name
""")
_PARTS = text("""
select n.campaign_id, n.node, case when n.rate_at is not null then n.rate_share end as rate_share,
  n.progress, n.progress_at, w.wanted
from campaign_node n join campaign_run w on w.campaign_id = n.campaign_id
where n.weight > 0 order by n.campaign_id, n.node
""")
_VERDICTS = text("""
select disposition, count(*) as calls from attempt
where campaign_id = :id and disposition is not null group by 1 order by 2 desc, 1
""")
# Whoever of its people it is: while somebody may be called, the campaign goes on.
_WINDOWS = text("""
select lower(span) as opens_at, upper(span) as closes_at from unnest((
  select range_agg(tstzrange(o.opens_at, o.closes_at)) from open_interval o
    join campaign_run w on w.revision_id = o.revision_id
  where w.campaign_id = :id and w.wanted = 'running' and o.closes_at > :at)) as span order by 1
""")
# The last word on a campaign's base: a delivery that was merged later takes the refusal back.
_REFUSED = text("""
select c.id, a.at, a.detail from campaign c cross join lateral (
  select what, at, detail from audit where campaign_id = c.id and what in ('contacts.import', 'contacts.refused')
  order by at desc, id desc limit 1
) a where a.what = 'contacts.refused' and (cast(:id as bigint) is null or c.id = :id)
""")
_HELD = text("select count(*) from contact where campaign_id = :id and on_hold")


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a limit is used; a `max` of None: there is no such limit, or nobody has said it."""

    in_use: int
    """Slots taken, by the attempts of all engines."""
    max: int | None = None
    rate: float
    """New calls a second, over the last ten."""
    max_rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class EngineStatus:
    """The engine that has a node's lease, or had it last."""

    live: bool
    holder: str
    """`host:pid`."""
    epoch: int
    taken_at: datetime
    lease_until: datetime


@dataclass(frozen=True, kw_only=True)
class TrunkStatus:
    """A trunk; its breaker is of the node's report."""

    name: str
    use: Use
    breaker: str | None
    """closed, open, half_open; None: nobody knows now."""
    until: datetime | None
    """When an open breaker lets the first call try the trunk."""
    why: str


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """A node; what only its engine knows is left out when the last report is not of now."""

    name: str
    use: Use
    is_wanted: bool
    """A campaign is to be dialled through it, or calls of it are open."""
    engine: EngineStatus | None
    reported_at: datetime | None
    blocked: str | None
    """What keeps its engine from any call: a slug of pacing.decide.Binding."""
    pace: float | None
    """Calls a second, below the node's limit while it is strained or begins."""
    strained: bool
    why: str
    """What keeps the pace low."""
    strays: int
    """Channels of ours that belong to no open attempt."""
    trunks: tuple[TrunkStatus, ...]


@dataclass(frozen=True, kw_only=True)
class PartStatus:
    """A campaign's part on one of its nodes."""

    node: str
    use: Use
    """`max_rate` is its share of the campaign's calls a second."""
    progress: dict[str, Any] | None
    """As engine.progress.as_data has it, of the time `progress_at`."""
    progress_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class RefusedDelivery:
    """A delivery of a campaign's base that was refused, and none was merged since."""

    at: datetime
    file: str
    aside: str | None
    """Where it lies now; None: where it was."""
    why: str


@dataclass(frozen=True, kw_only=True)
class CampaignStatus:
    """A campaign, whether or not it runs."""

    name: str
    use: Use
    wanted: str
    wanted_at: datetime | None
    """None: it never ran."""
    wanted_by: str | None
    wanted_why: str | None
    began_at: datetime | None
    priority: int | None
    share: int | None
    capacity: Capacity | None
    """As the file has it; None when it never ran, or by a file of another release."""
    parts: tuple[PartStatus, ...]
    open: dict[str, int]
    """Attempts without a verdict, by state: `unclear` ones were perhaps sent, and keep their number and slot."""
    recent: dict[str, int]
    """Verdicts of the last five minutes."""
    verdicts: dict[str, int] | None
    """All of them, when the campaign was asked for by name; `unknown` calls may have happened, and nobody can say how.
    """
    held: int | None
    """People who wait for an operator; when it was asked for by name."""
    windows: tuple[Interval, ...] = ()
    """While it runs: when somebody among its people may be called, from now on."""
    refused_delivery: RefusedDelivery | None = None


@dataclass(frozen=True, kw_only=True)
class StatusPage:
    """One moment of all of it."""

    at: datetime
    site: Use
    nodes: tuple[NodeStatus, ...]
    campaigns: tuple[CampaignStatus, ...]
    """Those that are wanted, by name, then idle ones, the last that ran first."""


def page(connection: Connection, campaign_id: int | None = None) -> StatusPage:
    """The moment of the connection's snapshot; of all campaigns, or of one with its verdicts.

    Needs a transaction that sees one moment (storage.reading).
    """
    at = connection.execute(_NOW).scalar_one()
    counts = _Counts(connection, at)
    parts = connection.execute(_PARTS).all()
    return StatusPage(
        at=at,
        site=counts.use({}, counts.limits.get(("site", ""))),
        nodes=tuple(_nodes(connection, counts, parts)),
        campaigns=tuple(_campaigns(connection, counts, parts, campaign_id)),
    )


class _Counts:
    """The rows that everything is counted from."""

    def __init__(self, connection: Connection, at: datetime) -> None:
        self.at = at
        self.open = connection.execute(_OPEN, {"at": at}).all()
        self.sent = connection.execute(_SENT, {"since": at - RATE_OVER}).all()
        self.recent: dict[int, dict[str, int]] = defaultdict(dict)
        for row in connection.execute(_RECENT, {"since": at - RECENT}):
            self.recent[row.campaign_id][row.disposition] = row.calls
        self.limits = {(row.scope, row.name): row.max_concurrent for row in connection.execute(_LIMITS)}

    def use(self, of: Mapping[str, object], most: int | None = None, max_rate: float | None = None) -> Use:
        """What the rows with these values come to; of no values, what all do."""

        def calls(rows: Sequence[Row[Any]], column: str) -> int:
            return sum(
                getattr(row, column) for row in rows if all(getattr(row, key) == value for key, value in of.items())
            )

        sent = calls(self.sent, "calls")
        return Use(in_use=calls(self.open, "slots"), max=most, rate=sent / RATE_OVER.total_seconds(), max_rate=max_rate)


def _nodes(connection: Connection, counts: _Counts, parts: Sequence[Row[Any]]) -> Iterator[NodeStatus]:
    engines = {str(row.node): _engine(row) for row in leases.listed(connection)}
    reports = {row.node: row for row in connection.execute(_REPORTS)}
    wanted = {row.node for row in parts if row.wanted != "idle"} | {row.node for row in counts.open}
    for name in sorted({*engines, *reports, *wanted}):
        row = reports.get(name)
        # Of another release a report may lack something.
        known: Mapping[str, Any] = row.report if row is not None else {}
        reported_at = row.reported_at if row is not None else None
        report = known if reported_at is not None and counts.at - reported_at <= FRESH else {}
        yield NodeStatus(
            name=name,
            use=counts.use({"node": name}, counts.limits.get(("node", name)), known.get("calls_per_second")),
            is_wanted=name in wanted,
            engine=engines.get(name),
            reported_at=reported_at,
            blocked=report.get("blocked"),
            pace=report.get("pace"),
            strained=report.get("strained", False),
            why=report.get("strain", ""),
            strays=report.get("strays", 0),
            trunks=tuple(_trunks(name, known.get("trunks", ()), reported_at if report else None, counts)),
        )


def _trunks(
    node: str, told: Sequence[Mapping[str, Any]], told_at: datetime | None, counts: _Counts
) -> Iterator[TrunkStatus]:
    """Those that the node's engine told of, and those with open calls; `told_at` is None when that is not of now."""
    reports = {one["name"]: one for one in told}
    for name in sorted({*reports, *(row.trunk for row in counts.open if row.node == node)}):
        known = reports.get(name, {})
        report = known if told_at is not None else {}
        opens_in_s = report.get("opens_in_s")
        yield TrunkStatus(
            name=name,
            use=counts.use(
                {"node": node, "trunk": name}, counts.limits.get(("trunk", name)), known.get("calls_per_second")
            ),
            breaker=report.get("breaker"),
            until=told_at + timedelta(seconds=opens_in_s) if told_at and opens_in_s is not None else None,
            why=report.get("why", ""),
        )


def _campaigns(
    connection: Connection, counts: _Counts, parts: Sequence[Row[Any]], campaign_id: int | None
) -> Iterator[CampaignStatus]:
    refused = {row.id: row for row in connection.execute(_REFUSED, {"id": campaign_id})}
    for row in connection.execute(_CAMPAIGNS, {"id": campaign_id}).all():
        open_now = Counter[str]()
        for one in counts.open:
            if one.campaign_id == row.id and one.state != "ended":
                open_now[one.state] += one.calls
        one_only = {"id": row.id} if campaign_id is not None else None
        yield CampaignStatus(
            name=row.name,
            use=counts.use({"campaign_id": row.id}, row.max_concurrent, row.calls_per_second),
            wanted=row.wanted or "idle",
            wanted_at=row.wanted_at,
            wanted_by=row.wanted_by,
            wanted_why=row.wanted_why,
            began_at=row.began_at,
            priority=row.priority,
            share=row.share,
            capacity=_capacity(row.capacity),
            parts=tuple(_part(one, counts) for one in parts if one.campaign_id == row.id),
            open=dict(sorted(open_now.items())),
            recent=counts.recent[row.id],
            verdicts=dict(map(tuple, connection.execute(_VERDICTS, one_only).all())) if one_only else None,
            held=connection.execute(_HELD, one_only).scalar_one() if one_only else None,
            windows=_windows(connection, row.id, counts.at) if row.wanted == "running" else (),
            refused_delivery=_refused(refused.get(row.id)),
        )


def _refused(row: Row[Any] | None) -> RefusedDelivery | None:
    if row is None:
        return None
    detail = row.detail
    why = next(iter(detail.get("problems", ())), detail.get("why", ""))
    return RefusedDelivery(at=row.at, file=detail["file"], aside=detail.get("aside"), why=why.splitlines()[0])


def _windows(connection: Connection, campaign_id: int, at: datetime) -> tuple[Interval, ...]:
    rows = connection.execute(_WINDOWS, {"id": campaign_id, "at": at})
    return tuple(Interval(opens_at=row.opens_at, closes_at=row.closes_at) for row in rows)


def _part(row: Row[Any], counts: _Counts) -> PartStatus:
    return PartStatus(
        node=row.node,
        use=counts.use({"campaign_id": row.campaign_id, "node": row.node}, max_rate=row.rate_share),
        progress=row.progress,
        progress_at=row.progress_at,
    )


def _capacity(data: Any) -> Capacity | None:
    if data is None:
        return None
    try:
        return Capacity.model_validate(data)
    except ValidationError:
        return None


def _engine(row: Row[Any]) -> EngineStatus:
    host, _, rest = row.holder.partition(" ")
    return EngineStatus(
        live=row.live and not leases.is_gone(row.holder),
        holder=f"{host}:{rest.split()[-2]}",
        epoch=row.epoch,
        taken_at=row.taken_at,
        lease_until=row.lease_until,
    )
