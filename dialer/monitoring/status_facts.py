"""What follows from a status page: what holds a campaign back and whose limit that is; and the page for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dialer.engine.progress import Progress, from_data, merged
from dialer.monitoring import outlook
from dialer.monitoring.words import Hold
from dialer.pacing.decide import Binding
from dialer.pacing.ramp import ramped
from dialer.storage.status import FRESH, CampaignStatus, NodeStatus, PartStatus, StatusPage, TrunkStatus, Use

_SAYS_SO: Mapping[Binding, Callable[[TrunkStatus], bool]] = {
    Binding.BREAKER_OPEN: lambda trunk: trunk.breaker in ("open", "half_open"),
    Binding.TRUNK_CEILING: lambda trunk: trunk.use.max is not None and trunk.use.in_use >= trunk.use.max,
    Binding.TRUNK_RATE: lambda trunk: trunk.use.max_rate is not None,
}
"""By what one sees which of a campaign's trunks are meant."""


@dataclass(frozen=True, kw_only=True)
class RampUp:
    """How far a campaign's limits have grown: a share from 0.1 to 1, after how many seconds of how many."""

    share: float
    running_for_s: float
    of_s: float
    max_concurrent: int
    """As the engine has it now."""
    calls_per_second: float


def is_fresh(part: PartStatus, page: StatusPage) -> bool:
    """Whether what an engine said of a campaign is of now."""
    return part.progress_at is not None and page.at - part.progress_at <= FRESH


def progress_of(campaign: CampaignStatus, page: StatusPage, *, of_now: bool = True) -> Progress | None:
    """What the engines say of a campaign now; with `of_now` False what they said last."""
    told = [part.progress for part in campaign.parts
            if part.progress is not None and (is_fresh(part, page) or not of_now)]  # fmt: skip
    return merged([from_data(one) for one in told]) if told else None


def holds(campaign: CampaignStatus, page: StatusPage) -> Iterator[Hold]:
    """What keeps it from more calls, on each node whose engine speaks of it."""
    for part in campaign.parts:
        if part.progress is not None and is_fresh(part, page):
            binding = from_data(part.progress).binding
            trunks = _trunks(campaign, part.node, page)
            says_so = _SAYS_SO.get(binding)
            # The page may be a second younger than what the engine said: then all of them, as any may be meant.
            found = [trunk for trunk in trunks if says_so is not None and says_so(trunk)] or trunks
            yield Hold(binding=binding, node=part.node, trunks=_names(found))


def trunks_of(campaign: CampaignStatus, node: str, page: StatusPage) -> tuple[str, ...]:
    """The campaign's trunks that are on a node."""
    return _names(_trunks(campaign, node, page))


def _trunks(campaign: CampaignStatus, node: str, page: StatusPage) -> list[TrunkStatus]:
    here = {trunk.name: trunk for one in page.nodes if one.name == node for trunk in one.trunks}
    used = campaign.capacity.trunks if campaign.capacity is not None else ()
    return [here[use.name] for use in used if use.name in here]


def _names(trunks: Sequence[TrunkStatus]) -> tuple[str, ...]:
    return tuple(trunk.name for trunk in trunks) or ("its trunks",)


def has_engine(node: str, page: StatusPage) -> bool:
    """Whether an engine dials through the node now."""
    return any(one.name == node and one.engine is not None and one.engine.live for one in page.nodes)


def ramp_of(campaign: CampaignStatus, page: StatusPage) -> RampUp | None:
    """None when its limits are whole."""
    if campaign.wanted != "running" or campaign.capacity is None or campaign.began_at is None:
        return None
    of_s, running_for_s = campaign.capacity.ramp_up, (page.at - campaign.began_at).total_seconds()
    if running_for_s >= of_s:
        return None
    return RampUp(
        share=ramped(1.0, running_for_s, of_s),
        running_for_s=running_for_s,
        of_s=of_s,
        max_concurrent=max(1, int(ramped(campaign.use.max or 0, running_for_s, of_s))),
        calls_per_second=ramped(campaign.use.max_rate or 0.0, running_for_s, of_s),
    )


def as_data(page: StatusPage) -> dict[str, Any]:
    """The page as JSON-able data; what nobody knows now is null."""
    return {
        "at": _iso(page.at),
        "site": {name: value for name, value in asdict(page.site).items() if name != "max_rate"},
        "nodes": [_node(node) for node in page.nodes],
        "campaigns": [_campaign(campaign, page) for campaign in page.campaigns],
    }


def _node(node: NodeStatus) -> dict[str, Any]:
    engine = node.engine
    return {
        "name": node.name,
        **asdict(node.use),
        "is_wanted": node.is_wanted,
        "engine": {
            "live": engine.live, "holder": engine.holder, "epoch": engine.epoch,
            "taken_at": _iso(engine.taken_at), "lease_until": _iso(engine.lease_until),
        } if engine is not None else None,
        "reported_at": _iso(node.reported_at),
        "blocked": node.blocked,
        "pace": node.pace,
        "strained": node.strained,
        "why": node.why,
        "strays": node.strays,
        "trunks": [_trunk(trunk) for trunk in node.trunks],
    }  # fmt: skip


def _trunk(trunk: TrunkStatus) -> dict[str, Any]:
    return {
        "name": trunk.name, **asdict(trunk.use), "breaker": trunk.breaker, "until": _iso(trunk.until), "why": trunk.why,
    }  # fmt: skip


def _campaign(campaign: CampaignStatus, page: StatusPage) -> dict[str, Any]:
    progress, ramp = progress_of(campaign, page), ramp_of(campaign, page)
    return {
        "name": campaign.name,
        **asdict(campaign.use),
        "wanted": campaign.wanted,
        "wanted_at": _iso(campaign.wanted_at),
        "by": campaign.wanted_by,
        "why": campaign.wanted_why,
        "priority": campaign.priority,
        "share": campaign.share,
        "ramp": asdict(ramp) if ramp is not None else None,
        "held_back_by": [
            {"node": hold.node, "binding": hold.binding.value, "of": hold.of} for hold in holds(campaign, page)
        ],
        "nodes": [_part(part) for part in campaign.parts],
        "verdicts_5min": campaign.recent,
        "verdicts": campaign.verdicts,
        "silent": {
            "share": progress.judged_silent / progress.judged if progress.judged else 0.0,
            "of": progress.judged,
            "limit": campaign.capacity.max_silent if campaign.capacity is not None else None,
        } if progress is not None else None,
        "forecast": outlook.as_data(outlook.outlook_now(campaign, progress, page.at), page.at),
        "due_now": progress.due_now if progress is not None else None,
        "closed": progress.closed if progress is not None else None,
        "contacts": progress.contacts if progress is not None else None,
        "open": campaign.open,
        "held": campaign.held,
        "refused_delivery": _refused_delivery(campaign),
    }  # fmt: skip


def _refused_delivery(campaign: CampaignStatus) -> dict[str, Any] | None:
    refused = campaign.refused_delivery
    return asdict(refused) | {"at": _iso(refused.at)} if refused is not None else None


def _part(part: PartStatus) -> dict[str, Any]:
    use: Use = part.use
    return {
        "name": part.node, "in_use": use.in_use, "rate": use.rate, "rate_share": use.max_rate,
        "reported_at": _iso(part.progress_at),
    }  # fmt: skip


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at is not None else None
