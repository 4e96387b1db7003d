"""`dialer status`: how much of each limit is used, who dials, what holds campaigns back, what is broken."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text
from sqlalchemy import Engine

from dialer import settings as settings_module
from dialer.errors import DatabaseAway
from dialer.monitoring import status_facts, status_page
from dialer.monitoring.layout import Line, laid_out
from dialer.storage import campaigns, status
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from dialer.storage.status import StatusPage

WATCH_EVERY_S = 1.0
PLAIN_EVERY_S = 5.0
"""Where the output is no terminal: a log of it stays readable."""


@click.command("status")
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Go on showing it, until Ctrl-C.")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--json", "as_json", is_flag=True, help="For programs; with --watch an object a line.")
def status_command(name: str | None, watch: bool, settings_path: Path | None, as_json: bool) -> None:
    """Show the site, its nodes and trunks, and what holds each campaign back; with NAME one campaign in full.

    Trouble begins with `!` and says what to do, or nothing when it heals by itself. Figures beside "of" are limits;
    those a second are over the last ten. `unclear` attempts were perhaps sent: they keep number and slot until there is
    evidence. `unknown` is the verdict of those for which there never was any; `unknown:` in the campaign's retry policy
    says what becomes of these people.

    \b
    Examples:
      dialer status
      dialer status --watch
      dialer status health-check --json
    """
    engine = sync_engine(settings_module.load(settings_path))
    try:
        if watch:
            _watch(lambda: _page(engine, name), name, as_json=as_json)
        else:
            page = _page(engine, name)
            click.echo(json.dumps(status_facts.as_data(page)) if as_json else "\n".join(_lines(page, name, _width())))
    except KeyboardInterrupt:
        pass  # the way to end --watch
    finally:
        engine.dispose()


def _page(engine: Engine, name: str | None) -> StatusPage:
    with reading(engine) as connection:
        return status.page(connection, campaigns.require(connection, name).campaign_id if name else None)


def _lines(page: StatusPage, name: str | None, width: int | None) -> list[str]:
    return status_page.lines_of(page, page.campaigns[0], width=width) if name else status_page.lines(page, width=width)


def _width() -> int | None:
    """Of the terminal; where there is none, each fact stays on its line."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else None


def _watch(read: Callable[[], StatusPage], name: str | None, *, as_json: bool) -> None:
    if as_json:
        while True:
            click.echo(json.dumps(status_facts.as_data(read())))
            time.sleep(WATCH_EVERY_S)
    if not sys.stdout.isatty():
        for shown in _pages(read, name, lambda: None):
            click.echo("\n".join(shown) + "\n")
            time.sleep(PLAIN_EVERY_S)
    with Live(console=Console(file=sys.stdout), auto_refresh=False) as live:
        for shown in _pages(read, name, lambda: live.console.width):
            live.update(_picture(shown), refresh=True)
            time.sleep(WATCH_EVERY_S)


def _pages(read: Callable[[], StatusPage], name: str | None, width: Callable[[], int | None]) -> Iterator[list[str]]:
    """The page again and again; while PostgreSQL is away the last one, with its own time, below what is wrong."""
    last: list[str] = []
    while True:
        try:
            last = shown = _lines(read(), name, width())
        except DatabaseAway as error:
            if not last:
                raise
            shown = [*laid_out([Line(parts=[str(error)], trouble=True)], width()), *last]
        yield shown


def _picture(shown: list[str]) -> Text:
    picture = Text(no_wrap=True, overflow="crop")
    for line in shown:
        picture.append(f"{line}\n", style="bold red" if line.startswith("!") else "")
    return picture
