"""`dialer explain`: why somebody was or was not called, and where all the people of a campaign stand."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import click
from rich.console import Console
from sqlalchemy import Connection

from dialer import settings as settings_module
from dialer.errors import InvalidInput
from dialer.monitoring import explain_page, trail_page
from dialer.monitoring.explain_facts import Subject, subject
from dialer.monitoring.next_call import next_call
from dialer.monitoring.trail_page import Trail
from dialer.phone import E164
from dialer.settings import Settings
from dialer.storage import campaigns, explain, funnel, rules
from dialer.storage.explain import ContactFacts
from dialer.storage.funnel import Bucket
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine

_FILLED = [one.value for one in Bucket if one is not Bucket.REJECTED]


@click.command("explain")
@click.argument("what", metavar="NUMBER|CAMPAIGN")
@click.option("--csv", "bucket", type=click.Choice(_FILLED), metavar="BUCKET",
              help="The contacts of one bucket as CSV; the buckets stand in docs/explain.md.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
def explain_command(what: str, bucket: str | None, as_json: bool, settings_path: Path | None) -> None:
    """Say why people were or were not called: all of a campaign, or one by number.

    Of a campaign, how many people stand where, each once, with the reason; the counts add up to its list. Of a number,
    which begins with a plus sign: the row it came from, what every rule says and by what, each call with its causes,
    and when the next one is and why then. Nothing is changed.

    \b
    Examples:
      dialer explain health-check
      dialer explain health-check --csv window > waiting.csv
      dialer explain +48501100101
    """
    if bucket is not None and as_json:
        raise InvalidInput("--csv and --json are two forms of the answer: choose one.")
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            if is_number(connection, what):
                if bucket is not None:
                    raise InvalidInput("--csv lists the contacts of a campaign's bucket: give the campaign's name.")
                _explain_number(connection, settings, number_of(what), as_json=as_json)
            else:
                found = subject(connection, settings, what)
                if bucket is not None:
                    _write_csv(connection, found, Bucket(bucket))
                else:
                    _explain_campaign(connection, found, as_json=as_json)
    finally:
        engine.dispose()


def _explain_campaign(connection: Connection, found: Subject, *, as_json: bool) -> None:
    whole = funnel.funnel(connection, found.view)
    if as_json:
        click.echo(json.dumps(explain_page.as_data(found, whole)))
    else:
        click.echo("\n".join(explain_page.lines(found, whole)))


def _write_csv(connection: Connection, found: Subject, bucket: Bucket) -> None:
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)
    try:
        writer = csv.writer(out)
        writer.writerow(explain_page.CSV_COLUMNS)
        writer.writerows(explain_page.csv_rows(funnel.people_in(connection, found.view, bucket)))
    finally:
        out.detach()


def is_number(connection: Connection, what: str) -> bool:
    """Whether a number is asked for; else it is a campaign's name. Raises InvalidInput for digits that are neither."""
    if what.startswith("+"):
        return True
    if re.fullmatch(r"[\d\s()./-]{7,}", what) and campaigns.by_name(connection, what) is None:
        raise InvalidInput(f"{what!r} is no campaign. A number begins with a plus sign: +48501100101.")
    return False


def number_of(text: str) -> str:
    """What was given as a number, in E.164. Raises InvalidInput."""
    number = "+" + "".join(one for one in text if one.isdigit())
    if not E164.fullmatch(number) or re.search(r"[^\d\s()./+-]", text):
        raise InvalidInput(f"{text!r} is no telephone number: write it in E.164, as +48501100101.")
    return number


def _explain_number(connection: Connection, settings: Settings, number: str, *, as_json: bool) -> None:
    contacts = explain.contacts_of(connection, number)
    subjects = {name: subject(connection, settings, name) for name in dict.fromkeys(one.campaign for one in contacts)}
    trails = [trail_of(connection, one, subjects[one.campaign]) for one in contacts]
    entries = explain.list_entries(connection, [number])
    if as_json:
        click.echo(json.dumps(trail_page.as_data(number, trails, entries)))
        return
    width = Console(file=sys.stdout).width if sys.stdout.isatty() else None
    click.echo("\n".join(trail_page.lines(number, trails, entries, width)))


def trail_of(connection: Connection, contact: ContactFacts, found: Subject) -> Trail:
    """Everything about one contact."""
    at = found.view.at
    bucket, _ = funnel.places(connection, found.view, [contact.id])[contact.id]
    verdicts = {one.number: one for one in rules.verdicts(connection, found.caps, [contact.id])}
    entries = explain.list_entries(connection, contact.numbers)
    counts = {one: explain.calls_of_number(connection, one, at) for one in contact.numbers}
    counts["person"] = explain.calls_of_person(connection, contact.person_id, at)
    attempts = explain.attempts_of(connection, [contact.id])
    return Trail(
        contact=contact,
        subject=found,
        bucket=bucket,
        rulings=tuple(trail_page.rulings(contact, found, bucket, verdicts, entries, counts)),
        attempts=tuple(attempts),
        next=next_call(contact, found, attempts, verdicts),
    )
