"""Flatten: makes the dump of an extract flat files of a segment; the only place where an event's JSON is read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb

from dialer.errors import DialerError
from etl import event_types, portions
from etl.columns import FILLED_BY, FROM_PAYLOAD, KNOWN, SEGMENT, STEP
from etl.engines.duckdb import FETCH_ROWS, PARQUET, plain_errors, quoted
from etl.lake import make_durable

_RAW = {
    "event_id": "VARCHAR", "occurred": "TIMESTAMP", "ingested": "TIMESTAMP", "type": "VARCHAR",
    "subject": "VARCHAR", "seq": "BIGINT", "schema_v": "BIGINT", "source": "VARCHAR", "payload": "VARCHAR",
}  # fmt: skip


UNDIVIDED_EVENTS, DIVIDED = 100_000, 8
"""A chunk of more is divided into so many files by subject: a night of many chunks is computed in portions."""
LONGEST_BYTES = 8 << 20
"""Of one event; collectors take far less."""


@dataclass(frozen=True, kw_only=True)
class Flat:
    """What a segment holds."""

    events: int = 0
    made: int = 0
    """Rows made of the paths in dialogues' ends, and of the moments of restored attempts."""
    files: tuple[Path, ...] = ()
    bytes: int = 0
    first_us: int | None = None
    last_us: int | None = None
    as_of_us: int | None = None
    """When the last of them came in."""


