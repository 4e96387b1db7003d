"""The engines of one process: one a node, of the nodes that are free; the others are waited for and taken over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from dialer.engine.progress import Progress, merged
from dialer.engine.supervisor import Supervisor
from dialer.engine_process import EngineProcess, Machine, Staff
from dialer.errors import DatabaseAway, DialerError, Fenced, RestoredDatabase
from dialer.settings import NodeSettings

log = logging.getLogger(__name__)

STAND_BY_S = 0.5
REFUSED_S = 60.0


class Fleet:
    """What this process dials through."""

    def __init__(self, machine: Machine, engines: Sequence[EngineProcess], note: Callable[[str], None]) -> None:
        """`note` tells the operator one sentence."""
        self._machine, self._engines, self._note = machine, engines, note
        self._supervisors: dict[str, Supervisor] = {}
        self._lost: set[str] = set()
        self._draining = False
        self._drained: list[int] = []

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, machine: Machine, nodes: Sequence[NodeSettings], note: Callable[[str], None]
    ) -> AsyncIterator[Fleet]:
        """The wires to these nodes; nothing is connected yet."""
        async with AsyncExitStack() as stack:
            engines = [await stack.enter_async_context(EngineProcess.opened(machine, node)) for node in nodes]
            yield cls(machine, engines, note)

    async def take(self) -> list[EngineProcess]:
        """Those whose nodes are ours from now on. Raises DatabaseAway."""
        return [one for one in self._engines if await one.store.hold_node()]

    def has_others(self, ours: Sequence[EngineProcess]) -> bool:
        """Whether some of the nodes are other engines'."""
        return len(ours) < len(self._engines)

    @asynccontextmanager
    async def ready(self, ours: Sequence[EngineProcess], *, patient: bool) -> AsyncIterator[None]:
        """Logs in at the nodes that are ours, and keeps their leases meanwhile: imports and prompts may take minutes.

        A node that is away is a mistake at the start, when it is the only one; else it is waited for. Raises
        AsteriskAway, Fenced.
        """
        async with AsyncExitStack() as stack:
            for engine in ours:
                await stack.enter_async_context(engine.kept())
            for engine in ours:
                await engine.connect(patient=patient or len(self._engines) > 1)
            yield

    # -- what the terminal asks ----------------------------------------------------------------------------------------

    @property
    def _dialling(self) -> list[Supervisor]:
        """Those whose node was not lost meanwhile."""
        return [one for name, one in self._supervisors.items() if name not in self._lost]

    @property
    def campaigns(self) -> dict[int, str]:
        """What runs here now, by id."""
        return {key: name for one in self._dialling for key, name in one.campaigns.items()}

    def progress(self, campaign_id: int) -> Progress | None:
        """Where a campaign stands on the nodes of this process; None when it was never seen here."""
        found = [one.progress(campaign_id) for one in self._dialling]
        known = [one for one in found if one is not None]
        return merged(known) if known else None

    def has_ended(self, campaign_id: int) -> bool:
        """Whether a campaign ran here and is done on every node."""
        return campaign_id not in self.campaigns and any(one.has_ended(campaign_id) for one in self._dialling)

    def drain_campaign(self, campaign_id: int) -> None:
        """One campaign starts no more calls here, whatever the database says is wanted of it."""
        self._drained.append(campaign_id)
        for one in self._supervisors.values():
            one.drain_campaign(campaign_id)

    def drain(self) -> None:
        """No more calls here; `run` returns when the last has its verdict."""
        self._draining = True
        for one in self._supervisors.values():
            one.drain()

    @property
    def leaves_calls(self) -> bool:
        """Calls may be live that nobody here follows any more."""
        return any(one.leaves_calls for one in self._supervisors.values())

    # -- the run -------------------------------------------------------------------------------------------------------

    async def run(
        self, ours: Sequence[EngineProcess], own: Sequence[int] | None, check: Callable[[], None]
    ) -> None:  # fmt: skip
        """Dials through the nodes that are ours, and through others when they come free, until nothing is left to do.

        `own` as in Supervisor.run; `check` says, blocking, whether an engine may start on this database at all. When
        one of several nodes is lost to another engine, the rest goes on. Raises what ended the last.
        """
        async with self._staffed() as staff:
            dialling = {asyncio.create_task(self._dial(one, own, staff)): one for one in ours}
            standing_by = {
                asyncio.create_task(self._stand_by(one, check)): one for one in self._engines if one not in ours
            }
            try:
                while dialling or (own is None and standing_by and not self._draining):
                    done, _ = await asyncio.wait(
                        {*dialling, *standing_by}, return_when=asyncio.FIRST_COMPLETED, timeout=STAND_BY_S
                    )
                    for task in done & standing_by.keys():
                        engine = standing_by.pop(task)
                        task.result()
                        dialling[asyncio.create_task(self._dial(engine, own, staff))] = engine
                    for task in done & dialling.keys():
                        engine = dialling.pop(task)
                        if self._is_over(task, engine, others=bool(dialling)):
                            continue
                        standing_by[asyncio.create_task(self._stand_by(engine, check))] = engine
            finally:
                for task in (*standing_by, *dialling):
                    task.cancel()
                await asyncio.gather(*standing_by, *dialling, return_exceptions=True)

    def _is_over(self, task: asyncio.Task[None], engine: EngineProcess, *, others: bool) -> bool:
        """Whether a node's work is done; False when it was lost while other nodes go on. Raises when none do."""
        error = task.exception()
        if error is None:
            return True
        if not others or isinstance(error, RestoredDatabase) or not isinstance(error, DialerError):
            raise error
        self._note(f"{engine.node.name}: {error}")
        self._lost.add(engine.node.name)
        if isinstance(error, Fenced):
            engine.store.forget_lease()
        return False

    async def _dial(self, engine: EngineProcess, own: Sequence[int] | None, staff: Staff) -> None:
        supervisor = engine.supervisor(staff)
        self._supervisors[engine.node.name] = supervisor
        self._lost.discard(engine.node.name)
        for campaign_id in self._drained:
            supervisor.drain_campaign(campaign_id)
        if self._draining:
            supervisor.drain()
        try:
            await supervisor.run(own)
        except Fenced:
            staff.stay()
            raise

    async def _stand_by(self, engine: EngineProcess, check: Callable[[], None]) -> None:
        """Returns when the node is ours and may be dialled through. A database that goes away is waited for."""
        said = ""
        while True:
            try:
                if await engine.store.hold_node():
                    async with self.ready([engine], patient=True):
                        await asyncio.to_thread(check)
                    self._note(f"Taking {engine.node.name!r} over.")
                    return
                why = f"Another engine dials through {engine.node.name!r}; waiting for its end."
            except RestoredDatabase:
                raise
            except DialerError as error:
                # The other nodes' calls must not suffer for this one.
                why = f"{engine.node.name}: {error}"
                if isinstance(error, Fenced):
                    engine.store.forget_lease()
            if why != said:
                self._note(why)
            said = why
            # Trying a wrong password again only fills the security log.
            await asyncio.sleep(REFUSED_S if engine.link.refusal else STAND_BY_S)

    async def first(self) -> list[EngineProcess]:
        """Waits until at least one node is ours. Raises DatabaseAway when there is no database to begin with."""
        ours = await self.take()
        said = False
        while not ours:
            if not said:
                names = ", ".join(repr(one.node.name) for one in self._engines)
                self._note(f"Another engine dials through {names}; waiting for its end.")
            said = True
            await asyncio.sleep(STAND_BY_S)
            try:
                ours = await self.take()
            except DatabaseAway as error:
                log.warning("waiting: %s", error, extra={"event": "store.away"})
        return ours

    @asynccontextmanager
    async def _staffed(self) -> AsyncIterator[Staff]:
        """The FastAGI workers; they stay when calls are left behind: whoever answers now must not meet silence."""
        hired = self._machine.workers()
        staff = await asyncio.to_thread(hired.__enter__)
        try:
            yield staff
        finally:
            if self.leaves_calls:
                staff.stay()
            await asyncio.to_thread(hired.__exit__, None, None, None)
