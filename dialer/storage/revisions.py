"""Accepting another version of a campaign's file, also while people are called by the one before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from dialer.campaign.changes import limits_changed
from dialer.campaign.load import LoadedCampaign
from dialer.campaign.running import Overrides, Wanted
from dialer.errors import InvalidInput, RefusedBySafety
from dialer.storage import campaigns, event_log, runs
from dialer.storage.campaigns import StoredRevision
from dialer.storage.prepare import Base, ImportSummary, import_file, source


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A revision that is in force."""

    number: int
    is_new: bool
    """False: the last one was of the very same file."""
    goes_on: bool
    """The campaign is under way, and goes on by it from the next claim on."""
    imported: ImportSummary | None
    """What became of its people, when the file reads them in another way."""


def accept(
    connection: Connection,
    loaded: LoadedCampaign,
    weights: Mapping[str, int],
    now: datetime,
    *,
    by: str,
    note: str,
    rejects_dir: Path,
) -> Accepted:
    """Makes a file the campaign's revision, and lets a run under way go on by it; all or nothing.

    `weights` are those of its trunks' nodes. People are read anew only when `contacts` has changed. Raises InvalidInput
    for an unknown campaign, RefusedBySafety when the campaign runs on other nodes.
    """
    event_log.ensure_partitions(connection, now)
    stored = campaigns.require(connection, loaded.campaign.campaign)
    before = campaigns.in_force(connection, stored.campaign_id)
    run = runs.find(connection, stored.campaign_id)
    under_way = run is not None and run.wanted is not Wanted.IDLE
    if run is not None and under_way and (why := other_nodes(stored.name, {one.node for one in run.nodes}, weights)):
        raise RefusedBySafety(why)
    imported = None
    if before.document.get("contacts") != loaded.document["contacts"]:
        base = Base(
            campaign_id=stored.campaign_id, tenant_id=loaded.campaign.tenant, contacts=loaded.campaign.contacts,
            how=loaded.document["contacts"],
        )  # fmt: skip
        path = source(loaded, now)
        if path is not None:
            imported = import_file(connection, base, path, rejects_dir, now, by=by, again=True)
    made = campaigns.register(connection, loaded, now, by=by, note=note)
    campaigns.refresh_calendar(connection, made.revision_id, now)
    goes_on = under_way and before.id != made.revision_id
    if goes_on:
        limits = _limits(before, loaded)
        revision = (made.revision_id, made.number)
        runs.revise(connection, stored.campaign_id, stored.tenant_id, revision, limits, weights, by, note)
    return Accepted(number=made.number, is_new=made.created, goes_on=goes_on, imported=imported)


def other_nodes(name: str, here: Collection[str], wanted: Collection[str]) -> str:
    """Why a campaign that runs on nodes cannot go on on others; empty: they are the same.

    An engine takes up what was ordered since it began: a node that comes in later would be left without calls.
    """
    if set(here) == set(wanted):
        return ""
    return (
        f"{name} runs on {', '.join(sorted(here))}, and the trunks of this file are on {', '.join(sorted(wanted))}. "
        f"Nodes change with an order to run only: drain it (`dialer drain {name}`), and run the file then."
    )


def _limits(before: StoredRevision, loaded: LoadedCampaign) -> Overrides:
    try:
        old = campaigns.read_again(before).campaign.capacity
    except InvalidInput:
        # Of another release: what the new file says is all that is known.
        capacity = loaded.campaign.capacity
        return Overrides(
            max_concurrent=capacity.max_concurrent, calls_per_second=capacity.calls_per_second,
            priority=capacity.priority, share=capacity.share,
        )  # fmt: skip
    return limits_changed(old, loaded.campaign.capacity)


def earlier(connection: Connection, name: str, number: int | None) -> StoredRevision:
    """The revision of that number, or None for the last one that differs from the one in force. Raises InvalidInput."""
    stored = campaigns.require(connection, name)
    found = campaigns.revisions(connection, stored.campaign_id)
    now = campaigns.in_force(connection, stored.campaign_id)
    if number is not None:
        wanted = next((one for one in found if one.number == number), None)
        if wanted is None:
            raise InvalidInput(f"{name} has no revision {number}: it has {found[-1].number} to {found[0].number}.")
        return wanted
    for one in found:
        if one.number < now.number and (one.sha256, one.document) != (now.sha256, now.document):
            return one
    raise InvalidInput(f"{name} has only ever had this one file: there is nothing to go back to.")
