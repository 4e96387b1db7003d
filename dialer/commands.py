"""The commands about campaign files, their people and the database: validate, schema, contacts, db."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any

import click

from dialer import settings as settings_module
from dialer.campaign.caller_identity import in_words
from dialer.campaign.load import LoadedCampaign, check_against, load_campaign
from dialer.campaign.schema import schema_text
from dialer.clock import monotonic, utc_now
from dialer.contacts.sources import is_pattern, pattern_of
from dialer.control_command import operator
from dialer.errors import InvalidInput, Problem
from dialer.storage import campaigns, contacts, event_log, migrate
from dialer.storage.deliveries import Deliveries, Delivery, Watched, watched
from dialer.storage.folder import RESTS_S
from dialer.storage.prepare import ImportSummary, prepare, require_columns
from dialer.storage.reading import reading
from dialer.storage.session import plain_errors, sync_engine

_FILE = click.argument("file", type=click.Path(path_type=Path))
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")


# -- validate, schema ---------------------------------------------------------------------------------------------


@click.command()
@_FILE
@_SETTINGS
@_JSON
@click.pass_context
def validate(context: click.Context, file: Path, settings_path: Path | None, as_json: bool) -> None:
    """Check a campaign file and say everything that is wrong with it; nothing is stored and nobody is called.

    Looks at the file, the columns of its contacts, and this machine's settings when there are any.

    Example: dialer validate examples/health-check/campaign.yaml
    """
    found = settings_module.find_file_if_any(settings_path)
    settings = settings_module.load(found) if found else None
    try:
        loaded = load_campaign(file)
        problems = check_against(loaded, settings) if settings else []
        problems += _column_problems(loaded)
    except InvalidInput as error:
        if not as_json:
            raise
        loaded, problems = None, list(error.problems)
    if as_json:
        click.echo(json.dumps({"valid": not problems, "problems": [asdict(one) for one in problems]}))
        context.exit(2 if problems else 0)
    if problems or loaded is None:
        raise InvalidInput(f"{file} cannot be run here", problems)
    click.echo(_in_short(loaded))
    if settings is None:
        click.echo("not checked: trunks, because no settings were found; give --settings FILE", err=True)


def _column_problems(loaded: LoadedCampaign) -> list[Problem]:
    try:
        require_columns(loaded, utc_now())
    except InvalidInput as error:
        return list(error.problems)
    return []


def _in_short(loaded: LoadedCampaign) -> str:
    campaign = loaded.campaign
    capacity, window = campaign.capacity, campaign.calling.window
    when = "at any hour (lab)" if window == "any" else "; ".join(f"{days} {slots}" for days, slots in window.items())
    if campaign.calling.rules:
        when += f" within the rules of {', '.join(pack.pack for pack in campaign.calling.rules)}"
    trunks = ", ".join(
        use.name if use.caller_id is None else f"{use.name} (showing {in_words(use.caller_id)})"
        for use in capacity.trunks
    )
    return (
        f"OK: {campaign.campaign} is valid\n"
        f"  calls {when}, showing {in_words(capacity.caller_id)}, through {trunks}\n"
        f"  at most {capacity.max_concurrent} calls at once and {capacity.calls_per_second:g} new ones a second\n"
        f"  at most {campaign.retry.attempts} calls to a person\n"
        f"  speaks {', '.join(campaign.languages)}; {len(campaign.flow)} steps: {', '.join(campaign.flow)}"
    )


@click.command()
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to a file instead.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of campaign files, so that editors complete and check them.

    Name it in the first line of a campaign: # yaml-language-server: $schema=campaign.schema.json

    Example: dialer schema --output campaign.schema.json
    """
    if output is None:
        click.echo(schema_text(), nl=False)
        return
    try:
        output.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot write {output}: {error.strerror}. Name a file in a folder of yours.") from error


# -- contacts -----------------------------------------------------------------------------------------------------


@click.group("contacts")
def contacts_group() -> None:
    """The people of a campaign."""


@contacts_group.command("import")
@_FILE
@click.option("--delivery", type=click.Path(path_type=Path), help="Import this file instead of what `from` names.")
@_SETTINGS
@_JSON
def import_(file: Path, delivery: Path | None, settings_path: Path | None, as_json: bool) -> None:
    """Import the people of a campaign file; nobody is called before `dialer run`.

    Who is new comes in, who is different is changed, who is missing is called no more (unless `missing: keep`). The
    same file again changes nothing. What is not plainly new or unchanged is listed in NAME.report.csv beside it.

    Example: dialer contacts import examples/health-check/campaign.yaml
    """
    settings = settings_module.load(settings_path)
    loaded = load_campaign(file)
    problems = check_against(loaded, settings)
    if problems:
        raise InvalidInput(f"{file} does not fit this machine's settings; nothing was imported", problems)
    engine = sync_engine(settings)
    try:
        migrate.require_current(engine)
        rejects_dir = settings.state_dir / "rejects"
        made = prepare(engine, loaded, utc_now(), _on_stderr, rejects_dir, by=operator(), delivery=delivery)
    finally:
        engine.dispose()
    click.echo(json.dumps(_import_facts(made.import_summary)) if as_json else made.in_words)


def _on_stderr(line: str) -> None:
    click.echo(line, err=True)


