"""The audit: who changed what, when and why, in the transaction of the change; the table is only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, insert

from dialer.storage.tables import audit

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def record(
    connection: Connection,
    *,
    who: str,
    what: str,
    tenant_id: str | None = None,
    campaign_id: int | None = None,
    why: str | None = None,
    sha256: str | None = None,
    detail: Mapping[str, Any] = _NOTHING,
) -> None:
    """Notes a change that the caller's transaction makes.

    `who` is `user@host`, `what` a noun and a verb such as `dnc.add`; `sha256` that of the file behind it; no tenant
    and no campaign: it is the whole site's.
    """
    connection.execute(
        insert(audit).values(
            who=who, what=what, tenant_id=tenant_id, campaign_id=campaign_id, why=why, sha256=sha256,
            detail=dict(detail),
        )
    )  # fmt: skip
