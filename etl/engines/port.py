"""What a transform needs of an engine: DuckDB in the process, or Spark on a cluster, with equal results.

Queries are SELECTs in the restricted dialect of docs/etl.md: what is written there runs on both, word for word.
Values come in as `:name` and are never pasted into the text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from etl.columns import Columns

Value = int | str | float | None
Parameters = Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What `write` has put into its folder: `part-*.parquet`, durable when this is returned, unless it is scratch."""

    files: tuple[Path, ...]
    rows: int
    bytes: int
    digested: tuple[str, ...]
    """The columns that stand for a row's content; none of scratch."""
    sums: tuple[int, ...]
    """The digests of its rows, added up."""

    @property
    def digest(self) -> str:
        """Of the rows' content, whatever their order, and the same from every engine; empty for scratch."""
        told = "\n".join((*self.digested, str(self.rows), *map(str, self.sums)))
        return hashlib.sha256(told.encode()).hexdigest() if self.digested else ""


def joined(portions: Sequence[Written]) -> Written:
    """The portions of one dataset as one: what it would be had it been written at once."""
    return Written(
        files=tuple(file for one in portions for file in one.files),
        rows=sum(one.rows for one in portions),
        bytes=sum(one.bytes for one in portions),
        digested=portions[0].digested,
        sums=tuple(map(sum, zip(*(one.sums for one in portions), strict=True))),
    )


class Engine(Protocol):
    """One tenant's workshop: its names live as long as it is open, and nobody else sees them."""

    def register(self, name: str, files: Sequence[Path], columns: Columns) -> None:
        """Makes Parquet files a table with exactly these columns, read by name; what older files lack is NULL.

        No file at all is an empty table. A name that was taken is given anew.
        """
        ...

    def view(self, name: str, query: str) -> None:
        """Gives a query without parameters a name; it is computed whenever it is read. A name may be given anew."""
        ...

    def aside(self, name: str, query: str, parameters: Parameters, columns: Columns, folder: Path) -> int:
        """Computes a query once, as a table for this engine alone, and returns its rows; a name may be given anew.

        `folder` does not exist yet: an engine that keeps tables in files makes it. Raises DialerError as `write`.
        """
        ...

    def forget(self, name: str) -> None:
        """Frees what a table made by `aside` takes."""
        ...

    def write(
        self, query: str, parameters: Parameters, columns: Columns, folder: Path, *,
        order_by: Sequence[str] = (), digest_of: Sequence[str] | None = None,
    ) -> Written:  # fmt: skip
        """Computes a query into a new folder of Parquet files, in the order of some columns.

        Raises DialerError when its columns are not those declared, by name and type, and when it holds a DOUBLE or a
        DECIMAL: engines round these differently. `digest_of` are the columns that stand for a row's content; None: all;
        none: it is scratch, read by this engine alone.
        """
        ...

    def rows(self, query: str, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
        """A query's rows, as plain tuples; they are read to the end, or given up, before anything else is asked."""
        ...

    def close(self) -> None:
        """Ends it and removes what it spilt."""
        ...
