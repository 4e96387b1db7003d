"""What a node's Asterisk configuration is rendered from, besides the settings: its directories and its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class NodeDirectories:
    """Where an Asterisk finds and keeps its things; the defaults are those of Debian's package."""

    config: Path = Path("/etc/asterisk")
    modules: Path = Path("/usr/lib/x86_64-linux-gnu/asterisk/modules")
    data: Path = Path("/usr/share/asterisk")
    state: Path = Path("/var/lib/asterisk")
    """Asterisk's own database and keys."""
    spool: Path = Path("/var/spool/asterisk")
    run: Path = Path("/run/asterisk")
    log: Path = Path("/var/log/asterisk")
    """Also holds `cel.jsonl`, the witness of calls."""


@dataclass(frozen=True, kw_only=True, repr=False)
class NodeSecrets:
    """The passwords of the node's two manager users; they never stand in a printed or logged text."""

    dialer: str
    watch: str
