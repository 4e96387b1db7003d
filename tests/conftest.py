"""What tests share: a real PostgreSQL of their own, with a migrated template that each test gets a clone of."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import Engine, text

from dialer.clock import utc_now
from dialer.lab import postgres
from dialer.settings import Settings
from dialer.storage import event_log, migrate, session

_NUMBER = count(1)


def pytest_configure() -> None:
    """A job in a shell's background ignores Ctrl-C, and so would every program that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True, kw_only=True)
class Database:
    """A migrated, empty database of one test."""

    url: str
    settings: Settings
    engine: Engine

    def rows(self, statement: str, **values: object) -> list[tuple[object, ...]]:
        """What a query returns, as plain tuples."""
        with self.engine.begin() as connection:
            return [tuple(row) for row in connection.execute(text(statement), values)]

    def run(self, statement: str, **values: object) -> None:
        """Runs one statement and commits."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A running private cluster; its database `dialer` is the migrated template."""
    directory = Path(tempfile.mkdtemp(prefix="dialer-pg-"))
    directory.chmod(0o755)
    try:
        url = postgres.start_cluster(directory)
        engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        migrate.upgrade(engine)
        with engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
        engine.dispose()
        yield directory
    finally:
        postgres.stop_cluster(directory)
        shutil.rmtree(directory, ignore_errors=True)


def settings_for(database: str, directory: Path) -> Settings:
    """Settings with one node and one trunk, their secrets in `directory`."""
    key, secret = directory / "mac.key", directory / "ami.secret"
    key.write_text("k" * 64, encoding="utf-8")
    secret.write_text("s" * 32, encoding="utf-8")
    return Settings.model_validate(
        {
            "database": database,
            "state_dir": directory / "var",
            "mac_key_file": key,
            "caller_ids": ["+48221234567"],
            "nodes": [{"name": "node-1", "ami": {"secret_file": secret}}],
            "trunks": [{"name": "carrier-a", "node": "node-1", "host": "127.0.0.1", "port": 5070}],
        }
    )


@pytest.fixture
def database(cluster: Path, tmp_path: Path) -> Iterator[Database]:
    """A clone of the migrated template; after the test nothing may hold a lock or sit in a transaction."""
    name = f"test_{next(_NUMBER)}"
    admin = sqlalchemy.create_engine(
        postgres.url(cluster, "postgres").replace("postgresql://", "postgresql+psycopg://"),
        isolation_level="AUTOCOMMIT",
    )
    with admin.connect() as connection:
        connection.execute(text(f"create database {name} template dialer"))
    url = postgres.url(cluster, name)
    settings = settings_for(url, tmp_path)
    engine = session.sync_engine(settings)
    yield Database(url=url, settings=settings, engine=engine)
    engine.dispose()
    with admin.connect() as connection:
        stuck = connection.execute(
            text("select count(*) from pg_stat_activity where datname = :name and state like 'idle in transaction%'"),
            {"name": name},
        ).scalar()
        connection.execute(text(f"drop database {name} with (force)"))
    admin.dispose()
    assert stuck == 0, "the test left a transaction open"
