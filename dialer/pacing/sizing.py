"""What a number of calls an hour needs of nodes, settings and machines, and what given settings carry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import BaseModel

from dialer.campaign.capacity import Capacity
from dialer.pacing import erlang
from dialer.settings import AgiSettings, NodeSettings, Settings, TrunkSettings

# -- measured on 2 cores that also carried the far end (docs/benchmarks.md, docs/capacity.md) --------------------------

CORE_CALLS_PER_S = 53.0
"""Short keypad calls a second and core (client_cpu: 107 on 2 cores, 73 % busy, first audio within 120 ms at p99)."""
CORE_CALLS = 450
"""Calls at once and core (900 on 2 cores; with more, keys were lost)."""
WORKER_CPU_S = 0.0014
"""CPU of the workers an answered call (client_cpu)."""
DATABASE_BYTES = 4700
"""What a call of one question leaves in the database, indexes and events with it."""
WAL_BYTES = 8800
"""And in its write-ahead log, page images after a checkpoint not counted."""
HOST_BYTES = 3700
"""And in journal and node's record, kept for 14 days."""

# -- as built ----------------------------------------------------------------------------------------------------------

SETTLE_S = 0.5
"""A slot is free this long after the hangup (storage.attempts)."""
RATE_SPARE = 1.1
"""The limit over the mean rate: a pace without spare never catches up, and the hard bound counts each call for 10.05 s
and what Asterisk takes to make its channel."""
PORTS_A_CALL = 2
CALL_DESCRIPTORS, NODE_DESCRIPTORS = 5, 200
"""Of Asterisk: four a call were seen, a file being played is the fifth; and those of an idle node."""
WORKER_CALLS = 4000
"""Dialogues at once that a worker takes (agi.server)."""
WORKER_BUSY = 0.6
"""Of its core: a fuller one makes people wait for the first word."""
DIALOGUE_DESCRIPTORS, WORKER_DESCRIPTORS = 2, 100
"""A connection and a spool file; and those of an idle worker."""
ENGINE_CONNECTIONS, WORKER_CONNECTIONS = 7, 6
"""To PostgreSQL, at most, of each process."""
OTHER_CONNECTIONS = 13
"""Five commands with two each, and the three that PostgreSQL keeps for its superusers."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Calls to be made; `answer_rate` and `most_waiting` are shares from 0 to 1."""

    calls_per_hour: float
    answered_s: float
    answer_rate: float
    ring_s: float
    most_waiting: float

    @property
    def per_second(self) -> float:
        """New calls a second, on average."""
        return self.calls_per_hour / 3600

    @property
    def slot_s(self) -> float:
        """How long a call keeps its slot, on average."""
        return self.ring_s + self.answer_rate * self.answered_s + SETTLE_S

    @property
    def load(self) -> float:
        """Slots taken on average, in erlangs."""
        return erlang.erlangs(self.per_second, self.slot_s)

    def slots(self, part: int = 1) -> int:
        """The slots for one of `part` equal parts of it."""
        return erlang.slots_without_wait(self.load / part, most_waiting=self.most_waiting)

    def rate(self, part: int = 1) -> float:
        """The limit of calls a second for one of `part` equal parts of it, with a tenth to spare."""
        return math.ceil(round(10 * RATE_SPARE * self.per_second / part, 6)) / 10

    def carried_by_slots(self, slots: int) -> float:
        """Calls of this kind an hour that a ceiling of `slots` leaves room for."""
        return 3600 * erlang.load_for(slots, most_waiting=self.most_waiting) / self.slot_s

    def carried_at_rate(self, per_second: float) -> float:
        """Calls an hour under a limit of calls a second."""
        return 3600 * per_second / RATE_SPARE


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """What a demand needs; figures of nodes and workers are for each of them."""

    slots: int
    slots_if_turned_away: int
    rate: float
    campaigns: int
    """The fewest, as a campaign file takes only so much."""
    nodes: int
    node_cores: int
    node_slots: int
    node_rate: float
    rtp_ports: int
    node_descriptors: int
    workers: int
    hosts: int
    """The fewest that have so many workers."""
    worker_descriptors: int
    database_connections: int
    database_mb_per_hour: float
    wal_mb_per_hour: float
    host_mb_per_hour: float


