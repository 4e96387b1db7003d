"""A PostgreSQL of a benchmark's own, migrated, with a campaign of one person: for what needs no calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from dialer.campaign.load import load_campaign
from dialer.clock import utc_now
from dialer.lab import postgres
from dialer.settings import Settings, load
from dialer.storage import event_log, migrate
from dialer.storage.prepare import prepare

CAMPAIGN = """\
campaign: bench
contacts: {from: people.csv, numbers: [mobile], region: PL}
calling: {window: {mon-sun: "00:00-24:00"}}
capacity: {max_concurrent: 400, calls_per_second: 20, trunks: [carrier-a], caller_id: "+48221234567"}
flow: {hello: {say: "Hello."}}
"""
SETTINGS = """\
database: {database}
mac_key_file: mac.key
caller_ids: ["+48221234567"]
nodes: [{{name: node-1, ami: {{secret_file: ami.secret}}}}]
trunks: [{{name: carrier-a, node: node-1, host: 127.0.0.1, prefixes: ["+48", "+49"]}}]
"""


@dataclass(frozen=True, kw_only=True)
class PrivateDatabase:
    """Where it is, and the process of its postmaster."""

    settings: Settings
    settings_file: Path
    postmaster: int


@contextmanager
def private_database(folder: Path) -> Iterator[PrivateDatabase]:
    """Runs while the block does; `campaign.yaml` is registered in it."""
    cluster = folder / "postgres"
    cluster.mkdir()
    # The cluster's own user must get there.
    folder.chmod(0o755)
    cluster.chmod(0o755)
    settings_file = folder / "dialer.yaml"
    (folder / "mac.key").write_text("k" * 64, encoding="utf-8")
    (folder / "ami.secret").write_text("s" * 32, encoding="utf-8")
    (folder / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    (folder / "people.csv").write_text("mobile\n+48501100101\n", encoding="utf-8")
    try:
        database = postgres.start_cluster(cluster)
        settings_file.write_text(SETTINGS.format(database=database), encoding="utf-8")
        engine = sqlalchemy.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
        try:
            migrate.upgrade(engine)
            with engine.begin() as connection:
                event_log.ensure_partitions(connection, utc_now())
            prepare(engine, load_campaign(folder / "campaign.yaml"), utc_now())
        finally:
            engine.dispose()
        first_line = (cluster / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0]
        yield PrivateDatabase(settings=load(settings_file), settings_file=settings_file, postmaster=int(first_line))
    finally:
        postgres.stop_cluster(cluster)
