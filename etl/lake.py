"""The lake: immutable runs of Parquet files below `state_dir`, and pointers in PostgreSQL that say which are read.

    tenant=T/dataset=D/day=YYYY-MM-DD/run=UUID/part-N/part-M.parquet

A run's folder is written once and never changed; readers ask for the files of a pointer. What no pointer names any more
stays until `retain` removes it, for readers that have begun, and for `dialer report diff`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import quote
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from dialer.errors import DialerError
from dialer.settings import Settings
from etl.engines.port import Written

EPOCH = date(1970, 1, 1)

_ID = "id"
_ONE_AT_A_TIME = text("select pg_advisory_xact_lock(hashtext('dialer etl lake'))")
_KNOWN = text("select id, place from etl_lake")
_MADE = text("insert into etl_lake (id, place) values (:id, :place)")
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

    def require(self, connection: Connection) -> None:
        """Makes sure that this is the lake of the database, and makes it one when there is none yet.

        Raises DialerError on a host that does not have it: its runs would point to files that nobody else finds.
        """
        connection.execute(_ONE_AT_A_TIME)
        known, file = connection.execute(_KNOWN).one_or_none(), self.root / _ID
        if known is None:
            # It holds what people answered.
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = uuid4()
            file.write_text(f"{made}\n", encoding="ascii")
            connection.execute(_MADE, {"id": made, "place": f"{socket.gethostname()}:{self.root.resolve()}"})
        elif not file.exists() or file.read_text(encoding="ascii").strip() != str(known.id):
            raise DialerError(
                f"the lake of this database is not in {self.root}: it was made at {known.place}. Run the ETL and "
                "reports there, let all hosts share that folder as theirs, or move it here; `etl.at: null` in the "
                "settings keeps this host's engine from trying every night."
            )

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
    for path in (*files, folder, *folder.parents[:5]):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
