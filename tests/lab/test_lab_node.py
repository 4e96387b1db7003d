"""What the rendered node configuration promises: the flow's way, the AMI users, no way in from outside."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from dialer.lab.truth import read_truth
from dialer.lab.up import Lab
from tests.lab.caller import Ami, ami, sound, until

pytestmark = pytest.mark.lab

ATTEMPT = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def answering(lab: Lab, numbers_file: Path) -> Lab:
    numbers_file.write_text(
        "number,nth_invite,behaviour,args\n+48501300001,*,says_nothing,\n+48501300002,*,answers_and_presses,8\n",
        encoding="utf-8",
    )
    lab.set_numbers(numbers_file)
    return lab


def originate(session: Ami, number: str, **headers: str) -> dict[str, str]:
    flow = {"Context": "dialer-flow", "Exten": "s", "Priority": "1"}
    return session.act(
        "Originate", Channel=f"PJSIP/{number}@carrier-a", Async="true", Timeout="4000", **(flow | headers)
    )


def test_answered_call_enters_the_worker_with_its_token_and_ends_with_it(answering: Lab) -> None:
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", answering.ports["agi"])) as server:
        server.settimeout(10)

        def worker() -> None:
            connection, _ = server.accept()
            # Nobody else is there: the dialplan's further calls are refused at once.
            server.close()
            with connection, connection.makefile("r", encoding="utf-8") as file:
                while line := file.readline().strip():
                    lines.append(line)
            # It dies here, without a word: Asterisk must free the line.

        thread = threading.Thread(target=worker)
        thread.start()
        with ami(answering) as session:
            originate(session, "+48501300001", Variable="__DIALER_ATTEMPT=token.mac", ChannelId=f"d-{ATTEMPT}")
            hangup = session.wait(lambda message: message.get("Event") == "Hangup")
        thread.join(timeout=10)
    assert "agi_network_script: flow" in lines
    assert "agi_arg_1: token.mac" in lines
    assert hangup["Uniqueid"] == f"d-{ATTEMPT}"


def test_answered_call_without_workers_is_freed(answering: Lab) -> None:
    with ami(answering) as session:
        originate(session, "+48501300001")
        assert session.wait(lambda message: message.get("Event") == "Hangup")["Context"] == "dialer-flow"


def test_only_one_originator_and_an_observer_beside(lab: Lab) -> None:
    with ami(lab) as first, ami(lab) as second, ami(lab, "dialer-watch") as watch:
        assert first.greeting["Response"] == "Success"
        assert second.greeting["Response"] == "Error"
        assert watch.greeting["Response"] == "Success"
        assert watch.act("Originate", Channel="PJSIP/+48501300001@carrier-a")["Message"] == "Permission denied"
        assert first.act("Command", Command="core show version")["Message"] == "Permission denied"
        assert first.act("CoreStatus")["Response"] == "Success"


def test_originator_may_not_run_applications_that_reach_the_system(lab: Lab) -> None:
    with ami(lab) as session:
        answer = session.act(
            "Originate", Channel="PJSIP/+48501300001@carrier-a", Application="System", Data="id", Async="true"
        )
    assert answer["Response"] == "Error"


def test_inbound_invite_finds_no_way_out(answering: Lab) -> None:
    """A SIP INVITE to the node from the carrier's address: hung up at once, nothing dialled on."""
    before = len(read_truth(answering))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(5)
        port = phone.getsockname()[1]
        node = ("127.0.0.1", answering.ports["node-sip"])
        phone.sendto(_invite(port, "+48501300002"), node)
        status = ""
        while not status or status.startswith("SIP/2.0 1"):
            status = phone.recv(4096).decode().splitlines()[0]
        # 603 is what cause 21 (call rejected) becomes.
        assert status.split()[1] in {"403", "603"}
        phone.sendto(_invite(port, "+48501300002", method="ACK"), node)
    assert len(read_truth(answering)) == before


def test_keys_are_heard_although_most_calls_are_not_sampled(lab: Lab, numbers_file: Path) -> None:
    numbers_file.write_text("number,nth_invite,behaviour,args\n+48501300003,*,answers_and_presses,2@0.3\n")
    lab.set_numbers(numbers_file, audio_sample=0)
    with ami(lab) as session:
        data = sound(lab.places.state / "prompts" / "one.alaw", ("tone", 1.2))
        originate(session, "+48501300003", Application="Playback", Data=data, Context="", Exten="", Priority="")
        session.wait(lambda message: message.get("Event") == "Hangup")

    def ended() -> list[object]:
        return [row for row in read_truth(lab) if row.number == "+48501300003" and row.ended_at]

    (row,) = until(ended, "the call ends in the truth")
    assert [key.key for key in row.keys] == ["2"]  # type: ignore[attr-defined]
    assert row.first_audio_at is None  # type: ignore[attr-defined]


def _invite(port: int, number: str, method: str = "INVITE") -> bytes:
    sdp = f"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"
    head = [
        f"{method} sip:{number}@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-lab-{port}",
        f"From: <sip:lab@127.0.0.1>;tag={port}",
        f"To: <sip:{number}@127.0.0.1>",
        f"Call-ID: inbound-{port}",
        f"CSeq: 1 {method}",
        f"Contact: <sip:lab@127.0.0.1:{port}>",
        "Max-Forwards: 70",
        "Content-Type: application/sdp",
        f"Content-Length: {len(sdp)}",
    ]
    return ("\r\n".join(head) + "\r\n\r\n" + sdp).encode()
