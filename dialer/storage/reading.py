"""Reads for people: one consistent, read-only view of the database that may be drained slowly, through a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from dialer.storage.session import plain_errors

PATIENCE = "10min"
"""How long a reader may pause (a pager); the dialling processes' 30 s would cut it off in the middle of a row."""


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in a read-only transaction that sees one moment."""
    with plain_errors(), engine.begin() as connection:
        connection.execute(text("set transaction isolation level repeatable read, read only"))
        connection.execute(text(f"set local idle_in_transaction_session_timeout = '{PATIENCE}'"))
        yield connection
