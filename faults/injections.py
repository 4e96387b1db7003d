"""The faults themselves: each breaks one thing when entered, says what it did, and heals it when left."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from dialer.crash_points import ENGINE_POINTS, WORKER_POINTS
from dialer.lab.process import send_signal
from faults.ami_tap import Dirt
from faults.disks import fill, free
from faults.postgres_tap import Around
from faults.proxy import Mode, Proxy
from faults.record import Harm
from faults.world import World

Happening = AbstractAsyncContextManager[str]
Injection = Callable[[World, random.Random], Happening]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of fault: how often it is chosen, how long it holds, and what it takes away meanwhile."""

    name: str
    happen: Injection
    weight: int = 2
    hold_s: tuple[float, float] = (0.0, 0.0)
    harms: frozenset[Harm] = frozenset()
    needs_disks: bool = False
    """Only who may mount file systems can do it."""


WORKERS = frozenset({Harm.WORKERS})
NODE = frozenset({Harm.NODE})
CALLS = frozenset({Harm.NODE, Harm.CALLS})
CEL = frozenset({Harm.CEL})


def _signal(found: list[tuple[int, list[str]]], kind: signal.Signals) -> str:
    for pid, arguments in found:
        send_signal(pid, arguments, kind)
    return f"{kind.name} to {', '.join(str(pid) for pid, _ in found) or 'nobody'}"


def _kill(who: Callable[[World], list[tuple[int, list[str]]]], *, every: bool = False) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        found = who(world)
        yield _signal(found if every else found[:1] and [rng.choice(found)], signal.SIGKILL)

    return happen


def _freeze(who: Callable[[World], list[tuple[int, list[str]]]]) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        found = who(world)
        chosen = found[:1] and [rng.choice(found)]
        try:
            yield _signal(chosen, signal.SIGSTOP)
        finally:
            _signal(chosen, signal.SIGCONT)

    return happen


def _at_point(file_of: Callable[[World], Path], points: tuple[str, ...], word: str) -> Injection:
    """Kills (`crash`) or freezes (`stop`) the next process that reaches a crash point."""

    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        file, point = file_of(world), rng.choice(points)
        whole = file.with_suffix(".new")
        whole.write_text(f"{word} {point}", encoding="ascii")
        whole.rename(file)
        reached = await world.until(lambda: not file.exists(), 8)
        try:
            yield f"{word} at {point}: {'reached' if reached else 'not reached'}"
        finally:
            file.unlink(missing_ok=True)
            for taken in file.parent.glob(f"{file.name}.*"):
                pid = int(taken.suffix[1:])
                for found in (*world.engines(), *world.workers()):
                    if found[0] == pid:
                        send_signal(*found, signal.SIGCONT)
                taken.unlink()

    return happen


@asynccontextmanager
async def second_run(world: World, rng: random.Random) -> AsyncIterator[str]:
    """Somebody starts the same file beside, and kills it later."""
    name = rng.choice(list(world.workload.campaigns))
    process = await world.start_run(name, world.folder / f"second-{rng.randrange(10**9)}")
    try:
        yield name
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


# -- PostgreSQL -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def kill_postgres(world: World, rng: random.Random) -> AsyncIterator[str]:
    """kill -9 of the postmaster; its children see it and go."""
    pids = world.postgres_processes()
    _signal_pids(pids[:1], signal.SIGKILL)
    try:
        yield f"postmaster {pids[:1]}"
    finally:
        await world.start_postgres()


@asynccontextmanager
async def stop_postgres(world: World, rng: random.Random) -> AsyncIterator[str]:
    """Every process of the server stands still: connections stay, nothing answers."""
    pids = world.postgres_processes()
    _signal_pids(pids, signal.SIGSTOP)
    try:
        yield f"{len(pids)} processes"
    finally:
        _signal_pids(pids, signal.SIGCONT)
        await world.start_postgres()


def _signal_pids(pids: list[int], kind: signal.Signals) -> None:
    for pid in pids:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            continue
        send_signal(pid, arguments, kind)


