"""Reads SIP messages from the capture files that Asterisk's res_pjsip_logger writes (pcap, UDP over IPv4)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = 0xA1B2C3D4
_FILE_HEADER = 24
_PACKET_HEADER = struct.Struct("=IIII")
_ETHERNET = 14
_UDP = 8
_URI = re.compile(r"sips?:(?:([^@;]*)@)?[^:;]+(?::(\d+))?")
_COMPACT = {"i": "call-id", "t": "to", "f": "from"}
"""RFC 3261, section 7.3.3: one-letter header names."""


@dataclass(frozen=True, kw_only=True)
class SipMessage:
    """What the truth needs of one SIP message."""

    at_us: int
    """Microseconds since 1970."""
    outgoing: bool
    """The Asterisk that captured it sent it."""
    method: str
    """Of the request, or of the request that a response answers (CSeq)."""
    status: int | None
    """A response's status code."""
    number: str
    """The user part of the request URI; empty in a response."""
    port: int
    """The port of the request URI; 0 in a response."""
    caller: str
    """The user part of the From header's URI: the identity that the caller shows."""
    call_id: str
    in_dialog: bool
    """Its To header carries a tag."""


def read_capture(path: Path) -> Iterator[SipMessage]:
    """Every SIP message of a capture file; a record that is still being written ends it."""
    data = path.read_bytes()
    if len(data) < _FILE_HEADER or struct.unpack_from("=I", data)[0] != _MAGIC:
        return
    place = _FILE_HEADER
    while place + _PACKET_HEADER.size <= len(data):
        seconds, microseconds, length, _ = _PACKET_HEADER.unpack_from(data, place)
        place += _PACKET_HEADER.size
        packet = data[place : place + length]
        place += length
        if len(packet) < length:
            return
        message = _message(packet, seconds * 1_000_000 + microseconds)
        if message:
            yield message


def _message(packet: bytes, at_us: int) -> SipMessage | None:
    ip = packet[_ETHERNET:]
    if len(ip) < 20 or ip[0] >> 4 != 4:
        return None
    udp = ip[(ip[0] & 0xF) * 4 :]
    if len(udp) < _UDP:
        return None
    # The logger knows no port of its own side (res_pjsip_logger.c writes 0 for it).
    outgoing = udp[:2] == b"\0\0"
    head = udp[_UDP:].partition(b"\r\n\r\n")[0].decode("utf-8", "replace")
    first, *lines = head.split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers.setdefault(_COMPACT.get(name, name), value.strip())
    words = first.split(" ", 2)
    if len(words) < 3 or "call-id" not in headers or "cseq" not in headers:
        return None
    is_response = words[0] == "SIP/2.0"
    uri = _URI.match("" if is_response else words[1])
    return SipMessage(
        at_us=at_us,
        outgoing=outgoing,
        method=headers["cseq"].split()[-1],
        status=int(words[1]) if is_response else None,
        number=(uri[1] or "") if uri else "",
        port=int(uri[2] or 5060) if uri else 0,
        caller=_user(headers.get("from", "")),
        call_id=headers["call-id"],
        in_dialog=";tag=" in headers.get("to", ""),
    )


def _user(header: str) -> str:
    """A name in front may hold anything in quotes, so the URI is the one in angle brackets, if there is one."""
    uri = _URI.match(header.rpartition("<")[2])
    return (uri[1] or "") if uri else ""
