"""Brings a named lab up and takes it down: PostgreSQL, the carrier, the node, and the settings file that joins them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from dialer import settings as settings_file
from dialer.errors import LabError
from dialer.lab import ports, postgres
from dialer.lab.asterisk_root import AsteriskRoot, ensure_root
from dialer.lab.carrier import ALAW_SILENCE, CarrierPlan, render_carrier
from dialer.lab.places import DEFAULT_BASE, DEFAULT_NAME, Places, asterisk_directories, make_private, places
from dialer.lab.process import Instance, end_all, processes_of
from dialer.lab.subscribers import DEFAULT_NUMBERS, Subscriber, load_numbers
from dialer.node_files import NodeDirectories, NodeSecrets
from dialer.settings import NodeSettings, Settings
from dialer.storage.migrate import upgrade
from dialer.storage.session import sync_engine

NODE = "node-1"
TRUNKS = ("carrier-a", "carrier-b")
_USES = ("agi", "ami", "node-sip", *TRUNKS)

# Asterisk looks for a free pair of ports itself, so labs may share these.
_NODE_RTP = (10000, 19999)
_CARRIER_RTP = (20000, 29999)

Progress = Callable[[str], None]


class NodeRenderer(Protocol):
    """`dialplan.render.render_node`, handed in by cli.py: the lab does not import the dialplan package."""

    def __call__(
        self, settings: Settings, node: NodeSettings, *, directories: NodeDirectories, secrets: NodeSecrets | None
    ) -> dict[str, str]: ...


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab that is up."""

    places: Places
    root: AsteriskRoot
    ports: dict[str, int]

    @property
    def settings_file(self) -> Path:
        """What `--settings` and $DIALER_SETTINGS take."""
        return self.places.settings_file

    @property
    def settings(self) -> Settings:
        """The lab's settings, read from its file."""
        return settings_file.load(self.settings_file, {})

    @property
    def node(self) -> Instance:
        return Instance(name="node", root=self.root, directory=self.places.node)

    @property
    def carrier(self) -> Instance:
        return Instance(name="carrier", root=self.root, directory=self.places.carrier)

    def set_numbers(self, numbers: Path, audio_sample: float = 1.0) -> None:
        """Gives the running carrier another table of numbers; calls in progress keep their behaviour."""
        _write_carrier(self, load_numbers(numbers), audio_sample)
        self.carrier.execute("dialplan reload")


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
    numbers: Path = DEFAULT_NUMBERS,
    audio_sample: float = 1.0,
    base: Path = DEFAULT_BASE,
    progress: Progress = lambda line: None,
) -> Lab:
    """Brings the lab up, or what is missing of it; returns when calls can be placed.

    `audio_sample` is the share of calls whose first audio the carrier listens for. Raises LabError, InvalidInput.
    """
    subscribers = load_numbers(numbers)
    root = ensure_root(progress)
    where = places(name, base)
    with ports.machine_lock():
        fresh = not (where.runtime / ports.PLAN).is_file()
        try:
            lab = Lab(places=where, root=root, ports=_prepare(where))
            _start(lab, render_node, subscribers, audio_sample)
        except BaseException:
            # Also Ctrl-C: what did not come up whole leaves nothing behind; what ran before stays.
            if fresh:
                _clear(where)
            raise
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
    plan = where.runtime / ports.PLAN
    asterisks = {part: any("-F" in arguments for _, arguments in processes_of(directory))
                 for part, directory in (("carrier", where.carrier), ("node", where.node))}  # fmt: skip
    return Status(
        name=name,
        exists=plan.is_file(),
        settings_file=str(where.settings_file),
        running={"postgresql": postgres.is_running(where.postgres), **asterisks},
        ports=json.loads(plan.read_text(encoding="utf-8")) if plan.is_file() else {},
    )


def find(name: str = DEFAULT_NAME, *, base: Path = DEFAULT_BASE) -> Lab:
    """The lab of that name, which must have been brought up. Raises LabError."""
    where = places(name, base)
    plan = where.runtime / ports.PLAN
    if not plan.is_file():
        raise LabError(f"there is no lab {name!r} below {base}/lab. Bring it up with `dialer lab up --name {name}`.")
    root = ensure_root(lambda line: None)
    return Lab(places=where, root=root, ports=json.loads(plan.read_text(encoding="utf-8")))


@contextmanager
def running(
    name: str, *, render_node: NodeRenderer, base: Path, numbers: Path = DEFAULT_NUMBERS, audio_sample: float = 1.0
) -> Iterator[Lab]:
    """A lab for the length of a with-block, for tests and benchmarks."""
    try:
        yield up(name, render_node=render_node, numbers=numbers, audio_sample=audio_sample, base=base)
    finally:
        down(name, base=base)


