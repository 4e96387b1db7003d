"""`dialer collect` and `dialer events`: the collector, who may send to it, and what it could not take."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import psycopg
from sqlalchemy import Connection, Engine

from dialer import log
from dialer import settings as settings_module
from dialer.clock import SystemClock, utc_now
from dialer.errors import DatabaseAway, InvalidInput
from dialer.settings import NAME, Settings
from dialer.storage import audit, migrate
from dialer.storage.direct import Connections
from dialer.storage.reading import reading
from dialer.storage.session import explain, plain_errors, sync_engine
from etl import access, dead
from etl.access import Kind
from etl.dead import Kept, Which
from etl.event_types import Reason
from etl.landing import Landing
from etl.replay import replay as replay_letters
from etl.wire import terms_of

_CHUNK = 500
_SHOWN = 100
"""Characters of a line, on a terminal."""

_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
Operator = Callable[[], str]
"""Who gives the order, for the audit."""


def collect_group(operator: Operator) -> click.Group:
    """`dialer collect`, which runs the collector, and its tokens."""

    @click.group("collect", invoke_without_command=True)
    @_SETTINGS
    @click.pass_context
    def collect(context: click.Context, settings_path: Path | None) -> None:
        """Take events over HTTP (docs/collect.md) in the foreground, until Ctrl-C or SIGTERM; log lines are JSON, on
        stderr.

        Every answer 202 is a promise: the events are in PostgreSQL, or on this host's disk while it is away.

        Example: dialer collect --settings /etc/dialer/dialer.yaml
        """
        if context.invoked_subcommand is not None:
            if settings_path is not None:
                raise click.UsageError(f"write --settings behind `{context.invoked_subcommand}` and its command")
            return
        # Every other command would load the web server too.
        from etl.serve import serve

        settings = settings_module.load(settings_path)
        log.set_up()
        _check_database(settings)
        serve(settings, SystemClock())

    collect.add_command(_token_group(operator))
    return collect


def _token_group(operator: Operator) -> click.Group:
    """`dialer collect token`."""

    @click.group("token")
    def token() -> None:
        """Who may send events: each token speaks for one tenant, under the name of one source."""

    for command in (_add_command(operator), _list_command, _revoke_command(operator)):
        token.add_command(command)
    return token


def _add_command(operator: Operator) -> click.Command:
    @click.command("add")
    @click.option("--tenant", required=True, help="Whose events they are.")
    @click.option("--source", required=True, help="The name of the sender, which is stored with each event.")
    @click.option("--webhook", is_flag=True, help="For a sender that signs its requests (Standard Webhooks).")
    @_SETTINGS
    def add(tenant: str, source: str, webhook: bool, settings_path: Path | None) -> None:
        """Make a token, or a webhook's secret, and print it; a token is not to be had a second time.

        \b
        Examples:
          dialer collect token add --tenant acme --source helpdesk
          dialer collect token add --tenant acme --source chat --webhook
        """
        for name in (tenant, source):
            _check_name(name)
        settings = settings_module.load(settings_path)
        kind = Kind.WEBHOOK if webhook else Kind.BEARER
        with _changing(settings) as connection:
            token_id, secret = access.add(
                connection, tenant_id=tenant, source=source, kind=kind, by=operator(), key=settings.mac_key()
            )
            audit.record(
                connection, who=operator(), what="collect.token.add", tenant_id=tenant,
                detail={"id": token_id, "source": source, "kind": kind.value},
            )  # fmt: skip
        click.echo(secret)
        way = f"POST /v1/events?webhook={token_id}" if webhook else "POST /v1/events with Authorization: Bearer …"
        click.echo(f"{token_id}: {source} of {tenant} may send: {way}. The collector knows within a second.", err=True)

    return add


@click.command("list")
@_JSON
@_SETTINGS
def _list_command(as_json: bool, settings_path: Path | None) -> None:
    """List the tokens, without their secrets.

    Example: dialer collect token list
    """
    with _reading(settings_path) as connection:
        for one in access.listed(connection):
            facts = {
                "id": one.id, "tenant_id": one.tenant_id, "source": one.source, "kind": one.kind.value,
                "added_at": _iso(one.added_at), "added_by": one.added_by, "revoked_at": _iso(one.revoked_at),
            }  # fmt: skip
            until = f", revoked {facts['revoked_at']}" if one.revoked_at else ""
            words = (
                f"{one.id}  {one.tenant_id}  {one.source}  {one.kind.value}, since {facts['added_at']} by "
                f"{one.added_by}{until}"
            )
            click.echo(json.dumps(facts) if as_json else words)


def _revoke_command(operator: Operator) -> click.Command:
    @click.command("revoke")
    @click.argument("token_id", metavar="ID")
    @_SETTINGS
    def revoke(token_id: str, settings_path: Path | None) -> None:
        """Take a token or a webhook out of use, within a second, for good.

        Example: dialer collect token revoke 5f2c9a1b7e04
        """
        with _changing(settings_module.load(settings_path)) as connection:
            revoked = access.revoke(connection, token_id)
            if revoked is None:
                raise InvalidInput(f"no token {token_id!r} is in use; `dialer collect token list` shows them all")
            audit.record(
                connection, who=operator(), what="collect.token.revoke", tenant_id=revoked.tenant_id,
                detail={"id": token_id, "source": revoked.source},
            )  # fmt: skip
        click.echo(f"{token_id}: {revoked.source} of {revoked.tenant_id} may send no more")

    return revoke


def events_group(operator: Operator) -> click.Group:
    """`dialer events`."""

    @click.group("events")
    def events() -> None:
        """The event log, and what could not come into it."""

    events.add_command(_dead_group(operator))
    return events


def _dead_group(operator: Operator) -> click.Group:
    @click.group("dead")
    def dead_group() -> None:
        """Dead letters: lines that the collector was sent and that are no events, each with the reason."""

    @dead_group.command("list")
    @_which
    @click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most that are shown.")
    @_JSON
    @_SETTINGS
    def list_(which: Which, limit: int, as_json: bool, settings_path: Path | None) -> None:
        """List dead letters, the newest first.

        Example: dialer events dead list --tenant acme --reason schema
        """
        with _reading(settings_path) as connection:
            for one in dead.listed(connection, which, limit):
                click.echo(json.dumps(_facts(one), ensure_ascii=False) if as_json else _in_words(one))

    @dead_group.command("replay")
    @_which
    @_SETTINGS
    def replay(which: Which, settings_path: Path | None) -> None:
        """Try dead letters again; those that are events now are stored, and forgotten here.

        After `late_days` was raised, or after an upgrade that knows more. Each is judged as on the day it came.

        Example: dialer events dead replay --tenant acme --reason too_old
        """
        settings = settings_module.load(settings_path)
        with _reading(settings_path) as connection, plain_errors():
            try:
                tried, stored = asyncio.run(_replayed(settings, dead.listed(connection, which)))
            except psycopg.Error as error:
                raise explain(error) from error
        click.echo(f"{stored} of {tried} became events")

    @dead_group.command("purge")
    @_which
    @click.option("--all", "everything", is_flag=True, help="Without any other condition: all of them.")
    @click.option("--why", help="The reason, for the audit.")
    @_SETTINGS
    def purge(which: Which, everything: bool, why: str | None, settings_path: Path | None) -> None:
        """Remove dead letters for good.

        Example: dialer events dead purge --older-than 30
        """
        if not which.conditions() and not everything:
            raise InvalidInput("say which: by --tenant, --reason, --source, --id, --older-than, or --all of them")
        with _changing(settings_module.load(settings_path)) as connection:
            gone = dead.purge(connection, which)
            audit.record(
                connection, who=operator(), what="events.dead.purge", tenant_id=which.tenant_id, why=why,
                detail={"letters": gone, "reason": which.reason.value if which.reason else None,
                        "source": which.source, "before": _iso(which.before)},
            )  # fmt: skip
        click.echo(f"{gone} dead letters removed")

    return dead_group


# -- what they share -----------------------------------------------------------------------------------------------


def _which(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose letters, handed over as `which`."""

    @wraps(command)
    def chosen(
        *, tenant: str | None, reason: str | None, source: str | None, letter_ids: tuple[UUID, ...],
        older_than: int | None, **rest: Any,
    ) -> None:  # fmt: skip
        before = utc_now() - timedelta(days=older_than) if older_than is not None else None
        which = Which(
            tenant_id=tenant, reason=Reason(reason) if reason else None, source=source, letter_ids=letter_ids,
            before=before,
        )  # fmt: skip
        command(which=which, **rest)

    for option in (
        click.option(
            "--older-than", type=click.IntRange(0, 36_500), metavar="DAYS", help="Not come again for so many days."
        ),
        click.option("--id", "letter_ids", type=click.UUID, multiple=True, help="This one; again for more."),
        click.option("--source", help="Of this sender."),
        click.option("--reason", type=click.Choice([reason.value for reason in Reason]), help="For this reason."),
        click.option("--tenant", help="Of this tenant."),
    ):
        chosen = option(chosen)
    return chosen


