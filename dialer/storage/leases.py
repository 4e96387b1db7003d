"""Which process may dial through a node: a lease with an epoch that every write of an engine is checked against.

A process that was frozen past its lease, and whose node another has taken, writes under an epoch that is gone: nothing.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialer.errors import Fenced

LEASE_S = 10.0
"""How long an engine may be silent before another host's takes over; renewed every few seconds."""

_FIND = text("""
select epoch, holder, lease_until > clock_timestamp() as live from engine_lease where node = :node for update
""")
_TAKE = text("""
insert into engine_lease (node, epoch, holder, taken_at, lease_until)
values (:node, 1, :holder, clock_timestamp(), clock_timestamp() + make_interval(secs => :seconds))
on conflict (node) do update set epoch = engine_lease.epoch + 1, holder = excluded.holder,
  taken_at = excluded.taken_at, lease_until = excluded.lease_until
where engine_lease.epoch = :seen
returning epoch, clock_timestamp() as now
""")
_RENEW = text("""
update engine_lease set lease_until = clock_timestamp() + make_interval(secs => :seconds)
where node = :node and epoch = :epoch
returning clock_timestamp()
""")
_RELEASE = text(
    "update engine_lease set lease_until = clock_timestamp() where node = :node and epoch = :epoch and holder = :holder"
)
# Whoever takes the node over waits until what holds this lock has committed, and then sees it.
_HOLD = text("select from engine_lease where node = :node and epoch = :epoch for share")
_LEASES = text("""
select node, epoch, holder, taken_at, lease_until, lease_until > clock_timestamp() as live
from engine_lease order by node
""")


async def take(engine: AsyncEngine, node: str, holder: str) -> tuple[int, datetime] | None:
    """The epoch of a lease that is ours now, and the database's time; None while another engine's is live."""
    async with engine.begin() as connection:
        found = (await connection.execute(_FIND, {"node": node})).first()
        if found is not None and found.live and not is_gone(found.holder):
            return None
        return await _take(connection, node, holder, found.epoch if found is not None else 0)


async def _take(connection: AsyncConnection, node: str, holder: str, seen: int) -> tuple[int, datetime] | None:
    values = {"node": node, "holder": holder, "seconds": LEASE_S, "seen": seen}
    taken = (await connection.execute(_TAKE, values)).first()
    return (taken.epoch, taken.now) if taken is not None else None


async def renew(engine: AsyncEngine, node: str, epoch: int) -> datetime | None:
    """The database's time when the lease is still ours, and so for another LEASE_S; else None."""
    async with engine.begin() as connection:
        renewed = await connection.execute(_RENEW, {"node": node, "epoch": epoch, "seconds": LEASE_S})
        return renewed.scalar_one_or_none()


async def release(engine: AsyncEngine, node: str, epoch: int, holder: str) -> None:
    """Lets the next engine begin at once."""
    async with engine.begin() as connection:
        await connection.execute(_RELEASE, {"node": node, "epoch": epoch, "holder": holder})


async def require(connection: AsyncConnection, node: str, epoch: int) -> None:
    """To be called in the transaction of whatever an engine writes. Raises Fenced."""
    if (await connection.execute(_HOLD, {"node": node, "epoch": epoch})).first() is None:
        raise fenced(node)


def fenced(node: str) -> Fenced:
    """What an engine that lost its node is told."""
    return Fenced(
        f"another engine has taken over {node!r} while this one was away. This one changes nothing any more; its live "
        "calls go on, and the other engine looks after them."
    )


def listed(connection: Connection) -> list[Row[tuple[object, ...]]]:
    """Every node's lease: node, epoch, holder, taken_at, lease_until, live."""
    return list(connection.execute(_LEASES))


def live(connection: Connection) -> set[str]:
    """The nodes that an engine dials through now."""
    return {str(row.node) for row in listed(connection) if row.live and not is_gone(str(row.holder))}


def this_process() -> str:
    """Names this process for as long as its machine runs: `host kernel-boot pid-namespace pid start-time`."""
    return f"{_machine()} {os.getpid()} {_started_at(os.getpid())}"


def is_gone(holder: str) -> bool:
    """Whether a holder is known to be dead: a process of this very machine that runs no more. Else False."""
    machine, pid, started_at = holder.rsplit(" ", 2)
    if machine != _machine():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # another user's, so it lives; its entry may be hidden from us (proc(5), hidepid)
    found = _started_at(int(pid))
    return found is not None and found != started_at


def _machine() -> str:
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    # Two containers of one kernel may share their host's name, but not their process ids.
    return f"{socket.gethostname()} {kernel} {os.readlink('/proc/self/ns/pid')}"


def _started_at(pid: int) -> str | None:
    """When a process began, in ticks since the machine's start (proc(5)); empty for a zombie, None when hidden."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return "" if fields[0] in "ZX" else fields[19]