def _cut_commit(role: str, around: Around) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        taken = world.commit_cuts.taken
        world.commit_cuts.asked[role] = around
        reached = await world.until(lambda: world.commit_cuts.taken > taken, 5)
        world.commit_cuts.asked.pop(role, None)
        yield "cut" if reached else "no commit came"

    return happen


# -- Asterisk ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def kill_node(world: World, rng: random.Random) -> AsyncIterator[str]:
    """kill -9 of the node's Asterisk with all its calls."""
    said = _signal(world.node_processes(), signal.SIGKILL)
    await world.hang_up_carrier()
    try:
        yield said
    finally:
        await world.start_node()


@asynccontextmanager
async def stop_node(world: World, rng: random.Random) -> AsyncIterator[str]:
    """The node's Asterisk stands still for a moment."""
    found = world.node_processes()
    try:
        yield _signal(found, signal.SIGSTOP)
    finally:
        _signal(found, signal.SIGCONT)


@asynccontextmanager
async def power_cut(world: World, rng: random.Random) -> AsyncIterator[str]:
    """Everything of ours dies at once."""
    pids = world.postgres_processes()
    dying = [*world.engines(), *world.worker_parents(), *world.workers(), *world.node_processes()]
    _signal_pids(pids[:1], signal.SIGKILL)
    _signal(dying, signal.SIGKILL)
    await world.hang_up_carrier()
    try:
        yield f"{len(dying)} processes and PostgreSQL"
    finally:
        await world.start_postgres()
        await world.start_node()


# -- links ------------------------------------------------------------------------------------------------------------


def _link(proxy_of: Callable[[World], Proxy], role: str, mode: Mode) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        proxy = proxy_of(world)
        links = len(proxy.links(role))
        await proxy.set_mode(role, mode)
        try:
            yield f"{links} links"
        finally:
            await proxy.set_mode(role, Mode.OPEN)

    return happen


def _cut(proxy_of: Callable[[World], Proxy], role: str, *, fin: bool = False) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        links = proxy_of(world).links(role)
        for link in links:
            if fin:
                link.end()
            else:
                link.cut()
        yield f"{len(links)} links"

    return happen


def _dirt(dirt: Dirt) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        world.spoiler.dirt = dirt
        try:
            yield dirt.value
        finally:
            world.spoiler.dirt = None

    return happen


# -- disks and clocks -------------------------------------------------------------------------------------------------


def _full(*names: str) -> Injection:
    @asynccontextmanager
    async def happen(world: World, rng: random.Random) -> AsyncIterator[str]:
        directories = [world.disks[name] for name in names]
        for directory in directories:
            await asyncio.to_thread(fill, directory)
        try:
            yield ", ".join(names)
        finally:
            for directory in directories:
                free(directory)
            if "postgres" in names:
                await world.start_postgres()

    return happen


@asynccontextmanager
async def clock_jump(world: World, rng: random.Random) -> AsyncIterator[str]:
    """The engines' wall clock jumps, and back again."""
    offset = rng.choice((-3600, 3600, 86400, -90, 90))
    world.clock_file.write_text(f"{offset:+d}\n", encoding="ascii")
    try:
        yield f"{offset:+d} s"
    finally:
        world.clock_file.write_text("+0\n", encoding="ascii")


def _ami(world: World) -> Proxy:
    return world.ami


def _database(world: World) -> Proxy:
    return world.database


def _engine_file(world: World) -> Path:
    return world.engine_fault


def _worker_file(world: World) -> Path:
    return world.worker_fault


