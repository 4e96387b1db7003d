"""What both engines do alike with the text of a query: its parameters, its shape, the digest of its rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from dialer.errors import DialerError
from etl.columns import Columns, Type
from etl.engines.port import Parameters, Value

_PARAMETER = re.compile(r"'(?:[^']|'')*'|--[^\n]*|:(?P<name>[a-z_][a-z0-9_]*)")
DIGITS = 15
"""Hexadecimal digits of the md5 of a row's text that are added up: so many fit into a BIGINT whatever its sign."""


def parameters_in(query: str) -> set[str]:
    """The names of the `:name` parameters of a query; text between quotes and comments hold none."""
    return {found["name"] for found in _PARAMETER.finditer(query) if found["name"]}


def with_parameters(query: str, mark: Callable[[str], str]) -> str:
    """The query with every `:name` written as an engine wants it."""
    return _PARAMETER.sub(lambda found: mark(found["name"]) if found["name"] else found[0], query)


def given(query: str, parameters: Parameters) -> dict[str, Value]:
    """Those of the parameters that the query names, because engines refuse others."""
    names = parameters_in(query)
    if missing := names - parameters.keys():
        raise DialerError(f"a transform asks for :{min(missing)}, and nobody gives it.")
    return {name: parameters[name] for name in names}


def shaped(query: str, found: Mapping[str, Type | str | None], columns: Columns) -> str:
    """The query with exactly the declared columns, whose types it has. Raises DialerError.

    `found` are its columns: BIGINT for any integer, None for one that holds NULL alone, and what is none of ours as the
    engine calls it. No value is ever rounded to fit: engines do that differently.
    """
    for name, wanted in columns.items():
        if name not in found:
            raise DialerError(f"the transform gives no column {name}; it gives {', '.join(found)}.")
        if found[name] not in (None, wanted):
            raise DialerError(
                f"the transform's column {name} is {found[name]} and should be {wanted}: cast it, after floor() or "
                "round() where it has a fraction."
            )
    return "SELECT " + ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns.items()) + (
        f" FROM ({query}) AS shaped"
    )  # fmt: skip


def digest_query(table: str, columns: Sequence[str], as_number: Callable[[str], str]) -> str:
    """Counts the rows of a table and adds up the digests of their texts: the order of rows changes nothing.

    `as_number` writes how an engine makes a BIGINT of the first DIGITS of a text's md5.
    """
    if not columns:
        return f"SELECT count(*) AS n FROM {table}"
    parts = (f"coalesce(CAST({name} AS STRING), chr(30))" for name in columns)
    text = f"concat_ws(chr(31), {', '.join(parts)})"
    return f"SELECT count(*) AS n, sum({as_number('t')}) AS s FROM (SELECT {text} AS t FROM {table}) AS told"


def inline(columns: Columns, rows: Sequence[Sequence[Value]]) -> str:
    """A small table as a query, for `Engine.view`: what settings say, told to both engines alike."""
    listed = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in columns.items())
    if not rows:
        return (
            "SELECT " + ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in columns.items()) + " WHERE 1 = 0"
        )
    values = ", ".join(f"({', '.join(map(_literal, row))})" for row in rows)
    return f"SELECT {listed} FROM (VALUES {values}) AS t({', '.join(columns)})"


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        raise DialerError("datasets hold no fractions: give micro-units as a whole number.")
    if "\\" in value:
        # Spark reads it as an escape in a literal, DuckDB does not.
        raise DialerError(f"a backslash cannot stand in {value!r}.")
    return "'" + value.replace("'", "''") + "'"
