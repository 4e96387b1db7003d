"""Asks whoever listens on the FastAGI port whether it is our workers: this version, and settings that mean the same."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from dataclasses import asdict
from enum import Enum
from typing import Any

from agi.pulse import WorkersLook
from dialer import __version__, names
from dialer.settings import Settings

TIMEOUT_S = 2.0
SERVICE = "dialer-agi"


class Listener(Enum):
    """Who is on the port."""

    OK = "ok"
    """Our workers: this version, the same settings."""
    ABSENT = "absent"
    """Nobody."""
    FOREIGN = "foreign"
    """Another program, another version of dialer, or workers whose settings differ where it matters."""


def identity(settings: Settings) -> dict[str, str]:
    """What workers say of themselves: equal only when they would treat a call in the same way.

    The settings are what a worker takes from them, under the key that signs attempts (HMAC-SHA256, RFC 2104), which is
    thereby compared too; nothing of them can be read out of it.
    """
    said = json.dumps([
        settings.database,
        str(settings.prompts_dir.resolve()),
        [[trunk.name, trunk.codec] for trunk in settings.trunks],
        [[node.name, node.longest_call_s] for node in settings.nodes],
    ])  # fmt: skip
    mac = hmac.new(settings.mac_key(), said.encode(), hashlib.sha256).hexdigest()
    return {"service": SERVICE, "version": __version__, "settings": mac}


def reply(who: dict[str, str], look: WorkersLook) -> bytes:
    """What a worker answers: one line of JSON, its identity and how it fares."""
    return json.dumps({**who, "look": asdict(look)}).encode() + b"\n"


def check(settings: Settings) -> Listener:
    """Who listens at `settings.agi`; takes 2 s at most. Raises InvalidInput when the key cannot be read."""
    return _ask(settings)[0]


def answers(settings: Settings) -> bool:
    """Whether it is our workers who listen. Raises InvalidInput when the key cannot be read."""
    return check(settings) is Listener.OK


def look(settings: Settings) -> WorkersLook | None:
    """How the worker process fares that we happen to meet; None when none of ours answers.

    Raises InvalidInput when the key cannot be read.
    """
    return _ask(settings)[1]


def _ask(settings: Settings) -> tuple[Listener, WorkersLook | None]:
    """Says hello, and reads one line of JSON."""
    request = f"agi_network: yes\nagi_network_script: {names.AGI_HANDSHAKE_ROUTE}\n\n"
    try:
        with socket.create_connection((settings.agi.host, settings.agi.port), timeout=TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(request.encode())
            line = connection.makefile("rb").readline(4096)
    except ConnectionRefusedError:
        return Listener.ABSENT, None
    except OSError:
        # Something holds the port and does not answer as we do.
        return Listener.FOREIGN, None
    try:
        said: dict[str, Any] = json.loads(line)
        seen = WorkersLook(**said.pop("look"))
    except (ValueError, TypeError, AttributeError, KeyError):
        return Listener.FOREIGN, None
    return (Listener.OK, seen) if said == identity(settings) else (Listener.FOREIGN, None)
