"""The event log's partitions, made by engines that start side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from dialer.storage import event_log

T0 = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)


def test_engines_that_start_together_make_each_partition_once(database):
    def make(now: datetime) -> None:
        with database.engine.begin() as connection:
            event_log.ensure_partitions(connection, now)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, [T0 + timedelta(days=days) for days in (0, 0, 1, 1, 2, 2, 0, 1)]))
    with database.engine.connect() as connection:
        names = connection.exec_driver_sql("select inhrelid::regclass::text from pg_inherits").scalars()
        made = [name for name in names if name.startswith("event_2031") and not name.endswith("pkey")]
    assert len(made) == event_log.DAYS_AHEAD + 2 + 2
