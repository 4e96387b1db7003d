"""The engine for what one machine does not hold: Spark, with the same transforms and equal results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import BooleanType, DataType, LongType, StringType, StructField, StructType

from dialer.errors import DialerError
from etl.columns import Columns, Type
from etl.engines import sql
from etl.engines.port import Parameters, Written
from etl.lake import make_durable

_TYPES: dict[Type, DataType] = {"BIGINT": LongType(), "STRING": StringType(), "BOOLEAN": BooleanType()}
_OURS: dict[str, Type | None] = {
    "tinyint": "BIGINT", "smallint": "BIGINT", "int": "BIGINT", "bigint": "BIGINT", "string": "STRING",
    "boolean": "BOOLEAN", "void": None,
}  # fmt: skip


class Spark:
    """One session on a cluster, whose workers see the lake under the same path (NFS, or one host)."""

    def __init__(self, session: SparkSession) -> None:
        self.session = session

    def register(self, name: str, files: Sequence[Path], columns: Columns) -> None:
        """See Engine."""
        shape = StructType([StructField(column, _TYPES[kind]) for column, kind in columns.items()])
        if files:
            frame = self.session.read.schema(shape).parquet(*map(str, files))
        else:
            frame = self.session.createDataFrame([], shape)
        frame.createOrReplaceTempView(name)

    def view(self, name: str, query: str) -> None:
        """See Engine."""
        with _plain_errors():
            self.session.sql(query).createOrReplaceTempView(name)

    def aside(self, name: str, query: str, parameters: Parameters, columns: Columns, folder: Path) -> int:
        """See Engine."""
        written = self.write(query, parameters, columns, folder, digest_of=())
        self.register(name, written.files, columns)
        return written.rows

    def forget(self, name: str) -> None:
        """See Engine."""
        self.session.catalog.dropTempView(name)

    def write(
        self, query: str, parameters: Parameters, columns: Columns, folder: Path, *,
        order_by: Sequence[str] = (), digest_of: Sequence[str] | None = None,
    ) -> Written:  # fmt: skip
        """See Engine."""
        with _plain_errors():
            frame = self._frame(query, parameters)
            found = {field.name: _our_type(field.dataType) for field in frame.schema.fields}
            shaped = self._frame(sql.shaped(query, found, columns), parameters)
            if order_by:
                shaped = shaped.orderBy(*(shaped[name].asc_nulls_last() for name in order_by))
            folder.parent.mkdir(parents=True, exist_ok=True)
            shaped.write.option("compression", "zstd").parquet(str(folder))
            return self._written(folder, list(columns) if digest_of is None else digest_of, columns)

    def rows(self, query: str, parameters: Parameters) -> Iterator[tuple[Any, ...]]:
        """See Engine."""
        with _plain_errors():
            for row in self._frame(query, parameters).toLocalIterator():
                yield tuple(row)

    def close(self) -> None:
        """See Engine."""
        self.session.stop()

    def _frame(self, query: str, parameters: Parameters) -> DataFrame:
        return self.session.sql(query, args=sql.given(query, parameters))

    def _written(self, folder: Path, digest_of: Sequence[str], columns: Columns) -> Written:
        """Reads back what was written, so that what the ledger says is what lies there."""
        files = tuple(sorted(folder.glob("part-*.parquet")))
        if digest_of:
            make_durable(folder, files)
        self.register("written", files, columns)
        number = f"CAST(CAST(conv(substr(md5({{}}), 1, {sql.DIGITS}), 16, 10) AS BIGINT) AS DECIMAL(38, 0))"
        query = sql.digest_query("written", digest_of, number.format)
        found = self._frame(query, {}).first()
        assert found is not None
        return Written(
            files=files, rows=found[0], bytes=sum(file.stat().st_size for file in files),
            digested=tuple(digest_of), sums=tuple(int(one or 0) for one in found[1:]),
        )  # fmt: skip


def open(master: str) -> Spark:
    """A session on `local[*]`, `local-cluster[2,1,1024]`, `spark://host:7077`, …"""
    session = (
        SparkSession.builder.master(master)
        .appName("dialer etl")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.ansi.enabled", "true")
        .config("spark.sql.shuffle.partitions", "8")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return Spark(session)


def _our_type(found: DataType) -> Type | str | None:
    name: str = found.simpleString()
    return _OURS.get(name, name)


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except PySparkException as error:
        raise DialerError(f"Spark cannot do it: {str(error).strip()}") from error
