"""`dialer agi`: the FastAGI workers as a service."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from agi.supervise import Supervisor, listen
from dialer import log as json_log
from dialer import settings as settings_file
from dialer.clock import SystemClock


@click.group()
def agi() -> None:
    """Answers Asterisk's FastAGI: plays prompts and collects keys."""


@agi.command()
@click.option("--settings", "path", type=click.Path(path_type=Path), help="The settings file of this machine.")
def serve(path: Path | None) -> None:
    """Runs the workers in the foreground until Ctrl-C or SIGTERM; live dialogues may finish.

    A second Ctrl-C ends them. Log lines are JSON, on stderr.

    Example: dialer agi serve --settings /etc/dialer/dialer.yaml
    """
    file = settings_file.find_file(path).resolve()
    settings = settings_file.load(file)
    settings.mac_key()
    json_log.set_up()
    with listen(settings.agi) as listener:
        supervisor = Supervisor(
            listener=listener, settings_path=file, workers=settings.agi.workers, clock=SystemClock()
        )
        asyncio.run(supervisor.run())
