"""Campaigns, their accepted revisions, and the calendar that a claim checks before every call."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from dialer.campaign.calendar import Hours, Interval, days_ahead
from dialer.campaign.calling import rules_of
from dialer.campaign.load import LoadedCampaign
from dialer.campaign.model import Campaign
from dialer.campaign.running import Wanted
from dialer.errors import InvalidInput
from dialer.storage import audit
from dialer.storage.tables import campaign, campaign_run, contact, open_interval, revision


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A campaign in the database and its current revision; `created` says whether the revision is new."""

    campaign_id: int
    revision_id: int
    number: int
    created: bool


@dataclass(frozen=True, kw_only=True)
class StoredCampaign:
    """A campaign as the database holds it."""

    campaign_id: int
    tenant_id: str
    name: str
    revision_id: int
    revision_number: int
    sha256: str
    document: dict[str, Any]
    base_dir: str


@dataclass(frozen=True, kw_only=True)
class StoredRevision:
    """One accepted version of a campaign file."""

    id: int
    campaign_id: int
    number: int
    sha256: str
    document: dict[str, Any]
    base_dir: str
    accepted_at: datetime
    accepted_by: str | None
    note: str | None


def identify(connection: Connection, loaded: LoadedCampaign, now: datetime) -> int:
    """The campaign's id, made when it is new.

    Raises InvalidInput when another tenant has a campaign of that name: every command finds campaigns by name alone.
    """
    name, tenant = loaded.campaign.campaign, loaded.campaign.tenant
    connection.execute(
        upsert(campaign).values(tenant_id=tenant, name=name, created_at=now).on_conflict_do_nothing()
    )  # fmt: skip
    row = connection.execute(select(campaign.c.id, campaign.c.tenant_id).where(campaign.c.name == name)).one()
    if row.tenant_id != tenant:
        raise InvalidInput(
            f"there is a campaign {name!r} already, of tenant {row.tenant_id!r}. Choose another name in `campaign:`."
        )
    return int(row.id)


def register(
    connection: Connection, loaded: LoadedCampaign, now: datetime, *, by: str = "dialer", note: str | None = None
) -> Registered:
    """Makes the file the campaign's current revision; nothing changes when it is already. Raises as `identify`.

    The audit takes down who (`by`) accepted it.
    """
    campaign_id = identify(connection, loaded, now)
    lock(connection, campaign_id)
    last = connection.execute(
        select(revision.c.id, revision.c.number, revision.c.sha256, revision.c.base_dir, revision.c.document)
        .where(revision.c.campaign_id == campaign_id)
        .order_by(revision.c.number.desc())
        .limit(1)
    ).first()
    # Prompts and contacts are found from the folder, so the same file elsewhere is another revision; and so is the
    # same file when a rule pack says something else by now.
    same = (loaded.sha256, str(loaded.base_dir), loaded.document)
    if last is not None and (last.sha256, last.base_dir, last.document) == same:
        return Registered(campaign_id=campaign_id, revision_id=last.id, number=last.number, created=False)
    number = last.number + 1 if last is not None else 1
    revision_id = connection.execute(
        insert(revision)
        .values(
            campaign_id=campaign_id,
            number=number,
            sha256=loaded.sha256,
            document=loaded.document,
            base_dir=str(loaded.base_dir),
            accepted_at=now,
            accepted_by=by,
            note=note,
        )
        .returning(revision.c.id)
    ).scalar_one()
    connection.execute(update(campaign).where(campaign.c.id == campaign_id).values(revision_id=revision_id))
    audit.record(
        connection, who=by, what="revision.accepted", tenant_id=loaded.campaign.tenant, campaign_id=campaign_id,
        why=note, sha256=loaded.sha256, detail={"revision": number, "file": str(loaded.path)},
    )  # fmt: skip
    return Registered(campaign_id=campaign_id, revision_id=revision_id, number=number, created=True)


def lock(connection: Connection, campaign_id: int) -> None:
    """Lets one transaction at a time change the campaign's revision and calendar; claims wait for it too: be short.

    NO KEY UPDATE lets others go on writing attempts and contacts, whose foreign keys lock the row FOR KEY SHARE.
    """
    connection.execute(select(campaign.c.id).where(campaign.c.id == campaign_id).with_for_update(key_share=True))


def by_name(connection: Connection, name: str) -> StoredCampaign | None:
    """The campaign of that name with its current revision; None when there is none."""
    row = connection.execute(_stored().where(campaign.c.name == name)).first()
    return StoredCampaign(**row._mapping) if row is not None else None


def names(connection: Connection) -> list[str]:
    """Every campaign, in the order of the alphabet."""
    return list(connection.execute(select(campaign.c.name).order_by(campaign.c.name)).scalars())


def require(connection: Connection, name: str) -> StoredCampaign:
    """The campaign of that name. Raises InvalidInput that lists the known ones."""
    found = by_name(connection, name)
    if found is None:
        known = ", ".join(names(connection)) or "none yet; `dialer contacts import FILE` registers one"
        raise InvalidInput(f"there is no campaign {name!r}. Known are: {known}.")
    return found