class Flatten:
    """Makes chunks of the dump flat, one after the other, beside the reading of the next."""

    def __init__(self, tenant: str, folder: Path, scratch: Path, memory_mb: int) -> None:
        self._folder, self._scratch = folder, scratch
        self._connection = duckdb.connect(
            config={"memory_limit": f"{memory_mb}MB", "temp_directory": str(scratch / "spill"),
                    "preserve_insertion_order": "false", "autoinstall_known_extensions": "false"},
        )  # fmt: skip
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute(_PLAIN)
        self._connection.execute(_KNOWN)
        self._connection.execute("SET VARIABLE tenant = $tenant", {"tenant": tenant})
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flatten")
        self._writers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="flatten-write")
        self._waiting: Future[None] | None = None
        self._files: list[Path] = []
        self._number = 0
        self._events = 0

    def take(self, chunk: tuple[Path, int]) -> None:
        """Begins with a chunk when the one before is done; raises what that one raised."""
        if self._waiting is not None:
            self._waiting.result()
        self._waiting = self._thread.submit(self._flatten, *chunk)

    def finish(self) -> Flat:
        """Waits for the last chunk, makes all durable and counts."""
        if self._waiting is not None:
            self._waiting.result()
        if not self._files:
            return Flat()
        make_durable(self._folder, self._files)
        found = self._connection.execute(
            f"SELECT count(*) FILTER ({_IS_EVENT}), count(*) FILTER (NOT ({_IS_EVENT})), min(occurred_us), "
            f"max(occurred_us), max(ingested_us) FROM read_parquet([{', '.join(map(quoted, self._files))}], "
            "hive_partitioning = false)"
        ).fetchone()
        assert found is not None
        events, made, first_us, last_us, as_of_us = found
        if events != self._events:
            raise DialerError(
                f"the extract read {self._events} events and its files hold {events}. Nothing was taken in; the next "
                "run tries again. If it comes again, report it with the output of `dialer etl status`."
            )
        size = sum(file.stat().st_size for file in self._files)
        return Flat(
            events=events, made=made, files=tuple(self._files), bytes=size, first_us=first_us, last_us=last_us,
            as_of_us=as_of_us,
        )  # fmt: skip

    def close(self) -> None:
        """Ends it; what is under way ends first."""
        for threads in (self._thread, self._writers):
            threads.shutdown(wait=True, cancel_futures=True)
        self._connection.close()

    @plain_errors()
    def _flatten(self, chunk: Path, events: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        columns = "{" + ", ".join(f"'{name}': '{kind}'" for name, kind in _RAW.items()) + "}"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE chunk AS SELECT * FROM read_csv({quoted(chunk)}, columns = {columns}, "
            "auto_detect = false, header = false, delim = '\\t', quote = '', escape = '', nullstr = '\\N', "
            f"max_line_size = {LONGEST_BYTES}, buffer_size = {4 * LONGEST_BYTES})"
        )
        chunk.unlink()
        self._upcast()
        of = DIVIDED if events > UNDIVIDED_EVENTS else 1
        number = f"CAST((instr('{portions.DIGITS}', {portions.DIGIT}) - 1) % {of} AS UTINYINT)" if of > 1 else "0"
        self._connection.execute(f"CREATE TABLE flat AS SELECT *, {number} AS portion FROM ({_flat(self._filled())})")
        self._connection.execute("DROP TABLE chunk")
        # One of these alone is too small for DuckDB to write with more than one thread.
        self._files += self._writers.map(partial(self._write, of=of), range(of))
        self._connection.execute("DROP TABLE flat")
        self._number += 1
        self._events += events

    def _write(self, portion: int, of: int) -> Path:
        file = self._folder / portions.file_name(self._number, portion, of)
        with self._connection.cursor() as cursor:
            query = f"SELECT * EXCLUDE (portion) FROM flat WHERE portion = {portion}"
            cursor.execute(f"COPY ({query}) TO {quoted(file)} ({PARQUET})")
        return file

    def _upcast(self) -> None:
        """Makes payloads of older versions those of the newest; one that cannot be made has no version any more."""
        newer = {name: one.version for name, one in event_types.TYPES.items() if one.upcasters}
        older = " OR ".join(f"(type = '{name}' AND schema_v < {version})" for name, version in newer.items())
        if not older:
            return
        path = self._scratch / "upcast.ndjson"
        rows = self._connection.execute(f"SELECT rowid, type, schema_v, plain(payload) FROM chunk WHERE {older}")
        with path.open("w", encoding="utf-8") as file:
            while some := rows.fetchmany(FETCH_ROWS):
                for row, name, version, payload in some:
                    file.write(json.dumps({"row": row, "newest": _newest(name, version, payload)}) + "\n")
        self._connection.execute(
            "UPDATE chunk SET payload = coalesce(newest, payload), "
            "schema_v = CASE WHEN newest IS NOT NULL THEN schema_v END "
            f"FROM read_json({quoted(path)}, format = 'newline_delimited', "
            "columns = {'row': 'BIGINT', 'newest': 'VARCHAR'}) AS upcast WHERE chunk.rowid = upcast.row"
        )
        path.unlink()

    def _filled(self) -> list[str]:
        """The columns that the chunk's events can fill; readers find the others NULL."""
        kinds = self._connection.execute(
            "SELECT DISTINCT kind FROM (SELECT DISTINCT type FROM chunk) LEFT JOIN known ON known.name = type"
        ).fetchall()
        found = set(SEGMENT) if (None,) in kinds else set().union(*(FILLED_BY[kind] for (kind,) in kinds))
        return [name for name in SEGMENT if name in found]


# COPY writes a backslash before what would end a field or a line (PostgreSQL's manual on COPY, text format).
_PLAIN = r"""
CREATE TEMP MACRO plain(x) AS CASE WHEN contains(x, '\') THEN
    replace(replace(replace(replace(replace(replace(replace(replace(x,
        '\\', chr(1)), '\t', chr(9)), '\n', chr(10)), '\r', chr(13)), '\b', chr(8)), '\f', chr(12)), '\v', chr(11)),
        chr(1), '\')
    ELSE x END
"""
_KNOWN = "CREATE TEMP TABLE known AS SELECT * FROM (VALUES {}) AS t(name, kind, type_rank, version)".format(
    ", ".join(f"('{name}', '{one.kind}', {one.rank}, {one.version})" for name, one in KNOWN.items())
)
_ENVELOPE = {
    "tenant": "getvariable('tenant')",
    "event_id": "event_id",
    "occurred_us": "epoch_us(occurred)",
    "ingested_us": "epoch_us(ingested)",
    "type": "plain(type)",
    "kind": "CASE WHEN schema_v <= version THEN kind END",
    "subject": "plain(subject)",
    "seq": "seq",
    "schema_v": "schema_v",
    "source": "plain(source)",
    "type_rank": "coalesce(type_rank, 0)",
}
# The dialogue's end tells how long it had lasted, and each entry how long when the step began.
_STEP = {
    **_ENVELOPE,
    "event_id": "event_id || '-' || n",
    "occurred_us": "epoch_us(occurred) - 1000 * coalesce(lasted_ms - TRY_CAST(entry ->> 1 AS BIGINT), 0)",
    "type": f"'{STEP}'",
    "type_rank": str(KNOWN[STEP].rank),
    "seq": "NULL",
    "step": "entry ->> 0",
    "visit": "TRY_CAST(entry ->> 2 AS BIGINT)",
    "code": "entry ->> 3",
    "try_no": "n",
}
_IS_EVENT = "length(event_id) = 36"
"""What is made of an event has that one's id with something behind it."""
_RESTORED = ("submitting", "accepted", "ringing", "answered", "hung_up", "ended")
"""The moments that attempt.restored tells of; its own is when the journal was put in."""


def _flat(columns: Sequence[str]) -> str:
    """The query that makes a chunk's rows flat, with one more row for each step of a dialogue's path.

    An attempt whose events were lost with a database gets them back, one a moment, so that metrics know no difference.
    """
    shape = {
        key: "VARCHAR" if SEGMENT[name] == "STRING" else "BIGINT"
        for name, key in FROM_PAYLOAD.items()
        if name in columns
    }
    read = _ENVELOPE | {name: f'p."{key}"' for name, key in FROM_PAYLOAD.items()}
    read["hung_up_us"] = "epoch_us(TRY_CAST(p.hung_up_at AS TIMESTAMPTZ))"
    structure = json.dumps(shape | {f"{name}_at": "VARCHAR" for name in _RESTORED})
    moments = ", ".join(f"['{name.replace('hung_up', 'closing')}', p.{name}_at]" for name in _RESTORED)
    restored = read | {
        "event_id": "event_id || '-' || moment[1]",
        "occurred_us": "epoch_us(TRY_CAST(moment[2] AS TIMESTAMPTZ))",
        "seq": "NULL",
    }
    return f"""
        SELECT {_listed(read, columns)}
        FROM (SELECT *, json_transform(plain(payload), '{structure}') AS p FROM chunk)
        LEFT JOIN known ON known.name = type
        UNION ALL
        SELECT {_listed(restored, columns)}
        FROM (
            SELECT * REPLACE ('attempt.' || moment[1] AS type)
            FROM (
                SELECT *, unnest([{moments}]) AS moment
                FROM (
                    SELECT *, json_transform(plain(payload), '{structure}') AS p
                    FROM chunk WHERE type = 'attempt.restored'
                )
            )
            WHERE TRY_CAST(moment[2] AS TIMESTAMPTZ) IS NOT NULL
        )
        LEFT JOIN known ON known.name = type
        UNION ALL
        SELECT {_listed({name: _STEP.get(name, "NULL") for name in SEGMENT}, columns)}
        FROM (
            SELECT *, unnest(p.path) AS entry, generate_subscripts(p.path, 1) AS n, p.lasted_ms AS lasted_ms
            FROM (
                SELECT *, json_transform(plain(payload), '{{"path": ["JSON"], "lasted_ms": "BIGINT"}}') AS p
                FROM chunk WHERE type = 'dialogue.ended'
            )
        )
        LEFT JOIN known ON known.name = type
    """


def _listed(values: Mapping[str, str], columns: Sequence[str]) -> str:
    kinds = {"STRING": "VARCHAR", "BIGINT": "BIGINT", "BOOLEAN": "BOOLEAN"}
    return ", ".join(f"CAST({values[name]} AS {kinds[SEGMENT[name]]}) AS {name}" for name in columns)


def _newest(name: str, version: int, payload: str) -> str | None:
    """An older payload as the newest version has it, in the text form of COPY; None when it cannot be made."""
    try:
        newest = event_types.TYPES[name].upcast(json.loads(payload), version)
    except event_types.Refused:
        return None
    return json.dumps(newest).replace("\\", "\\\\")
