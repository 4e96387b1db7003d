"""What `dialer etl status` shows: each tenant's last run with its ledger, and how far its events are in the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from etl.extract import MARGIN

_STANDING = text(f"""
select t.tenant_id, nullif(t.since, '-infinity') + {MARGIN} as since, t.as_of_us,
       (select coalesce(sum(s.rows), 0)::bigint from etl_segment s
        where s.tenant_id = t.tenant_id and s.taken_by is null) as waiting,
       (select min(day) from etl_pointer p where p.tenant_id = t.tenant_id) as first_day,
       (select max(day) from etl_pointer p where p.tenant_id = t.tenant_id) as last_day,
       (select coalesce(sum(o.bytes), 0)::bigint from etl_output o where o.tenant_id = t.tenant_id) as bytes
from etl_tenant t where cast(:tenant as text) is null or t.tenant_id = :tenant order by 1
""")
_RUNS = text("""
select run, tenant_id, state, engine, code, began_at, ended_at, lane, as_of_us, late, days, error from etl_run
where cast(:tenant as text) is null or tenant_id = :tenant order by began_at desc limit :most
""")
_STAGES = text("select * from etl_stage where run = :run order by place")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A tenant's place."""

    tenant: str
    taken_in_since: datetime | None
    """Everything that was ingested before is in the lake."""
    as_of_us: int
    waiting: int
    """Rows that are dumped and not taken in yet."""
    first_day: Any
    last_day: Any
    bytes: int
    """Of all its files, replaced ones among them."""


def standings(connection: Connection, tenant: str | None) -> list[Standing]:
    """Of all tenants, or of one."""
    return [
        Standing(
            tenant=row.tenant_id, taken_in_since=row.since, as_of_us=row.as_of_us, waiting=row.waiting,
            first_day=row.first_day, last_day=row.last_day, bytes=row.bytes,
        )
        for row in connection.execute(_STANDING, {"tenant": tenant})
    ]  # fmt: skip


def runs(connection: Connection, tenant: str | None, most: int) -> list[dict[str, Any]]:
    """The newest runs, newest first."""
    return [dict(row) for row in connection.execute(_RUNS, {"tenant": tenant, "most": most}).mappings()]


def stages(connection: Connection, run: Any) -> Sequence[dict[str, Any]]:
    """A run's ledger."""
    return [dict(row) for row in connection.execute(_STAGES, {"run": run}).mappings()]
