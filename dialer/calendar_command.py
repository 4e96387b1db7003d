"""`dialer calendar`: when people will be called next, as things stand: by hour and zone, or of one number."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from dialer import settings as settings_module
from dialer.errors import InvalidInput
from dialer.explain_command import is_number, number_of, trail_of
from dialer.monitoring import calendar_page, outlook
from dialer.monitoring.explain_facts import Subject, outlook_of, subject
from dialer.monitoring.layout import iso
from dialer.monitoring.trail_page import Trail
from dialer.settings import Settings
from dialer.storage import explain, funnel
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine

HOURS_SHOWN = 7
"""Of one contact: so many open spans are enough to see how its days are."""
_NUMBER_COLUMNS = ("campaign", "person", "number", "next_call_at", "why", "opens_at", "closes_at")


@click.command("calendar")
@click.argument("what", metavar="CAMPAIGN|NUMBER")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header (RFC 4180).")
@click.option("--json", "form", flag_value="json", help="For programs.")
@click.option("--svg", "svg", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture to this file.")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
def calendar_command(what: str, form: str | None, svg: Path | None, settings_path: Path | None) -> None:
    """Show the coming calls as they stand, by hour and zone; of a number its next call and its open hours.

    Everybody stands in the first hour in which they may be called; how many calls an hour the limits allow is said
    below, with when the whole will be done at that pace. Hours are UTC, with what the clock shows there.

    \b
    Examples:
      dialer calendar health-check
      dialer calendar health-check --svg week.svg
      dialer calendar +48501100101
    """
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            if not is_number(connection, what):
                _of_campaign(connection, subject(connection, settings, what), form, svg)
            elif svg is not None:
                raise InvalidInput("--svg draws a campaign's calendar: give the campaign's name.")
            else:
                _of_number(connection, settings, number_of(what), form)
    finally:
        engine.dispose()


def _of_campaign(connection: Connection, found: Subject, form: str | None, svg: Path | None) -> None:
    people = funnel.coming(connection, found.view)
    slots, never = calendar_page.slots(people, found.view.windows, found.view.at)
    ahead = outlook_of(connection, found, people)
    count = sum(slot.people for slot in slots)
    title = (
        f"{found.name}, revision {found.revision.number}, at {found.view.at:%Y-%m-%d %H:%MZ}: {count:,} to be called"
    )
    if svg is not None:
        _write(svg, calendar_page.picture(title, slots))
    if form == "csv":
        _print_csv(calendar_page.CSV_COLUMNS, calendar_page.csv_rows(slots))
    elif form == "json":
        forecast = outlook.as_data(ahead, found.view.at)
        hours = {"hours": calendar_page.as_data(slots), "never": never, "forecast": forecast}
        click.echo(json.dumps({"campaign": found.name, "at": iso(found.view.at), **hours}))
    elif svg is None:
        hourly = found.campaign.capacity.calls_per_second * 3600
        click.echo("\n".join([title, *calendar_page.lines(slots)]))
        click.echo(f"At most {hourly:,.0f} calls an hour by its rate. {outlook.in_words(ahead, found.view.at)}")
        if never:
            click.echo(f"For {never:,} people no open hour is left.")


def _of_number(connection: Connection, settings: Settings, number: str, form: str | None) -> None:
    contacts = explain.contacts_of(connection, number)
    subjects = {name: subject(connection, settings, name) for name in dict.fromkeys(one.campaign for one in contacts)}
    trails = [trail_of(connection, one, subjects[one.campaign]) for one in contacts]
    if form == "csv":
        _print_csv(_NUMBER_COLUMNS, (row for trail in trails for row in _rows(trail)))
    elif form == "json":
        click.echo(json.dumps([dict(zip(_NUMBER_COLUMNS, row, strict=True)) for one in trails for row in _rows(one)]))
    elif not trails:
        click.echo(f"{number} stands in no campaign.")
    else:
        click.echo("\n".join(line for trail in trails for line in _lines(trail)))


def _rows(trail: Trail) -> Iterable[tuple[Any, ...]]:
    contact = trail.contact
    fixed = (contact.campaign, contact.person, trail.next.number, iso(trail.next.at), trail.next.why)
    spans = trail.subject.view.windows.get(contact.zones, ())[:HOURS_SHOWN]
    return [(*fixed, iso(span.opens_at), iso(span.closes_at)) for span in spans] or [(*fixed, None, None)]


def _lines(trail: Trail) -> Iterable[str]:
    contact, at = trail.contact, trail.next.at
    when = f"at {at:%Y-%m-%d %H:%MZ} to {trail.next.number}; " if at is not None else ""
    yield f"{contact.campaign}, person {contact.person}: next call {when}{trail.next.why}"
    for span in trail.subject.view.windows.get(contact.zones, ())[:HOURS_SHOWN]:
        yield f"  open {span.opens_at:%a %Y-%m-%d %H:%MZ} to {span.closes_at:%H:%MZ}  {contact.zones}"


def _print_csv(columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(rows)
    finally:
        out.detach()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {path}: {error.strerror}. Name a file in a folder of yours.") from error
