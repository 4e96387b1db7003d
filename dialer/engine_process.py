"""The wires of one engine process: database, node, journal, workers, joined from the settings."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dialer import names
from dialer.ami import cel
from dialer.ami.console import Console
from dialer.ami.link import AmiLink
from dialer.ami.telephony import AmiTelephony
from dialer.clock import DatabaseClock
from dialer.contacts.suppress import of_site
from dialer.delivery_watch import DeliveryWatch
from dialer.engine.capacity import NodePlan
from dialer.engine.ports import Nightly, Parts, WorkersLook
from dialer.engine.supervisor import RENEW_EVERY_S, Supervisor
from dialer.engine.witness import ReadCel
from dialer.errors import AsteriskAway, DatabaseAway, DialerError, Fenced
from dialer.secret_file import read_secret
from dialer.settings import NodeSettings, Settings
from dialer.storage.journal import Journal
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore

log = logging.getLogger(__name__)

ROOM_BYTES = 8 << 20
"""Below so much free space a disk is full: what is under way still needs some."""


NO_OVERLOAD_CONTROL = "DIALER_NO_OVERLOAD_CONTROL"
"""Set to 1 by the benchmark that shows what happens without it."""


class Staff(Protocol):
    """The FastAGI workers beside an engine."""

    def stay(self) -> None:
        """They outlive the engine, because calls are live."""
        ...

    def fill_up(self) -> None:
        """Starts some when none answer. Blocks. Raises WorkersAway."""
        ...


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What an engine needs of this machine beside the database and the node."""

    settings: Settings
    workers: Callable[[], AbstractContextManager[Staff]]
    look_at_workers: Callable[[], Awaitable[WorkersLook | None]]
    refresh_calendar: Callable[[int], Awaitable[None]]
    nightly: Callable[[], None]
    """Begins the nightly ETL beside the engine."""
    deliveries: DeliveryWatch


def node_plan(settings: Settings, node: NodeSettings) -> NodePlan:
    """What an engine may use of a node."""
    return NodePlan(
        node=node,
        trunks=tuple(trunk for trunk in settings.trunks if trunk.node == node.name),
        prefixes={trunk.name: trunk.prefixes for trunk in settings.trunks},
        may_show=settings.may_show,
        site_max_concurrent=settings.limits.max_concurrent,
        site_caps=of_site(settings.caps),
        overload_control=os.environ.get(NO_OVERLOAD_CONTROL) != "1",
    )


@dataclass(frozen=True, kw_only=True)
class EngineProcess:
    """One engine's wires; `opened` closes them again."""

    machine: Machine
    node: NodeSettings
    store: PostgresStore
    link: AmiLink
    journal: Journal
    clock: DatabaseClock

    @classmethod
    @asynccontextmanager
    async def opened(cls, machine: Machine, node: NodeSettings) -> AsyncIterator[EngineProcess]:
        """The wires to a node; nothing is connected yet."""
        settings, clock = machine.settings, DatabaseClock()
        store = PostgresStore(
            async_engine(settings), node.name, settings.spool_dir, settings.journal_dir, clock,
            # Whatever the others wait for, the lease must not wait with them.
            lease_engine=async_engine(settings, pool_size=1),
        )  # fmt: skip
        console = Console(argv=node.console)

        async def kick() -> bool:
            # Only who holds the node may end another's session with it; now, not some seconds ago.
            try:
                ours = await store.hold_node() > 0
            except DatabaseAway:
                return False
            if ours:
                await console.kick(names.AMI_USER)
            return ours

        secret = read_secret(node.ami.secret_file)
        link = AmiLink(node.ami.host, node.ami.port, names.AMI_USER, secret, clock.now, kick if node.console else None)
        journal = Journal(settings.journal_dir, node.name, clock.now)
        try:
            yield cls(machine=machine, node=node, store=store, link=link, journal=journal, clock=clock)
        finally:
            # The session first: whoever takes the lease logs in at once.
            link.close()
            await store.close()
            journal.close()

    async def connect(self, *, patient: bool) -> None:
        """Logs in at the node; `patient` leaves a node that is away to the supervisor, which tries again and again.

        Raises AsteriskAway.
        """
        try:
            await self.link.connect()
        except AsteriskAway as error:
            if not patient or self.link.refusal:
                raise
            log.warning("the node is waited for: %s", error, extra={"event": "ami.away"})

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """The lease is renewed meanwhile: imports and prompts may take minutes. Raises Fenced when it was lost."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(RENEW_EVERY_S)
                try:
                    await self.store.hold_node()
                except Fenced:
                    raise
                except DialerError as error:
                    log.error("the lease is not renewed: %s", error, extra={"event": "store.away"})

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
        if not renewing.cancelled():
            renewing.result()

    def supervisor(self, staff: Staff) -> Supervisor:
        """The engine itself."""
        machine, clock, etl = self.machine, self.clock, self.machine.settings.etl
        telephony = AmiTelephony(self.link, machine.settings.mac_key(), clock.now)
        parts = Parts(store=self.store, telephony=telephony, journal=self.journal, clock=clock)
        return Supervisor(
            parts,
            node_plan(machine.settings, self.node),
            machine.look_at_workers,
            machine.refresh_calendar,
            self._full_disk,
            _cel_reader(self.node),
            staff.fill_up,
            Console(argv=self.node.console).deepest_queue if self.node.console else None,
            Nightly(at=etl.at, time_zone=etl.time_zone, begin=machine.nightly) if etl.at else None,
            lambda wake: machine.deliveries.look(self.node.name, wake=wake),
        )

    def _full_disk(self) -> str:
        settings, cel_file = self.machine.settings, self.node.cel_file
        for directory in (settings.journal_dir, settings.spool_dir, *([cel_file.parent] if cel_file else ())):
            if problem := _no_room(directory):
                return problem
        return ""


def _no_room(directory: Path) -> str:
    try:
        found = os.statvfs(directory)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{directory} cannot be looked at: {error.strerror}"
    free = found.f_bavail * found.f_frsize
    return "" if free >= ROOM_BYTES else f"the disk of {directory} is full: {free >> 10} KiB are free"


def _cel_reader(node: NodeSettings) -> ReadCel | None:
    path = node.cel_file
    return None if path is None else lambda position: cel.read(path, position)
