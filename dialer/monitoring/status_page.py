"""`dialer status` as lines: does it dial, what holds it back, what is broken and what to do about that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from dialer.campaign.capacity import Capacity
from dialer.engine.progress import Progress
from dialer.monitoring import outlook
from dialer.monitoring.layout import ARROW, Line, duration, laid_out, moment, number
from dialer.monitoring.status_facts import has_engine, holds, progress_of, ramp_of, trunks_of
from dialer.monitoring.words import Hold, in_words
from dialer.pacing.decide import Binding
from dialer.storage.status import (
    FRESH,
    CampaignStatus,
    EngineStatus,
    NodeStatus,
    RefusedDelivery,
    StatusPage,
    TrunkStatus,
    Use,
)

IDLE_SHOWN = timedelta(days=1)
"""Campaigns that have been idle for longer are only counted."""
_PASSING = (Binding.RECOVERING, Binding.DRAINING)
"""What keeps an engine from calling for seconds, or because somebody wants it."""
_ADVICE = {
    Binding.NODE_AWAY: "start Asterisk there",
    Binding.WORKERS_AWAY: "dialer agi serve",
    Binding.DISK_FULL: "free disk space",
}


def lines(page: StatusPage, *, width: int | None = None) -> list[str]:
    """The site, its nodes and trunks, then its campaigns. `width` in characters; None: each fact on one line."""
    told = [*_site(page), *(line for node in page.nodes for line in _node(node, page))]
    if page.campaigns:
        told.append(Line())
    long_idle = 0
    for campaign in page.campaigns:
        if campaign.wanted == "idle" and (campaign.wanted_at is None or page.at - campaign.wanted_at > IDLE_SHOWN):
            long_idle += 1
        else:
            told += [_campaign(campaign, page), *_below_campaign(campaign, page)]
    if long_idle:
        noun = "campaign is" if long_idle == 1 else "campaigns are"
        more = " more" if long_idle < len(page.campaigns) else ""
        told.append(Line(label="idle", parts=[f"{long_idle}{more} {noun} idle; `dialer status NAME` says more"]))
    return laid_out(told, width)


def lines_of(page: StatusPage, campaign: CampaignStatus, *, width: int | None = None) -> list[str]:
    """One campaign of the page: where it stands on each node, its ramp-up, all its verdicts, what is in doubt."""
    told = [_campaign(campaign, page, in_full=True), *_parts(campaign, page), *_ramp(campaign, page)]
    told += _below_campaign(campaign, page)
    if campaign.open:
        told.append(_below("open", [_counted(campaign.open)]))
    verdicts = campaign.verdicts or {}
    told.append(_below("verdicts", [_counted(verdicts) or "none yet"]))
    unclear, unknown = campaign.open.get("unclear", 0), verdicts.get("unknown", 0)
    told.append(_below("in doubt", [f"unclear {unclear:,}, unknown {unknown:,}",
                                    f"people held for an operator {campaign.held or 0:,}"]))  # fmt: skip
    return laid_out(told, width)


# -- site, nodes, trunks -----------------------------------------------------------------------------------------------


def _site(page: StatusPage) -> Iterator[Line]:
    yield Line(label="site", parts=[_at_once(page.site), _rate(page.site), f"{page.at:%Y-%m-%d %H:%M:%SZ}"])
    if not page.nodes:
        yield Line(label="", parts=["no engine has dialled here yet"])


def _node(node: NodeStatus, page: StatusPage) -> Iterator[Line]:
    parts, trouble = [_at_once(node.use), _rate(node.use)], False
    if node.why:
        parts.append(f"pace now {number(node.pace or 0.0)}/s: {node.why}")
        trouble = node.strained
    if node.blocked is not None:
        binding = Binding(node.blocked)
        parts.append(in_words([Hold(binding=binding, node=node.name)]) + _advice(_ADVICE.get(binding)))
        trouble = trouble or binding not in _PASSING
    if node.strays:
        parts.append(f"{_calls(node.strays)} of ours without an attempt")
        trouble = True
    said, wrong = _engine(node, page)
    yield Line(label=node.name, parts=[*parts, said], trouble=trouble or wrong)
    for trunk in node.trunks:
        yield _trunk(trunk, page)


def _engine(node: NodeStatus, page: StatusPage) -> tuple[str, bool]:
    """Who dials, and whether somebody should do something about it."""
    engine = node.engine
    if engine is None or not engine.live:
        last = (
            "" if engine is None else f"; the last one, {engine.holder}, was heard of {_heard_of(engine, node, page)}"
        )
        return f"no engine dials{last}{_start_engine(node.name) if node.is_wanted else ''}", node.is_wanted
    lease = duration((engine.lease_until - page.at).total_seconds())
    said = f"engine {engine.holder} (epoch {engine.epoch}), lease for {lease} more"
    if node.reported_at is None or node.reported_at < engine.taken_at:
        return f"{said}, not dialling yet", False
    if page.at - node.reported_at > FRESH:
        return f"{said}, but its last report is {_ago(node.reported_at, page)}", True
    return said, False


def _start_engine(node: str) -> str:
    return _advice(f"dialer engine --node {node}")


def _heard_of(engine: EngineStatus, node: NodeStatus, page: StatusPage) -> str:
    return _ago(max(engine.taken_at, node.reported_at or engine.taken_at), page)


def _trunk(trunk: TrunkStatus, page: StatusPage) -> Line:
    parts, trouble = [_of(trunk.use), _rate(trunk.use)], trunk.breaker in ("open", "half_open")
    if trunk.breaker == "open":
        seconds = (trunk.until - page.at).total_seconds() if trunk.until is not None else 0.0
        parts.append(f"breaker open for {duration(seconds)} more: {trunk.why}")
    elif trunk.breaker == "half_open":
        parts.append(f"breaker half open, one call at a time tries it: {trunk.why}")
    return Line(label=trunk.name, parts=parts, below=True, trouble=trouble)


# -- campaigns ---------------------------------------------------------------------------------------------------------


def _campaign(campaign: CampaignStatus, page: StatusPage, *, in_full: bool = False) -> Line:
    parts = [", ".join([_condition(campaign, page, in_full=in_full), *_standing(campaign, in_full=in_full)])]
    trouble = campaign.wanted == "paused" and campaign.wanted_by == "dialer"
    if trouble:
        parts[0] += _advice(f"dialer resume {campaign.name}")
    if campaign.wanted == "running" or campaign.use.in_use:
        parts += [_of(campaign.use), _rate(campaign.use)]
    if campaign.wanted == "running":
        found = list(holds(campaign, page))
        parts.append(in_words(found))
        refusal = _refusal(campaign, page)
        if refusal:
            parts.append(f"Asterisk says: {refusal}")
        trouble = bool(refusal)
    if campaign.open.get("unclear"):
        parts.append(f"{campaign.open['unclear']:,} unclear")
    if campaign.wanted != "idle" and not any(has_engine(part.node, page) for part in campaign.parts):
        parts.append("no engine dials it" + _advice("dialer engine"))
        trouble = True
    return Line(label=campaign.name, parts=parts, trouble=trouble)


def _condition(campaign: CampaignStatus, page: StatusPage, *, in_full: bool) -> str:
    if campaign.wanted_at is None:
        return "never ran"
    if campaign.wanted == "running" and not in_full:
        return "running"
    by = "itself" if campaign.wanted_by == "dialer" else campaign.wanted_by
    why = f": {campaign.wanted_why}" if campaign.wanted_why else ""
    return f"{campaign.wanted} since {moment(campaign.wanted_at, page.at)} ({by}{why})"


def _standing(campaign: CampaignStatus, *, in_full: bool) -> Iterator[str]:
    """Its place among other campaigns, where it is not the usual one."""
    if campaign.wanted == "idle":
        return
    for name, value in (("priority", campaign.priority), ("share", campaign.share)):
        if in_full or value != Capacity.model_fields[name].default:
            yield f"{name} {value}"


def _refusal(campaign: CampaignStatus, page: StatusPage) -> str:
    progress = progress_of(campaign, page)
    return progress.refusal if progress is not None and progress.binding is Binding.NODE_REFUSES else ""


def _below_campaign(campaign: CampaignStatus, page: StatusPage) -> Iterator[Line]:
    progress = progress_of(campaign, page)
    silent = _silent(campaign, progress) if progress is not None else ""
    if campaign.recent or silent:
        yield _below("last 5 min", [_counted(campaign.recent) or "no verdicts", silent])
    if campaign.refused_delivery is not None:
        yield _refused_delivery(campaign.refused_delivery, page)
    if campaign.wanted == "idle":
        return
    if progress is not None:
        yield _below("people", [f"{progress.due_now:,} due now", *_people(progress)])
        ahead = outlook.outlook_now(campaign, progress, page.at)
        if ahead is not None:
            parts, late = outlook.parts(ahead, page.at), ahead.is_late(page.at)
            yield Line(label="forecast", parts=parts, below=True, trouble=late)
        return
    old = progress_of(campaign, page, of_now=False)
    if old is not None:
        yield _below("people", [f"as of {_ago(old.at, page)}: {old.due_now:,} due", *_people(old)])


def _refused_delivery(refused: RefusedDelivery, page: StatusPage) -> Line:
    where = f"it lies in {refused.aside}" if refused.aside else f"it could not be moved away from {refused.file}"
    parts = [f"a delivery was refused at {moment(refused.at, page.at)}, the base stays as it was: {refused.why}", where]
    return Line(label="base", parts=parts, below=True, trouble=True)


def _people(progress: Progress) -> Iterator[str]:
    yield f"{progress.closed:,} of {progress.contacts:,} closed"
    if progress.held:
        yield f"{progress.held:,} held for an operator"
    if progress.never:
        yield f"{progress.never:,} never inside their window"
    if progress.next_call_at is not None and progress.next_call_at > progress.at:
        yield f"the next call at {moment(progress.next_call_at, progress.at)}"


def _silent(campaign: CampaignStatus, progress: Progress) -> str:
    if not progress.judged or campaign.capacity is None:
        return ""
    share = _percent(progress.judged_silent / progress.judged)
    return f"silent {share} of {progress.judged} (pauses above {_percent(campaign.capacity.max_silent)})"


def _parts(campaign: CampaignStatus, page: StatusPage) -> Iterator[Line]:
    if campaign.wanted == "idle":
        return
    for part in campaign.parts:
        trunks = f"through {' and '.join(trunks_of(campaign, part.node, page))}"
        share = f" of its share of {number(part.use.max_rate)}" if part.use.max_rate is not None else ""
        parts = [f"{part.use.in_use:,} {trunks}", f"{number(part.use.rate)}/s{share}"]
        dials = has_engine(part.node, page)
        if not dials:
            parts.append(f"no engine dials{_start_engine(part.node)}")
        yield Line(label=part.node, parts=parts, below=True, trouble=not dials)


def _ramp(campaign: CampaignStatus, page: StatusPage) -> Iterator[Line]:
    ramp = ramp_of(campaign, page)
    if ramp is None:
        return
    text = f"{ramp.share:.0%} after {duration(ramp.running_for_s)} of {duration(ramp.of_s)}"
    now = f"{ramp.max_concurrent:,} at once, {number(ramp.calls_per_second)}/s"
    yield _below("ramp-up", [f"{text}: {now}"])


# -- words -------------------------------------------------------------------------------------------------------------


def _below(label: str, parts: list[str]) -> Line:
    return Line(label=label, parts=parts, below=True)


def _of(use: Use) -> str:
    return f"{use.in_use:,} of {use.max:,}" if use.max is not None else f"{use.in_use:,}"


def _at_once(use: Use) -> str:
    return f"{_of(use)} at once"


def _rate(use: Use) -> str:
    return f"{number(use.rate)}/s" + (f" of {number(use.max_rate)}" if use.max_rate is not None else "")


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in numbers.items())


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count:,} calls"


def _ago(at: datetime, page: StatusPage) -> str:
    return f"{duration((page.at - at).total_seconds())} ago"


def _advice(what: str | None) -> str:
    """What to do; nothing for what heals by itself."""
    return f"{ARROW}{what}" if what else ""
