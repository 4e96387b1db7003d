"""Retention: what is old leaves PostgreSQL and the lake; a day of events only when the lake is found to hold it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Row, text

from dialer.clock import from_epoch
from dialer.errors import DialerError
from dialer.storage.session import plain_errors
from etl import dead
from etl.columns import DAY_US, SEGMENT, Columns
from etl.dead import Which
from etl.engines.port import Written
from etl.lake import day_number
from etl.leftovers import forget_strangers, remove
from etl.pipeline import Elsewhere, Night, scratch_of, turn

DAYS_A_MONTH = 365 / 12
ABANDONED = timedelta(days=1)
LOCK_TIMEOUT = "5s"
_PARTITIONS = text("""
select c.relname as name, c.relispartition as attached, coalesce(i.inhdetachpending, false) as pending
from pg_class c left join pg_inherits i on i.inhrelid = c.oid
where c.relkind = 'r' and c.relname ~ '^event_[0-9]{8}$' and pg_table_is_visible(c.oid) order by 1
""")
# As etl.engines.sql.digest_query adds up the one column event_id.
_SUM = """
select tenant_id, count(*) as n, sum(('x' || substr(md5(event_id::text), 1, 15))::bit(60)::bigint) as s
from {} group by tenant_id order by tenant_id
"""
# Once each: after a restore some are dumped again.
_IN_LAKE = """
SELECT DISTINCT event_id, occurred_us FROM segment
WHERE length(event_id) = 36 AND occurred_us >= :begin_us AND occurred_us < :end_us
"""
_OVERLAPPING = text("""
select files from etl_segment where tenant_id = :tenant and first_us < :end_us and last_us >= :begin_us
""")
_FORGET_DAYS = text("delete from etl_pointer where tenant_id = :tenant and day < :day")
# Since when something newer is read, however old it is itself: backups, readers and `dialer report diff` know the time.
_REPLACED = text("""
select o.dataset, o.day, o.run from etl_output o join etl_run r using (run)
where o.tenant_id = :tenant
  and (o.day < :gone_day or exists (
    select from etl_output newer join etl_run later using (run)
    where (newer.tenant_id, newer.dataset, newer.day) = (o.tenant_id, o.dataset, o.day)
      and later.ended_at > r.ended_at and later.ended_at < :replaced_before))
  and not exists (select from etl_pointer p where (p.tenant_id, p.dataset, p.day, p.run)
                                               = (o.tenant_id, o.dataset, o.day, o.run))
""")
_DROP_OUTPUT = text("""
delete from etl_output where tenant_id = :tenant and dataset = :dataset and day = :day and run = :run
""")
_OLD_SEGMENTS = text("""
select run, day from etl_segment where tenant_id = :tenant and taken_by is not null and last_us < :before_us
""")
_OLD_STAGES = text("delete from etl_stage where run in (select run from etl_run where began_at < :before)")
_DROP_SEGMENT = text("delete from etl_segment where run = :run")


@dataclass(kw_only=True)
class Forgotten:
    """What a retention has removed, and what it could not."""

    partitions: list[str]
    folders: int
    letters: int
    """Lines that were no events."""
    kept_back: list[str]
    """Why days of events stay: one sentence each."""
    left_alone: list[str]
    """Whose lake another run is at, which will not mind."""


def retain(night: Night, tenants: list[str], now: datetime, say: Callable[[str], None]) -> Forgotten:
    """Removes what the settings say is old. A day of events that the lake does not hold whole stays, and is told of."""
    done = Forgotten(partitions=[], folders=0, letters=0, kept_back=[], left_alone=[])
    today = now.astimezone(UTC).date()
    keep = night.etl.keep
    oldest = today - timedelta(days=max(keep.events_days, night.settings.collect.late_days + 1))
    for name, state in _partitions(night):
        if _day(name) < oldest:
            say(f"event log: {name}")
            try:
                _drop_partition(night, name, state, done)
            except DialerError as error:
                # A backup that reads the log holds it for long; what else is old must not wait for that.
                done.kept_back.append(f"{name} stays: {error}")
    left = min([oldest, *(_day(name) for name, _ in _partitions(night))])
    _sweep(night, now)
    replaced = timedelta(days=keep.replaced_days)
    before = now - timedelta(days=keep.lake_months * DAYS_A_MONTH)
    with plain_errors(), night.database.begin() as connection:
        connection.execute(_OLD_STAGES, {"before": before})
        done.letters = dead.purge(connection, Which(before=now - timedelta(days=keep.dead_days)))
    for tenant in tenants:
        say(f"lake: {tenant}")
        values = {
            "tenant": tenant,
            "day": before.date(),
            "gone_day": before.date() - replaced,
            "replaced_before": now - replaced,
            "before_us": day_number(left - replaced) * DAY_US,
        }
        try:
            with turn(night, tenant):
                done.folders += _forget(night, tenant, values)
        except Elsewhere as error:
            done.left_alone.append(str(error))
    return done


def _sweep(night: Night, now: datetime) -> None:
    """Removes what processes that were killed left on the way, a day later: no run's scratch is touched so rarely."""
    for folder in (night.settings.state_dir / "etl").glob("*"):
        with suppress(OSError):
            if from_epoch(folder.stat().st_mtime) < now - ABANDONED:
                shutil.rmtree(folder)


