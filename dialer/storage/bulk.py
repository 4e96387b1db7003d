"""Inserts many rows with one statement and one round trip a table; rows that stand already change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts rows that all have the same columns, in the caller's transaction; JSON columns take plain data."""
    if not rows:
        return
    names = tuple(rows[0])
    values = {
        name: [json.dumps(row[name]) for row in rows] if _is_json(table, name) else [row[name] for row in rows]
        for name in names
    }
    await connection.execute(_statement(table, names), values)


@cache
def _statement(table: Table, names: tuple[str, ...]) -> TextClause:
    """`unnest` over one array a column is prepared once, however many rows; executemany sends each row by itself."""
    arrays = ", ".join(f"cast(:{name} as {_array_type(table, name)}[])" for name in names)
    picked = ", ".join(f"cast({name} as jsonb)" if _is_json(table, name) else name for name in names)
    listed = ", ".join(names)
    return text(
        f"insert into {table.name} ({listed}) select {picked} from unnest({arrays}) as rows ({listed}) "
        "on conflict do nothing"
    )


def _array_type(table: Table, name: str) -> str:
    return "text" if _is_json(table, name) else table.c[name].type.compile(dialect=_DIALECT)


def _is_json(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, JSONB)
