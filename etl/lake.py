"""The lake: immutable runs of Parquet files below `state_dir`, and pointers in PostgreSQL that say which are read.

    tenant=T/dataset=D/day=YYYY-MM-DD/run=UUID/part-*.parquet

A run's folder is written once and never changed; readers ask for the files of a pointer. What no pointer names any more
stays until `retain` removes it, for readers that have begun, and for `dialer report diff`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from sqlalchemy import Connection, text

from dialer.settings import Settings
from etl.engines.port import Written

EPOCH = date(1970, 1, 1)

_FILES = text("""
select o.files from etl_pointer p join etl_output o using (tenant_id, dataset, day, run)
where p.tenant_id = :tenant and p.dataset = :dataset and p.day between :first and :last
order by p.day
""")
_OUTPUT = text("""
insert into etl_output (tenant_id, dataset, day, run, rows, bytes, digest, files)
values (:tenant, :dataset, :day, :run, :rows, :bytes, :digest, :files)
""")
_POINT = text("""
insert into etl_pointer (tenant_id, dataset, day, run) values (:tenant, :dataset, :day, :run)
on conflict (tenant_id, dataset, day) do update set run = excluded.run
""")


def day_number(day: date) -> int:
    """Days since 1970, as the datasets count them."""
    return (day - EPOCH).days


def from_day_number(number: int) -> date:
    """The day that is so many days after the first of 1970."""
    return EPOCH + timedelta(days=number)


def day_of(run_folder: Path) -> date:
    """The day of a run's folder."""
    return date.fromisoformat(run_folder.parent.name.removeprefix("day="))


@dataclass(frozen=True, kw_only=True)
class Output:
    """One dataset of one day, as a run has written it."""

    tenant: str
    dataset: str
    day: date
    run: UUID
    written: Written


class Lake:
    """Where the files of a machine's tenants lie."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, settings: Settings) -> Lake:
        """This machine's."""
        return cls(settings.state_dir / "lake")

    def folder(self, tenant: str, dataset: str, day: date, run: UUID) -> Path:
        """Where a run writes one dataset of a day; not made yet."""
        return self.of_tenant(tenant) / f"dataset={dataset}" / f"day={day}" / f"run={run}"

    def of_tenant(self, tenant: str) -> Path:
        """The folder of all that is a tenant's."""
        # Names are given by operators: none may lead out of the lake.
        return self.root / f"tenant={quote(tenant, safe='').replace('.', '%2E')}"

    def folders_of(self, tenant: str, run: UUID) -> list[tuple[str, Path]]:
        """What a run has written, published or not: dataset and folder."""
        found = self.of_tenant(tenant).glob(f"dataset=*/day=*/run={run}")
        return [(path.parts[-3].removeprefix("dataset="), path) for path in found]

    def files(self, connection: Connection, tenant: str, dataset: str, first_day: date, last_day: date) -> list[Path]:
        """What is to be read of a dataset now, of the cohort days from the first to the last, in their order.

        A cohort day is the UTC day on which a subject began. Reports of local days pad one day on both sides, and more
        where what counts can happen long after the beginning.
        """
        values = {"tenant": tenant, "dataset": dataset, "first": first_day, "last": last_day}
        return [self.root / name for names in connection.execute(_FILES, values).scalars() for name in names]

    def publish(self, connection: Connection, outputs: Iterable[Output]) -> None:
        """Makes outputs those that are read from now on, in the caller's transaction."""
        for output in outputs:
            place = {"tenant": output.tenant, "dataset": output.dataset, "day": output.day, "run": output.run}
            written = output.written
            names = [str(file.relative_to(self.root)) for file in written.files]
            values = {"rows": written.rows, "bytes": written.bytes, "digest": written.digest, "files": names}
            connection.execute(_OUTPUT, place | values)
            connection.execute(_POINT, place)


def make_durable(folder: Path, files: Sequence[Path]) -> None:
    """Makes files survive a power failure, and their names up to the lake's root."""
    for path in (*files, folder, *folder.parents[:4]):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
