"""Events as a source sends them, and a collector of our own to send them to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Engine

from dialer.settings import Settings, load
from etl import access
from etl.access import Kind
from etl.wire import Terms

ROOT = Path(__file__).parents[2]
NDJSON = "application/x-ndjson"
DEADLINE_S = 30.0


def line(**changes: Any) -> dict[str, Any]:
    """A good event, now; None leaves a key out."""
    made = {
        "event_id": str(uuid4()), "occurred_at": datetime.now(UTC).isoformat(), "type": "ticket.message",
        "subject_id": "T-1", "payload": {"author": "customer", "visibility": "public"}, **changes,
    }  # fmt: skip
    return {key: value for key, value in made.items() if value is not None}


def ndjson(lines: Iterable[dict[str, Any] | bytes]) -> bytes:
    """Lines as a body; bytes are sent as they are."""
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)


def terms(tenant_id: str = "acme", *, at: datetime | None = None, longest: int = 2**18) -> Terms:
    """What holds for a batch that comes at a moment."""
    at = at or datetime.now(UTC)
    return Terms(
        tenant_id=tenant_id, earliest=at - timedelta(days=35), latest=at + timedelta(minutes=5), longest=longest
    )


def add_token(engine: Engine, settings: Settings, tenant_id: str = "acme", kind: Kind = Kind.BEARER) -> tuple[str, str]:
    """A credential's id and secret."""
    with engine.begin() as connection:
        return access.add(
            connection, tenant_id=tenant_id, source="helpdesk", kind=kind, by="test", key=settings.mac_key()
        )


def wait_until(true: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Returns as soon as something is so."""
    end = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@dataclass(frozen=True)
class Reply:
    """An answer of the collector."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`dialer collect` in a process of its own."""

    def __init__(self, folder: Path, database: str, **collect: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.file = folder / "dialer.yaml"
        (folder / "mac.key").write_text("k" * 64, encoding="utf-8")
        (folder / "ami.secret").write_text("s" * 32, encoding="utf-8")
        # JSON is YAML.
        document = {
            "database": database, "mac_key_file": "mac.key", "collect": {"port": self.port, **collect},
            "nodes": [{"name": "node-1", "ami": {"secret_file": "ami.secret"}}],
            "trunks": [{"name": "carrier-a", "node": "node-1", "host": "127.0.0.1"}],
        }  # fmt: skip
        self.file.write_text(json.dumps(document), encoding="utf-8")
        self.settings = load(self.file)
        self.command = [sys.executable, "-c", "import cli; cli.main()", "collect", "--settings", str(self.file)]
        self._log = folder / "collect.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: bool = True) -> None:
        """Starts it, and waits until it takes events, or at least answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._answers("/readyz" if ready else "/healthz"))

    def stop(self) -> int:
        """Tells it to end, and returns its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(DEADLINE_S)
        self.process = None
        return code

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        self.process = None

    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(encoding="utf-8")

    def request(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, body: bytes, token: str, content_type: str = NDJSON, **headers: str) -> Reply:
        """Events, with a bearer token; an underscore in a header's name is a dash."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.request(
            "POST", "/v1/events", body, {"content-type": content_type, "authorization": f"Bearer {token}", **given}
        )

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            return self.request("GET", path).status == 200
        except OSError:
            return False


def ids(lines: Iterable[dict[str, Any]]) -> set[UUID]:
    """The events' ids."""
    return {UUID(one["event_id"]) for one in lines}
