"""An engine's looks into the folders that receive daily number bases: one at a time, and what came of each is told."""

from __future__ import annotations

import asyncio
import logging

from dialer.clock import monotonic, utc_now
from dialer.storage.deliveries import Deliveries

log = logging.getLogger(__name__)


class DeliveryWatch:
    """The folders of all campaigns that are dialled from this process."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries
        self._looking = asyncio.Lock()

    async def look(self, node: str, *, wake: bool) -> None:
        """Merges what has come for campaigns of a node; `wake`: those that ended by themselves run again for it.

        Returns at once while another look is under way: a large base takes longer than a minute. Raises DatabaseAway.
        """
        if not self._looking.locked():
            async with self._looking:
                await asyncio.to_thread(self._look, node, wake)

    def _look(self, node: str, wake: bool) -> None:
        for delivery in self._deliveries.look(utc_now(), monotonic(), node=node, wake=wake):
            if delivery.problem is None:
                log.info("%s", delivery, extra={"event": "delivery.merged"})
            else:
                log.error("%s", delivery, extra={"event": "delivery.refused"})
