"""`dialer pause|resume|drain|stop|set NAME`: orders to a campaign under way, from any terminal, with who and why."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError, create_model

from dialer import settings as settings_module
from dialer.campaign.capacity import Capacity
from dialer.campaign.running import Overrides, Wanted
from dialer.campaign.values import Part
from dialer.campaign.wording import findings
from dialer.clock import utc_now
from dialer.errors import InvalidInput
from dialer.storage import campaigns, event_log, runs
from dialer.storage.session import plain_errors, sync_engine

_NAME = click.argument("name")
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_WHY = click.option("--why", help="The reason, for the event log and `dialer status`.")
_ACTIVE = (Wanted.RUNNING, Wanted.PAUSED, Wanted.DRAINING)


def operator() -> str:
    """Who gives an order, for the log: `user@host`, and behind sudo who called it."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@click.command()
@_NAME
@_WHY
@_SETTINGS
def pause(name: str, why: str | None, settings_path: Path | None) -> None:
    """Start no more calls of a running campaign; live ones end as they would. `dialer resume` goes on.

    Example: dialer pause health-check --why "wrong opening hours in the prompt"
    """
    _order(settings_path, name, "pause", Wanted.PAUSED, (Wanted.RUNNING,), why)


@click.command()
@_NAME
@_WHY
@_SETTINGS
def resume(name: str, why: str | None, settings_path: Path | None) -> None:
    """Go on with a campaign that was paused.

    Example: dialer resume health-check
    """
    _order(settings_path, name, "resume", Wanted.RUNNING, (Wanted.PAUSED,), why)


@click.command()
@_NAME
@_WHY
@_SETTINGS
def drain(name: str, why: str | None, settings_path: Path | None) -> None:
    """End a campaign's run: no more calls, live ones end as they would. `dialer run` goes on another time.

    Example: dialer drain health-check --why "the carrier's maintenance begins at 18:00"
    """
    _order(settings_path, name, "drain", Wanted.DRAINING, (Wanted.RUNNING, Wanted.PAUSED), why)


@click.command()
@_NAME
@click.option("--now", is_flag=True, help="Hang up its live calls too: people are cut off.")
@_WHY
@_SETTINGS
def stop(name: str, now: bool, why: str | None, settings_path: Path | None) -> None:
    """End a campaign's run as `dialer drain` does; with --now, live calls are hung up as well.

    \b
    Examples:
      dialer stop health-check
      dialer stop health-check --now --why "the prompt names the wrong hospital"
    """
    wanted, from_ = (Wanted.STOPPING, _ACTIVE) if now else (Wanted.DRAINING, (Wanted.RUNNING, Wanted.PAUSED))
    _order(settings_path, name, "stop", wanted, from_, why)


@click.command("set")
@_NAME
@click.argument("changes", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("--why", help="The reason, for the event log.")
@_SETTINGS
def set_(name: str, changes: tuple[str, ...], why: str | None, settings_path: Path | None) -> None:
    """Change the limits of a campaign under way: max_concurrent, calls_per_second, priority, share.

    What the file says comes back with the next `dialer run`. A lower limit stops new calls only; live ones end as they
    would.

    \b
    Examples:
      dialer set health-check calls_per_second=5
      dialer set health-check max_concurrent=100 priority=2 --why "the reminders are late"
    """
    limits = _limits(changes)
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with plain_errors(), engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
            stored = campaigns.require(connection, name)
            now = runs.set_limits(connection, stored.campaign_id, stored.tenant_id, limits, operator(), why)
            run = runs.find(connection, stored.campaign_id)
    finally:
        engine.dispose()
    if now is None:
        raise InvalidInput(f"{name} is idle: change its file instead; `dialer run` takes its limits from there.")
    click.echo(f"{name}: {' '.join(f'{key}={value:g}' for key, value in asdict(now).items())}")
    if run is None or not run.engine_live:
        click.echo("No engine dials for it now.", err=True)


def _limits(changes: tuple[str, ...]) -> Overrides:
    """What was written as KEY=VALUE, held to the bounds of the campaign file. Raises InvalidInput."""
    keys = [field.name for field in fields(Overrides)]
    given: dict[str, int | float | str] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise InvalidInput(f"{change!r} is no limit: write it as KEY=VALUE, with one of {', '.join(keys)}.")
        if key not in keys:
            raise InvalidInput(f"`{key}` cannot be set: {', '.join(keys)} can.")
        if key in given:
            raise InvalidInput(f"`{key}` stands here twice: give each once.")
        given[key] = _number(value)
    wanted: dict[str, Any] = {key: (Capacity.model_fields[key].annotation, Capacity.model_fields[key]) for key in given}
    try:
        return Overrides(**create_model("Limits", __base__=Part, **wanted).model_validate(given).model_dump())
    except ValidationError as error:
        wrong = [f"{one.key[0]}: {one.message}; {one.fix}" for one in findings(error, {})]
        raise InvalidInput("\n".join(wrong)) from error


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _order(
    settings_path: Path | None, name: str, verb: str, wanted: Wanted, from_: tuple[Wanted, ...], why: str | None
) -> None:
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with plain_errors(), engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
            stored = campaigns.require(connection, name)
            run = runs.find(connection, stored.campaign_id)
            if run is not None and not run.engine_live and wanted in (Wanted.DRAINING, Wanted.STOPPING):
                # Nobody dials it, so there is nothing to wait for.
                wanted, from_ = Wanted.IDLE, (*_ACTIVE, Wanted.STOPPING)
            order = runs.Order(verb=verb, wanted=wanted, by=operator(), why=why)
            done = runs.change(connection, stored.campaign_id, stored.tenant_id, order, from_)
    finally:
        engine.dispose()
    if not done:
        now = "idle" if run is None else run.wanted.value
        raise InvalidInput(f"{name} is {now}, so there is nothing to {verb}. `dialer status {name}` says more.")
    where = "" if run is None or run.engine_live else " No engine dials for it now."
    click.echo(f"{name}: {wanted.value}.{where}", err=True)
