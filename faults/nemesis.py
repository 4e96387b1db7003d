"""Chooses faults by a seed, lets them happen one after the other, sometimes two at once, and records them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from dialer.clock import monotonic, utc_now
from faults.injections import FAULTS, Fault
from faults.record import FaultRecord, Harm
from faults.world import World

PAUSE_S = (0.5, 8.0)
"""Between two faults: now and then long enough for calls to flow, often too short for it."""
TOGETHER = 0.15
"""The share of faults that come while another one holds."""
BACK_S = 60.0
"""How long workers get to answer again; later the run is broken, and the checker will say so."""


class Nemesis:
    """One run's faults. The same seed chooses the same faults; when they hit is up to the machine."""

    def __init__(self, world: World, rng: random.Random, say: Callable[[str], None], only: frozenset[str]) -> None:
        self._world, self._rng, self._say = world, rng, say
        self._choices = [
            fault for fault in FAULTS if (world.has_disks or not fault.needs_disks) and (not only or fault.name in only)
        ]
        self.records: list[FaultRecord] = []

    async def torment(self, seconds: float) -> None:
        """Lets faults happen for so long, then until the last of them is healed."""
        deadline = monotonic() + seconds
        while monotonic() < deadline:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            chosen = [self._choose()]
            if self._rng.random() < TOGETHER:
                second = self._choose()
                if second.name != chosen[0].name:
                    chosen.append(second)
            await asyncio.gather(*(self._let(fault, random.Random(self._rng.random())) for fault in chosen))

    def _choose(self) -> Fault:
        return self._rng.choices(self._choices, [fault.weight for fault in self._choices])[0]

    async def _let(self, fault: Fault, rng: random.Random) -> None:
        began_at = utc_now()
        hold_s = rng.uniform(*fault.hold_s)
        async with fault.happen(self._world, rng) as detail:
            self._say(f"{began_at:%T} {fault.name} for {hold_s:.1f} s: {detail}")
            await asyncio.sleep(hold_s)
        if Harm.WORKERS in fault.harms:
            await self._world.until(self._world.workers_answer, BACK_S)
        self.records.append(
            FaultRecord(name=fault.name, detail=detail, harms=fault.harms, began_at=began_at, healed_at=utc_now())
        )
