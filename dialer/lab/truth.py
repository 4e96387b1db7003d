"""The carriers' own record of every call, from what they sent, received and heard: the judge of tests and benchmarks.

SIP comes from the carrier's packet capture, so INVITEs refused before any dialplan are in it; keys and first audio
come from events that its dialplan writes. Nothing of the engine or the node is read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import IO
from uuid import uuid4

from dialer.clock import from_epoch
from dialer.lab.sip_capture import SipMessage, read_capture
from dialer.lab.up import Lab

RINGS = (180, 183)
"""What says that the subscriber's telephone was reached: ringing, or sound before an answer."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key that the subscriber pressed, when its tone began."""

    key: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class TruthRow:
    """One call as the carrier saw it; None is what has not happened (yet)."""

    call_id: str
    number: str
    trunk: str
    invited_at: datetime
    final_code: int | None
    answered_at: datetime | None
    first_audio_at: datetime | None
    """The first 20 ms that were not silence; None also when the call was not in the audio sample."""
    keys: tuple[Key, ...]
    ended_at: datetime | None
    ended_by: str | None
    """`caller` or `callee`: who sent the BYE, the CANCEL, or the refusal."""
    caller: str
    """The identity that the caller showed, as it was written."""
    ringing_at: datetime | None = None
    """The first 180 or 183."""


def read_truth(lab: Lab) -> list[TruthRow]:
    """Every call since the lab came up, in the order of their INVITEs; also while calls are running."""
    messages: list[SipMessage] = []
    notes: list[str] = []
    for carrier in lab.carriers:
        captures, heard = lab.places.captures(carrier.name), lab.places.heard(carrier.name)
        if carrier.running():
            # Asterisk buffers what it writes; closing the file is what flushes it, and opening the next one closes it.
            # The verbs change the file under a lock, so no packet falls between two files.
            carrier.execute(f"pjsip set logger pcap {captures / f'{uuid4()}.pcap'}")
        messages += (message for path in captures.glob("*.pcap") for message in read_capture(path))
        notes += heard.read_text(encoding="utf-8").splitlines() if heard.exists() else []
    trunks = {lab.ports[trunk.name]: trunk.name for trunk in lab.topology.trunks}
    return truth_of(sorted(messages, key=lambda message: message.at_us), notes, trunks)


def truth_of(messages: Iterable[SipMessage], notes: Iterable[str], trunks: dict[int, str]) -> list[TruthRow]:
    """Joins SIP messages in the order of time with the dialplan's notes (JSON lines), by Call-ID.

    `trunks` names the carrier's ports, which stand in the INVITEs' request URIs.
    """
    calls: dict[str, _Call] = {}
    for message in messages:
        if _is_first_invite(message, calls):
            trunk = trunks.get(message.port, "")
            calls[message.call_id] = _Call(message.call_id, message.number, trunk, message.caller, _at(message))
        elif call := calls.get(message.call_id):
            call.take(message)
    for line in notes:
        _note(line, calls)
    return [call.row() for call in calls.values()]


def write_truth_csv(rows: Sequence[TruthRow], file: IO[str]) -> None:
    """RFC 4180; times are ISO 8601 in UTC with microseconds, keys `5@time;…`."""
    writer = csv.writer(file)
    writer.writerow([column.name for column in fields(TruthRow)])
    for row in rows:
        writer.writerow([_cell(getattr(row, column.name)) for column in fields(TruthRow)])


@dataclass
class _Call:
    call_id: str
    number: str
    trunk: str
    caller: str
    invited_at: datetime
    ringing_at: datetime | None = None
    final_code: int | None = None
    answered_at: datetime | None = None
    first_audio_at: datetime | None = None
    keys: list[Key] = field(default_factory=list)
    cancelled: bool = False
    ended_at: datetime | None = None
    ended_by: str | None = None

    def take(self, message: SipMessage) -> None:
        """One more message of the call; what is known already was a retransmission's original."""
        if message.status is not None:
            if message.method != "INVITE" or self.final_code is not None:
                return
            if message.status >= 200:
                self._final(message.status, _at(message))
            elif message.status in RINGS:
                self.ringing_at = self.ringing_at or _at(message)
        elif message.method == "CANCEL":
            self.cancelled = True
        elif message.method == "BYE" and self.ended_at is None:
            self.ended_at, self.ended_by = _at(message), "callee" if message.outgoing else "caller"

    def _final(self, status: int, at: datetime) -> None:
        self.final_code = status
        if status < 300:
            self.answered_at = at
        else:
            self.ended_at, self.ended_by = at, "caller" if self.cancelled else "callee"

    def row(self) -> TruthRow:
        return TruthRow(
            call_id=self.call_id, number=self.number, trunk=self.trunk, invited_at=self.invited_at,
            final_code=self.final_code, answered_at=self.answered_at, first_audio_at=self.first_audio_at,
            keys=tuple(self.keys), ended_at=self.ended_at, ended_by=self.ended_by, caller=self.caller,
            ringing_at=self.ringing_at,
        )  # fmt: skip


def _is_first_invite(message: SipMessage, calls: dict[str, _Call]) -> bool:
    is_invite = message.method == "INVITE" and message.status is None and not message.in_dialog
    return is_invite and message.call_id not in calls


def _note(line: str, calls: dict[str, _Call]) -> None:
    try:
        note = json.loads(line)
    except ValueError:
        return  # the last line is still being written
    # CELGenUserEvent's text stands in an object of its own (cel.c, ast_cel_publish_user_event).
    call_id, _, key = json.loads(note["eventextra"])["extra"].partition(" ")
    call = calls.get(call_id)
    if call is None:
        return
    at = _epoch(str(note["eventtime"]))
    if note["eventtype"] == "key":
        call.keys.append(Key(key=key, at=at))
    elif call.first_audio_at is None:
        call.first_audio_at = at


def _at(message: SipMessage) -> datetime:
    return from_epoch(0) + timedelta(microseconds=message.at_us)


def _epoch(text: str) -> datetime:
    seconds, _, microseconds = text.partition(".")
    return from_epoch(0) + timedelta(seconds=int(seconds), microseconds=int(microseconds or 0))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, tuple):
        return ";".join(f"{key.key}@{_cell(key.at)}" for key in value)
    return str(value)