def _day(name: str) -> date:
    return datetime.strptime(name.removeprefix("event_"), "%Y%m%d").date()  # noqa: DTZ007


def _partitions(night: Night) -> list[tuple[str, str]]:
    with plain_errors(), night.database.begin() as connection:
        return [
            (row.name, "pending" if row.pending else "attached" if row.attached else "detached")
            for row in connection.execute(_PARTITIONS)
        ]


def _drop_partition(night: Night, name: str, state: str, done: Forgotten) -> None:
    """Leaves it when the lake lacks some of it. Killed in the middle, the next retention goes on where this one was."""
    if missing := list(_missing(night, name)):
        done.kept_back += missing
        return
    with plain_errors(), night.database.connect() as plain:
        connection = plain.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
        try:
            # Concurrently: writers of other days must not wait behind it. It cannot stand in a transaction.
            if state == "attached":
                connection.execute(text(f"alter table event detach partition {name} concurrently"))
            elif state == "pending":
                connection.execute(text(f"alter table event detach partition {name} finalize"))
            connection.execute(text(f"drop table {name}"))
        finally:
            connection.invalidate()
    done.partitions.append(name)


def _missing(night: Night, name: str) -> Iterator[str]:
    """What of a day's events the lake does not hold: count and digest of their ids, tenant by tenant."""
    assert re.fullmatch(r"event_[0-9]{8}", name)
    begin_us = day_number(_day(name)) * DAY_US
    with plain_errors(), night.database.begin() as connection:
        there = connection.execute(text(_SUM.format(name))).all()
    for row in there:
        written = _in_lake(night, row.tenant_id, begin_us)
        if (written.rows, written.sums) != (row.n, (row.s,)):
            yield (
                f"{name} stays: it has {row.n:,} events of tenant {row.tenant_id!r}, and the lake holds "
                f"{written.rows:,} of that day. Run `dialer etl run`, then retain again."
            )


def _in_lake(night: Night, tenant: str, begin_us: int) -> Written:
    """The ids of a day's events as the segments hold them."""
    values = {"tenant": tenant, "begin_us": begin_us, "end_us": begin_us + DAY_US}
    with plain_errors(), night.database.begin() as connection:
        names = [name for files in connection.execute(_OVERLAPPING, values).scalars() for name in files]
    scratch = scratch_of(night, uuid4())
    engine = night.open_engine("quick", scratch / "spill")
    try:
        files = [path for name in names if (path := night.lake.root / name).exists()]
        engine.register("segment", files, SEGMENT)
        columns: Columns = {"event_id": "STRING", "occurred_us": "BIGINT"}
        bounds = {"begin_us": begin_us, "end_us": begin_us + DAY_US}
        return engine.write(_IN_LAKE, bounds, columns, scratch / "ids", digest_of=["event_id"])
    finally:
        engine.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _forget(night: Night, tenant: str, values: dict[str, Any]) -> int:
    """Removes a tenant's old days, replaced runs and segments: first nobody is pointed there, then the files go.

    All stay so long that a backup whose pointers lead there can still be restored.
    """
    with plain_errors(), night.database.begin() as connection:
        connection.execute(_FORGET_DAYS, values)
        replaced = connection.execute(_REPLACED, values).all()
        segments = connection.execute(_OLD_SEGMENTS, values).all()
    for row in segments:
        remove(night.lake.folder(tenant, "segment", row.day, row.run))
        with plain_errors(), night.database.begin() as connection:
            connection.execute(_DROP_SEGMENT, {"run": row.run})
    forget(night, tenant, replaced)
    return len(replaced) + len(segments) + forget_strangers(night, tenant, values["replaced_before"])


def forget(night: Night, tenant: str, outputs: Sequence[Row[Any]]) -> None:
    """Removes outputs that nobody is pointed to: the files, then what is known of them."""
    for row in outputs:
        remove(night.lake.folder(tenant, row.dataset, row.day, row.run))
    with plain_errors(), night.database.begin() as connection:
        for row in outputs:
            place = {"tenant": tenant, "dataset": row.dataset, "day": row.day, "run": row.run}
            connection.execute(_DROP_OUTPUT, place)
