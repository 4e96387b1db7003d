"""`dialer restore-reconcile`: brings a database that came back from a backup up to what this host knows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import click

from dialer import settings as settings_module
from dialer.ami import cel
from dialer.calls.witness import CelPosition
from dialer.clock import SystemClock, monotonic, utc_now
from dialer.engine.witness import Witness
from dialer.errors import InvalidInput, RefusedBySafety
from dialer.settings import NodeSettings, Settings
from dialer.storage import journal, leases, migrate, restore
from dialer.storage.journal import Claimed
from dialer.storage.reading import reading
from dialer.storage.replay import Reconciled
from dialer.storage.session import async_engine, plain_errors, sync_engine
from dialer.storage.store import PostgresStore

SAY_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class _Strange:
    """Calls that only a node's own record knows, and when they began."""

    node: str
    began_at: dict[UUID, datetime]

    def __str__(self) -> str:
        first, last = min(self.began_at.values()), max(self.began_at.values())
        return (
            f"only the record of {self.node} knows {len(self.began_at)} calls, between {first:%Y-%m-%d %H:%M:%S} and "
            f"{last:%Y-%m-%d %H:%M:%S} UTC"
        )


@click.command("restore-reconcile")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--dry-run", is_flag=True, help="Say what would be put in again; change nothing.")
@click.option(
    "--accept-unidentified",
    is_flag=True,
    help="Let engines start although Asterisk recorded calls of which nobody knows whom they reached.",
)
@click.option(
    "--forget-journal",
    is_flag=True,
    help="The database is a new one on purpose: put this host's journal aside and begin anew.",
)
def restore_reconcile(
    settings_path: Path | None, dry_run: bool, accept_unidentified: bool, forget_journal: bool
) -> None:
    """Bring a database that was restored from a backup up to the calls that this host knows of.

    Engines refuse to start before that: people would be called again. Run it on every host that dials, with all engines
    stopped. Running it again changes nothing. The exit code is 1 while somebody could still be called again.

    \b
    Examples:
      dialer restore-reconcile --dry-run
      dialer restore-reconcile
    """
    if forget_journal and (dry_run or accept_unidentified):
        raise InvalidInput("--forget-journal goes alone: it puts nothing in again.")
    settings = settings_module.load(settings_path)
    _require_stopped(settings)
    if forget_journal:
        asyncio.run(_forget(settings))
        return
    sys.exit(asyncio.run(_reconcile(settings, dry_run=dry_run, accept=accept_unidentified)))


def _require_stopped(settings: Settings) -> None:
    engine = sync_engine(settings)
    try:
        migrate.require_current(engine)
        with reading(engine) as connection:
            live = [row.node for row in leases.listed(connection) if row.live and not leases.is_gone(row.holder)]
    finally:
        engine.dispose()
    if live:
        raise RefusedBySafety(
            f"an engine dials through {', '.join(live)} now. Stop every engine of this database first, with Ctrl-C or "
            "`dialer drain NAME`, and run this again."
        )


async def _reconcile(settings: Settings, *, dry_run: bool, accept: bool) -> int:
    engine = async_engine(settings)
    try:
        with plain_errors():
            report = await restore.reconcile(
                engine, settings.journal_dir, utc_now(), dry_run=dry_run, progress=_now_and_then()
            )  # fmt: skip
    finally:
        await engine.dispose()
    strange = [await _strange(settings, node, accept=accept and not dry_run) for node in _witnessed(settings)]
    found = [one for one in strange if one.began_at]
    _say(report, dry_run=dry_run)
    for one in found:
        click.echo(f"{one}{'; accepted' if accept else ''}")
    _advise(report, found, accept=accept)
    return 1 if report.unmatched or report.in_the_way or (found and not accept) else 0


