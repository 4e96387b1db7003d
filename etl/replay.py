"""Tries dead letters again: after a wider window, a newer release, or a second look at what PostgreSQL refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from dialer.storage.direct import Connection
from etl import dead
from etl.dead import Kept
from etl.event_types import Refused
from etl.landing import Batch, Landing
from etl.wire import Event, Terms, read


async def replay(
    landing: Landing, letters: Sequence[Kept], terms: Callable[[str, datetime], Terms], connection: Connection
) -> int:
    """How many of these became events, or were events already; those are forgotten. Raises psycopg.Error.

    Each is judged as on the day it first came. Ending in the middle loses nothing: what is stored is no news.
    """
    events: dict[tuple[str, str], list[Event]] = {}
    came: dict[tuple[str, str], datetime] = {}
    for place, one in enumerate(letters):
        try:
            event = read(place, one.raw, terms(one.tenant_id, one.first_at))
        except Refused:
            continue
        events.setdefault((one.tenant_id, one.source), []).append(event)
        came.setdefault((one.tenant_id, one.source), one.first_at)
    batches = [
        Batch(tenant_id=key[0], source=key[1], received_at=came[key], events=found, times=0)
        for key, found in events.items()
    ]
    gone: set[int] = set()
    for batch, landed in zip(batches, await landing.store(connection, batches), strict=True):
        gone |= {event.number for event in batch.events} - {letter.number for letter in landed.refused}
    await dead.settle(connection, letters, gone)
    return len(gone)
