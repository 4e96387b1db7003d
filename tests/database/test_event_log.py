"""The event log's partitions, made by engines that start side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import create_engine, text

from dialer.storage import event_log

T0 = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)


def test_engines_that_start_together_make_each_partition_once(database):
    def make(now: datetime) -> None:
        with database.engine.begin() as connection:
            event_log.ensure_partitions(connection, now)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, [T0 + timedelta(days=days) for days in (0, 0, 1, 1, 2, 2, 0, 1)]))
    with database.engine.connect() as connection:
        made = (
            connection.exec_driver_sql(
                "select relname from pg_inherits join pg_class on oid = inhrelid "
                "where inhparent = 'event'::regclass and relname like 'event_2031%%'"
            )
            .scalars()
            .all()
        )
    assert len(made) == event_log.DAYS_AHEAD + 2 + 2


def test_a_day_is_made_while_others_read_and_write_the_log(database):
    other = create_engine(database.engine.url)
    try:
        with other.connect() as busy, database.engine.begin() as maker:
            busy.exec_driver_sql("select count(*) from event")
            busy.exec_driver_sql(
                "insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, schema_v, "
                "payload) values (gen_random_uuid(), 'a', now(), 'x.y', 'x', '1', 1, '{}')"
            )
            maker.execute(text(event_log.partitions([date(2031, 1, 15), date(2031, 1, 15)])))
    finally:
        other.dispose()
    assert database.rows(
        "select count(*) from pg_index where indrelid = 'event_20310115'::regclass and indisvalid"
    ) == [(2,)]