def requirement(demand: Demand, cores: int) -> Requirement:
    """What the demand needs of nodes with `cores` cores each, that share it evenly."""
    nodes = _nodes(demand, cores)
    slots, node_slots = demand.slots(), demand.slots(nodes)
    workers = _workers(demand, slots)
    return Requirement(
        slots=slots,
        slots_if_turned_away=erlang.slots_for(demand.load, most_blocked=demand.most_waiting),
        rate=demand.rate(),
        campaigns=_parts(
            (slots, most(Capacity, "max_concurrent")), (demand.rate(), most(Capacity, "calls_per_second"))
        ),
        nodes=nodes,
        node_cores=math.ceil(max(node_slots / CORE_CALLS, demand.per_second / nodes / CORE_CALLS_PER_S)),
        node_slots=node_slots,
        node_rate=demand.rate(nodes),
        rtp_ports=PORTS_A_CALL * node_slots,
        node_descriptors=CALL_DESCRIPTORS * node_slots + NODE_DESCRIPTORS,
        workers=workers,
        hosts=_parts((workers, most(AgiSettings, "workers"))),
        # Those of one that died come to the others.
        worker_descriptors=DIALOGUE_DESCRIPTORS * min(WORKER_CALLS, slots) + WORKER_DESCRIPTORS,
        database_connections=nodes * ENGINE_CONNECTIONS + workers * WORKER_CONNECTIONS + OTHER_CONNECTIONS,
        database_mb_per_hour=demand.calls_per_hour * DATABASE_BYTES / 1e6,
        wal_mb_per_hour=demand.calls_per_hour * WAL_BYTES / 1e6,
        host_mb_per_hour=demand.calls_per_hour * HOST_BYTES / 1e6,
    )


def most(model: type[BaseModel], key: str) -> float:
    """The largest value that a file may give a key."""
    return next(float(rule.le) for rule in model.model_fields[key].metadata if hasattr(rule, "le"))


def _parts(*needs: tuple[float, float]) -> int:
    """Into how many something must be split, of which each holds at most so much."""
    return max(math.ceil(needed / at_most) for needed, at_most in needs)


def _nodes(demand: Demand, cores: int) -> int:
    defaults = NodeSettings.model_fields
    most_slots: int = min(defaults["max_concurrent"].default, cores * CORE_CALLS)
    most_rate: float = min(defaults["calls_per_second"].default, cores * CORE_CALLS_PER_S)
    nodes = math.ceil(demand.load / most_slots)
    while demand.slots(nodes) > most_slots or demand.rate(nodes) > most_rate:
        nodes += 1
    return nodes


def _workers(demand: Demand, slots: int) -> int:
    """One more than their dialogues need, so that one may die, and enough CPU."""
    busy = demand.per_second * demand.answer_rate * WORKER_CPU_S / WORKER_BUSY
    return max(math.ceil(slots / WORKER_CALLS) + 1, math.ceil(busy))


