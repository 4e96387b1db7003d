"""kill -9 of the nightly run and of PostgreSQL at random moments, under load: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from dialer.lab import postgres
from tests.conftest import Database, settings_for
from tests.database.test_collect_faults import _kill_postgres, cluster_of_its_own  # noqa: F401
from tests.database.test_etl import read, require, run, write_settings
from tests.support.etl_events import T0, insert, ticket

SEED = 11
ROUNDS = 4
ROOT = Path(__file__).parents[2]


class Writer(threading.Thread):
    """Stores ticket after ticket; one that was not acknowledged is stored again."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        super().__init__()
        self._engine = engine
        self.stored = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            start = T0 + timedelta(minutes=7 * (self.stored % 400))
            try:
                insert(self._engine, ticket(f"T-{self.stored}", start=start))
            except SQLAlchemyError:
                continue
            self.stored += 1


def begun(folder, settings_file):
    """A nightly run as a process."""
    command = [sys.executable, "-P", "-m", "cli", "etl", "run", "--settings", str(settings_file)]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=folder, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.long
def test_nothing_is_lost_or_doubled(cluster_of_its_own, tmp_path):  # noqa: F811
    directory, url, engine = cluster_of_its_own
    database = Database(url=url, settings=settings_for(url, tmp_path), engine=engine)
    settings_file, chance = write_settings(database, tmp_path), random.Random(SEED)
    insert(engine, ticket("T-first"))
    writer = Writer(engine)
    writer.start()
    killed = 0
    try:
        for number in range(ROUNDS):
            night = begun(tmp_path, settings_file)
            time.sleep(chance.uniform(0.8, 4.0))  # the moment is what is random here
            if number % 2:
                _kill_postgres(directory)
                night.wait(60)
                postgres.start_cluster(directory)
            night.send_signal(signal.SIGKILL)
            killed += night.wait(60) != 0
    finally:
        writer.stop.set()
        writer.join()
    assert killed, "every night was over before it could be killed"
    assert writer.stored > 20, "nothing was tried"
    engine.dispose()
    require(run(database))
    # The same once more: what was killed left nothing that could come in a second time.
    require(run(database))
    events = 9 * (writer.stored + 1)
    assert database.rows("select count(*) from event") == [(events,)]
    assert database.rows("select sum(rows)::int from etl_segment") == [(events,)]
    ids = read(database, "history_ticket", columns="event_id")
    assert len(ids) == len(set(ids)) == events
    assert len(read(database, "ticket_fact", columns="ticket")) == writer.stored + 1
