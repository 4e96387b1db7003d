"""Daily deliveries of number bases: found while their campaigns run, merged when complete, put aside when broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, text

from dialer.campaign.model import Campaign
from dialer.campaign.running import Wanted
from dialer.errors import DatabaseAway, DialerError, InvalidInput
from dialer.storage import campaigns
from dialer.storage.campaigns import StoredCampaign
from dialer.storage.folder import RESTS_S, Stamp, deliveries, newest, put_aside
from dialer.storage.prepare import Base, ImportSummary, import_file
from dialer.storage.session import plain_errors

# Most campaigns watch no folder: their documents stay where they are.
_WATCHED = text("""
select c.name
from campaign_run w join campaign c on c.id = w.campaign_id join revision r on r.id = c.revision_id
where w.wanted <> :idle and r.document -> 'contacts' ->> 'from' ~ '[*?]|/$|\\{date\\}'
order by c.id
""")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What became of one file of a folder."""

    campaign: str
    file: Path
    summary: ImportSummary | None = None
    problem: DialerError | None = None
    """Why it was refused, whole."""
    aside: Path | None = None
    """Where it was put; None when it could not be moved, and stays where it is."""

    def __str__(self) -> str:
        if self.problem is None:
            return f"{self.campaign}: {self.summary}"
        lines = [str(self.problem), *(f"  {problem}" for problem in getattr(self.problem, "problems", ()))]
        where = f"It was put aside: {self.aside}" if self.aside else "It could not be moved away."
        return f"{self.campaign}: {self.file} is refused. {where}\n" + "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A campaign whose number base comes in a folder."""

    name: str
    base: Base
    revision_id: int
    base_dir: Path


class Deliveries:
    """Looks into the folders; it remembers the looks before, so that a file is taken only when it rests.

    All of it blocks: the engine calls it in a thread, and only one look at a time.
    """

    def __init__(self, engine: Engine, rejects_dir: Path, by: str) -> None:
        self._engine, self._rejects_dir, self._by = engine, rejects_dir, by
        self._since: dict[int, dict[Stamp, float]] = {}
        """Of each campaign: when each file was first seen as it is now, by the monotonic clock."""
        self._settled: dict[int, Stamp] = {}
        """The newest delivery of each campaign that there is nothing more to do about."""

    def look(self, now: datetime, monotonic_s: float) -> list[Delivery]:
        """Looks once into the folder of every campaign under way. Raises DatabaseAway."""
        with plain_errors(), self._engine.connect() as connection:
            names = connection.execute(_WATCHED, {"idle": Wanted.IDLE.value}).scalars().all()
            found = [watched(campaigns.require(connection, name)) for name in names]
        return [delivery for one in found for delivery in self.look_for(one, now, monotonic_s)]

    def look_for(self, campaign: Watched, now: datetime, monotonic_s: float) -> Iterator[Delivery]:
        """Merges the newest complete delivery of one campaign, if it is a new one; a broken one is put aside."""
        campaign_id = campaign.base.campaign_id
        before = self._since.get(campaign_id, {})
        stamps = deliveries(campaign.base_dir, campaign.base.contacts.source)
        since = self._since[campaign_id] = {stamp: before.get(stamp, monotonic_s) for stamp in stamps}
        found = newest(stamps, lambda stamp: monotonic_s - since[stamp] >= RESTS_S)
        if found is None or self._settled.get(campaign_id) == found:
            return
        delivery = self._merge(campaign, found, now)
        # What is not the file's fault, such as a full disk, is tried again at the next look.
        if delivery is None or delivery.problem is None or isinstance(delivery.problem, InvalidInput):
            self._settled[campaign_id] = found
        if delivery is not None:
            yield delivery

    def nothing_awaited(self, campaign: Watched) -> bool:
        """Whether no file of the last look is newer than what is settled."""
        since = self._since.get(campaign.base.campaign_id, {})
        settled = self._settled.get(campaign.base.campaign_id)
        return next(iter(since), None) == settled

    def _merge(self, campaign: Watched, stamp: Stamp, now: datetime) -> Delivery | None:
        """None when the same file came before. Raises DatabaseAway: the next look tries again."""
        try:
            with plain_errors(), self._engine.begin() as connection:
                summary = import_file(
                    connection, campaign.base, stamp.path, self._rejects_dir, now, by=self._by, again=False
                )  # fmt: skip
                if not summary.unchanged:
                    campaigns.refresh_calendar(connection, campaign.revision_id, now)
        except DatabaseAway:
            raise
        except InvalidInput as error:
            return Delivery(campaign=campaign.name, file=stamp.path, problem=error, aside=_aside(stamp.path, error))
        except DialerError as error:
            return Delivery(campaign=campaign.name, file=stamp.path, problem=error)
        return None if summary.unchanged else Delivery(campaign=campaign.name, file=stamp.path, summary=summary)


def watched(stored: StoredCampaign) -> Watched:
    """What a look needs of a campaign, by its current revision."""
    base = Base(
        campaign_id=stored.campaign_id,
        tenant_id=stored.tenant_id,
        contacts=Campaign.model_validate(stored.document).contacts,
        how=stored.document["contacts"],
    )
    return Watched(name=stored.name, base=base, revision_id=stored.revision_id, base_dir=Path(stored.base_dir))


def _aside(path: Path, error: InvalidInput) -> Path | None:
    why = "\n".join([str(error), *map(str, error.problems)])
    try:
        return put_aside(path, why)
    except OSError:
        return None
