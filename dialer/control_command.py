"""`dialer pause|resume|drain|stop NAME`: orders to a campaign under way, from any terminal, with who, when and why."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import click

from dialer import settings as settings_module
from dialer.campaign.running import Wanted
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
