"""What a restatement changed: two runs' facts of one day, row by row, and the events that made the difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

from dialer.errors import InvalidInput
from etl.columns import HISTORY, KINDS, Columns
from etl.engines.port import Engine
from etl.lake import Lake
from etl.sql.order import ORDER

_RUN = text("select run, tenant_id, state, code, ended_at, as_of_us from etl_run where run = :run")
# What was read when a run had ended: its own outputs, and of what it left alone the newest before.
_AS_OF = text("""
select distinct on (o.dataset) o.dataset, o.files, o.digest from etl_output o join etl_run r using (run)
where o.tenant_id = :tenant and o.day = :day and r.state = 'done' and r.ended_at <= :ended_at
order by o.dataset, r.ended_at desc, o.run
""")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row that differs: what it was, what it is; None when there was or is none."""

    dataset: str
    key: tuple[Any, ...]
    columns: tuple[str, ...]
    """Which columns differ; none of a row that came or went."""
    was: tuple[Any, ...] | None
    now: tuple[Any, ...] | None


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Events that only one of the histories has."""

    dataset: str
    came: bool
    """False: they are not there any more."""
    type: str
    source: str
    events: int
    late_us: int | None
    """How long after it occurred the last of them came in."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All of it."""

    first: Row[Any]
    second: Row[Any]
    changes: tuple[Change, ...]
    causes: tuple[Cause, ...]


def difference(connection: Connection, lake: Lake, engine: Engine, day: date, one: UUID, other: UUID) -> Difference:
    """Compares what reports read of a cohort day after two runs of one tenant. Raises InvalidInput."""
    first, second = _run(connection, one), _run(connection, other)
    if first.tenant_id != second.tenant_id:
        raise InvalidInput(f"these are runs of two tenants: {first.tenant_id!r} and {second.tenant_id!r}.")
    was, now = _as_of(connection, lake, first, day), _as_of(connection, lake, second, day)
    if not was and not now:
        raise InvalidInput(f"neither run has anything of {day}. `dialer etl status` shows which days runs wrote.")
    changes: list[Change] = []
    for dataset in ORDER:
        before, after = was.get(dataset.name, _NONE), now.get(dataset.name, _NONE)
        if dataset.published and before != after:
            _register(engine, before, after, dataset.columns)
            changes += _changes(engine, dataset.name, dataset.key, dataset.columns)
    causes = [cause for kind in KINDS for cause in _causes(engine, f"history_{kind}", was, now, HISTORY[kind])]
    return Difference(first=first, second=second, changes=tuple(changes), causes=tuple(causes))


_Version = tuple[str, tuple[Path, ...]]
_NONE: _Version = ("", ())


def _run(connection: Connection, run: UUID) -> Row[Any]:
    found = connection.execute(_RUN, {"run": run}).one_or_none()
    if found is None or found.state != "done":
        raise InvalidInput(f"there is no finished run {run}. `dialer etl status` lists them.")
    return found


def _as_of(connection: Connection, lake: Lake, run: Row[Any], day: date) -> dict[str, _Version]:
    values = {"tenant": run.tenant_id, "day": day, "ended_at": run.ended_at}
    found = {
        row.dataset: (row.digest, tuple(lake.root / name for name in row.files))
        for row in connection.execute(_AS_OF, values)
    }
    for _, files in found.values():
        if gone := [file for file in files if not file.exists()]:
            raise InvalidInput(
                f"{gone[0]} is gone: replaced files stay for etl.keep.replaced_days. Only newer runs can be compared."
            )
    return found


def _register(engine: Engine, before: _Version, after: _Version, columns: Columns) -> None:
    engine.register("was", before[1], columns)
    engine.register("now_", after[1], columns)


def _changes(engine: Engine, name: str, key: Sequence[str], columns: Columns) -> list[Change]:
    same_key = " AND ".join(f"was.{column} IS NOT DISTINCT FROM now_.{column}" for column in key)
    differs = " OR ".join(f"was.{column} IS DISTINCT FROM now_.{column}" for column in columns)
    listed = ", ".join([f"was.{column}" for column in columns] + [f"now_.{column}" for column in columns])
    order = ", ".join(f"coalesce(was.{column}, now_.{column}) NULLS LAST" for column in key)
    rows = engine.rows(
        f"SELECT was.is_there, now_.is_there, {listed} FROM (SELECT *, TRUE AS is_there FROM was) AS was "
        f"FULL OUTER JOIN (SELECT *, TRUE AS is_there FROM now_) AS now_ ON {same_key} "
        f"WHERE was.is_there IS NULL OR now_.is_there IS NULL OR {differs} ORDER BY {order}",
        {},
    )
    return [_change(name, key, tuple(columns), row) for row in rows]


def _change(name: str, key: Sequence[str], columns: tuple[str, ...], row: tuple[Any, ...]) -> Change:
    was = row[2 : 2 + len(columns)] if row[0] else None
    now = row[2 + len(columns) :] if row[1] else None
    either = dict(zip(columns, now or was or (), strict=True))
    differing = () if was is None or now is None else tuple(
        column for column, before, after in zip(columns, was, now, strict=True) if before != after
    )  # fmt: skip
    return Change(dataset=name, key=tuple(either[one] for one in key), columns=differing, was=was, now=now)


def _causes(
    engine: Engine, name: str, was: dict[str, _Version], now: dict[str, _Version], columns: Columns
) -> list[Cause]:  # fmt: skip
    before, after = was.get(name, _NONE), now.get(name, _NONE)
    if before == after:
        return []
    _register(engine, before, after, columns)
    found = []
    for came, here, there in ((True, "now_", "was"), (False, "was", "now_")):
        rows = engine.rows(
            f"SELECT type, source, count(*) AS events, max(ingested_us - occurred_us) AS late_us FROM {here} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {there} WHERE {there}.event_id = {here}.event_id) "
            "GROUP BY type, source ORDER BY type NULLS LAST, source NULLS LAST",
            {},
        )
        found += [
            Cause(dataset=name, came=came, type=type_, source=source, events=events, late_us=late_us)
            for type_, source, events, late_us in rows
        ]
    return found
