"""kill -9 of the collector and of PostgreSQL at random moments under load: nothing acknowledged is lost or doubled."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy
from sqlalchemy import Engine, text

from dialer.clock import utc_now
from dialer.lab import postgres
from dialer.storage import event_log, migrate
from tests.support.collecting import Server, add_token, ids, line, ndjson, wait_until

SEED = 6
ROUNDS = 5
SENDERS = 3
BATCH = 200


@pytest.fixture
def cluster_of_its_own() -> Iterator[tuple[Path, str, Engine]]:
    """A migrated cluster that may be killed."""
    directory = Path(tempfile.mkdtemp(prefix="dialer-pg-"))
    directory.chmod(0o755)
    try:
        url = postgres.start_cluster(directory)
        engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), pool_pre_ping=True)
        migrate.upgrade(engine)
        with engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
        yield directory, url, engine
        engine.dispose()
    finally:
        postgres.stop_cluster(directory)
        shutil.rmtree(directory, ignore_errors=True)


class Sender(threading.Thread):
    """Sends batches as a careful source does: the same one again until it is acknowledged."""

    def __init__(self, server: Server, token: str) -> None:
        super().__init__()
        self._server, self._token = server, token
        self.acknowledged: set[UUID] = set()
        self.spooled = 0
        self.again = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            lines = [line(seq=n) for n in range(BATCH)]
            body = ndjson(lines)
            while not self._sent(body):
                self.again += 1
                if self.stop.wait(0.05):
                    return
            self.acknowledged |= ids(lines)

    def _sent(self, body: bytes) -> bool:
        try:
            reply = self._server.post(body, self._token)
        except (OSError, HTTPException):  # perhaps in the middle of its answer
            return False
        assert reply.status in (202, 503), reply.body
        if reply.status == 202:
            assert reply.json["accepted"] == BATCH
            self.spooled += reply.json["spooled"]
        return reply.status == 202


@pytest.mark.long
def test_nothing_acknowledged_is_lost_or_doubled(cluster_of_its_own, tmp_path):
    directory, url, engine = cluster_of_its_own
    server = Server(tmp_path, url, quota={"events_per_second": 1_000_000})
    token = add_token(engine, server.settings)[1]
    server.start()
    wait_until(lambda: server.post(b"", token).status == 400)
    senders = [Sender(server, token) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        _break(random.Random(SEED), server, directory, senders)
    finally:
        for sender in senders:
            sender.stop.set()
        for sender in senders:
            sender.join()
    acknowledged = set().union(*(sender.acknowledged for sender in senders))
    wait_until(lambda: server.request("GET", "/readyz").json == {"ready": True, "database": True, "spool_bytes": 0}, 60)
    with engine.connect() as connection:
        stored = connection.execute(text("select event_id from event")).scalars().all()
        dead = connection.execute(text("select count(*) from event_dead")).scalar()
    assert len(stored) == len(set(stored)), "an event stands twice"
    assert acknowledged <= set(stored), f"{len(acknowledged - set(stored))} acknowledged events are lost"
    assert dead == 0
    assert len(acknowledged) > 20 * BATCH, "nothing was tried"
    assert sum(sender.spooled for sender in senders), "the disk was never needed"
    assert sum(sender.again for sender in senders), "nobody ever had to send again"
    assert server.stop() == 0


def _break(chance: random.Random, server: Server, directory: Path, senders: list[Sender]) -> None:
    """In turns: PostgreSQL stopped at once and started, the collector killed and started, both."""

    def more(batches: int) -> None:
        """Lets so many batches through."""
        goal = sum(len(sender.acknowledged) for sender in senders) + batches * BATCH
        wait_until(lambda: sum(len(sender.acknowledged) for sender in senders) >= goal, 60)

    for number in range(ROUNDS):
        more(3)
        time.sleep(chance.uniform(0, 0.2))  # the moment is what is random here
        if number % 3 != 1:
            _kill_postgres(directory)
            # Acknowledged on the disk alone.
            more(2)
        if number % 3 != 0:
            server.kill()
            if number % 3 == 2:
                # It does not know yet who may send, and says so.
                server.start(ready=False)
                assert server.post(b"", "nobody's").status == 503
                postgres.start_cluster(directory)
            else:
                server.start()
        else:
            postgres.start_cluster(directory)
        more(2)


def _kill_postgres(directory: Path) -> None:
    """All of its processes at once, as when the power goes."""
    postmaster = int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    children = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True, check=False)
    for process in [postmaster, *map(int, children.stdout.split())]:
        subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(process)], check=False, capture_output=True)
    wait_until(lambda: not postgres.is_running(directory))
