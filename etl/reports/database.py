"""What reports need of PostgreSQL, since the lake holds no people: names, numbers, fields; carried over by COPY.

The rows pass through a file that has no name: nothing of it is left behind, whatever dies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql as composed
from sqlalchemy import Connection

from etl.columns import Columns
from etl.engines.duckdb import DuckDb
from etl.reports.columns import literal, quoted
from etl.reports.query import Question
from etl.zones import from_us


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A table for DuckDB: its columns, and the query that fills them. Parameters are those of `_values`."""

    columns: Columns
    query: str


TABLES: Mapping[str, Fetched] = {
    "dialled": Fetched(
        columns={"call": "STRING", "person": "STRING", "number": "STRING", "caller_id": "STRING"},
        query="""
            select a.id, p.person_key, a.number, a.caller_id
            from attempt a join person p on p.id = a.person_id join campaign c on c.id = a.campaign_id
            where c.tenant_id = %(tenant)s and (%(campaign)s::bigint is null or c.id = %(campaign)s)
              and a.submitting_at >= %(from_at)s and a.submitting_at < %(to_at)s
        """,
    ),
    "respondent": Fetched(
        columns={"contact": "BIGINT", "person": "STRING", "number": "STRING"},
        query="""
            select t.id, p.person_key, t.numbers[1] from contact t join person p on p.id = t.person_id
            where t.campaign_id = %(campaign)s
        """,
    ),
    "dead": Fetched(
        columns={
            "tenant": "STRING", "letter": "STRING", "source": "STRING", "reason": "STRING", "detail": "STRING",
            "times": "BIGINT", "attempts": "BIGINT", "bytes": "BIGINT", "first_us": "BIGINT", "last_us": "BIGINT",
        },
        query="""
            select tenant_id, letter_id, source, reason, detail, times, attempts, octet_length(raw),
                   (extract(epoch from first_at) * 1000000)::bigint, (extract(epoch from last_at) * 1000000)::bigint
            from event_dead
            where tenant_id = %(tenant)s and first_at >= %(from_at)s and first_at < %(to_at)s
        """,
    ),
}  # fmt: skip


def carry(
    connection: Connection, duck: DuckDb, name: str, question: Question, fields: Sequence[str] = ()
) -> None:  # fmt: skip
    """Makes one of TABLES a table of DuckDB; `fields` of the contacts are columns more: `field_1`, …"""
    fetched = TABLES[name]
    columns = dict(fetched.columns) | {f"field_{number}": "STRING" for number in range(1, len(fields) + 1)}
    query = fetched.query
    if fields:
        picked = ", ".join(f"t.fields->>{_escaped(field)}" for field in fields)
        query = query.replace(" from contact t", f", {picked} from contact t", 1)
    with tempfile.TemporaryFile() as file:
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            copy = composed.SQL("copy ({}) to stdout (format csv)").format(composed.SQL(query))
            with cursor.copy(copy, _values(question)) as rows:
                for block in rows:
                    file.write(block)
        file.flush()
        shape = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in columns.items())
        # A quoted empty text is one; only what stands between no quotes is missing.
        duck.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {quoted(name)} AS SELECT * FROM read_csv('/proc/self/fd/{file.fileno()}', "
            f"columns = {{{shape}}}, header = false, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
            "nullstr = '', allow_quoted_nulls = false, new_line = '\\n', max_line_size = 16777216)"
        )


def _values(question: Question) -> dict[str, object]:
    return {
        "tenant": question.tenant, "campaign": question.campaign, "from_at": from_us(question.from_us),
        "to_at": from_us(question.to_us),
    }  # fmt: skip


def _escaped(field: str) -> str:
    """A text in PostgreSQL's SQL, in a query that psycopg formats."""
    return literal(field).replace("%", "%%")
