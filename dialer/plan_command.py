"""`dialer plan|apply|rollback`: the campaign file as the unit of change, also while people are called by it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click
from sqlalchemy import Connection, Engine

from dialer import settings as settings_module
from dialer.campaign.calling import rules_of
from dialer.campaign.changes import changes, limits_changed
from dialer.campaign.load import LoadedCampaign, check_against, load_campaign
from dialer.clock import utc_now
from dialer.control_command import operator
from dialer.errors import InvalidInput
from dialer.monitoring import plan_page
from dialer.monitoring.explain_facts import limits_of, subject, ways_of
from dialer.monitoring.outlook import outlook
from dialer.monitoring.plan_page import Plan
from dialer.run import nodes_of
from dialer.run_command import Siblings
from dialer.settings import Settings
from dialer.storage import campaigns, funnel, migrate, revisions
from dialer.storage.reading import reading
from dialer.storage.revisions import Accepted
from dialer.storage.session import plain_errors, sync_engine

_FILE = click.argument("file", type=click.Path(path_type=Path))
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip


@click.command("plan")
@_FILE
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_SETTINGS
def plan_command(file: Path, as_json: bool, settings_path: Path | None) -> None:
    """Say what a changed campaign file would do, before `dialer apply` accepts it; nothing is stored.

    Which keys change, how many people become due, move or leave, and when the campaign will be done with and without
    it. Everybody is looked at as they stand now, by both files; no call waits for it.

    Example: dialer plan campaign.yaml
    """
    settings = settings_module.load(settings_path)
    loaded = _loaded(file, settings)
    engine = sync_engine(settings)
    try:
        with reading(engine) as connection:
            if campaigns.by_name(connection, loaded.campaign.campaign) is None:
                raise InvalidInput(
                    f"{loaded.campaign.campaign} is new: `dialer run {file} --dry-run` says whom it would call."
                )
            found = plan_of(connection, settings, loaded)
    finally:
        engine.dispose()
    if as_json:
        click.echo(json.dumps(plan_page.as_data(found)))
        return
    click.echo("\n".join(plan_page.lines(found)))
    if found.changes and not found.refusal:
        click.echo(f'To accept it: dialer apply {file} --note "why"', err=True)


def plan_of(connection: Connection, settings: Settings, loaded: LoadedCampaign) -> Plan:
    """What accepting a file would do, at this moment."""
    was = subject(connection, settings, loaded.campaign.campaign)
    now, campaign_id = was.view.at, was.stored.campaign_id
    # Both calendars are computed: what is written reaches less far ahead, by the time since then.
    hours = {True: rules_of(loaded.campaign), False: was.rules}
    windows = {new: campaigns.calendar(connection, campaign_id, rules, now) for new, rules in hours.items()}
    before = replace(was.view, windows=windows[False])
    after = replace(was.view, windows=windows[True], ways=ways_of(loaded.campaign, settings, was.page))
    pairs = funnel.compared(connection, before, after)
    seen = funnel.seen(connection, campaign_id)
    limits = limits_of(was)
    moved = limits_changed(was.campaign.capacity, loaded.campaign.capacity)
    new_limits = (moved.calls_per_second or limits[0], moved.max_concurrent or limits[1])
    nodes = nodes_of(settings, loaded.campaign)
    here = {part.node for part in was.status.parts} if was.status.wanted != "idle" else {*nodes}
    return Plan(
        name=was.name,
        before=was.revision,
        at=now,
        file=str(loaded.path),
        changes=tuple(changes(was.revision.document, loaded.document)),
        moves=plan_page.moves(pairs, windows[False], windows[True], now),
        outlook_before=outlook(plan_page.coming(pairs, after=False), windows[False], limits, seen, now),
        outlook_after=outlook(plan_page.coming(pairs, after=True), windows[True], new_limits, seen, now),
        refusal=revisions.other_nodes(was.name, here, nodes),
    )


def apply_command(siblings: Siblings) -> click.Command:
    """The command, with the prompts' builder wired in."""

    @click.command("apply")
    @_FILE
    @click.option("--note", required=True, help="What the change is for, for the audit.")
    @_SETTINGS
    def apply(file: Path, note: str, settings_path: Path | None) -> None:
        """Accept a changed campaign file; a campaign under way goes on by it from its next claim on.

        Calls under way end as they would, by the version they began with. Limits that the file itself does not change
        stay as `dialer set` made them. Its prompts are made first; the nodes stay the same while it runs.

        Example: dialer apply campaign.yaml --note "opening hours of the clinic corrected"
        """
        settings = settings_module.load(settings_path)
        loaded = _loaded(file, settings)
        _say(loaded.campaign.campaign, _accept(siblings, settings, loaded, note))

    return apply


