"""From what a user types to a question: whose, of which days, in which zone; and what the lake knows of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, text

from dialer.clock import to_us, utc_now
from dialer.errors import InvalidInput
from dialer.settings import OpeningHours, Settings
from dialer.storage import campaigns
from etl import opening, zones
from etl.columns import DAY_US
from etl.engines.duckdb import DuckDb
from etl.lake import Lake
from etl.reports import database
from etl.reports.asked import asked
from etl.reports.columns import Column
from etl.reports.make import Sources, Wanted, workshop
from etl.reports.model import Report
from etl.reports.options import Options
from etl.reports.query import PERIOD, Question
from etl.reports.scratch import scratch
from etl.reports.sidecar import Standing
from etl.zones import from_us

_KNOWN_TO_US = text("select as_of_us from etl_tenant where tenant_id = :tenant")
_LATE = text("select late from etl_run where tenant_id = :tenant and state = 'done' order by began_at desc limit 1")
_FIRST_DAY = text("select min(day) from etl_pointer where tenant_id = :tenant and dataset = any(:datasets)")
_TENANTS = text(
    "select tenant_id from campaign union select tenant_id from etl_tenant union select tenant_id from collect_token "
    "order by 1"
)
_CAMPAIGNS = text("select id, name from campaign where tenant_id = :tenant order by id")
YEARS = range(1971, 2101)
"""Of which reports are made; a mistyped year is told."""
KEPT_DAYS = 35
"""How far back a report goes that is not of the lake, if nobody says."""


@dataclass
class Machine:
    """A machine's lake and database, for one user's question; notes which runs were read."""

    settings: Settings
    connection: Connection
    runs: dict[str, None] = field(default_factory=dict)

    def wanted(self, report: Report, options: Options) -> Wanted:
        """The report with all that its question needs. Raises InvalidInput."""
        campaign = campaigns.require(self.connection, options.campaign) if options.campaign else None
        if report.one_campaign and campaign is None:
            raise InvalidInput(f"{report.name} has columns of one campaign's own: say which with --campaign NAME.")
        tenant = campaign.tenant_id if campaign is not None else self._tenant(options.tenant)
        if options.tenant not in (None, tenant):
            raise InvalidInput(f"campaign {options.campaign!r} is of tenant {tenant!r}, not of {options.tenant!r}.")
        its = asked(self.connection, campaign.campaign_id) if campaign is not None else None
        rows = self.connection.execute(_CAMPAIGNS, {"tenant": tenant})
        return Wanted(
            report=report,
            question=self._question(report, options, tenant, campaign.campaign_id if campaign is not None else None),
            campaigns={row.id: row.name for row in rows},
            steps=its.questions if its is not None else (),
            fields=its.fields if its is not None else (),
        )  # fmt: skip

    def sources(self, tenant: str) -> Sources:
        """Where the tenant's facts come from."""
        lake = Lake.of(self.settings)

        def files(dataset: str, first: date, last: date) -> Sequence[Path]:
            found = lake.files(self.connection, tenant, dataset, first, last)
            self.runs |= dict.fromkeys(_run_of(path) for path in found)
            return found

        def carry(duck: DuckDb, name: str, question: Question, fields: Sequence[str]) -> None:
            if name == "opening":
                promised_hours(duck, self.settings.opening_hours, question)
            else:
                database.carry(self.connection, duck, name, question, fields)

        return Sources(files=files, carry=carry)

    @contextmanager
    def workshop(self) -> Iterator[DuckDb]:
        """A DuckDB within the limits of the settings."""
        etl = self.settings.etl
        with (
            scratch(self.settings.state_dir / "reports") as folder,
            workshop(etl.memory_mb, etl.threads, folder) as duck,
        ):
            yield duck

    def standing(self, tenant: str) -> Standing:
        """How far the tenant's events are computed."""
        as_of_us = self.connection.execute(_KNOWN_TO_US, {"tenant": tenant}).scalar()
        return Standing(
            as_of=from_us(as_of_us) if as_of_us is not None else None,
            late_events=self.connection.execute(_LATE, {"tenant": tenant}).scalar() or 0,
            runs=sorted(self.runs),
        )

    def _tenant(self, said: str | None) -> str:
        known = list(self.connection.execute(_TENANTS).scalars())
        if said is not None:
            if said not in known:
                raise InvalidInput(f"there is no tenant {said!r}. Known are: {', '.join(known) or 'none yet'}.")
            return said
        if len(known) > 1:
            raise InvalidInput(f"say whose report it is with --tenant: {', '.join(known)}.")
        return known[0] if known else "default"

    def _question(self, report: Report, options: Options, tenant: str, campaign: int | None) -> Question:
        for day in (options.first, options.last):
            if day is not None and day.year not in YEARS:
                raise InvalidInput(f"{day} is no day of a report: years go from {YEARS[0]} to {YEARS[-1]}.")
        as_of = self.standing(tenant).as_of or utc_now()
        name = options.time_zone or self.settings.etl.time_zone
        last = options.last or zones.zone(name, as_of.date(), as_of.date()).date_of(to_us(as_of))
        first = options.first or self._first_day(report, tenant, name, last)
        if first > last and options.last is None:
            raise InvalidInput(f"nothing is known of {first} yet: facts end on {last}. `dialer etl run` makes more.")
        if first > last:
            raise InvalidInput(f"the period ends before it begins: --from {first} --to {last}.")
        if report.most_days is not None and (last - first).days >= report.most_days:
            if options.first is not None:
                raise InvalidInput(f"{report.name} is made of at most {report.most_days} days at a time.")
            first = last - timedelta(days=report.most_days - 1)
        zone = zones.zone(name, first, last)
        return Question(
            tenant=tenant, zone=zone, from_us=zone.day_us(first), to_us=zone.day_us(last + timedelta(days=1)),
            as_of_us=to_us(as_of), campaign=campaign, targets=self.settings.reports,
        )  # fmt: skip

    def _first_day(self, report: Report, tenant: str, zone: str, last: date) -> date:
        """The first of which there are facts: what the clock shows as its UTC day begins."""
        values = {"tenant": tenant, "datasets": list(report.reads)}
        found = self.connection.execute(_FIRST_DAY, values).scalar() if report.reads else None
        if found is None:
            return last - timedelta(days=KEPT_DAYS)
        midnight = datetime(found.year, found.month, found.day, tzinfo=UTC)
        return min(zones.zone(zone, found, found).date_of(to_us(midnight)), last)