async def _replayed(settings: Settings, letters: Iterator[Kept]) -> tuple[int, int]:
    """How many were tried, and how many became events."""
    connections, landing, terms = Connections(settings, most=1), Landing(), terms_of(settings.collect)
    tried = stored = 0
    try:
        while chunk := list(islice(letters, _CHUNK)):
            tried += len(chunk)
            stored += await connections.run(partial(replay_letters, landing, chunk, terms))
    finally:
        await connections.close()
    return tried, stored


def _check_database(settings: Settings) -> None:
    """An older schema is the operator's to mend; a database that is away comes back by itself."""
    engine = sync_engine(settings)
    try:
        if _answers(engine):
            migrate.require_current(engine)
        else:
            click.echo("PostgreSQL does not answer; events are taken as soon as it does", err=True)
    finally:
        engine.dispose()


def _answers(engine: Engine) -> bool:
    try:
        with plain_errors(), engine.connect():
            return True
    except DatabaseAway:
        return False


@contextmanager
def _changing(settings: Settings) -> Iterator[Connection]:
    engine = sync_engine(settings)
    try:
        migrate.require_current(engine)
        with plain_errors(), engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _reading(settings_path: Path | None) -> Iterator[Connection]:
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise InvalidInput(f"{name!r} is no name: small letters, digits, - and _, at most 40, as in acme-poland")


def _facts(one: Kept) -> dict[str, Any]:
    return {
        "tenant_id": one.tenant_id, "id": str(one.letter_id), "source": one.source, "reason": one.reason.value,
        "detail": one.detail, "times": one.times, "attempts": one.attempts, "first_at": _iso(one.first_at),
        "last_at": _iso(one.last_at), "raw": one.raw.decode(errors="backslashreplace"),
    }  # fmt: skip


def _in_words(one: Kept) -> str:
    line = "".join(c if c.isprintable() else "?" for c in one.raw[: 4 * _SHOWN].decode(errors="replace"))
    cut = f"{line[:_SHOWN]}…" if len(line) > _SHOWN else line
    return (
        f"{_iso(one.last_at)}  {one.tenant_id}  {one.source}  {one.reason.value}  {one.times}x  {one.letter_id}\n"
        f"  {one.detail}\n  {cut}"
    )


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
