"""The rows that claims of all engines lock and count against: the most calls at once of the site, nodes and trunks."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_KEPT = text("""
select scope, name, max_concurrent from capacity_limit
where (scope, name) in (select * from unnest(cast(:scopes as text[]), cast(:names as text[])))
""")
_KEEP = text("""
insert into capacity_limit (scope, name, max_concurrent)
select * from unnest(cast(:scopes as text[]), cast(:names as text[]), cast(:limits as int[]))
  as d(scope, name, max_concurrent) order by scope, name
on conflict (scope, name) do update set max_concurrent = excluded.max_concurrent
""")


async def keep(
    connection: AsyncConnection, site: int | None, node: tuple[str, int], trunks: Mapping[str, int | None]
) -> list[str]:
    """Writes a machine's limits, in the caller's transaction; the engine that starts last decides for all. None: no
    limit of its own. Returns what it changed of those that another engine wrote, in words.
    """
    rows = [("site", "", site), ("node", *node), *(("trunk", name, limit) for name, limit in trunks.items())]
    scopes, names, limits = map(list, zip(*rows, strict=True))
    kept = (await connection.execute(_KEPT, {"scopes": scopes, "names": names})).all()
    before = {(row.scope, row.name): row.max_concurrent for row in kept}
    await connection.execute(_KEEP, {"scopes": scopes, "names": names, "limits": limits})
    return [
        f"{scope} {name}".strip() + f": {before[scope, name] or 'no limit'} -> {limit or 'no limit'}"
        for scope, name, limit in rows
        if (scope, name) in before and before[scope, name] != limit
    ]