def promised_hours(duck: DuckDb, hours: Iterable[OpeningHours], question: Question) -> None:
    """Makes the table `opening` of what promises are measured by; it is empty where they are by all hours."""
    first, last = question.from_us // DAY_US, max(question.to_us, question.as_of_us) // DAY_US + 1
    held = hours if question.targets.sla_hours == "opening" else ()
    query = opening.query(held, question.tenant, first, last)
    duck.connection.execute(f"CREATE OR REPLACE TEMP TABLE opening AS {query}")


def key_of(report: Report, said: str) -> tuple[Column, str] | str:
    """One `--rows`: a key with its text, or the name of a column. Raises InvalidInput."""
    keys = {column.name: column for column in (*PERIOD[1:3], *report.keys)}
    name, equals, value = said.partition("=")
    if equals and name in keys:
        return keys[name], value
    if not equals and report.measure(said) is not None:
        return said
    columns = [column.name for column in report.columns if report.measure(column.name) is not None]
    raise InvalidInput(
        f"{report.name} has no cell {said!r}. Say KEY=TEXT with the text of a cell: {', '.join(keys)}; and one column: "
        f"{', '.join(columns)}."
    )


def _run_of(path: Path) -> str:
    return next((part.removeprefix("run=") for part in path.parts if part.startswith("run=")), "")
