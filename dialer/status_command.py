"""`dialer status`: which engines dial, what is wanted of campaigns and by whom, what is open, unclear and unknown."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from dialer import settings as settings_module
from dialer.engine.progress import from_data
from dialer.monitoring import terminal
from dialer.storage import campaigns, status
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from dialer.storage.status import CampaignStatus, EngineStatus


@click.command("status")
@click.argument("name", required=False)
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status_command(name: str | None, settings_path: Path | None, as_json: bool) -> None:
    """Show the engines and the campaigns; with NAME one campaign, its verdicts, and its calls that nobody saw end.

    `unclear` attempts were perhaps sent: they keep number and slot until there is evidence. `unknown` is the verdict of
    those for which there never was any; `unknown:` in the campaign's retry policy says what becomes of these people.

    \b
    Examples:
      dialer status
      dialer status health-check --json
    """
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with reading(engine) as connection:
            campaign_id = campaigns.require(connection, name).campaign_id if name else None
            engines, found = status.engines(connection), status.campaigns(connection, campaign_id)
    finally:
        engine.dispose()
    if as_json:
        data = {"engines": [asdict(one) for one in engines], "campaigns": [asdict(one) for one in found]}
        click.echo(json.dumps(data, default=_iso))
        return
    if name is None:
        for one in engines or ():
            click.echo(_engine(one))
        if not engines:
            click.echo("no engine has dialled here yet")
    for campaign in found:
        click.echo(_campaign(campaign))


def _engine(one: EngineStatus) -> str:
    state = f"dials since {_iso(one.since)}" if one.live else "does not dial now"
    return f"engine of {one.node}: {state} ({one.holder}, epoch {one.epoch})"


def _campaign(one: CampaignStatus) -> str:
    lines = [f"{one.name}: {_condition(one)}"]
    if one.progress is not None and one.engine_live and one.wanted != "idle":
        lines.append(f"  {terminal.plain(from_data(one.progress))}")
    if one.open:
        states = ", ".join(f"{number} {state}" for state, number in one.open.items())
        lines.append(f"  open: {states}")
    if one.verdicts is not None:
        verdicts = ", ".join(f"{name} {number}" for name, number in one.verdicts.items()) or "none yet"
        lines.append(f"  verdicts: {verdicts}")
        lines.append(f"  unclear: {one.open.get('unclear', 0)}, unknown: {one.verdicts.get('unknown', 0)}, "
                     f"people held for an operator: {one.held}")  # fmt: skip
    return "\n".join(lines)


def _condition(one: CampaignStatus) -> str:
    if one.wanted_at is None:
        return "never ran"
    why = f": {one.wanted_why}" if one.wanted_why else ""
    engine = "" if one.engine_live or one.wanted == "idle" else "; no engine dials it now"
    return f"{one.wanted} since {_iso(one.wanted_at)} ({one.wanted_by}{why}){engine}"


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
