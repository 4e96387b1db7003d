"""What the stages of one tenant's run share: the engine, the lake, what is read now and what was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from uuid import UUID

from dialer.settings import Settings
from etl.columns import Columns
from etl.engines.port import Engine, Value, Written, joined
from etl.lake import Lake, Output
from etl.ledger import Ledger

INDEX = "subject_index"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A dataset of a day as it is read now."""

    files: tuple[Path, ...]
    rows: int
    digest: str


NOTHING = Stored(files=(), rows=0, digest="")


@dataclass(frozen=True, kw_only=True)
class Work:
    """One tenant's run, after its extract."""

    engine: Engine
    lake: Lake
    tenant: str
    run: UUID
    scratch: Path
    ledger: Ledger
    as_of_us: int
    segments: tuple[Path, ...]
    """What is taken in by this run."""
    stored: Mapping[tuple[str, date], Stored]
    """Every dataset and cohort day of the tenant that is read now."""
    settings: Settings
    rows_at_once: int
    """So many events find room in the engine's memory with what is computed of them."""
    say: Callable[[str], None]
    """Tells the operator what is being done."""
    made: list[Output] = field(default_factory=list)
    """What this run has written, and is not published yet."""

    def now(self, dataset: str, day: date) -> Stored:
        """What is read of a dataset's day now, before this run publishes."""
        return self.stored.get((dataset, day), NOTHING)

    def all_days(self, dataset: str) -> list[Path]:
        """The files of a dataset, of every day."""
        return [file for (name, _), one in sorted(self.stored.items()) if name == dataset for file in one.files]

    def write(
        self, dataset: str, day: date, query: str, columns: Columns, *, order_by: Sequence[str] = (),
        digest_of: Sequence[str] | None = None, parameters: Mapping[str, Value] | None = None, portion: int = 0,
    ) -> Written:  # fmt: skip
        """Computes a portion of a dataset's day into the lake; `keep` decides what becomes of all of them."""
        folder = self.lake.folder(self.tenant, dataset, day, self.run) / f"part-{portion}"
        return self.engine.write(query, parameters or {}, columns, folder, order_by=order_by, digest_of=digest_of)

    def keep(self, dataset: str, day: date, portions: Sequence[Written]) -> bool:
        """Lets a dataset's day be published, and says whether it changed; what stood is not kept twice."""
        written = joined(portions)
        if changed := self.now(dataset, day).digest != written.digest:
            self.made.append(Output(tenant=self.tenant, dataset=dataset, day=day, run=self.run, written=written))
        else:
            shutil.rmtree(self.lake.folder(self.tenant, dataset, day, self.run))
        return changed

    def aside(self, name: str, query: str, columns: Columns, parameters: Mapping[str, Value] | None = None) -> int:
        """Computes a table for this run alone and gives it a name; returns its rows."""
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        return self.engine.aside(name, query, parameters or {}, columns, folder)