# -- what settings carry -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One limit of the settings: what it carries of a demand, and what it must be to carry its part of it."""

    node: str | None
    """None: it holds for all nodes together."""
    name: str
    value: float
    calls_per_hour: float
    share_per_hour: float
    needed: float
    most: float | None = None
    """What the settings let it be on one node, or one host; None: it is a sum, or may be left out."""

    @property
    def enough(self) -> bool:
        """Whether it carries its part."""
        return self.calls_per_hour >= self.share_per_hour * (1 - 1e-6)


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What the settings carry of a demand, and by which limits."""

    calls_per_hour: float
    enough: bool
    limits: Sequence[Limit]
    binding: Sequence[Limit]
    """The first to bind: one for all nodes together, or one of each node."""
    too_low: Sequence[Limit]
    """What must be raised; none when it is enough."""


def carried(demand: Demand, settings: Settings) -> Carried:
    """What these settings carry; the nodes that have a trunk share the demand evenly."""
    nodes = [node for node in settings.nodes if any(trunk.node == node.name for trunk in settings.trunks)]
    common = list(_common_limits(demand, settings))
    of_nodes = [list(_node_limits(demand, settings, node, len(nodes))) for node in nodes]
    lowest = [min(limits, key=_calls_per_hour) for limits in of_nodes]
    total, binding = sum(map(_calls_per_hour, lowest)), lowest
    for limit in common:
        if limit.calls_per_hour < total:
            total, binding = limit.calls_per_hour, [limit]
    every = [*common, *(limit for limits in of_nodes for limit in limits)]
    enough = total >= demand.calls_per_hour * (1 - 1e-6)
    return Carried(
        calls_per_hour=total,
        enough=enough,
        limits=every,
        binding=binding,
        too_low=() if enough else [limit for limit in every if not limit.enough],
    )


def _calls_per_hour(limit: Limit) -> float:
    return limit.calls_per_hour


def _common_limits(demand: Demand, settings: Settings) -> Iterator[Limit]:
    if settings.limits.max_concurrent is not None:
        yield _slots(demand, None, "limits.max_concurrent", settings.limits.max_concurrent)
    workers = settings.agi.workers
    # As in a requirement: one of them may die.
    by_calls = demand.carried_by_slots(max(1, workers - 1) * WORKER_CALLS)
    by_cpu = 3600 * workers * WORKER_BUSY / (WORKER_CPU_S * demand.answer_rate)
    yield Limit(
        node=None,
        name="agi.workers",
        value=workers,
        calls_per_hour=min(by_calls, by_cpu),
        share_per_hour=demand.calls_per_hour,
        needed=_workers(demand, demand.slots()),
        most=most(AgiSettings, "workers"),
    )


def _node_limits(demand: Demand, settings: Settings, node: NodeSettings, nodes: int) -> Iterator[Limit]:
    slots = _slots(demand, node.name, "max_concurrent", node.max_concurrent, nodes)
    yield replace(slots, most=most(NodeSettings, "max_concurrent"))
    rate = _rate(demand, node.name, "calls_per_second", node.calls_per_second, nodes)
    yield replace(rate, most=most(NodeSettings, "calls_per_second"))
    ports = _slots(demand, node.name, "RTP ports", node.rtp_end - node.rtp_start + 1, nodes, PORTS_A_CALL)
    yield replace(ports, most=most(NodeSettings, "rtp_end"))
    trunks = [trunk for trunk in settings.trunks if trunk.node == node.name]
    together = ", ".join(trunk.name for trunk in trunks)
    slots_together = _sum(trunks, "max_concurrent")
    if slots_together is not None:
        yield _slots(demand, node.name, f"max_concurrent of {together}", int(slots_together), nodes)
    rate_together = _sum(trunks, "calls_per_second")
    if rate_together is not None:
        yield _rate(demand, node.name, f"calls_per_second of {together}", rate_together, nodes)


def _sum(trunks: Sequence[TrunkSettings], key: str) -> float | None:
    """None when one of them has no limit of its own."""
    values = [getattr(trunk, key) for trunk in trunks]
    return None if None in values else sum(values)


def _slots(demand: Demand, node: str | None, name: str, value: int, part: int = 1, each: int = 1) -> Limit:
    return Limit(
        node=node,
        name=name,
        value=value,
        calls_per_hour=demand.carried_by_slots(value // each),
        share_per_hour=demand.calls_per_hour / part,
        needed=demand.slots(part) * each,
    )


def _rate(demand: Demand, node: str, name: str, value: float, part: int) -> Limit:
    return Limit(
        node=node,
        name=name,
        value=value,
        calls_per_hour=demand.carried_at_rate(value),
        share_per_hour=demand.calls_per_hour / part,
        needed=demand.rate(part),
    )
