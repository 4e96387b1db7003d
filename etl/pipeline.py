"""The nightly run of one tenant: extract, filter, group, clean, enrich, load; nothing is read of it until all is there.

It may be killed anywhere, run again, or run beside another: what is published is that of one run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import psycopg
from sqlalchemy import Connection, Engine, Text, cast, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError

from dialer.clock import utc_now
from dialer.crash_points import reach
from dialer.errors import DialerError
from dialer.settings import EtlSettings, Settings
from dialer.storage.session import explain, plain_errors
from dialer.storage.tables import Xid8, etl_segment
from etl import ledger, tariffs
from etl.columns import KINDS, Kind
from etl.engines.port import Engine as Transforms
from etl.engines.port import joined
from etl.extract import BEGINNING, Mark, extract
from etl.lake import Lake, Output, day_of
from etl.ledger import Ledger
from etl.leftovers import clear_up
from etl.stages.clean import clean, index, portions_of
from etl.stages.enrich import enrich
from etl.stages.filter import keep
from etl.stages.group import Affected, Days, group
from etl.stages.work import Stored, Work

if TYPE_CHECKING:
    from etl.flatten import Flat

_TRY_LOCK = text("select pg_try_advisory_lock(hashtextextended('dialer etl ' || :tenant, 0))")
_UNLOCK = text("select pg_advisory_unlock(hashtextextended('dialer etl ' || :tenant, 0))")
_MARK = text(
    "select cluster, next_xid::text, since::text, as_of_us, generation from etl_tenant where tenant_id = :tenant"
)
_ADVANCE = text("""
insert into etl_tenant (tenant_id, cluster, next_xid, since, as_of_us)
values (:tenant, :cluster, cast(cast(:next as text) as xid8), cast(:since as timestamptz), :as_of_us)
on conflict (tenant_id) do update set
  cluster = excluded.cluster, next_xid = excluded.next_xid, since = excluded.since,
  as_of_us = greatest(etl_tenant.as_of_us, excluded.as_of_us)
where etl_tenant.next_xid = cast(cast(:before as text) as xid8)
returning tenant_id
""")
_OPEN = text("select run, files, rows from etl_segment where tenant_id = :tenant and taken_by is null order by run")
_STORED = text("""
select dataset, day, files, rows, digest from etl_pointer join etl_output using (tenant_id, dataset, day, run)
where tenant_id = :tenant
""")
_NEXT = text("""
update etl_tenant set generation = generation + 1
where tenant_id = :tenant and generation = :generation returning generation
""")
_TAKE = text("update etl_segment set taken_by = :run where run = any(:segments) and taken_by is null")


Lane = Literal["quick", "patient"]
QUICK_SHARE = 4
ROWS_A_MB = 1500
"""Events that find room in a megabyte with what is computed of them. What is spilt instead costs more than twice as
much time (measured: the history of a million events takes 1.6 s of CPU within its memory, and 3.9 s in a quarter)."""
WHOLE = 2**62


@dataclass(frozen=True, kw_only=True)
class Night:
    """What all tenants' runs of one night share."""

    settings: Settings
    database: Engine
    lake: Lake
    open_engine: Callable[[Lane, Path], Transforms]
    """An engine of a lane's size that spills into the folder."""

    @property
    def etl(self) -> EtlSettings:
        """The settings of the ETL."""
        return self.settings.etl

    def memory_mb(self, lane: Lane) -> int:
        """Of a lane's transforms."""
        return self.etl.memory_mb if lane == "patient" else self.etl.memory_mb // QUICK_SHARE

    def rows_at_once(self, lane: Lane) -> int:
        """So many events are computed at once; Spark has the memory of its workers, and divides by itself."""
        return self.memory_mb(lane) * ROWS_A_MB if self.etl.engine == "duckdb" else WHOLE


class Elsewhere(DialerError):
    """Another run is at this tenant now."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a run starts from; it publishes only when nobody else did meanwhile."""

    generation: int
    as_of_us: int
    segments: tuple[UUID, ...]
    files: tuple[Path, ...]
    rows: int
    stored: dict[tuple[str, date], Stored]


