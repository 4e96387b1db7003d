"""The truth's rules, as SIP messages and what they come to; and the capture file's format."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import pytest

from dialer.lab.sip_capture import SipMessage, read_capture
from dialer.lab.truth import TruthRow, truth_of, write_truth_csv

TRUNKS = {7001: "carrier-a", 7002: "carrier-b"}

# A line is: milliseconds, who sent it, message. The carrier is the callee.
CALLS = {
    "answered, the caller hangs up": (
        "0 caller INVITE | 1 callee 100 | 5 callee 200 | 6 caller ACK | 900 caller BYE | 901 callee 200-BYE",
        "200 answered=5 ended=900 by=caller",
    ),
    "answered, the callee hangs up": (
        "0 caller INVITE | 5 callee 200 | 6 caller ACK | 700 callee BYE | 701 caller 200-BYE",
        "200 answered=5 ended=700 by=callee",
    ),
    "refused": ("0 caller INVITE | 2 callee 486 | 3 caller ACK", "486 answered=- ended=2 by=callee"),
    "retransmissions count once": (
        "0 caller INVITE | 500 caller INVITE | 501 callee 404 | 1001 callee 404 | 1002 caller ACK",
        "404 answered=- ended=501 by=callee",
    ),
    "given up while ringing": (
        "0 caller INVITE | 1 callee 180 | 30000 caller CANCEL | 30001 callee 200-CANCEL | 30002 callee 487",
        "487 answered=- ended=30002 by=caller",
    ),
    "answered while the caller gave up": (
        "0 caller INVITE | 9 caller CANCEL | 10 callee 200 | 11 caller ACK | 12 caller BYE",
        "200 answered=10 ended=12 by=caller",
    ),
    "hold during the call is no second call": (
        "0 caller INVITE | 5 callee 200 | 50 caller re-INVITE | 51 callee 488 | 90 caller BYE",
        "200 answered=5 ended=90 by=caller",
    ),
    "still ringing": ("0 caller INVITE | 1 callee 180", "- answered=- ended=- by=-"),
    "sound before the answer, twice": (
        "0 caller INVITE | 2 callee 183 | 9 callee 180 | 30 callee 200 | 50 caller BYE",
        "200 answered=30 ended=50 by=caller",
    ),
    "still talking": ("0 caller INVITE | 5 callee 200", "200 answered=5 ended=- by=-"),
    "never answered at all": ("0 caller INVITE | 500 caller INVITE", "- answered=- ended=- by=-"),
}


def messages(text: str, call_id: str = "one", port: int = 7001) -> list[SipMessage]:
    return [_message(*line.split(), call_id=call_id, port=port) for line in text.split(" | ")]


def _message(ms: str, sender: str, what: str, *, call_id: str, port: int) -> SipMessage:
    status, _, answered = what.partition("-") if what[0].isdigit() else ("", "", "")
    method = (answered or "INVITE") if status else what.removeprefix("re-")
    return SipMessage(
        at_us=int(ms) * 1000,
        outgoing=sender == "callee",
        method=method,
        status=int(status) if status else None,
        number="" if status else "+48501100101",
        port=0 if status else port,
        caller="+48221234567",
        call_id=call_id,
        in_dialog=what != "INVITE",
    )


def ms(row: TruthRow, name: str) -> str:
    at = getattr(row, name)
    return "-" if at is None else str(round(at.timestamp() * 1000))


@pytest.mark.parametrize(("text", "expected"), CALLS.values(), ids=CALLS.keys())
def test_what_messages_come_to(text: str, expected: str) -> None:
    (row,) = truth_of(messages(text), [], TRUNKS)
    answered, ended = ms(row, "answered_at"), ms(row, "ended_at")
    told = f"{row.final_code or '-'} answered={answered} ended={ended} by={row.ended_by or '-'}"
    assert told == expected
    rang = next((part.split()[0] for part in text.split(" | ") if part.endswith((" 180", " 183"))), "-")
    assert ms(row, "ringing_at") == rang
    assert (row.number, row.trunk, ms(row, "invited_at")) == ("+48501100101", "carrier-a", "0")


def note(kind: str, at: str, text: str) -> str:
    return json.dumps({"eventtype": kind, "eventtime": at, "eventextra": json.dumps({"extra": text})})


def test_keys_and_audio_join_their_call() -> None:
    calls = messages("0 caller INVITE | 5 callee 200") + messages("1 caller INVITE | 6 callee 200", "two", 7002)
    notes = [
        note("audio", "0.250000", "two"),
        note("key", "1.000001", "two 5"),
        note("key", "1.300000", "two #"),
        note("key", "2.000000", "unheard-of 1"),
        note("key", "3.000000", "one *")[:-9],
    ]
    first, second = truth_of(calls, notes, TRUNKS)
    assert (first.trunk, first.keys, first.first_audio_at) == ("carrier-a", (), None)
    assert (second.trunk, [key.key for key in second.keys], ms(second, "first_audio_at")) == (
        "carrier-b",
        ["5", "#"],
        "250",
    )
    file = io.StringIO()
    write_truth_csv([second], file)
    header, row = file.getvalue().splitlines()
    assert header == (
        "call_id,number,trunk,invited_at,final_code,answered_at,first_audio_at,keys,ended_at,ended_by,caller,ringing_at"
    )
    assert row.endswith(",+48221234567,")
    assert "5@1970-01-01T00:00:01.000001+00:00;#@1970-01-01T00:00:01.300000+00:00" in row


def packet(text: str, *, at: tuple[int, int] = (7, 8), source: int = 5060, target: int = 0) -> bytes:
    payload = text.replace("\n", "\r\n").encode()
    udp = struct.pack("!HHHH", source, target, len(payload) + 8, 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, len(udp) + 20, 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + udp
    frame = bytes(12) + b"\x08\0" + ip
    return struct.pack("=IIII", *at, len(frame), len(frame)) + frame


HEADER = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
INVITE = "INVITE sip:+48501100101@127.0.0.1:7001;ob SIP/2.0\ni: abc\nCSeq: 1 INVITE\nTo: <sip:x>\n\nbody"


def test_capture_is_read_up_to_a_record_that_is_being_written(tmp_path: Path) -> None:
    ok = "SIP/2.0 200 OK\nCall-ID: abc\nCSeq: 1 INVITE\nTo: <sip:x>;tag=1\n\n"
    file = tmp_path / "sip.pcap"
    file.write_bytes(HEADER + packet(INVITE) + packet(ok, source=0, target=5060) + packet(INVITE)[:-1])
    invite, answer = read_capture(file)
    assert (invite.at_us, invite.number, invite.port, invite.call_id) == (7_000_008, "+48501100101", 7001, "abc")
    assert (invite.outgoing, invite.in_dialog, invite.status) == (False, False, None)
    assert (answer.outgoing, answer.in_dialog, answer.status, answer.method) == (True, True, 200, "INVITE")


@pytest.mark.parametrize(
    "text", ["", "garbage", "\n\n", "INVITE sip:x SIP/2.0\n\n", "A B C\nCall-ID: 1\nCSeq: 1 X\n\n"]
)
def test_capture_skips_what_is_not_sip(tmp_path: Path, text: str) -> None:
    file = tmp_path / "sip.pcap"
    file.write_bytes(HEADER + packet(text) + packet(INVITE))
    assert [message.number for message in read_capture(file)][-1] == "+48501100101"
    assert truth_of(read_capture(file), [], TRUNKS)[0].call_id == "abc"


FROM = {
    "<sip:+48221234567@127.0.0.1>;tag=1": "+48221234567",
    '"The <sip:bank@x>" <sips:048221234567@10.0.0.1:5060;user=phone>;tag=1': "048221234567",
    "sip:48221234567@127.0.0.1;tag=1": "48221234567",
    "<sip:127.0.0.1>": "",
    "nobody": "",
}


@pytest.mark.parametrize(("header", "caller"), FROM.items())
def test_the_caller_is_the_user_of_the_from_uri(tmp_path: Path, header: str, caller: str) -> None:
    file = tmp_path / "sip.pcap"
    file.write_bytes(HEADER + packet(INVITE.replace("To:", f"From: {header}\nTo:")))
    (invite,) = read_capture(file)
    assert invite.caller == caller


@pytest.mark.parametrize("data", [b"", HEADER[:10], b"x" * 100])
def test_capture_that_is_none_is_empty(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "sip.pcap"
    file.write_bytes(data)
    assert list(read_capture(file)) == []
