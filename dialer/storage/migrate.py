"""Brings a database to this release's schema, and says whether it is there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from dialer.errors import DatabaseAway
from dialer.storage.session import plain_errors

_LOCK = 0x6469616C  # "dial": two upgrades at once wait for each other


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; the connection stays the caller's."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.attributes["connection"] = connection
    return made


def upgrade(engine: Engine) -> None:
    """Runs what is missing; nothing when the schema is current."""
    with plain_errors(), engine.begin() as connection:
        connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        command.upgrade(config(connection), "head")


def require_current(engine: Engine) -> None:
    """Raises DatabaseAway when the schema is not this release's."""
    with plain_errors(), engine.connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    wanted = ScriptDirectory.from_config(config()).get_current_head()
    if current != wanted:
        raise DatabaseAway(
            f"the database schema is at {current or 'nothing'}, this release needs {wanted}. Run `dialer db upgrade`."
        )
