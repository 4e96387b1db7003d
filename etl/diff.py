"""What a restatement changed: two runs' facts of one day, row by row, and the events that made the difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from etl.sql.order import BY_NAME, ORDER, Dataset

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


Version = tuple[str, tuple[Path, ...]]
"""A dataset of the day as it was read then: its digest and its files."""
_NONE: Version = ("", ())


@dataclass(frozen=True, kw_only=True)
class Changed:
    """How many rows of a dataset differ."""

    dataset: str
    new: int
    gone: int
    changed: int


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs and why; `changes` has the rows."""

    first: Row[Any]
    second: Row[Any]
    was: Mapping[str, Version]
    now: Mapping[str, Version]
    changed: tuple[Changed, ...]
    causes: tuple[Cause, ...]


def difference(connection: Connection, lake: Lake, engine: Engine, day: date, one: UUID, other: UUID) -> Difference:
    """Compares what reports read of a cohort day after two runs of one tenant. Raises InvalidInput."""
    first, second = _run(connection, one), _run(connection, other)
    if first.tenant_id != second.tenant_id:
        raise InvalidInput(f"these are runs of two tenants: {first.tenant_id!r} and {second.tenant_id!r}.")
    was, now = _as_of(connection, lake, first, day), _as_of(connection, lake, second, day)
    if not was and not now:
        raise InvalidInput(f"neither run has anything of {day}. `dialer etl status` shows which days runs wrote.")
    changed = []
    for dataset in ORDER:
        if dataset.published and was.get(dataset.name, _NONE) != now.get(dataset.name, _NONE):
            _register(engine, dataset.name, was, now, dataset.columns)
            counts = f"SELECT {_IS_NEW}, {_IS_GONE}, count(*) AS n FROM {_differing(dataset)}"
            ((new, gone, rows),) = engine.rows(counts, {})
            if rows:
                changed.append(Changed(dataset=dataset.name, new=new, gone=gone, changed=rows - new - gone))
    causes = [cause for kind in KINDS for cause in _causes(engine, f"history_{kind}", was, now, HISTORY[kind])]
    return Difference(
        first=first, second=second, was=was, now=now, changed=tuple(changed), causes=tuple(causes)
    )  # fmt: skip


def changes(engine: Engine, found: Difference, name: str, most: int | None = None) -> Iterator[Change]:
    """The rows of a dataset that differ, by its key; so many at most. One by one: a day may have millions."""
    dataset = BY_NAME[name]
    columns = tuple(dataset.columns)
    _register(engine, name, found.was, found.now, dataset.columns)
    listed = ", ".join([f"was.{column}" for column in columns] + [f"now_.{column}" for column in columns])
    order = ", ".join(f"coalesce(was.{column}, now_.{column}) NULLS LAST" for column in dataset.key)
    limit = "" if most is None else f" LIMIT {most}"
    query = f"SELECT was.is_there, now_.is_there, {listed} FROM {_differing(dataset)} ORDER BY {order}{limit}"
    for row in engine.rows(query, {}):
        yield _change(name, dataset.key, columns, row)


def _run(connection: Connection, run: UUID) -> Row[Any]:
    found = connection.execute(_RUN, {"run": run}).one_or_none()
    if found is None or found.state != "done":
        raise InvalidInput(f"there is no finished run {run}. `dialer etl status` lists them.")
    return found


def _as_of(connection: Connection, lake: Lake, run: Row[Any], day: date) -> dict[str, Version]:
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


def _register(
    engine: Engine, name: str, was: Mapping[str, Version], now: Mapping[str, Version], columns: Columns
) -> None:  # fmt: skip
    engine.register("was", was.get(name, _NONE)[1], columns)
    engine.register("now_", now.get(name, _NONE)[1], columns)


_IS_NEW = "count(*) FILTER (WHERE was.is_there IS NULL) AS new"
_IS_GONE = "count(*) FILTER (WHERE now_.is_there IS NULL) AS gone"


def _differing(dataset: Dataset) -> str:
    """The rows of `was` and `now_` side by side that are not the same."""
    same_key = " AND ".join(f"was.{column} IS NOT DISTINCT FROM now_.{column}" for column in dataset.key)
    differs = " OR ".join(f"was.{column} IS DISTINCT FROM now_.{column}" for column in dataset.columns)
    return (
        "(SELECT *, TRUE AS is_there FROM was) AS was "
        f"FULL OUTER JOIN (SELECT *, TRUE AS is_there FROM now_) AS now_ ON {same_key} "
        f"WHERE was.is_there IS NULL OR now_.is_there IS NULL OR {differs}"
    )


def _change(name: str, key: Sequence[str], columns: tuple[str, ...], row: tuple[Any, ...]) -> Change:
    was = row[2 : 2 + len(columns)] if row[0] else None
    now = row[2 + len(columns) :] if row[1] else None
    either = dict(zip(columns, now or was or (), strict=True))
    differing = () if was is None or now is None else tuple(
        column for column, before, after in zip(columns, was, now, strict=True) if before != after
    )  # fmt: skip
    return Change(dataset=name, key=tuple(either[one] for one in key), columns=differing, was=was, now=now)


def _causes(
    engine: Engine, name: str, was: Mapping[str, Version], now: Mapping[str, Version], columns: Columns
) -> list[Cause]:  # fmt: skip
    if was.get(name, _NONE) == now.get(name, _NONE):
        return []
    _register(engine, name, was, now, columns)
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