def revisions(connection: Connection, campaign_id: int) -> list[StoredRevision]:
    """Every accepted version of a campaign's file, the newest first."""
    rows = connection.execute(
        select(*(revision.c[name] for name in StoredRevision.__dataclass_fields__))
        .where(revision.c.campaign_id == campaign_id)
        .order_by(revision.c.number.desc())
    )
    return [StoredRevision(**row._mapping) for row in rows]


def in_force(connection: Connection, campaign_id: int) -> StoredRevision:
    """The revision that claims are made by; of an idle campaign the last that was accepted."""
    run = connection.execute(
        select(campaign_run.c.revision_id).where(
            campaign_run.c.campaign_id == campaign_id, campaign_run.c.wanted != "idle"
        )
    ).scalar()
    found = revisions(connection, campaign_id)
    return next(one for one in found if run is None or one.id == run)


def read_again(stored: StoredRevision) -> LoadedCampaign:
    """A revision as if its file were loaded. Raises InvalidInput when this release does not read it any more."""
    base_dir = Path(stored.base_dir)
    read = _read(stored.number, stored.document)
    return LoadedCampaign(
        campaign=read, document=stored.document, base_dir=base_dir, sha256=stored.sha256,
        path=base_dir / f"(revision {stored.number})", lines={},
    )  # fmt: skip


def _read(number: int, document: dict[str, Any]) -> Campaign:
    try:
        return Campaign.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(
            f"revision {number} was accepted by another release, and this one cannot read it. "
            "Apply a file that `dialer validate` finds right."
        ) from error


def calendar(connection: Connection, campaign_id: int, rules: Hours, now: datetime) -> dict[str, list[Interval]]:
    """When each calendar key among a campaign's contacts may be called by some rules (campaign.calendar.days_ahead)."""
    keys = connection.execute(
        select(contact.c.zones).distinct().where(contact.c.campaign_id == campaign_id).order_by(contact.c.zones)
    ).scalars()
    return {key: days_ahead(rules, key, now) for key in keys}


def written_calendar(connection: Connection, revision_id: int, now: datetime) -> dict[str, list[Interval]]:
    """What claims by a revision look at, from now on."""
    found: dict[str, list[Interval]] = {}
    for row in connection.execute(
        select(open_interval.c.zones, open_interval.c.opens_at, open_interval.c.closes_at)
        .where(open_interval.c.revision_id == revision_id, open_interval.c.closes_at > now)
        .order_by(open_interval.c.opens_at)
    ):
        found.setdefault(row.zones, []).append(Interval(opens_at=row.opens_at, closes_at=row.closes_at))
    return found


def refresh_calendar(connection: Connection, revision_id: int, now: datetime) -> None:
    """Writes when a revision may call each set of zones among its campaign's contacts, 14 days ahead.

    A run that still goes by another revision has that one's written as well: people who have just come in are in the
    calendar of whichever claims are made by. Called after an import and hourly; running it again changes nothing. Rows
    of the past go: nothing reads them. Raises InvalidInput when this release does not read the revision.
    """
    columns: tuple[Any, ...] = (revision.c.id, revision.c.campaign_id, revision.c.number, revision.c.document)
    asked = connection.execute(select(*columns).where(revision.c.id == revision_id)).one()
    lock(connection, asked.campaign_id)
    _write_calendar(connection, asked, now)
    under_way = connection.execute(
        select(*columns)
        .join(campaign_run, campaign_run.c.revision_id == revision.c.id)
        .where(campaign_run.c.campaign_id == asked.campaign_id, campaign_run.c.wanted != Wanted.IDLE.value)
    ).first()
    if under_way is not None and under_way.id != revision_id:
        # What no engine of this release can read, none claims by.
        with suppress(InvalidInput):
            _write_calendar(connection, under_way, now)


def _write_calendar(connection: Connection, stored: Row[Any], now: datetime) -> None:
    rules = rules_of(_read(stored.number, stored.document))
    rows = [
        {"revision_id": stored.id, "zones": key, "opens_at": at.opens_at, "closes_at": at.closes_at}
        for key, intervals in calendar(connection, stored.campaign_id, rules, now).items()
        for at in intervals
    ]
    connection.execute(delete(open_interval).where(open_interval.c.revision_id == stored.id))
    for batch in _batches(rows, 1000):
        connection.execute(insert(open_interval), batch)


def _stored() -> Any:
    return select(
        campaign.c.id.label("campaign_id"),
        campaign.c.tenant_id,
        campaign.c.name,
        campaign.c.revision_id,
        revision.c.number.label("revision_number"),
        revision.c.sha256,
        revision.c.document,
        revision.c.base_dir,
    ).join(revision, revision.c.id == campaign.c.revision_id)


def _batches(rows: list[dict[str, Any]], size: int) -> Iterable[list[dict[str, Any]]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
