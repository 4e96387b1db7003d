"""`dialer verify`: our tables against the node's own record of every call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from dialer import settings as settings_module
from dialer.storage import campaigns
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from dialer.storage.verify import compare


@click.command()
@click.argument("name")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a disagreement.")
def verify(name: str, settings_path: Path | None, as_json: bool) -> None:
    """Compare a campaign's calls and keys with what Asterisk itself recorded; print what does not agree.

    In health nothing is printed and the exit code is 0; else it is 1. Needs `cel_file` in the settings of the node.

    Example: dialer verify health-check
    """
    engine = sync_engine(settings_module.load(settings_path))
    compared = differ = 0
    try:
        with reading(engine) as connection:
            for one in compare(connection, campaigns.require(connection, name).campaign_id):
                compared += 1
                differ += bool(one.found)
                for found in one.found:
                    row = {"attempt": str(one.attempt_id), "found": found}
                    click.echo(json.dumps(row) if as_json else f"{one.attempt_id}: {found}")
    finally:
        engine.dispose()
    click.echo(f"{compared} attempts compared, {differ} do not agree", err=True)
    sys.exit(1 if differ else 0)