FAULTS: tuple[Fault, ...] = (
    Fault(name="kill_engine", happen=_kill(World.engines), weight=4),
    Fault(name="kill_engine_at", happen=_at_point(_engine_file, ENGINE_POINTS, "crash"), weight=8),
    Fault(name="stop_engine", happen=_freeze(World.engines), weight=3, hold_s=(2, 25)),
    Fault(name="stop_engine_at", happen=_at_point(_engine_file, ENGINE_POINTS, "stop"), weight=4, hold_s=(2, 20)),
    Fault(name="kill_engines", happen=_kill(World.engines, every=True), weight=2),
    Fault(name="second_run", happen=second_run, weight=2, hold_s=(2, 8)),
    Fault(name="kill_worker", happen=_kill(World.workers), weight=5, harms=WORKERS),
    Fault(name="kill_worker_at", happen=_at_point(_worker_file, WORKER_POINTS, "crash"), weight=6, harms=WORKERS),
    Fault(name="stop_worker", happen=_freeze(World.workers), weight=3, hold_s=(1, 6), harms=WORKERS),
    Fault(name="stop_worker_at", happen=_at_point(_worker_file, WORKER_POINTS, "stop"), hold_s=(1, 6), harms=WORKERS),
    Fault(name="kill_worker_parent", happen=_kill(World.worker_parents), hold_s=(1, 3), harms=WORKERS),
    Fault(name="kill_workers", happen=_kill(World.workers, every=True), hold_s=(1, 3), harms=WORKERS),
    Fault(name="kill_postgres", happen=kill_postgres, weight=4, hold_s=(0, 12)),
    Fault(name="stop_postgres", happen=stop_postgres, weight=3, hold_s=(1, 12)),
    Fault(name="kill_node", happen=kill_node, weight=3, hold_s=(0, 5), harms=CALLS),
    Fault(name="stop_node", happen=stop_node, weight=2, hold_s=(1, 4), harms=NODE),
    Fault(name="power_cut", happen=power_cut, weight=1, hold_s=(1, 3), harms=CALLS | WORKERS),
    Fault(name="ami_cut", happen=_cut(_ami, "client"), weight=4),
    Fault(name="ami_fin", happen=_cut(_ami, "client", fin=True)),
    Fault(name="ami_half_open", happen=_link(_ami, "client", Mode.HALF_OPEN), weight=3, hold_s=(2, 20)),
    Fault(name="ami_stall_up", happen=_link(_ami, "client", Mode.STALL_UP), hold_s=(1, 12)),
    Fault(name="ami_stall_down", happen=_link(_ami, "client", Mode.STALL_DOWN), hold_s=(1, 12)),
    Fault(name="ami_garbage", happen=_dirt(Dirt.GARBAGE), hold_s=(2, 8)),
    Fault(name="ami_doubled", happen=_dirt(Dirt.DOUBLED), hold_s=(2, 8)),
    Fault(name="ami_reordered", happen=_dirt(Dirt.REORDERED), hold_s=(2, 8)),
    Fault(name="ami_long_line", happen=_dirt(Dirt.LONG_LINE), weight=1, hold_s=(1, 4)),
    Fault(name="engine_db_cut", happen=_cut(_database, "engine"), weight=3),
    Fault(name="engine_db_half_open", happen=_link(_database, "engine", Mode.HALF_OPEN), hold_s=(2, 15)),
    Fault(name="engine_db_stall_down", happen=_link(_database, "engine", Mode.STALL_DOWN), hold_s=(1, 12)),
    Fault(name="worker_db_cut", happen=_cut(_database, "worker"), weight=3),
    Fault(name="worker_db_half_open", happen=_link(_database, "worker", Mode.HALF_OPEN), hold_s=(2, 15)),
    Fault(name="worker_db_stall_down", happen=_link(_database, "worker", Mode.STALL_DOWN), hold_s=(1, 12)),
    Fault(name="engine_commit_lost", happen=_cut_commit("engine", Around.AFTER), weight=5),
    Fault(name="engine_commit_unsent", happen=_cut_commit("engine", Around.BEFORE), weight=3),
    Fault(name="worker_commit_lost", happen=_cut_commit("worker", Around.AFTER), weight=4),
    Fault(name="worker_commit_unsent", happen=_cut_commit("worker", Around.BEFORE), weight=3),
    Fault(name="full_postgres", happen=_full("postgres"), hold_s=(2, 8), needs_disks=True),
    Fault(name="full_state", happen=_full("journal", "spool"), hold_s=(2, 8), needs_disks=True),
    Fault(name="full_cel", happen=_full("cel"), hold_s=(2, 8), needs_disks=True, harms=CEL),
    Fault(name="clock_jump", happen=clock_jump, weight=3, hold_s=(2, 8)),
)
