"""Connections without SQLAlchemy: used again, replaced when they died, and never left busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from dialer.storage.direct import Connection, Connections
from tests.conftest import Database

pytestmark = pytest.mark.database


@pytest.fixture
async def connections(database: Database) -> AsyncIterator[Connections]:
    made = Connections(database.settings, most=2)
    yield made
    await made.close()


async def pid(connection: Connection) -> int:
    """The server process behind a connection."""
    row = await (await connection.execute("select pg_backend_pid()")).fetchone()
    return int(row[0])


def sessions(database: Database) -> set[object]:
    return {row[0] for row in database.rows(
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() "
        "and backend_type = 'client backend'"
    )}  # fmt: skip


async def test_one_connection_serves_one_after_the_other(connections: Connections) -> None:
    assert await connections.run(pid) == await connections.run(pid)


async def test_so_many_at_once_and_no_more(database: Database, connections: Connections) -> None:
    async def look(connection: Connection) -> int:
        await connection.execute("select pg_sleep(0.05)")
        return len(sessions(database))

    seen = await asyncio.gather(*(connections.run(look) for _ in range(6)))
    assert max(seen) == 2


async def test_after_a_restart_of_the_server_the_work_is_done_once_more(
    database: Database, connections: Connections
) -> None:
    before = set(await asyncio.gather(connections.run(pid), connections.run(pid)))
    database.run("select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                 "where datname = current_database() and pid <> pg_backend_pid()")  # fmt: skip
    after = await connections.run(pid)
    assert after not in before
    assert sessions(database) == {after}


async def test_a_refused_statement_is_told_and_not_repeated(connections: Connections) -> None:
    first, times = await connections.run(pid), 0

    async def refused(connection: Connection) -> None:
        nonlocal times
        times += 1
        await connection.execute("select 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        await connections.run(refused)
    assert times == 1
    assert await connections.run(pid) == first


async def test_what_nobody_waits_for_any_more_leaves_no_statement_running(
    database: Database, connections: Connections
) -> None:
    async def long(connection: Connection) -> None:
        await connection.execute("select pg_sleep(60)")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(connections.run(long), 0.1)
    assert database.rows("select query from pg_stat_activity where query like 'select pg_sleep%' and state = 'active' "
                         "and pid <> pg_backend_pid()") == []  # fmt: skip
    assert await connections.run(pid)
