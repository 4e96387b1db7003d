"""The default engine: DuckDB inside this process, within a memory limit, spilling to disk what does not fit."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from dialer.errors import DialerError
from etl.columns import Columns, Type
from etl.engines import sql
from etl.engines.port import Parameters, Written
from etl.lake import make_durable

_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
FETCH_ROWS = 10_000
PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1"
"""Event ids are most of the bytes: of them higher levels save nothing, and they cost a third more time."""


class DuckDb:
    """One connection to a database that lives in memory alone; what it spills lies below `spill`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, spill: Path) -> None:
        self.connection, self._spill = connection, spill

    def register(self, name: str, files: Sequence[Path], columns: Columns) -> None:
        """See Engine."""
        with plain_errors():
            reading = _reading(self.connection, files, columns)
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {reading}")

    def view(self, name: str, query: str) -> None:
        """See Engine."""
        with plain_errors():
            self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {query}")

    def aside(self, name: str, query: str, parameters: Parameters, columns: Columns, folder: Path) -> int:
        """See Engine. In memory, and spilt from there: what a Parquet file costs is saved."""
        with plain_errors():
            shaped, values = self._shaped(query, parameters, columns)
            self.forget(name)
            self.connection.execute(f"CREATE TEMP TABLE {name} AS {shaped}", values)
            found = self.connection.execute(f"SELECT count(*) FROM {name}").fetchone()
            assert found is not None
            return int(found[0])

    def forget(self, name: str) -> None:
        """See Engine."""
        with plain_errors():
            self.connection.execute(f"DROP TABLE IF EXISTS {name}")

    def write(
        self, query: str, parameters: Parameters, columns: Columns, folder: Path, *,
        order_by: Sequence[str] = (), digest_of: Sequence[str] | None = None,
    ) -> Written:  # fmt: skip
        """See Engine."""
        with plain_errors():
            shaped, values = self._shaped(query, parameters, columns)
            if order_by:
                shaped += f" ORDER BY {', '.join(f'{name} NULLS LAST' for name in order_by)}"
            folder.mkdir(parents=True)
            file = folder / "part-0.parquet"
            self.connection.execute(f"COPY ({shaped}) TO {quoted(file)} ({PARQUET})", values)
            return self._written(folder, file, list(columns) if digest_of is None else digest_of)

    def rows(self, query: str, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
        """See Engine."""
        with plain_errors():
            bound, values = self._bound(query, parameters)
            cursor = self.connection.execute(bound, values)
            while rows := cursor.fetchmany(FETCH_ROWS):
                yield from rows

    def close(self) -> None:
        """See Engine."""
        self.connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def _bound(self, query: str, parameters: Parameters) -> tuple[str, dict[str, Any]]:
        return sql.with_parameters(query, lambda name: f"${name}"), sql.given(query, parameters)

    def _shaped(self, query: str, parameters: Parameters, columns: Columns) -> tuple[str, dict[str, Any]]:
        bound, values = self._bound(query, parameters)
        relation = self.connection.sql(bound, params=values)
        found = dict(zip(relation.columns, map(_our_type, relation.types), strict=True))
        return sql.shaped(bound, found, columns), values

    def _written(self, folder: Path, file: Path, digest_of: Sequence[str]) -> Written:
        """Reads back what was written, so that what the ledger says is what lies there."""
        if digest_of:
            make_durable(folder, [file])
        # Or the folders' names would stand in for columns of the same name.
        source = f"read_parquet({quoted(file)}, hive_partitioning = false)"
        number = f"CAST('0x' || substr(md5({{}}), 1, {sql.DIGITS}) AS BIGINT)"
        query = sql.digest_query(source, digest_of, number.format)
        found = self.connection.execute(query).fetchone()
        assert found is not None
        return Written(
            files=(file,), rows=found[0], bytes=file.stat().st_size, digested=tuple(digest_of),
            sums=tuple(int(one or 0) for one in found[1:]),
        )  # fmt: skip


def open(memory_mb: int, threads: int, spill: Path) -> DuckDb:
    """An engine that takes no more memory than that, and spills into a folder of its own, which must not exist yet.

    It asks no network for extensions.
    """
    spill.mkdir(parents=True)
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{memory_mb}MB",
            "threads": str(threads),
            "temp_directory": str(spill),
            "preserve_insertion_order": "false",
            "autoinstall_known_extensions": "false",
        },
    )
    return DuckDb(connection, spill)


def quoted(path: Path) -> str:
    """A path as a literal."""
    return "'" + str(path).replace("'", "''") + "'"


def _reading(connection: duckdb.DuckDBPyConnection, files: Sequence[Path], columns: Columns) -> str:
    if not files:
        return sql.inline(columns, ())
    source = f"read_parquet([{', '.join(map(quoted, files))}], union_by_name = true, hive_partitioning = false)"
    there = set(connection.sql(f"SELECT * FROM {source} LIMIT 0").columns)
    picked = (name if name in there else f"CAST(NULL AS {kind}) AS {name}" for name, kind in columns.items())
    return f"SELECT {', '.join(picked)} FROM {source}"


def _our_type(found: object) -> Type | str | None:
    name = str(found)
    if name in _INTEGERS:
        return "BIGINT"
    return {"VARCHAR": "STRING", "BOOLEAN": "BOOLEAN", '"NULL"': None, "NULL": None}.get(name, name)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns DuckDB's errors into DialerError with what to do."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise DialerError(
            f"DuckDB needs more memory than etl.memory_mb gives it ({str(error).splitlines()[0]}). Raise it, or free "
            "disk space below state_dir, where it spills."
        ) from error
    except duckdb.Error as error:
        raise DialerError(f"DuckDB cannot do it: {str(error).strip()}") from error
    except RuntimeError as error:
        # What DuckDB makes of a signal's KeyboardInterrupt.
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from error
