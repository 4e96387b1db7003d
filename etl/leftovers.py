"""What runs leave in the lake that did not publish: killed, failed, or forgotten by a database that was restored."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import text

from dialer.clock import from_epoch
from dialer.storage.session import plain_errors

if TYPE_CHECKING:
    from etl.pipeline import Night

_PUBLISHED = text("""
select run, 'segment' as dataset from etl_segment where run = any(:runs)
union select run, dataset from etl_output where run = any(:runs)
""")
_KNOWN = text("""
select 'segment' as dataset, day, run from etl_segment where tenant_id = :tenant
union all select dataset, day, run from etl_output where tenant_id = :tenant
""")


def clear_up(night: Night, tenant: str, runs: Sequence[UUID]) -> None:
    """Removes what runs that have ended had not published. In the tenant's turn, or of a run that holds none."""
    if not runs:
        return
    with plain_errors(), night.database.begin() as connection:
        published = {(row.run, row.dataset) for row in connection.execute(_PUBLISHED, {"runs": list(runs)})}
    for run in runs:
        shutil.rmtree(night.settings.state_dir / "etl" / str(run), ignore_errors=True)
        for dataset, folder in night.lake.folders_of(tenant, run):
            if (run, dataset) not in published:
                remove(folder)


def forget_strangers(night: Night, tenant: str, older_than: datetime) -> int:
    """Removes runs' folders that PostgreSQL knows nothing of and that are older; in the tenant's turn. How many.

    A backup that is restored knows less than there is, and one that is newer may be restored after it: hence the age.
    """
    with plain_errors(), night.database.begin() as connection:
        known = {
            night.lake.folder(tenant, row.dataset, row.day, row.run)
            for row in connection.execute(_KNOWN, {"tenant": tenant})
        }
    strange = [
        folder
        for folder in night.lake.of_tenant(tenant).glob("dataset=*/day=*/run=*")
        if folder not in known and from_epoch(folder.stat().st_mtime) < older_than
    ]
    for folder in strange:
        remove(folder)
    return len(strange)


def remove(folder: Path) -> None:
    """Removes a run's folder, and that of its day when it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