def _import_facts(summary: ImportSummary | None) -> dict[str, Any]:
    if summary is None:
        return {"file": None}
    report = str(summary.report_file) if summary.report_file else None
    facts = {"file": str(summary.file), "unchanged": summary.unchanged, "report_file": report, "form": summary.form}
    return facts | asdict(summary.counts)


@contacts_group.command()
@click.argument("name")
@_SETTINGS
@_JSON
@click.pass_context
def deliver(context: click.Context, name: str, settings_path: Path | None, as_json: bool) -> None:
    """Look into the folder of a campaign's daily base now, as the engine does each minute while it runs.

    The newest complete delivery is merged; a broken one is moved to `aside/` with the reason. Complete is a file with a
    .done file beside it, or one to which nobody writes for 10 seconds.

    Example: dialer contacts deliver health-check
    """
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            campaign = watched(campaigns.require(connection, name))
        source = campaign.base.contacts.source
        if not is_pattern(source):
            raise InvalidInput(f"{name} reads one file, {source}. Import it with `dialer contacts import`.")
        if not pattern_of(campaign.base_dir, source).folder.is_dir():
            raise InvalidInput(f"there is no folder for {source} in {campaign.base_dir}. Make it, or correct `from`.")
        found = _two_looks(Deliveries(engine, settings.state_dir / "rejects", operator()), campaign)
    finally:
        engine.dispose()
    for delivery in found:
        if delivery.problem is not None:
            click.echo(str(delivery), err=True)
        elif not as_json:
            click.echo(str(delivery))
    if as_json:
        click.echo(json.dumps([_delivery_facts(delivery) for delivery in found]))
    elif not found:
        click.echo(f"{name}: nothing new in {source}")
    context.exit(max((one.problem.exit_code for one in found if one.problem is not None), default=0))


def _two_looks(folder: Deliveries, campaign: Watched) -> list[Delivery]:
    """The second look only for what may still be written to."""
    first = list(folder.look_for(campaign, utc_now(), monotonic()))
    if first or folder.nothing_awaited(campaign):
        return first
    click.echo(f"waiting {RESTS_S} s to see that nobody writes to the newest file", err=True)
    sleep(RESTS_S)
    return list(folder.look_for(campaign, utc_now(), monotonic()))


def _delivery_facts(delivery: Delivery) -> dict[str, Any]:
    facts = _import_facts(delivery.summary) | {"file": str(delivery.file)}
    if delivery.problem is not None:
        problems = [asdict(one) for one in getattr(delivery.problem, "problems", ())]
        aside = str(delivery.aside) if delivery.aside else None
        facts |= {"refused": str(delivery.problem), "problems": problems, "aside": aside}
    return facts


@contacts_group.command("list")
@click.argument("name")
@_SETTINGS
@click.option("--json", "form", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="CSV with a header (RFC 4180).")
def list_(name: str, settings_path: Path | None, form: str | None) -> None:
    """List the contacts of a campaign: who, at which numbers, and what comes next.

    Example: dialer contacts list health-check --csv > contacts.csv
    """
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with reading(engine) as connection:
            stored = campaigns.require(connection, name)
            rows = (_contact_facts(row) for row in contacts.listed(connection, stored.campaign_id))
            _print(rows, form, _stdout())
    finally:
        engine.dispose()


def _contact_facts(row: dict[str, Any]) -> dict[str, Any]:
    due = row["next_attempt_at"]
    return {
        "person": row["person"],
        "state": _state(row),
        "numbers": row["numbers"],
        "attempts": row["attempts"],
        "wave": row["wave"],
        "next_number": row["next_number"],
        "next_attempt_at": _iso(due) if due else None,
        "language": row["language"],
        "zones": row["zones"],
        "fields": row["fields"],
    }


def _state(row: dict[str, Any]) -> str:
    if row["closed_as"]:
        return f"closed:{row['closed_as']}"
    if row["on_hold"]:
        return "on_hold"
    return "due" if row["next_attempt_at"] else "in_call"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _stdout() -> io.TextIOWrapper:
    """Standard output for data: UTF-8 whatever the locale, line ends as written."""
    return io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="", write_through=True)


def _print(rows: Iterator[dict[str, Any]], form: str | None, out: io.TextIOWrapper) -> None:
    if form == "json":
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif form == "csv":
        writer = csv.writer(out)
        writer.writerow(
            ("person", "state", "numbers", "attempts", "wave", "next_number", "next_attempt_at", "language")
        )
        for row in rows:
            writer.writerow((
                row["person"], row["state"], " ".join(row["numbers"]), row["attempts"], row["wave"],
                row["next_number"], row["next_attempt_at"], row["language"],
            ))  # fmt: skip
    else:
        for row in rows:
            due = f" at {row['next_attempt_at']}" if row["next_attempt_at"] else ""
            numbers = " ".join(row["numbers"])
            out.write(f"{row['person']}  {numbers}  {row['state']}{due}  attempts: {row['attempts']}\n")
    out.detach()


# -- db -----------------------------------------------------------------------------------------------------------


@click.group()
def db() -> None:
    """The database."""


@db.command()
@_SETTINGS
def upgrade(settings_path: Path | None) -> None:
    """Bring the database to this release's schema, and make the coming week's event partitions; safe to repeat.

    Example: dialer db upgrade
    """
    engine = sync_engine(settings_module.load(settings_path))
    try:
        migrate.upgrade(engine)
        with plain_errors(), engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
    finally:
        engine.dispose()
    click.echo("the database is at this release's schema", err=True)