@contextmanager
def turn(night: Night, tenant: str) -> Iterator[None]:
    """A tenant's turn: one run at a time, over all hosts. Raises Elsewhere."""
    with plain_errors(), night.database.connect() as held:
        held = held.execution_options(isolation_level="AUTOCOMMIT")
        if not held.execute(_TRY_LOCK, {"tenant": tenant}).scalar():
            raise Elsewhere(f"another run is at tenant {tenant!r} now. `dialer etl status` shows it.")
        try:
            yield
        finally:
            # Said, because the server ends a closed session in its own time, and the next turn may come before that.
            with suppress(DBAPIError):
                held.execute(_UNLOCK, {"tenant": tenant})
            # Closed, not given back to the pool: with the session goes the lock, whatever has happened to it.
            held.invalidate()


def dump(night: Night, page: Ledger, seen: Callable[[int], None]) -> int:
    """Extracts what is new of a tenant and makes it a segment; returns how many rows now wait to be taken in.

    What earlier runs left that were killed is removed first.
    """
    tenant = page.tenant
    clear_up(night, tenant, page.killed())
    scratch = scratch_of(night, page.run)
    folder = night.lake.folder(tenant, "segment", utc_now().date(), page.run)
    try:
        with plain_errors():
            with night.database.begin() as connection:
                mark = _mark(connection, tenant)
            with night.database.connect() as connection, page.stage("extract", "event") as stage:
                following, found = _extracted(connection, tenant, mark, folder, scratch, night.etl.memory_mb // 2, seen)
                stage.rows_in, stage.made["of their payload"] = found.events, found.made
                stage.rows_out = found.events + found.made
            page.know(next_xid=cast(cast(following.next_xid, Text()), Xid8()))
            with night.database.begin() as connection:
                reach("dumping")
                _store_segment(connection, night, page, folder, mark, following, found)
                waiting = sum(int(row.rows) for row in connection.execute(_OPEN, {"tenant": tenant}))
            reach("dumped")
            return waiting
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def take_in(
    night: Night, page: Ledger, lane: Lane, again: Sequence[date], say: Callable[[str], None]
) -> list[date]:  # fmt: skip
    """Takes open segments into the histories and facts of the days that they touch, and of the days `again`.

    Returns the days that changed. Raises DialerError, and then nothing of it is read by anybody.
    """
    inputs = inputs_of(night, page.tenant)
    page.know(lane=lane, as_of_us=inputs.as_of_us)
    if not inputs.segments and not again:
        publish(night, page, inputs, [])
        return []
    with work_on(night, page, lane, inputs, say) as work:
        late = keep(work, inputs.files, inputs.rows, night.etl.late_after_s * 1_000_000)
        page.know(late=late)
        _restate(work, group(work, again), again)
        reach("computed")
        say("load")
        publish(night, page, inputs, work.made)
        return sorted({output.day for output in work.made})


@contextmanager
def work_on(
    night: Night, page: Ledger, lane: Lane, inputs: Inputs, say: Callable[[str], None]
) -> Iterator[Work]:  # fmt: skip
    """A workshop for one run, with what the settings say as tables; whatever lies around is removed afterwards."""
    scratch = scratch_of(night, page.run)
    engine = night.open_engine(lane, scratch / "spill")
    try:
        engine.view("tariff", tariffs.query(night.settings.trunks))
        yield Work(
            engine=engine, lake=night.lake, tenant=page.tenant, run=page.run, scratch=scratch, ledger=page,
            as_of_us=inputs.as_of_us, segments=inputs.files, stored=inputs.stored, settings=night.settings,
            rows_at_once=night.rows_at_once(lane), say=say,
        )  # fmt: skip
    finally:
        engine.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _extracted(connection: Connection, *terms: Any) -> tuple[Mark, Flat]:
    try:
        return extract(connection, *terms)
    except psycopg.Error as error:
        # Of the COPY, which SQLAlchemy knows nothing of.
        raise explain(error) from error


def _restate(work: Work, days: Days, again: Sequence[date]) -> None:
    """Writes every affected day: histories where there is news, then all facts that read them."""
    for day, kinds in days.items():
        index(work, day, has_news=any(one.has_news for one in kinds.values()))
        for kind in KINDS:
            affected = kinds.get(kind, Affected())
            if affected.has_news or (day in again and work.now(f"history_{kind}", day).rows):
                _rewrite(work, day, kind, affected, again=day in again)
    with work.ledger.stage("clean", "moved between days") as stage:
        stage.rows_in = sum(one.went for kinds in days.values() for one in kinds.values())
        stage.rows_out = sum(one.came for kinds in days.values() for one in kinds.values())


def _rewrite(work: Work, day: date, kind: Kind, affected: Affected, *, again: bool) -> None:
    """Writes the history of a day and, if that changed or it is to be done again, its facts."""
    work.say(f"clean {kind} {day}")
    of = portions_of(work, day, kind, affected)
    histories = [clean(work, day, kind, affected, portion, of) for portion in range(of)]
    reach("cleaned")
    dataset = f"history_{kind}"
    if again or work.now(dataset, day).digest != joined(histories).digest:
        enrich(work, day, kind, histories)
    work.keep(dataset, day, histories)


# -- PostgreSQL ------------------------------------------------------------------------------------------------------


def _mark(connection: Connection, tenant: str) -> Mark:
    row = connection.execute(_MARK, {"tenant": tenant}).one_or_none()
    return BEGINNING if row is None else Mark(cluster=row.cluster, next_xid=row.next_xid, since=row.since)


def _store_segment(
    connection: Connection, night: Night, page: Ledger, folder: Path, mark: Mark, following: Mark, found: Flat
) -> None:  # fmt: skip
    """Notes the segment and how far it reaches, together: nothing is dumped twice, nothing is left out."""
    ledger.hold(connection, page.run)
    values = {"tenant": page.tenant, "before": mark.next_xid, "cluster": following.cluster,
              "next": following.next_xid, "since": following.since, "as_of_us": found.as_of_us or 0}  # fmt: skip
    if connection.execute(_ADVANCE, values).one_or_none() is None:
        raise DialerError("another run has dumped these events meanwhile; this one's dump is given up.")
    if found.files:
        connection.execute(insert(etl_segment).values(
            run=page.run, tenant_id=page.tenant, day=day_of(folder), rows=found.events + found.made, bytes=found.bytes,
            files=[str(file.relative_to(night.lake.root)) for file in found.files],
            first_us=found.first_us, last_us=found.last_us,
        ))  # fmt: skip


def inputs_of(night: Night, tenant: str) -> Inputs:
    """What a tenant's next run starts from; an extract goes before the first."""
    with plain_errors(), night.database.begin() as connection:
        known = connection.execute(_MARK, {"tenant": tenant}).one()
        segments = connection.execute(_OPEN, {"tenant": tenant}).all()
        stored = connection.execute(_STORED, {"tenant": tenant}).all()
    root = night.lake.root
    return Inputs(
        generation=known.generation,
        as_of_us=known.as_of_us,
        segments=tuple(row.run for row in segments),
        files=tuple(root / name for row in segments for name in row.files),
        rows=sum(row.rows for row in segments),
        stored={
            (row.dataset, row.day): Stored(
                files=tuple(root / name for name in row.files), rows=row.rows, digest=row.digest
            )
            for row in stored
        },
    )  # fmt: skip


def publish(night: Night, page: Ledger, inputs: Inputs, made: Sequence[Output]) -> None:
    """Load: in one transaction every pointer, the segments taken in and the run's end; or nothing."""
    with page.stage("load", "pointers") as stage, plain_errors(), night.database.begin() as connection:
        values = {"tenant": page.tenant, "generation": inputs.generation}
        if connection.execute(_NEXT, values).one_or_none() is None:
            raise DialerError("another run has published for this tenant meanwhile; this one's result is given up.")
        night.lake.publish(connection, made)
        taken = connection.execute(_TAKE, {"run": page.run, "segments": list(inputs.segments)}).rowcount
        if taken != len(inputs.segments):
            raise DialerError("another run has taken these segments meanwhile; this one's result is given up.")
        ledger.end(connection, page.run, sorted({output.day for output in made}))
        stage.rows_in = sum(output.written.rows for output in made)
        stage.rows_out = connection.execute(
            text("select coalesce(sum(rows), 0)::bigint from etl_output where run = :run"), {"run": page.run}
        ).scalar_one()
        # Before the commit: what does not add up is read by nobody.
        stage.require_sum()
        reach("loading")
    reach("loaded")


# -- files -----------------------------------------------------------------------------------------------------------


def scratch_of(night: Night, run: UUID) -> Path:
    """A folder for what a run needs on the way; whoever asks removes it."""
    path = night.settings.state_dir / "etl" / str(run)
    path.mkdir(parents=True, exist_ok=True)
    return path
