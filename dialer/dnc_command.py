"""`dialer dnc add|import|remove|check|list`: who is not to be called, by anybody here, for a tenant, in a campaign."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from dialer import phone
from dialer import settings as settings_module
from dialer.clock import utc_now
from dialer.contacts.numbers import NumberReader
from dialer.contacts.suppress import DncScope, DncSource
from dialer.control_command import operator
from dialer.errors import InvalidInput
from dialer.phone import Number
from dialer.storage import audit, campaigns, dnc, migrate
from dialer.storage.dnc import DncList, Entry
from dialer.storage.dnc_import import DncFile, import_file, told
from dialer.storage.reading import reading
from dialer.storage.session import plain_errors, sync_engine

_LAST_ZONE = timedelta(hours=12)
"""A day ends last in UTC-12."""
_COLUMNS = ("number", "scope", "tenant_id", "campaign", "source", "reason", "added_at", "added_by", "until")

_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_TENANT = click.option("--tenant", help="The list of this tenant, instead of the site's.")
_CAMPAIGN = click.option("--campaign", help="The list of this campaign, instead of the site's.")
_NUMBERS = click.argument("numbers", metavar="NUMBER...", nargs=-1, required=True)
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


def _known(_context: click.Context, _parameter: click.Parameter, region: str | None) -> str | None:
    if region is not None and not phone.is_region(region):
        raise InvalidInput(f"{region!r} is no country: give two letters as ISO 3166 has them, such as PL")
    return region


def _instant(_context: click.Context, _parameter: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    at = _moment(text)
    if at <= utc_now():
        raise InvalidInput(f"{text} is over: it would keep nobody from being called. Nothing was changed.")
    return at


def _moment(text: str) -> datetime:
    """A day counts to its end everywhere on earth."""
    try:
        if len(text) == len("2027-01-31"):
            return datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1) + _LAST_ZONE
        at = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text!r} is neither a day such as 2027-01-31 nor a time such as 2027-01-31T18:00+01:00"
        raise InvalidInput(message) from error
    if at.tzinfo is None:
        raise InvalidInput(f"{text!r} says no time zone: write {text}+01:00, or {text}Z for UTC")
    return at.astimezone(UTC)


_REGION = click.option("--region", callback=_known, help="The country of numbers without a country code, such as PL.")
_UNTIL = click.option(
    "--until", callback=_instant, metavar="WHEN", help="A day or a time until which it holds; without it, for good."
)


@click.group("dnc")
def dnc_group() -> None:
    """Do-not-call lists: of the site, of tenants, of campaigns. No call is claimed against them."""


@dnc_group.command("add")
@_NUMBERS
@_TENANT
@_CAMPAIGN
@_UNTIL
@click.option("--why", help="The reason, for the list and the audit.")
@_REGION
@_SETTINGS
def add(
    numbers: tuple[str, ...],
    tenant: str | None,
    campaign: str | None,
    until: datetime | None,
    why: str | None,
    region: str | None,
    settings_path: Path | None,
) -> None:
    """Keep numbers from being called, from now on; without --tenant or --campaign by anybody here.

    Adding one again changes nothing. A call that was claimed before goes on; this says how many there are.

    \b
    Examples:
      dialer dnc add +48501100101 --why "asked by letter"
      dialer dnc add +48501100101 --campaign health-check --until 2027-01-31
    """
    found = _read(numbers, region)
    with _changing(settings_path) as connection:
        to = _list(connection, tenant, campaign)
        counts = dnc.add(
            connection, to, ((number, None) for number in found), source=DncSource.COMMAND, by=operator(), reason=why,
            until=until,
        )  # fmt: skip
        _take_down(connection, "dnc.add", to, why, {"numbers": found, "until": _iso(until)})
        dnc.hold_claims(connection)
        live = dnc.calls_under_way(connection, to, found)
    known = f", {counts.known} stood there already" if counts.known else ""
    click.echo(f"{counts.added} added to {to}{known}")
    if live:
        click.echo(f"{live} of them {'is' if live == 1 else 'are'} in a call that was begun before", err=True)


@dnc_group.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_TENANT
@_CAMPAIGN
@_UNTIL
@click.option("--column", help="The column of the numbers: its name in the header, or its place, from 1.")
@click.option("--why", help="The reason, for the list and the audit; a column `reason` says it for each number.")
@_REGION
@_JSON
@_SETTINGS
@click.pass_context
def import_(
    context: click.Context,
    file: Path,
    tenant: str | None,
    campaign: str | None,
    until: datetime | None,
    column: str | None,
    why: str | None,
    region: str | None,
    as_json: bool,
    settings_path: Path | None,
) -> None:
    """Put the numbers of a file on a list: one a line, or CSV. All of it counts from one moment on, or nothing does.

    The same file again changes nothing. Lines without a readable number keep nobody from being called: they are said,
    and the exit code is 1.

    Example: dialer dnc import national-list.csv --column phone --region PL
    """
    with _changing(settings_path) as connection:
        to = _list(connection, tenant, campaign)
        done = import_file(
            connection, to, DncFile(path=file, column=column, region=region), by=operator(), reason=why, until=until
        )
        facts = {"file": str(file), **asdict(done.counts), "unreadable": done.unreadable}
        _take_down(connection, "dnc.import", to, why, {**facts, "until": _iso(until)}, done.sha256)
        dnc.hold_claims(connection)
    counts = done.counts
    said = f"{file}: {counts.added} added to {to}, {counts.known} stood there already, {counts.repeated} repeated"
    click.echo(json.dumps({**facts, "list": str(to)}) if as_json else f"{said}, {done.unreadable} unreadable")
    for line in done.first_unreadable:
        click.echo(told(line), err=True)
    if (more := done.unreadable - len(done.first_unreadable)) > 0:
        click.echo(f"and {more} lines more", err=True)
    if done.unreadable:
        context.exit(1)


@dnc_group.command("remove")
@_NUMBERS
@_TENANT
@_CAMPAIGN
@click.option("--why", required=True, help="The reason, for the audit: somebody relied on being left alone.")
@_REGION
@_SETTINGS
@click.pass_context
def remove(
    context: click.Context,
    numbers: tuple[str, ...],
    tenant: str | None,
    campaign: str | None,
    why: str,
    region: str | None,
    settings_path: Path | None,
) -> None:
    """Take numbers off one list. Contacts that were closed because of it stay closed.

    Example: dialer dnc remove +48501100101 --why "listed by mistake, see ticket 812"
    """
    found = _read(numbers, region)
    with _changing(settings_path) as connection:
        of = _list(connection, tenant, campaign)
        removed = dnc.remove(connection, of, found)
        if removed:
            _take_down(connection, "dnc.remove", of, why, {"numbers": removed})
    click.echo(f"{len(removed)} taken off {of}")
    if missing := sorted(set(found) - set(removed)):
        click.echo(f"not on it: {', '.join(missing)}; `dialer dnc check` says where a number is", err=True)
        context.exit(1)


@dnc_group.command("check")
@_NUMBERS
@_REGION
@_JSON
@_SETTINGS
def check(numbers: tuple[str, ...], region: str | None, as_json: bool, settings_path: Path | None) -> None:
    """Say on which lists numbers are, since when, by whom and why.

    Example: dialer dnc check +48501100101
    """
    found = _read(numbers, region)
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with reading(engine) as connection:
            entries = dnc.find(connection, found)
    finally:
        engine.dispose()
    of = {number: [entry for entry in entries if entry.number == number] for number in found}
    if as_json:
        click.echo(json.dumps({number: list(map(_facts, of[number])) for number in found}, ensure_ascii=False))
        return
    for number in found:
        lines = [_in_words(entry) for entry in of[number]] or ["on no list"]
        click.echo("\n  ".join([number, *lines]))


@dnc_group.command("list")
@_TENANT
@_CAMPAIGN
@click.option("--site", is_flag=True, help="The list of the site only.")
@click.option("--json", "form", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header (RFC 4180).")
@_SETTINGS
def list_(tenant: str | None, campaign: str | None, site: bool, form: str | None, settings_path: Path | None) -> None:
    """List the numbers that are not called: of all lists, or of one.

    Example: dialer dnc list --csv > do-not-call.csv
    """
    if site and (tenant or campaign):
        raise InvalidInput("give --site, --tenant or --campaign, only one of them")
    engine = sync_engine(settings_module.load(settings_path))
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="")
    try:
        with reading(engine) as connection:
            of = _list(connection, tenant, campaign) if site or tenant or campaign else None
            _print(dnc.listed(connection, of), form, out)
    finally:
        out.detach()
        engine.dispose()


# -- what they share -----------------------------------------------------------------------------------------------


@contextmanager
def _changing(settings_path: Path | None) -> Iterator[Connection]:
    engine = sync_engine(settings_module.load(settings_path))
    try:
        migrate.require_current(engine)
        with plain_errors(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _list(connection: Connection, tenant: str | None, campaign: str | None) -> DncList:
    """The list that the options name. Raises InvalidInput for a tenant or a campaign that is not there."""
    if tenant is not None and campaign is not None:
        raise InvalidInput("give --tenant or --campaign, not both: a campaign has its tenant already")
    if campaign is not None:
        stored = campaigns.require(connection, campaign)
        return DncList(
            scope=DncScope.CAMPAIGN, tenant_id=stored.tenant_id, campaign_id=stored.campaign_id, campaign=stored.name
        )
    if tenant is None:
        return DncList(scope=DncScope.SITE)
    known = dnc.tenants(connection)
    if tenant not in known:
        # A list under a name that is mistyped would protect nobody.
        raise InvalidInput(f"there is no tenant {tenant!r}. Known are: {', '.join(known) or 'none yet'}.")
    return DncList(scope=DncScope.TENANT, tenant_id=tenant)


def _take_down(
    connection: Connection, what: str, of: DncList, why: str | None, detail: dict[str, Any], sha256: str | None = None
) -> None:  # fmt: skip
    audit.record(
        connection, who=operator(), what=what, tenant_id=of.tenant_id, campaign_id=of.campaign_id, why=why,
        sha256=sha256, detail={"list": str(of), **detail},
    )  # fmt: skip


def _read(numbers: tuple[str, ...], region: str | None) -> list[str]:
    """The numbers that somebody typed, in E.164, each once. Raises InvalidInput for what is none."""
    reader = NumberReader(region)
    found: dict[str, None] = {}
    for text in numbers:
        number = reader.read(text)
        if not isinstance(number, Number):
            hint = "write it with + and its country code, or name the country with --region"
            raise InvalidInput(f"{text!r} is refused as {number.value}: {hint}. Nothing was changed.")
        found[number.number] = None
    return list(found)


def _facts(entry: Entry) -> dict[str, Any]:
    return vars(entry) | {
        "scope": entry.scope.value, "source": entry.source.value, "added_at": _iso(entry.added_at),
        "until": _iso(entry.until),
    }  # fmt: skip


def _in_words(entry: Entry) -> str:
    until = f", until {_iso(entry.until)}{', which is over' if entry.expired else ''}" if entry.until else ""
    why = f": {entry.reason}" if entry.reason else ""
    return f"on {entry.on} since {_iso(entry.added_at)}{until}, by {entry.added_by} ({entry.source.value}){why}"


def _print(entries: Iterator[Entry], form: str | None, out: io.TextIOWrapper) -> None:
    if form == "csv":
        writer = csv.writer(out)
        writer.writerow(_COLUMNS)
        writer.writerows(map(itemgetter(*_COLUMNS), map(_facts, entries)))
        return
    for entry in entries:
        line = (
            json.dumps(_facts(entry), ensure_ascii=False) if form == "json" else f"{entry.number}  {_in_words(entry)}"
        )
        out.write(line + "\n")


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
