"""Where a lab keeps its things: a short private directory that the unprivileged user may enter, and a pointer to it.

The clone may lie where only its owner may go (/root), and a socket's path holds at most 107 bytes, so processes
and their files live below the system's directory for temporary files.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dialer.errors import InvalidInput, LabError
from dialer.node_files import NodeDirectories

DEFAULT_BASE = Path("var")
DEFAULT_NAME = "default"


@dataclass(frozen=True, kw_only=True)
class Places:
    """The paths of one lab."""

    name: str
    home: Path
    """`var/lab/NAME`: the settings file for the user, and the pointer to the runtime directory."""
    runtime: Path

    @property
    def settings_file(self) -> Path:
        return self.home / "dialer.yaml"

    @property
    def pointer(self) -> Path:
        return self.home / "runtime"

    @property
    def postgres(self) -> Path:
        return self.runtime / "pg"

    def asterisk(self, name: str) -> Path:
        """The directory of one Asterisk, `node-1` or `carrier-1`: its config, run, log, spool and state."""
        return self.runtime / name

    @property
    def node(self) -> Path:
        """The directory of the first node."""
        return self.asterisk("node-1")

    @property
    def carrier(self) -> Path:
        """The directory of the first carrier."""
        return self.asterisk("carrier-1")

    @property
    def secrets(self) -> Path:
        """What only the lab's owner may read: the AMI secrets and the MAC key."""
        return self.runtime / "secrets"

    @property
    def state(self) -> Path:
        """The settings' state_dir; the node reads the prompts in it."""
        return self.runtime / "state"

    def captures(self, carrier: str) -> Path:
        """A carrier's SIP packets, one pcap file for each of its starts and each reading of the truth."""
        return self.asterisk(carrier) / "log" / "sip"

    def heard(self, carrier: str) -> Path:
        """What a carrier's subscribers heard and pressed, a JSON object a line."""
        return self.asterisk(carrier) / "log" / "heard.jsonl"


def places(name: str, base: Path = DEFAULT_BASE) -> Places:
    """The paths of the lab of that name below `base`; it need not exist."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name):
        raise InvalidInput(f"{name!r} cannot name a lab: use up to 40 small letters, digits and hyphens.")
    home = base.resolve() / "lab" / name
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    runtime = Path(tempfile.gettempdir()).resolve() / f"dialer-lab-{os.getuid()}-{digest}"
    pointer = home / "runtime"
    if pointer.is_file():
        # It was made under another $TMPDIR, perhaps; but `down` removes it, so it must be a directory of this lab.
        pointed = Path(pointer.read_text(encoding="utf-8").strip())
        if pointed.name != runtime.name:
            raise LabError(f"{pointer} names {pointed}, which is no directory of this lab. Remove {pointer}.")
        runtime = pointed
    return Places(name=name, home=home, runtime=runtime)


def make_private(directory: Path) -> None:
    """Makes the runtime directory, which others may enter and not list; refuses one that is not ours."""
    directory.mkdir(exist_ok=True)
    found = directory.lstat()
    if directory.is_symlink() or found.st_uid != os.getuid():
        raise LabError(f"{directory} belongs to somebody else; remove it, or set TMPDIR to a directory of yours.")
    directory.chmod(0o711)


def asterisk_directories(directory: Path, *, modules: Path, data: Path) -> NodeDirectories:
    """The directories of one Asterisk of the lab."""
    return NodeDirectories(
        config=directory / "config",
        modules=modules,
        data=data,
        state=directory / "state",
        spool=directory / "spool",
        run=directory / "run",
        log=directory / "log",
    )
