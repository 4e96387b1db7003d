"""`dialer report`: what calls, campaigns, tickets, queues and agents came to, as files for people and programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from etl.reports.catalogue import ALIASES, REPORTS
from etl.reports.model import Report
from etl.reports.options import PROFILES, Options

_DAY = click.DateTime(["%Y-%m-%d"])
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_CAMPAIGN = click.option("--campaign", metavar="NAME", help="Of one campaign.")
_TENANT = click.option("--tenant", metavar="NAME", help="Whose report; may be left out when there is one.")
_ZONE = click.option("--tz", "time_zone", metavar="ZONE", help="Whose days and hours. Default: etl.time_zone.")
_OPTIONS = (
    click.option("--from", "first", type=_DAY, metavar="DAY", help="The first day. Default: the first with facts."),
    click.option("--to", "last", type=_DAY, metavar="DAY",
                 help="The last day, which belongs to it. Default: the last with facts."),
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
@click.option(
    "--day", type=_DAY, metavar="DAY", help="The day. Default: the last with facts, or with --campaign all its days."
)
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
    from etl.reports.run import write_page

    write_page(Options(first=when, last=when, **said), target, settings_path)


def _command(name: str, of: Report, campaign: Callable[[Any], Any]) -> click.Command:
    """The command of one report. An old name takes the campaign as its argument, as it did."""

    def write(settings_path: Path | None, rows: tuple[str, ...], profile: str, **said: Any) -> None:
        form, target = _place({form: said.pop(form) for form in ("csv", "xlsx", "parquet", "as_json")})
        first, last = (at.date() if at is not None else None for at in (said.pop("first"), said.pop("last")))
        # Only here: every worker and engine imports the commands, and none of them needs DuckDB in its memory.
        from etl.reports.run import write_report

        write_report(of, Options(first=first, last=last, **said), rows, form, target, profile, settings_path)

    whose = " health-check" if name in ALIASES else " --campaign health-check" if of.one_campaign else ""
    write.__doc__ = f"{of.says}\n\nIt counts {of.basis}.\n\nExample: dialer report {name}{whose} --csv -"
    # What counts no calls is of no campaign.
    for option in (*reversed(_OPTIONS), *([campaign] if "call_fact" in of.reads else [])):
        write = option(write)
    return click.command(name)(write)


for _name, _report in REPORTS.items():
    report.add_command(_command(_name, _report, _CAMPAIGN))
for _name, _new in ALIASES.items():
    report.add_command(_command(_name, REPORTS[_new], click.argument("campaign", metavar="CAMPAIGN")))


def _place(said: dict[str, Any]) -> tuple[str, str]:
    chosen = [(form, target) for form, target in said.items() if target]
    if len(chosen) != 1:
        raise click.UsageError(
            "say where the report goes: one of --csv FILE (- is standard output), --xlsx FILE, --parquet FILE, --json"
        )
    form, target = chosen[0]
    return form.removeprefix("as_"), "-" if target is True else target