def _say(report: Reconciled, *, dry_run: bool) -> None:
    click.echo(
        f"{'would restore' if dry_run else 'restored'} {report.attempts} attempts ({report.open} without a verdict), "
        f"{report.verdicts} verdicts, {report.dialogues} dialogues with {report.answers} answers; "
        f"{report.contacts} contacts changed"
    )
    if report.other_revision:
        click.echo(f"revision lost: {report.other_revision} attempts stand under the current one of their campaign")
    for name in report.paused:
        click.echo(f"paused: campaign {name!r}")
    for name, people in sorted(report.unmatched.items()):
        click.echo(f"unmatched: {len(people)} people of campaign {name!r}")
    for node in report.in_the_way:
        click.echo(f"in the way: calls of {node} that the database holds open")


def _advise(report: Reconciled, strange: list[_Strange], *, accept: bool) -> None:
    if report.other_revision:
        click.echo(
            "Campaign files were changed after the backup. `dialer contacts import FILE` before this command brings a "
            "revision back, and answers then stand under the one that asked.",
            err=True,
        )
    if report.paused:
        click.echo(
            "Orders that were given after the backup are lost, perhaps one to stop a campaign. Let those go on that "
            "shall, with `dialer resume NAME`.",
            err=True,
        )
    if report.unmatched:
        click.echo(
            "People who were called are not in the database, and could be called again. Bring them in with `dialer "
            "contacts import FILE` for each campaign that is named, then run this again.",
            err=True,
        )
    if report.in_the_way:
        click.echo(
            "Run this on the hosts of those nodes first, then here again: only they know how their calls ended.",
            err=True,
        )
    if strange and not accept:
        click.echo(
            "Nobody can say whom those calls reached: the journal that knew it is gone. The people could be called "
            "again. Hold their campaigns back, or take that into account and give --accept-unidentified.",
            err=True,
        )


async def _strange(settings: Settings, node: NodeSettings, *, accept: bool) -> _Strange:
    """Calls that neither database nor journal know; `accept` stores the record, which an engine then goes on from."""
    store = PostgresStore(async_engine(settings), node.name, settings.spool_dir, settings.journal_dir)
    path = node.cel_file
    assert path is not None
    witness = Witness(store, lambda position: cel.read(path, position), SystemClock())
    try:
        unknown = await witness.unknown_calls()
        if unknown:
            # In a dry run the journal's calls are not in the database yet.
            for line in journal.read_all(settings.journal_dir):
                if isinstance(line, Claimed):
                    unknown.pop(line.attempt_id, None)
        if unknown and accept:
            await _hold(store, node)
            await witness.catch_up()
    finally:
        await store.close()
    return _Strange(node=node.name, began_at=unknown)


async def _forget(settings: Settings) -> None:
    for node in _witnessed(settings):
        assert node.cel_file is not None
        end = await asyncio.to_thread(_end_of, node.cel_file)
        if end is None:
            continue
        store = PostgresStore(async_engine(settings), node.name, settings.spool_dir, settings.journal_dir)
        try:
            await _hold(store, node)
            await store.begin_cel()
            await store.store_cel((), end)
        finally:
            await store.close()
    aside = journal.put_aside(settings.journal_dir, utc_now())
    click.echo(f"the journal stands in {aside} now" if aside else "there was no journal", err=True)


def _end_of(path: Path) -> CelPosition | None:
    """Where a node's record ends now; None when there is none."""
    position = None
    try:
        while (found := cel.read(path, position).position) != position:
            position = found
    except OSError:
        return None
    return position


async def _hold(store: PostgresStore, node: NodeSettings) -> None:
    """What an engine writes is written under its lease; here it is ours."""
    if not await store.hold_node():
        raise RefusedBySafety(f"an engine has begun to dial through {node.name} just now. Stop it and run this again.")


def _witnessed(settings: Settings) -> list[NodeSettings]:
    return [node for node in settings.nodes if node.cel_file is not None]


def _now_and_then() -> Callable[[str], None]:
    said_at = monotonic()

    def say(line: str) -> None:
        nonlocal said_at
        if monotonic() - said_at >= SAY_EVERY_S:
            said_at = monotonic()
            click.echo(line, err=True)

    return say