def _prepare(where: Places) -> dict[str, int]:
    """Directories, secrets and ports of the lab; what is there already is kept."""
    where.home.mkdir(parents=True, exist_ok=True)
    _write(where.pointer, f"{where.runtime}\n")
    make_private(where.runtime)
    plan = where.runtime / ports.PLAN
    if not plan.is_file():
        _write(plan, json.dumps(ports.choose(_USES)), mode=0o644)
    for directory in (where.secrets, where.state, where.state / "prompts"):
        directory.mkdir(exist_ok=True)
    where.secrets.chmod(0o700)
    for directory in (where.state, where.state / "prompts"):
        directory.chmod(0o755)
    for secret in ("ami-dialer", "ami-dialer-watch", "mac.key"):
        if not (where.secrets / secret).exists():
            _write(where.secrets / secret, secrets.token_hex(32) + "\n", mode=0o600)
    for instance in (where.node, where.carrier):
        instance.mkdir(exist_ok=True)
        instance.chmod(0o755)
        for part in ("config", "run", "log", "spool", "state", "log/sip"):
            (instance / part).mkdir(exist_ok=True)
            (instance / part).chmod(0o755)
            postgres.give_to_lab_user(instance / part)
    found: dict[str, int] = json.loads(plan.read_text(encoding="utf-8"))
    return found


def _start(lab: Lab, render_node: NodeRenderer, subscribers: list[Subscriber], audio_sample: float) -> None:
    _write_carrier(lab, subscribers, audio_sample)
    if lab.carrier.running():
        lab.carrier.execute("dialplan reload")
    else:
        lab.carrier.start()
    # The database's URL follows from its directory, so the node can boot while PostgreSQL starts.
    _write(lab.settings_file, _settings_text(lab, postgres.url(lab.places.postgres)))
    if not lab.node.running():
        _write_node(lab, render_node)
        lab.node.start()
    postgres.start_cluster(lab.places.postgres)
    engine = sync_engine(lab.settings)
    upgrade(engine)
    engine.dispose()
    lab.carrier.wait_ready()
    lab.node.wait_ready()


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


def _write_node(lab: Lab, render_node: NodeRenderer) -> None:
    settings = lab.settings
    files = render_node(
        settings,
        settings.node(NODE),
        directories=asterisk_directories(lab.places.node, modules=lab.root.modules, data=lab.root.data),
        secrets=NodeSecrets(
            dialer=settings_file.read_secret(lab.places.secrets / "ami-dialer"),
            watch=settings_file.read_secret(lab.places.secrets / "ami-dialer-watch"),
        ),
    )
    _write_config(lab.places.node / "config", files)


def _write_carrier(lab: Lab, subscribers: list[Subscriber], audio_sample: float) -> None:
    where = lab.places
    silence = where.carrier / "silence"
    silence.with_suffix(".alaw").write_bytes(ALAW_SILENCE * 8000)
    plan = CarrierPlan(
        directories=asterisk_directories(where.carrier, modules=lab.root.modules, data=lab.root.data),
        trunks={trunk: lab.ports[trunk] for trunk in TRUNKS},
        subscribers=subscribers,
        audio_sample=audio_sample,
        # A new file at each start: Asterisk truncates the one that it opens.
        capture=where.captures / f"{uuid4()}.pcap",
        heard=where.heard,
        silence=silence,
        rtp_start=_CARRIER_RTP[0],
        rtp_end=_CARRIER_RTP[1],
    )
    _write_config(where.carrier / "config", render_carrier(plan))


def _write_config(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        _write(directory / name, text, mode=0o600)
        postgres.give_to_lab_user(directory / name)


def _settings_text(lab: Lab, database: str) -> str:
    trunks = "".join(
        f"  - {{name: {trunk}, node: {NODE}, host: 127.0.0.1, port: {lab.ports[trunk]}, codec: alaw}}\n"
        for trunk in TRUNKS
    )
    console = json.dumps(lab.root.command(lab.node.config, "-rx"))
    return (
        f"# Written by `dialer lab up --name {lab.places.name}`; `dialer lab down` removes it.\n"
        f"database: {database}\n"
        f"state_dir: {lab.places.state}\n"
        f"mac_key_file: {lab.places.secrets / 'mac.key'}\n"
        f"agi: {{host: 127.0.0.1, port: {lab.ports['agi']}, workers: 2}}\n"
        f"nodes:\n"
        f"  - name: {NODE}\n"
        f"    ami: {{host: 127.0.0.1, port: {lab.ports['ami']}, secret_file: {lab.places.secrets / 'ami-dialer'}}}\n"
        f"    cel_file: {lab.places.node / 'log' / 'cel.jsonl'}\n"
        f"    console: {console}\n"
        f"    sip_address: 127.0.0.1\n"
        f"    sip_port: {lab.ports['node-sip']}\n"
        f"    rtp_start: {_NODE_RTP[0]}\n"
        f"    rtp_end: {_NODE_RTP[1]}\n"
        f"trunks:\n{trunks}"
    )


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file whole or not at all, never readable by more than `mode` allows."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    temporary.replace(path)
