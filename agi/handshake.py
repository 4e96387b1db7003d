"""Asks whoever listens on the FastAGI port whether it is our workers, of this version and on this database."""

from __future__ import annotations

import json
import socket
from enum import Enum

from agi.server import SERVICE, database_hash
from dialer import __version__, names
from dialer.settings import Settings

TIMEOUT_S = 2.0


class Listener(Enum):
    """Who is on the port."""

    OK = "ok"
    """Our workers: this version, this database."""
    ABSENT = "absent"
    """Nobody."""
    FOREIGN = "foreign"
    """Another program, another version of dialer, or one that uses another database."""


def check(settings: Settings) -> Listener:
    """Connects to `settings.agi`, says hello, and reads one line of JSON; takes 2 s at most."""
    request = f"agi_network: yes\nagi_network_script: {names.AGI_HANDSHAKE_ROUTE}\n\n"
    try:
        with socket.create_connection((settings.agi.host, settings.agi.port), timeout=TIMEOUT_S) as connection:
            connection.settimeout(TIMEOUT_S)
            connection.sendall(request.encode())
            line = connection.makefile("rb").readline(4096)
    except ConnectionRefusedError:
        return Listener.ABSENT
    except OSError:
        # Something holds the port and does not answer as we do.
        return Listener.FOREIGN
    try:
        said = json.loads(line)
    except ValueError:
        return Listener.FOREIGN
    ours = {"service": SERVICE, "version": __version__, "database": database_hash(settings)}
    return Listener.OK if said == ours else Listener.FOREIGN
