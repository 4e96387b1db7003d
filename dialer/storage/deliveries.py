"""Daily deliveries of number bases: found while their campaigns run, merged when complete, put aside when broken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, text

from dialer.campaign.model import Campaign
from dialer.campaign.running import NOBODY_LEFT, Wanted
from dialer.errors import DatabaseAway, DialerError, InvalidInput
from dialer.storage import audit, campaigns, runs
from dialer.storage.campaigns import StoredCampaign
from dialer.storage.folder import RESTS_S, Stamp, deliveries, newest, put_aside
from dialer.storage.number_file import shown
from dialer.storage.prepare import Base, ImportSummary, import_file
from dialer.storage.session import plain_errors

REFUSED = "contacts.refused"
"""In the audit: a delivery that was put aside."""

# Most campaigns watch no folder: their documents stay where they are. A campaign that ended by itself, and whose file
# is still the same, waits for tomorrow's base: nobody ordered it to end. One was hasty when its end crossed an import.
_WATCHED = text("""
select c.name, w.wanted = 'idle' as ended, w.wanted = 'idle' and exists (
  select from audit a where a.campaign_id = c.id and a.what = 'contacts.import'
    and a.at between w.wanted_at - interval '30 seconds' and w.wanted_at
) as hasty
from campaign_run w join campaign c on c.id = w.campaign_id join revision r on r.id = c.revision_id
where (w.wanted <> 'idle' or (:wake and w.wanted_by = 'dialer' and w.wanted_why = :nobody_left
                              and w.revision_id = c.revision_id))
  and (cast(:node as text) is null
       or exists (select from campaign_node n where n.campaign_id = c.id and n.node = :node and n.weight > 0))
  and r.document -> 'contacts' ->> 'from' ~ '[*?]|/$|\\{date\\}'
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
        if not isinstance(self.problem, InvalidInput):
            return f"{self.campaign}: {shown(self.file)} could not be imported; the next look tries again\n{lines[0]}"
        where = f"It was put aside: {shown(self.aside)}" if self.aside else "It could not be moved away."
        first = f"{self.campaign}: {shown(self.file)} is refused, and the base stays as it was. {where}"
        return "\n".join((first, *lines))


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A campaign whose number base comes in a folder."""

    name: str
    base: Base
    revision_id: int
    base_dir: Path
    ended: bool = False
    """It ended by itself; who is new in a delivery makes it run again."""


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

    def look(
        self, now: datetime, monotonic_s: float, *, node: str | None = None, wake: bool = False
    ) -> Iterator[Delivery]:
        """Looks once into the folder of every campaign under way, on any node or on one. Raises DatabaseAway.

        With `wake` also for campaigns that ended because nobody was left: a delivery with somebody to call lets them
        run again.
        """
        with plain_errors(), self._engine.connect() as connection:
            rows = connection.execute(_WATCHED, {"node": node, "wake": wake, "nobody_left": NOBODY_LEFT}).all()
            stored = [(campaigns.require(connection, row.name), row) for row in rows]
        for one, row in stored:
            try:
                campaign = watched(one, ended=row.ended)
            except InvalidInput:
                # No engine dials it either, and says so (storage.engine_runs); the others must not suffer.
                continue
            if row.hasty:
                with plain_errors(), self._engine.begin() as connection:
                    _wake(connection, campaign)
            yield from self.look_for(campaign, now, monotonic_s)

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
                    if summary.counts.accepted + summary.counts.changed:
                        _wake(connection, campaign)
        except DatabaseAway:
            raise
        except InvalidInput as error:
            return self._refuse(campaign, stamp.path, error)
        except DialerError as error:
            return Delivery(campaign=campaign.name, file=stamp.path, problem=error)
        return None if summary.unchanged else Delivery(campaign=campaign.name, file=stamp.path, summary=summary)

    def _refuse(self, campaign: Watched, path: Path, error: InvalidInput) -> Delivery | None:
        """Puts a delivery aside and notes it in the audit, where `dialer status` finds it; None when it is gone."""
        aside = _aside(path, error)
        if aside is None and not path.exists():
            # Another engine was faster, or whoever delivers took it back.
            return None
        detail = {
            "file": shown(path), "aside": shown(aside) if aside is not None else None, "why": str(error),
            "problems": [str(one) for one in error.problems[:20]],
        }  # fmt: skip
        with plain_errors(), self._engine.begin() as connection:
            audit.record(
                connection, who=self._by, what=REFUSED, tenant_id=campaign.base.tenant_id,
                campaign_id=campaign.base.campaign_id, detail=detail,
            )  # fmt: skip
        return Delivery(campaign=campaign.name, file=path, problem=error, aside=aside)


def watched(stored: StoredCampaign, *, ended: bool = False) -> Watched:
    """What a look needs of a campaign, by its current revision. Raises InvalidInput for one of another release."""
    try:
        read = Campaign.model_validate(stored.document).contacts
    except ValidationError as error:
        raise InvalidInput(
            f"revision {stored.revision_number} of {stored.name} was accepted by another release, and this one cannot "
            "read it. Apply a file that `dialer validate` finds right."
        ) from error
    base = Base(
        campaign_id=stored.campaign_id, tenant_id=stored.tenant_id, contacts=read, how=stored.document["contacts"]
    )
    return Watched(
        name=stored.name, base=base, revision_id=stored.revision_id, base_dir=Path(stored.base_dir), ended=ended
    )


def _wake(connection: Connection, campaign: Watched) -> None:
    """Lets a campaign that had ended by itself run again."""
    if campaign.ended:
        order = runs.Order(verb="run", wanted=Wanted.RUNNING, by="dialer", why="a delivery brought people to call")
        runs.change(connection, campaign.base.campaign_id, campaign.base.tenant_id, order, [Wanted.IDLE])


def _aside(path: Path, error: InvalidInput) -> Path | None:
    why = "\n".join([str(error), *map(str, error.problems)])
    try:
        return put_aside(path, why)
    except OSError:
        return None