def rollback_command(siblings: Siblings) -> click.Command:
    """The command, with the prompts' builder wired in."""

    @click.command("rollback")
    @click.argument("name")
    @click.option("--to", "number", type=click.IntRange(1), help="The number of a revision; default: the one before.")
    @click.option("--note", help="Why, for the audit.")
    @click.option("--list", "only_list", is_flag=True, help="List the revisions and change nothing.")
    @_SETTINGS
    def rollback(name: str, number: int | None, note: str | None, only_list: bool, settings_path: Path | None) -> None:
        """Return to an earlier version of a campaign's file, as `dialer apply` would; it becomes the newest revision.

        Without --to that is the last one that differed. Nothing that was called, answered or imported is undone.

        \b
        Examples:
          dialer rollback health-check --list
          dialer rollback health-check --to 3 --note "the new prompt names the wrong hospital"
        """
        settings = settings_module.load(settings_path)
        engine = sync_engine(settings)
        try:
            with reading(engine) as connection:
                if only_list:
                    stored = campaigns.require(connection, name)
                    current = campaigns.in_force(connection, stored.campaign_id)
                    found = campaigns.revisions(connection, stored.campaign_id)
                    click.echo("\n".join(plan_page.listed(found, current)))
                    return
                back = revisions.earlier(connection, name, number)
        finally:
            engine.dispose()
        loaded = campaigns.read_again(back)
        _require_fitting(loaded, settings)
        why = f"back to revision {back.number}" + (f": {note}" if note else "")
        _say(name, _accept(siblings, settings, loaded, why))
        click.echo("The file on the disk is as it was: `dialer run` of it would accept it again.", err=True)

    return rollback


def _loaded(file: Path, settings: Settings) -> LoadedCampaign:
    loaded = load_campaign(file)
    _require_fitting(loaded, settings)
    return loaded


def _require_fitting(loaded: LoadedCampaign, settings: Settings) -> None:
    problems = check_against(loaded, settings)
    if problems:
        raise InvalidInput(f"{loaded.path} does not fit this machine's settings; nothing was changed", problems)


def _accept(siblings: Siblings, settings: Settings, loaded: LoadedCampaign, note: str) -> Accepted:
    engine = sync_engine(settings)
    try:
        migrate.require_current(engine)
        _require_known(engine, loaded)
        # A call may need them at once.
        siblings.build_prompts(loaded, settings, lambda done, of: None)
        with plain_errors(), engine.begin() as connection:
            return revisions.accept(
                connection, loaded, nodes_of(settings, loaded.campaign), utc_now(), by=operator(), note=note,
                rejects_dir=settings.state_dir / "rejects",
            )  # fmt: skip
    finally:
        engine.dispose()


def _require_known(engine: Engine, loaded: LoadedCampaign) -> None:
    """Raises InvalidInput before prompts are made for nothing."""
    with reading(engine) as connection:
        campaigns.require(connection, loaded.campaign.campaign)


def _say(name: str, accepted: Accepted) -> None:
    if accepted.imported is not None:
        click.echo(str(accepted.imported), err=True)
    if accepted.goes_on:
        click.echo(f"{name}: goes on by revision {accepted.number} from its next claim on.")
    elif accepted.is_new:
        click.echo(f"{name}: revision {accepted.number} is accepted; `dialer run` calls by it.")
    else:
        click.echo(f"{name}: revision {accepted.number} is this very file; nothing was changed.")
