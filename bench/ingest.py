"""Collected events into the log, durable and without doubles, beside PostgreSQL's own COPY of the same rows."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import sqlalchemy
from sqlalchemy import Engine, text

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.measure import database_cpu
from dialer import event_loop
from dialer.clock import monotonic, utc_now
from dialer.lab import postgres
from dialer.settings import Settings, load
from dialer.storage import event_log, migrate
from dialer.storage.direct import Connections
from etl.intake import Intake
from etl.landing import _COPY, _INSERT, _STAGE, Batch, packed
from etl.metrics import Metrics
from etl.spool import Spool
from etl.wire import read_lines, terms_of

EVENTS = 400_000
BATCH = 10_000
AIM = 0.65
IN_FLIGHT = 4
SETTINGS = """\
database: {database}
mac_key_file: mac.key
caller_ids: ["+48221234567"]
collect: {{port: {port}, quota: {{events_per_second: 10000000, bytes_per_day: 1000000000000}}}}
nodes: [{{name: node-1, ami: {{secret_file: ami.secret}}}}]
trunks: [{{name: carrier-a, node: node-1, host: 127.0.0.1}}]
"""


def ingest(folder: Path, size: Size) -> Result:
    """Batches of 10,000 lines, read, checked and stored as the collector does; the raw COPY before and after."""
    count = size.calls or EVENTS
    per_batch = min(BATCH, count)
    with cluster(folder) as (settings, engine, postmaster):
        made = list(bodies(count // per_batch, per_batch))
        total = len(made) * per_batch
        before = raw_copy(settings, made)
        _emptied(engine)
        cpu, own_cpu = database_cpu(postmaster), time.process_time()
        ours_s = event_loop.run(_library(settings, folder, made))
        cpu, own_cpu = database_cpu(postmaster) - cpu, time.process_time() - own_cpu
        _counted(engine, total)
        again_s = event_loop.run(_library(settings, folder, made))
        _counted(engine, total)
        _emptied(engine)
        after = raw_copy(settings, made)
    ceiling = (before + after) / 2
    figures = [
        rounded("events stored a second", "1/s", total / ours_s, ceiling),
        rounded("the same events again, nothing stored", "1/s", total / again_s, ceiling),
        rounded("  CPU of PostgreSQL an event", "µs", cpu / total * 1e6),
        rounded("  our own CPU an event", "µs", own_cpu / total * 1e6),
        rounded("  the raw COPY before and after", "1/s", before, after),
        Figure(name="within the aim", value=int(total / ours_s >= AIM * ceiling), unit="1: yes"),
    ]
    conditions: Conditions = {
        "events": total, "a batch": per_batch, "aim": AIM,
        "ceiling column": "binary COPY of ready rows into a stage, insert on conflict do nothing, one connection",
    }  # fmt: skip
    return figures, conditions


@contextmanager
def cluster(folder: Path, port: int = 8480) -> Iterator[tuple[Settings, Engine, int]]:
    """A private cluster, migrated, with settings for a collector in `folder`, and its postmaster's process."""
    directory = Path(tempfile.mkdtemp(prefix="dialer-bench-pg-"))
    directory.chmod(0o755)
    try:
        database = postgres.start_cluster(directory)
        (folder / "mac.key").write_text("k" * 64, encoding="utf-8")
        (folder / "ami.secret").write_text("s" * 32, encoding="utf-8")
        (folder / "dialer.yaml").write_text(SETTINGS.format(database=database, port=port), encoding="utf-8")
        engine = sqlalchemy.create_engine(database.replace("postgresql://", "postgresql+psycopg://"))
        migrate.upgrade(engine)
        with engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
            connection.execute(text(event_log.partitions(utc_now().date() - timedelta(days=n) for n in range(4))))
        yield load(folder / "dialer.yaml"), engine, _postmaster(directory)
        engine.dispose()
    finally:
        postgres.stop_cluster(directory)
        shutil.rmtree(directory, ignore_errors=True)


def bodies(count: int, lines: int) -> Iterator[bytes]:
    """Requests' bodies: events of many tickets over three days, a quarter of a kilobyte each."""
    chance = random.Random(6)
    now = utc_now()
    kinds: Sequence[tuple[str, dict[str, str]]] = (
        ("ticket.created", {"channel": "whatsapp", "group": "billing", "priority": "normal"}),
        ("ticket.assigned", {"agent": "agent-17", "group": "billing"}),
        ("ticket.message", {"author": "agent", "visibility": "public", "agent": "agent-17"}),
        ("queue.answered", {"agent": "agent-17"}),
    )  # fmt: skip
    for _ in range(count):
        made = []
        for n in range(lines):
            name, payload = kinds[n % len(kinds)]
            made.append(
                json.dumps({
                    "event_id": str(UUID(int=chance.getrandbits(128), version=4)),
                    "occurred_at": (now - timedelta(seconds=chance.random() * 3 * 86400)).isoformat(),
                    "type": name, "subject_id": f"T-{chance.randrange(100_000)}", "seq": n, "payload": payload,
                })
            )  # fmt: skip
        yield ("\n".join(made) + "\n").encode()


def raw_copy(settings: Settings, made: Sequence[bytes]) -> float:
    """Rows a second that PostgreSQL takes when they are ready beforehand, with one commit a body."""
    copies = [packed([_batch(settings, body)]) for body in made]
    rows = sum(body.count(b"\n") for body in made)
    with psycopg.connect(settings.database, autocommit=True) as connection:
        connection.execute(_STAGE)
        began = monotonic()
        for data in copies:
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(_COPY) as copy:
                    copy.write(data)
                cursor.execute(_INSERT)
        return rows / (monotonic() - began)


async def _library(settings: Settings, folder: Path, made: Sequence[bytes]) -> float:
    """Seconds from the lines' bytes to the last commit."""
    connections, spool = Connections(settings, most=4), Spool(folder / "collect", 2**30)
    intake = Intake(connections, spool, terms_of(settings.collect), Metrics())
    writing = asyncio.create_task(intake.run())
    waiting = iter(made)

    async def send() -> None:
        for body in waiting:
            stored = await intake.put(_batch(settings, body))
            assert not stored.spooled, "PostgreSQL took it"

    try:
        began = monotonic()
        await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))
        return monotonic() - began
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await connections.close()
        spool.close()


def _batch(settings: Settings, body: bytes) -> Batch:
    now = utc_now()
    events, letters = read_lines(enumerate(body.split(b"\n"), 1), terms_of(settings.collect)("acme", now))
    assert not letters, letters[0]
    return Batch(tenant_id="acme", source="bench", received_at=now, events=events)


def _emptied(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("truncate event"))
        connection.execute(text("checkpoint"))


def _counted(engine: Engine, wanted: int) -> None:
    with engine.begin() as connection:
        found = connection.execute(text("select count(*) from event")).scalar()
    assert found == wanted, f"{found} events stand there, and {wanted} were sent"


def _postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
