"""Every name that Python, the dialplan and AMI share: channel variables, contexts, routes, users, ids."""

from __future__ import annotations

import re
from uuid import UUID

# Channel variables
ATTEMPT_VARIABLE = "DIALER_ATTEMPT"
"""`<attempt uuid>.<mac>`: the only thing of ours that crosses AMI."""
DONE_VARIABLE = "DIALER_DONE"
"""Set to 1 by the script as its last act, when the person has heard all that we have to say, be it an apology.

AGISTATUS says SUCCESS even when a script died (res_agi.c, run_agi)."""
BOOT_VARIABLE = "DIALER_BOOT"
"""A global variable: which start of the Asterisk process this is. Whoever finds it empty writes a fresh UUID there."""

# Files below the prompts directory
APOLOGY_FILE = "apology"
"""With a codec's ending: what the dialplan plays by itself when no worker says anything; in English."""
PERSONAL_FOLDER = "personal"
"""Sounds that hold contact data; removed after a day."""

# Dialplan contexts of a node
FLOW_CONTEXT = "dialer-flow"
"""Where an answered call enters; its only extension is `s`."""
DEAD_END_CONTEXT = "dialer-dead-end"
"""Where inbound INVITEs, transfers and redirects (302) end: it has no way out, which stops toll fraud."""

# FastAGI
AGI_FLOW_ROUTE = "flow"
AGI_HANDSHAKE_ROUTE = "dialer-handshake"

# AMI
AMI_USER = "dialer"
"""The one originator of a node (`allowmultiplelogin=no`)."""
AMI_WATCH_USER = "dialer-watch"
"""Reads only; may log in beside the originator."""

_UUID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_CHANNEL_ID = re.compile(f"d-{_UUID}")
_MARK_ID = re.compile(f"m-{_UUID}")


def channel_id(attempt_id: UUID) -> str:
    """The ChannelId and ActionID of an attempt: `d-` and its UUID."""
    return f"d-{attempt_id}"


def attempt_of(channel_id: str) -> UUID | None:
    """The attempt behind a ChannelId or ActionID; None when it is not one of ours."""
    match = _CHANNEL_ID.fullmatch(channel_id)
    return UUID(match[1]) if match else None


def mark_id(mark: UUID) -> str:
    """The ChannelId and ActionID of a mark, which calls nobody: `m-` and its UUID."""
    return f"m-{mark}"


def mark_of(channel_id: str) -> UUID | None:
    """The mark behind a ChannelId; None when it is not one of ours."""
    match = _MARK_ID.fullmatch(channel_id)
    return UUID(match[1]) if match else None
