"""What a lab is made of, and the files that say so: its settings, and the configurations of its Asterisks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from dialer import settings as settings_file
from dialer.lab import postgres
from dialer.lab.asterisk_root import AsteriskRoot
from dialer.lab.carrier import ALAW_SILENCE, CarrierPlan, render_carrier
from dialer.lab.places import Places, asterisk_directories
from dialer.lab.subscribers import Subscriber
from dialer.lab.topology import CARRIER_RTP, NODE_RTP, Topology, address, ami_use, sip_use
from dialer.node_files import NodeDirectories, NodeSecrets
from dialer.secret_file import read_secret
from dialer.settings import NodeSettings, Settings

CALLER_IDS = ("+48221230000-+48221239999", "+48122220000-+48122229999", "+48225550100")
"""What the lab's operator owns: the examples' number, and others for tests of caller identities."""
NODE_CALLS = 2500
NODE_RATE = 500
"""More than a lab's machine carries, so that what binds is what a test or a campaign says."""


class NodeRenderer(Protocol):
    """`dialplan.render.render_node`, handed in by cli.py: the lab does not import the dialplan package."""

    def __call__(
        self, settings: Settings, node: NodeSettings, *, directories: NodeDirectories, secrets: NodeSecrets | None
    ) -> dict[str, str]: ...


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """The parts of a lab, whether they run or not."""

    places: Places
    root: AsteriskRoot
    topology: Topology
    ports: dict[str, int]
    """By use (`Topology.port_uses`)."""

    @property
    def settings_file(self) -> Path:
        """What `--settings` and $DIALER_SETTINGS take."""
        return self.places.settings_file

    @property
    def settings(self) -> Settings:
        """The lab's settings, read from its file."""
        return settings_file.load(self.settings_file, {})

    def write_settings(self) -> None:
        """Writes the settings file, before anything runs: the database's URL follows from its directory."""
        nodes = "".join(map(self._node, self.topology.node_names))
        trunks = "".join(
            f"  - {{name: {trunk.name}, node: {trunk.node}, host: {address(trunk.carrier)}, "
            f"port: {self.ports[trunk.name]}, codec: alaw}}\n"
            for trunk in self.topology.trunks
        )
        write(
            self.settings_file,
            f"# Written by `dialer lab up --name {self.places.name}`; `dialer lab down` removes it.\n"
            f"database: {postgres.url(self.places.postgres)}\n"
            f"state_dir: {self.places.state}\n"
            f"mac_key_file: {self.places.secrets / 'mac.key'}\n"
            f"agi: {{host: 127.0.0.1, port: {self.ports['agi']}, workers: 2}}\n"
            f"caller_ids: {json.dumps(CALLER_IDS)}\n"
            f"nodes:\n{nodes}"
            f"trunks:\n{trunks}",
        )

    def write_node(self, name: str, render: NodeRenderer) -> None:
        """Writes the configuration of a node, as the settings say it."""
        settings, directory = self.settings, self.places.asterisk(name)
        files = render(
            settings,
            settings.node(name),
            directories=asterisk_directories(directory, modules=self.root.modules, data=self.root.data),
            secrets=NodeSecrets(
                dialer=read_secret(self.places.secrets / "ami-dialer"),
                watch=read_secret(self.places.secrets / "ami-dialer-watch"),
            ),
        )
        _write_config(directory / "config", files)

    def write_carrier(self, name: str, subscribers: list[Subscriber], audio_sample: float) -> None:
        """Writes the configuration of a carrier. Every carrier has all subscribers."""
        directory = self.places.asterisk(name)
        silence = directory / "silence"
        silence.with_suffix(".alaw").write_bytes(ALAW_SILENCE * 8000)
        plan = CarrierPlan(
            directories=asterisk_directories(directory, modules=self.root.modules, data=self.root.data),
            address=address(name),
            trunks={trunk: self.ports[trunk] for trunk in self.topology.trunks_of_carrier(name)},
            subscribers=subscribers,
            audio_sample=audio_sample,
            # A new file at each start: Asterisk truncates the one that it opens.
            capture=self.places.captures(name) / f"{uuid4()}.pcap",
            heard=self.places.heard(name),
            silence=silence,
            rtp_start=CARRIER_RTP[0],
            rtp_end=CARRIER_RTP[1],
        )
        _write_config(directory / "config", render_carrier(plan))

    def _node(self, name: str) -> str:
        directory = self.places.asterisk(name)
        console = json.dumps(self.root.command(directory / "config" / "asterisk.conf", "-rx"))
        secret = self.places.secrets / "ami-dialer"
        return (
            f"  - name: {name}\n"
            f"    ami: {{host: 127.0.0.1, port: {self.ports[ami_use(name)]}, secret_file: {secret}}}\n"
            f"    cel_file: {directory / 'log' / 'cel.jsonl'}\n"
            f"    console: {console}\n"
            f"    sip_address: {address(name)}\n"
            f"    sip_port: {self.ports[sip_use(name)]}\n"
            f"    rtp_start: {NODE_RTP[0]}\n"
            f"    rtp_end: {NODE_RTP[1]}\n"
            f"    max_concurrent: {NODE_CALLS}\n"
            f"    calls_per_second: {NODE_RATE}\n"
        )


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a file whole or not at all, never readable by more than `mode` allows."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    temporary.replace(path)


def _write_config(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        write(directory / name, text, mode=0o600)
        postgres.give_to_lab_user(directory / name)
