"""Brings a named lab up and takes it down: PostgreSQL, carriers, nodes, and the settings file that joins them."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dialer.errors import InvalidInput, LabError
from dialer.lab import ports, postgres, trouble
from dialer.lab.asterisk_root import ensure_root
from dialer.lab.blueprint import Blueprint, NodeRenderer, write
from dialer.lab.places import DEFAULT_BASE, DEFAULT_NAME, Places, make_private, places
from dialer.lab.process import Instance, end_all, processes_of
from dialer.lab.subscribers import DEFAULT_NUMBERS, Subscriber, load_numbers
from dialer.lab.topology import CARRIER_RTP, Topology
from dialer.storage.migrate import upgrade
from dialer.storage.session import sync_engine

Progress = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Lab(Blueprint):
    """A lab that is up."""

    @property
    def nodes(self) -> list[Instance]:
        return [self._instance(name) for name in self.topology.node_names]

    @property
    def node(self) -> Instance:
        """The first node."""
        return self.nodes[0]

    @property
    def carriers(self) -> list[Instance]:
        return [self._instance(name) for name in self.topology.carrier_names]

    @property
    def carrier(self) -> Instance:
        """The first carrier."""
        return self.carriers[0]

    def set_numbers(self, numbers: Path, audio_sample: float = 1.0) -> None:
        """Gives the running carriers another table of numbers; calls in progress keep their behaviour."""
        subscribers = load_numbers(numbers)
        for carrier in self.carriers:
            self.write_carrier(carrier.name, subscribers, audio_sample)
            carrier.execute("dialplan reload")

    def storm(self, trunk: str, code: int | str | None) -> None:
        """Has the carrier refuse every new INVITE on a trunk with a SIP status, ignore them (`silent`), or stop that
        (None). Raises InvalidInput, LabError.
        """
        found = next((one for one in self.topology.trunks if one.name == trunk), None)
        if found is None:
            known = ", ".join(one.name for one in self.topology.trunks)
            raise InvalidInput(f"the lab {self.places.name!r} has no trunk {trunk!r}; it has: {known}.")
        trouble.storm(self._instance(found.carrier), trunk, code)

    def slow(self, node: str = "node-1", *, share: float = 0.8) -> AbstractContextManager[None]:
        """Takes a share of its time from a node while a with-block runs (`trouble.slowed`)."""
        if node not in self.topology.node_names:
            raise InvalidInput(f"the lab has no node {node!r}; it has: {', '.join(self.topology.node_names)}.")
        return trouble.slowed(self._instance(node), share=share)

    def _instance(self, name: str) -> Instance:
        return Instance(name=name, root=self.root, directory=self.places.asterisk(name))


@dataclass(frozen=True, kw_only=True)
class Status:
    """Which parts of a lab run."""

    name: str
    exists: bool
    settings_file: str
    running: dict[str, bool]
    ports: dict[str, int]

    @property
    def up(self) -> bool:
        return self.exists and all(self.running.values())


def up(
    name: str = DEFAULT_NAME,
    *,
    render_node: NodeRenderer,
    nodes: int | None = None,
    carriers: int | None = None,
    numbers: Path = DEFAULT_NUMBERS,
    audio_sample: float = 1.0,
    base: Path = DEFAULT_BASE,
    progress: Progress = lambda line: None,
) -> Lab:
    """Brings the lab up, or what is missing of it; returns when calls can be placed.

    `nodes` and `carriers`: how many; None is as many as the lab has, for a new one 1. `audio_sample` is the share of
    calls whose first audio the carriers listen for. Raises LabError, InvalidInput.
    """
    subscribers = load_numbers(numbers)
    where = places(name, base)
    with ports.machine_lock():
        fresh = not _plan_file(where).is_file()
        topology = _topology(where, nodes, carriers)
        root = ensure_root(progress)
        try:
            lab = Lab(places=where, root=root, topology=topology, ports=_prepare(where, topology))
            _start(lab, render_node, subscribers, audio_sample)
        except BaseException:
            # Also Ctrl-C: what did not come up whole leaves nothing behind; what ran before stays.
            if fresh:
                _clear(where)
            raise
    if (first := ports.first_outgoing()) <= CARRIER_RTP[1]:
        progress(f"this machine gives outgoing connections ports from {first}: they take some of the lab's audio ports")
    progress(f"lab {name!r} is up; use it with: --settings {where.settings_file}")
    return lab


def down(name: str = DEFAULT_NAME, *, base: Path = DEFAULT_BASE) -> bool:
    """Ends every process of the lab and removes its files; False when there was nothing. Works after any crash."""
    where = places(name, base)
    with ports.machine_lock():
        there = where.runtime.exists() or where.home.exists() or bool(processes_of(where.runtime))
        _clear(where)
    return there


def status(name: str = DEFAULT_NAME, *, base: Path = DEFAULT_BASE) -> Status:
    """What of the lab runs."""
    where = places(name, base)
    plan = _plan(where)
    topology, chosen = plan or (Topology(), {})
    asterisks = {
        part: any("-F" in arguments for _, arguments in processes_of(where.asterisk(part)))
        for part in (*topology.carrier_names, *topology.node_names)
    }
    return Status(
        name=name,
        exists=plan is not None,
        settings_file=str(where.settings_file),
        running={"postgresql": postgres.is_running(where.postgres), **asterisks},
        ports=chosen,
    )


def find(name: str = DEFAULT_NAME, *, base: Path = DEFAULT_BASE) -> Lab:
    """The lab of that name, which must have been brought up. Raises LabError."""
    where = places(name, base)
    plan = _plan(where)
    if plan is None:
        raise LabError(f"there is no lab {name!r} below {base}/lab. Bring it up with `dialer lab up --name {name}`.")
    return Lab(places=where, root=ensure_root(lambda line: None), topology=plan[0], ports=plan[1])


@contextmanager
def running(
    name: str,
    *,
    render_node: NodeRenderer,
    base: Path,
    nodes: int = 1,
    carriers: int = 1,
    numbers: Path = DEFAULT_NUMBERS,
    audio_sample: float = 1.0,
) -> Iterator[Lab]:
    """A lab for the length of a with-block, for tests and benchmarks."""
    try:
        yield up(
            name, render_node=render_node, nodes=nodes, carriers=carriers,
            numbers=numbers, audio_sample=audio_sample, base=base,
        )  # fmt: skip
    finally:
        down(name, base=base)


def _plan_file(where: Places) -> Path:
    return where.runtime / ports.PLAN


def _plan(where: Places) -> tuple[Topology, dict[str, int]] | None:
    """What the lab has and which ports it took; None when it was not brought up."""
    if not _plan_file(where).is_file():
        return None
    plan = json.loads(_plan_file(where).read_text(encoding="utf-8"))
    return Topology(nodes=plan["nodes"], carriers=plan["carriers"]), plan["ports"]


def _topology(where: Places, nodes: int | None, carriers: int | None) -> Topology:
    there = _plan(where)
    if there is None:
        return Topology(nodes=nodes or 1, carriers=carriers or 1)
    found, _ = there
    if (nodes or found.nodes, carriers or found.carriers) != (found.nodes, found.carriers):
        raise LabError(
            f"the lab {where.name!r} has {found.nodes} node(s) and {found.carriers} carrier(s); take it down first: "
            f"`dialer lab down --name {where.name}`."
        )
    return found


def _prepare(where: Places, topology: Topology) -> dict[str, int]:
    """Directories, secrets and ports of the lab; what is there already is kept."""
    where.home.mkdir(parents=True, exist_ok=True)
    write(where.pointer, f"{where.runtime}\n")
    make_private(where.runtime)
    if not _plan_file(where).is_file():
        plan = asdict(topology) | {"ports": ports.choose(topology.port_uses)}
        write(_plan_file(where), json.dumps(plan), mode=0o644)
    for directory in (where.secrets, where.state, where.state / "prompts"):
        directory.mkdir(exist_ok=True)
    where.secrets.chmod(0o700)
    for directory in (where.state, where.state / "prompts"):
        directory.chmod(0o755)
    for secret in ("ami-dialer", "ami-dialer-watch", "mac.key"):
        if not (where.secrets / secret).exists():
            write(where.secrets / secret, secrets.token_hex(32) + "\n", mode=0o600)
    for instance in map(where.asterisk, (*topology.node_names, *topology.carrier_names)):
        instance.mkdir(exist_ok=True)
        instance.chmod(0o755)
        for part in ("config", "run", "log", "spool", "state", "log/sip"):
            (instance / part).mkdir(exist_ok=True)
            (instance / part).chmod(0o755)
            postgres.give_to_lab_user(instance / part)
    found: dict[str, int] = json.loads(_plan_file(where).read_text(encoding="utf-8"))["ports"]
    return found


def _start(lab: Lab, render_node: NodeRenderer, subscribers: list[Subscriber], audio_sample: float) -> None:
    for carrier in lab.carriers:
        lab.write_carrier(carrier.name, subscribers, audio_sample)
        if carrier.running():
            carrier.execute("dialplan reload")
        else:
            carrier.start()
    # Before the database, so that the nodes boot while PostgreSQL starts.
    lab.write_settings()
    for node in lab.nodes:
        if not node.running():
            lab.write_node(node.name, render_node)
            node.start()
    postgres.start_cluster(lab.places.postgres)
    engine = sync_engine(lab.settings)
    upgrade(engine)
    engine.dispose()
    for instance in (*lab.carriers, *lab.nodes):
        instance.wait_ready()


def _clear(where: Places) -> None:
    with suppress(LabError):  # the end of every process, by force if it must be, comes next
        postgres.stop_cluster(where.postgres)
    # FastAGI workers of a run that was killed have nobody left to serve; they name the lab by its settings file.
    end_all(where.settings_file)
    end_all(where.runtime)
    shutil.rmtree(where.runtime, ignore_errors=True)
    shutil.rmtree(where.home, ignore_errors=True)
    for parent in (where.home.parent, where.home.parent.parent):
        with suppress(OSError):
            parent.rmdir()
    if where.runtime.exists() or where.home.exists():
        raise LabError(f"cannot remove {where.runtime} or {where.home}; check their owner.")
