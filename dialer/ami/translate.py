"""AMI messages to call events; the only file that knows AMI's header names."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from dialer import names
from dialer.ami.link import Headers
from dialer.calls.events import Answered, CallEvent, Created, HungUp, Responded, Ringing

_NUMBER = re.compile("[0-9]{1,4}")
"""What int() takes without complaint and a smallint of the database holds."""

_UP, _RINGING = "6", "5"
"""ChannelState of Newstate (channelstate.h)."""


def translate(at: datetime, headers: Headers) -> tuple[UUID, CallEvent] | None:
    """The attempt that a message speaks of and what happened to it; None when it is not about a call of ours.

    An Originate has no calling leg: Dial events name the channel only as Dest (dial.c).
    """
    kind = headers.get("event")
    channel = headers.get("destuniqueid") if kind == "DialState" else headers.get("uniqueid")
    attempt_id = names.attempt_of(str(channel or headers.get("actionid") or ""))
    if attempt_id is None:
        return None
    event = _event(str(kind), at, headers)
    return None if event is None else (attempt_id, event)


def _event(kind: str, at: datetime, headers: Headers) -> CallEvent | None:
    match kind:
        case "Newchannel":
            return Created(at=at)
        case "Newstate":
            return live_state(at, str(headers.get("channelstate")))
        case "DialState" if headers.get("dialstatus") in ("RINGING", "PROGRESS"):
            return Ringing(at=at)
        case "OriginateResponse":
            return Responded(
                at=at, success=headers.get("response") == "Success", reason=_number(headers, "reason") or 0
            )  # fmt: skip
        case "Hangup":
            return HungUp(at=at, cause=_number(headers, "cause") or 0, tech_cause=_number(headers, "techcause"))
    return None


def live_state(at: datetime, channel_state: str) -> CallEvent | None:
    """What a channel's state says: ringing or answered."""
    if channel_state == _UP:
        return Answered(at=at)
    if channel_state == _RINGING:
        return Ringing(at=at)
    return None


def _number(headers: Headers, name: str) -> int | None:
    value = headers.get(name)
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None
