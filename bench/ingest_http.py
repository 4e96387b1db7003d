"""Events a second that `dialer collect` acknowledges over HTTP, with PostgreSQL and the sender on the same cores."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, text

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.ingest import bodies, cluster, raw_copy
from bench.measure import cpu_seconds, database_cpu, memory
from dialer.clock import monotonic
from dialer.settings import Settings
from etl import access
from etl.access import Kind

BATCHES = 600
LINES = 1000
SINGLES = 6000
CONNECTIONS = 8
SINGLE_CONNECTIONS = 64
AIM = 50_000
READY_S = 30.0


@dataclass
class Sent:
    """What a run of requests took."""

    seconds: float = 0.0
    events: int = 0
    waits: list[float] = field(default_factory=list)

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.waits, n=100)[98] * 1000


def ingest_http(folder: Path, size: Size) -> Result:
    """Batches of 1,000 events over 8 connections, then single events over 64; every one is counted in the log."""
    batches = max(CONNECTIONS * 2, size.calls // LINES) if size.calls else BATCHES
    with cluster(folder, _free_port()) as (settings, engine, postmaster):
        many, single = list(bodies(batches, LINES)), list(bodies(SINGLES if not size.calls else size.calls // 10, 1))
        ceiling = raw_copy(settings, many)
        with engine.begin() as connection:
            connection.execute(text("truncate event"))
        with engine.begin() as connection:
            _, token = access.add(
                connection, tenant_id="acme", source="bench", kind=Kind.BEARER, by="bench", key=settings.mac_key()
            )
        with _collector(folder, settings) as process:
            cpu, own_cpu = database_cpu(postmaster), cpu_seconds(process) or 0
            in_batches = asyncio.run(_sent(settings, token, many, CONNECTIONS))
            cpu, own_cpu = database_cpu(postmaster) - cpu, (cpu_seconds(process) or 0) - own_cpu
            singly = asyncio.run(_sent(settings, token, single, SINGLE_CONNECTIONS))
            peak = memory(process, "VmHWM:") or 0
        _counted(engine, in_batches.events + singly.events)
    rate = in_batches.events / in_batches.seconds
    figures = [
        rounded(f"acknowledged events a second, {LINES} a request", "1/s", rate, ceiling),
        rounded("  p99 of such a request", "ms", in_batches.p99_ms),
        rounded("  CPU of PostgreSQL an event", "µs", cpu / in_batches.events * 1e6),
        rounded("  CPU of the collector an event", "µs", own_cpu / in_batches.events * 1e6),
        rounded("requests a second with one event", "1/s", singly.events / singly.seconds),
        rounded("  p99 of such a request", "ms", singly.p99_ms),
        rounded("peak memory of the collector", "MB", peak / 1e6),
        Figure(name="within the aim", value=int(rate >= AIM), unit="1: yes"),
    ]
    conditions: Conditions = {
        "events": in_batches.events, "single": singly.events, "aim 1/s": AIM,
        "ceiling column": "binary COPY of the same rows, ready, with one commit a batch, one connection",
    }  # fmt: skip
    return figures, conditions


@contextmanager
def _collector(folder: Path, settings: Settings) -> Iterator[int]:
    """A running `dialer collect`; its process."""
    with (folder / "collect.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", "import cli; cli.main()", "collect", "--settings", str(folder / "dialer.yaml")],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = monotonic() + READY_S
        while not _ready(settings.collect.port):
            if process.poll() is not None or monotonic() > deadline:
                raise RuntimeError((folder / "collect.log").read_text(encoding="utf-8"))
            os.sched_yield()
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(READY_S)


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


async def _sent(settings: Settings, token: str, made: Sequence[bytes], connections: int) -> Sent:
    """Sends every body once; raises when one is not acknowledged whole."""
    sent, waiting = Sent(), iter(made)
    port = settings.collect.port

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            head = (
                f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began = monotonic()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            told = await reader.readexactly(length)
            sent.waits.append(monotonic() - began)
            lines = body.count(b"\n")
            if not answer.startswith(b"HTTP/1.1 202") or f'"accepted":{lines},'.encode() not in told:
                raise RuntimeError(f"not acknowledged: {answer!r} {told[:500]!r}")
            sent.events += lines
        writer.close()
        await writer.wait_closed()

    began = monotonic()
    await asyncio.gather(*(send() for _ in range(connections)))
    sent.seconds = monotonic() - began
    return sent


def _counted(engine: Engine, wanted: int) -> None:
    with engine.begin() as connection:
        found = connection.execute(text("select count(*) from event")).scalar()
    assert found == wanted, f"{found} events stand there, and {wanted} were acknowledged"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
