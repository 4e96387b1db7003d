"""Engines for PostgreSQL: asynchronous for the dialling processes, synchronous for commands; errors in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dialer.errors import DatabaseAway, DialerError
from dialer.settings import Settings

CONNECT_TIMEOUT_S = 5
_COLLISIONS = ("40P01", "40001")
"""Deadlock and serialization failure, in the SQLSTATEs of PostgreSQL (its manual, appendix A)."""


def async_engine(settings: Settings, pool_size: int = 6) -> AsyncEngine:
    """A pool for the engine or a worker. Sessions run in UTC and never sit in a transaction."""
    return create_async_engine(settings.database_url(), **_options(settings, pool_size, idle_s=5))


def sync_engine(settings: Settings, pool_size: int = 4) -> Engine:
    """A pool for a command. An engine's import of a daily base holds one connection for a minute."""
    return sqlalchemy.create_engine(settings.database_url(), **_options(settings, pool_size, idle_s=30))


def connect_arguments(settings: Settings, idle_s: int) -> dict[str, Any]:
    """What every connection is opened with (libpq's keywords), beside `settings.database`.

    A client that is frozen, or whose link died in a transaction, keeps its locks for `idle_s` at most.
    """
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "dialer",
        "options": f"-c timezone=UTC -c jit=off -c idle_in_transaction_session_timeout={idle_s}s",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        # Keepalives say nothing while data waits to be acknowledged.
        "tcp_user_timeout": 10_000,
    }
    password = settings.database_password()
    if password:
        arguments["password"] = password
    return arguments


def _options(settings: Settings, pool_size: int, idle_s: int) -> dict[str, Any]:
    # Values are answers and numbers of people: no error may print them.
    return {
        "hide_parameters": True,
        "connect_args": connect_arguments(settings, idle_s),
        "pool_size": pool_size,
        "max_overflow": 0,
    }


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns the driver's errors into DatabaseAway or DialerError with what to do; other errors pass."""
    try:
        yield
    except DBAPIError as error:
        raise explain(error) from error


def explain(error: DBAPIError | psycopg.Error) -> DialerError:
    """One sentence for an operator, with the fix."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    reason = (str(cause or error).strip() or repr(cause)).splitlines()[0]
    state = getattr(cause, "sqlstate", None) or ""
    if state == "53100":
        return DialerError(f"PostgreSQL has no space left on its disk ({reason}). Free some space and run this again.")
    if state.startswith("42P01"):
        return DatabaseAway("the database has no dialer tables. Run `dialer db upgrade` first.")
    if state.startswith("28"):
        return DatabaseAway(f"PostgreSQL refused the login ({reason}). Check `database` and its password file.")
    if state in _COLLISIONS:
        # Of the same class as a lost connection, because whoever waits for PostgreSQL does what is right: asks again.
        return DatabaseAway(
            f"Two transactions waited for each other, and PostgreSQL ended this one ({reason}). Engines and workers "
            "try it again by themselves; a command must be run again."
        )
    if isinstance(cause, psycopg.OperationalError) or getattr(error, "connection_invalidated", False):
        return DatabaseAway(
            f"PostgreSQL does not answer ({reason}). Start it, or correct `database` in the settings file."
        )
    return DialerError(f"PostgreSQL refused what we asked: {reason}")
