"""`dialer report`: what calls, campaigns, tickets, queues and agents came to, as files for people and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from dialer import settings as settings_module
from dialer.errors import InvalidInput
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from etl.reports import forms, make, sidecar
from etl.reports.asking import Machine, Options, key_of
from etl.reports.catalogue import ALIASES, REPORTS
from etl.reports.forms import PROFILES, Table
from etl.reports.html import page
from etl.reports.make import Wanted
from etl.reports.model import Report
from etl.reports.target import opened
from etl.zones import from_us

_DAY = click.DateTime(["%Y-%m-%d"])
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_CAMPAIGN = click.option("--campaign", metavar="NAME", help="Of one campaign.")
_TENANT = click.option("--tenant", metavar="NAME", help="Whose report; may be left out when there is one.")
_ZONE = click.option("--tz", "time_zone", metavar="ZONE", help="Whose days and hours. Default: etl.time_zone.")
_OPTIONS = (
    click.option("--from", "first", type=_DAY, metavar="DAY", help="The first day. Default: the first with facts."),
    click.option("--to", "last", type=_DAY, metavar="DAY", help="The last day, which belongs to it. Default: today."),
    _ZONE,
    _TENANT,
    click.option("--csv", metavar="FILE", help="CSV (RFC 4180); - is standard output, FILE.gz is squeezed."),
    click.option("--xlsx", metavar="FILE", help="For Excel and its kin."),
    click.option("--parquet", metavar="FILE", help="For programs that compute."),
    click.option("--json", "as_json", is_flag=True, help="One JSON object a line, on standard output."),
    click.option("--profile", type=click.Choice(list(PROFILES)), default="machine", show_default=True,
                 help="CSV for programs, or so that Excel takes it and runs no formula in it."),
    click.option("--rows", multiple=True, metavar="KEY",
                 help="What a cell counted: KEY=TEXT as often as needed, and a column; subject=ID: its events."),
    _SETTINGS,
)  # fmt: skip
_NOTHING = "nothing has been computed for tenant {0!r} yet: `dialer etl run` does it."


@click.group()
def report() -> None:
    """Reports, as of the last `dialer etl run`: CSV, XLSX, Parquet, JSON, and a page to look at.

    `dialer report list` says what there is. FILE.json beside a file says what it was made of.
    """


@report.command("list")
def list_() -> None:
    """List the reports, and what a row of each is.

    Example: dialer report list
    """
    width = max(map(len, REPORTS))
    for one in REPORTS.values():
        click.echo(f"{one.name:<{width}}  {one.says}")


@report.command("html")
@click.option("--day", type=_DAY, metavar="DAY", help="The day. Default: today, or with --campaign all its days.")
@_CAMPAIGN
@_TENANT
@_ZONE
@click.option("--out", "target", metavar="FILE", required=True, help="Where the page goes; - is standard output.")
@_SETTINGS
def html(day: datetime | None, target: str, settings_path: Path | None, **said: Any) -> None:
    """Draw a day, or a campaign, as one page that needs no network and is right on paper too.

    \b
    Examples:
      dialer report html --day 2026-11-21 --out day.html
      dialer report html --campaign health-check --out campaign.html
    """
    when = day.date() if day is not None else None
    with _machine(settings_path) as machine:
        drawn = page.drawn(machine, Options(first=when, last=when, **said))
        with opened(target) as file:
            file.write(drawn.encode())


def _command(name: str, of: Report, campaign: Callable[[Any], Any]) -> click.Command:
    """The command of one report. An old name takes the campaign as its argument, as it did."""

    def write(settings_path: Path | None, rows: tuple[str, ...], profile: str, **said: Any) -> None:
        form, target = _place({form: said.pop(form) for form in ("csv", "xlsx", "parquet", "as_json")})
        first, last = (at.date() if at is not None else None for at in (said.pop("first"), said.pop("last")))
        with _machine(settings_path) as machine:
            wanted = machine.wanted(of, Options(first=first, last=last, **said))
            _write(machine, wanted, rows, form, target, profile)

    whose = " health-check" if name in ALIASES else " --campaign health-check" if of.one_campaign else ""
    write.__doc__ = f"{of.says}\n\nIt counts {of.basis}.\n\nExample: dialer report {name}{whose} --csv -"
    for option in (*reversed(_OPTIONS), campaign):
        write = option(write)
    return click.command(name)(write)


for _name, _report in REPORTS.items():
    report.add_command(_command(_name, _report, _CAMPAIGN))
for _name, _new in ALIASES.items():
    report.add_command(_command(_name, REPORTS[_new], click.argument("campaign", metavar="CAMPAIGN")))


def _write(machine: Machine, wanted: Wanted, rows: tuple[str, ...], form: str, target: str, profile: str) -> None:
    tenant = wanted.question.tenant
    sources = machine.sources(tenant)
    with machine.workshop() as duck:
        chosen = _table(duck, sources, wanted, rows)
        match form:
            case "csv":
                made = forms.write_csv(duck, chosen, target, PROFILES[profile])
            case "xlsx":
                made = forms.write_xlsx(duck, chosen, target)
            case "parquet":
                made = forms.write_parquet(duck, chosen, target)
            case _:
                made = forms.write_json(duck, chosen, target)
    standing = machine.standing(tenant)
    if standing.as_of is None and wanted.report.reads:
        click.echo(_NOTHING.format(tenant), err=True)
    for one in made:
        if one.path is not None and one.path.is_file():
            sidecar.write(one, _asked(wanted, rows, form, profile), chosen.columns, standing)
            click.echo(f"{one.path}: {one.rows} rows, as of {standing.as_of or 'nothing'}", err=True)


def _table(duck: Any, sources: Any, wanted: Wanted, rows: tuple[str, ...]) -> Table:
    if not rows:
        return make.table(duck, sources, wanted)
    subjects = [said.removeprefix("subject=") for said in rows if said.startswith("subject=")]
    if subjects and (len(rows) > 1 or wanted.report.kind is None):
        raise InvalidInput(f"{wanted.report.name}: --rows subject=ID stands alone, for reports of subjects.")
    if subjects:
        return make.events_of(duck, sources, wanted, subjects[0])
    if not wanted.report.measures:
        raise InvalidInput(f"each row of {wanted.report.name} is one subject already: say --rows subject=ID.")
    said = [key_of(wanted.report, one) for one in rows]
    measures = [one for one in said if isinstance(one, str)]
    if len(measures) > 1:
        raise InvalidInput(f"--rows: one column at a time, not {' and '.join(measures)}.")
    keys = [one for one in said if not isinstance(one, str)]
    return make.rows_behind(duck, sources, wanted, keys, measures[0] if measures else "")


def _place(said: dict[str, Any]) -> tuple[str, str]:
    chosen = [(form, target) for form, target in said.items() if target]
    if len(chosen) != 1:
        raise click.UsageError(
            "say where the report goes: one of --csv FILE (- is standard output), --xlsx FILE, --parquet FILE, --json"
        )
    form, target = chosen[0]
    return form.removeprefix("as_"), "-" if target is True else target


def _asked(wanted: Wanted, rows: tuple[str, ...], form: str, profile: str) -> dict[str, Any]:
    question, one = wanted.question, wanted.report
    return {
        "report": one.name, "version": one.version, "says": one.says, "basis": one.basis, "form": form,
        "profile": profile if form == "csv" else None, "rows_of": list(rows), "tenant": question.tenant,
        "campaign": wanted.campaigns.get(question.campaign) if question.campaign is not None else None,
        "tz": question.zone.name, "from_utc": from_us(question.from_us).isoformat(),
        "to_utc": from_us(question.to_us).isoformat(), "as_of_utc": from_us(question.as_of_us).isoformat(),
        "targets": question.targets.model_dump(),
    }  # fmt: skip


@contextmanager
def _machine(settings_path: Path | None) -> Iterator[Machine]:
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            yield Machine(settings, connection)
    finally:
        engine.dispose()
