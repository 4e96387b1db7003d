"""What one FastAGI worker spends on a dialogue of one question, beside the least that can lead it.

`python -m bench.worker_cost [DIALOGUES [RATE]]` opens that many dialogues at that rate against one real worker process
with a real PostgreSQL, and the same against panoramisk's bare FastAGI; this process plays Asterisk and the person.
Starting the processes is not counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import sqlalchemy
from panoramisk.fast_agi import Application
from sqlalchemy import text

from bench.load import QUESTION, Load, write_campaign
from bench.measure import cpu_seconds, database_cpu, percentile
from dialer import names, settings, tokens
from dialer.campaign.load import load_campaign
from dialer.clock import monotonic, utc_now
from dialer.lab import postgres
from dialer.storage import event_log, migrate
from dialer.storage.session import sync_engine
from sounds.build import build
from sounds.catalogue import Catalogue, sound_of

DIALOGUES = 2000
RATE = 70.0
"""Dialogues a second for one worker: half of what two cores carry with node, carrier and engine beside them."""
WARM_UP = 100
PRESS_AFTER_S = 1.0

_CALLS = """
with person as (insert into person (tenant_id, person_key) select 'default', n from generate_series(1, :calls) as n
                returning id),
     contact as (insert into contact (campaign_id, person_id, numbers, zones, fields)
                 select 1, id, array['+48501000000'], 'Europe/Warsaw', '{}' from person returning id, person_id)
insert into attempt (id, campaign_id, revision_id, contact_id, person_id, seq, number, wave, node, trunk, state,
                     submitting_at)
select gen_random_uuid(), 1, 1, id, person_id, 0, '+48501' || lpad(id::text, 6, '0'), 1, 'node-1', 'carrier-a',
       'answered', now()
from contact returning id
"""


class Person(asyncio.Protocol):
    """Asterisk's end of one dialogue, and a person who presses 1 a second after they hear the question."""

    def __init__(self, request: bytes, spent_s: list[float], over: asyncio.Future[None]) -> None:
        self._request, self._spent_s, self._over = request, spent_s, over
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._opened = transport, monotonic()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        *commands, self._rest = (self._rest + data).split(b"\n")
        for command in commands:
            if command.startswith(b"GET DATA"):
                self._spent_s.append(monotonic() - self._opened)
                asyncio.get_running_loop().call_later(PRESS_AFTER_S, self._transport.write, b"200 result=1\n")
            else:
                self._transport.write(b"200 result=1\n")

    def connection_lost(self, error: Exception | None) -> None:
        self._over.set_result(None)


@dataclass(kw_only=True)
class Cost:
    """CPU of one side, a dialogue; and how long the person waited for the first prompt."""

    cpu_ms: float
    sql_ms: float
    first_prompt_ms: list[float] = field(repr=False)


async def talk(port: int, requests: list[bytes], rate: float) -> list[float]:
    """Opens a dialogue for each request; the seconds that each waited for its question."""
    loop, spent_s, overs = asyncio.get_running_loop(), [], []  # type: ignore[var-annotated]
    started = monotonic()
    for count, request in enumerate(requests):
        await asyncio.sleep(max(0.0, started + count / rate - monotonic()))
        over = loop.create_future()
        overs.append(over)
        await loop.create_connection(lambda r=request, o=over: Person(r, spent_s, o), "127.0.0.1", port)  # type: ignore[misc]
    async with asyncio.timeout(30):
        await asyncio.gather(*overs)
    if len(spent_s) != len(requests):
        raise SystemExit(f"{len(requests) - len(spent_s)} of {len(requests)} people heard no question")
    return spent_s


def measured(pid: int, postmaster: int, port: int, requests: list[bytes], rate: float) -> Cost:
    """What the process spends on all requests but the first hundred."""
    asyncio.run(talk(port, requests[:WARM_UP], rate))
    requests = requests[WARM_UP:]
    cpu, sql = cpu_seconds(pid) or 0.0, database_cpu(postmaster)
    spent_s = asyncio.run(talk(port, requests, rate))
    return Cost(
        cpu_ms=1000 * ((cpu_seconds(pid) or 0.0) - cpu) / len(requests),
        sql_ms=1000 * (database_cpu(postmaster) - sql) / len(requests),
        first_prompt_ms=sorted(1000 * one for one in spent_s),
    )


def prepare(folder: Path, database: str, calls: int) -> tuple[settings.Settings, list[UUID], Path]:
    """Settings, attempts whose calls are answered, and the file of the question."""
    (folder / "key").write_text("k" * 64, encoding="utf-8")
    (folder / "dialer.yaml").write_text(
        f"database: '{database}'\nmac_key_file: key\nnodes: [{{name: node-1, ami: {{secret_file: key}}}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )
    made = settings.load(folder / "dialer.yaml", {})
    loaded = load_campaign(write_campaign(folder, Load(calls=1, rate=RATE)))
    build(loaded.campaign, folder, made)
    engine = sync_engine(made)
    migrate.upgrade(engine)
    document = json.dumps(loaded.document)
    with engine.begin() as connection:
        event_log.ensure_partitions(connection, utc_now())
        connection.execute(text("insert into campaign (tenant_id, name, created_at) values ('default', 'b', now())"))
        connection.execute(
            text("insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
                 "values (1, 1, 'x', cast(:document as json), :folder, now())"),
            {"document": document, "folder": str(folder)},
        )  # fmt: skip
        attempts = list(connection.execute(text(_CALLS), {"calls": calls}).scalars())
        connection.execute(text("analyze"))
    engine.dispose()
    sound = Catalogue(made.prompts_dir, made.trunks[0].codec).path(sound_of(QUESTION, "en", {}, folder))
    return made, attempts, sound.with_suffix("")


def check(made: settings.Settings, calls: int) -> None:
    """Each dialogue has left its answer, its result and its events."""
    engine = sync_engine(made)
    with engine.connect() as connection:
        for table, rows in (("answer_try", 1), ("answer", 1), ("flow_result", 1), ("event", 3)):
            found = connection.execute(sqlalchemy.text(f"select count(*) from {table}")).scalar_one()
            if found != rows * calls:
                raise SystemExit(f"{table} has {found} rows for {calls} dialogues")
    engine.dispose()


def worker_side(folder: Path, made: settings.Settings, postmaster: int, requests: list[bytes], rate: float) -> Cost:
    """A worker process, as its parent starts it."""
    reading, writing = os.pipe()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        command = [sys.executable, "-P", "-m", "agi.worker", str(folder / "dialer.yaml")]
        fds = (listener.fileno(), writing)
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        process = subprocess.Popen([*command, *map(str, fds)], pass_fds=fds, env=environ, stderr=subprocess.PIPE)
        os.close(writing)
        try:
            os.read(reading, 1)
            cost = measured(process.pid, postmaster, listener.getsockname()[1], requests, rate)
        finally:
            process.terminate()
            said = process.communicate()[1].decode()
            os.close(reading)
    if '"level": "error"' in said or '"level": "warning"' in said:
        raise SystemExit(said)
    check(made, len(requests))
    return cost


def bare_side(postmaster: int, prompt: Path, requests: list[bytes], rate: float) -> Cost:
    """panoramisk's FastAGI: asks, reads the key, forgets it."""
    command = [sys.executable, "-m", "bench.worker_cost", "bare", str(prompt)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        return measured(process.pid, postmaster, int(process.stdout.readline()), requests, rate)
    finally:
        process.terminate()
        process.communicate()


async def bare(prompt: str) -> None:
    """Serves until it is ended; prints its port."""

    async def script(request: object) -> None:
        await request.send_command(f'GET DATA "{prompt}" 5000 1')  # type: ignore[attr-defined]
        await request.send_command(f"SET VARIABLE {names.DONE_VARIABLE} 1")  # type: ignore[attr-defined]

    application = Application()
    application.add_route(names.AGI_FLOW_ROUTE, script)
    server = await asyncio.start_server(application.handler, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def request_for(attempt_id: UUID, key: bytes) -> bytes:
    """The header block that Asterisk 22 sends (res_agi.c, setup_env)."""
    route, name = names.AGI_FLOW_ROUTE, f"PJSIP/carrier-a-{uuid4().hex[:8]}"
    lines = {
        "network": "yes", "network_script": route, "request": f"agi://127.0.0.1/{route}", "channel": name,
        "language": "en", "type": "PJSIP", "uniqueid": names.channel_id(attempt_id), "version": "22.10.1",
        "callerid": "+48221234567", "calleridname": "unknown", "callingpres": "0", "callingani2": "0",
        "callington": "0", "callingtns": "0", "dnid": "unknown", "rdnis": "unknown", "context": names.FLOW_CONTEXT,
        "extension": "s", "priority": "4", "enhanced": "0.0", "accountcode": "", "threadid": "139872",
        "arg_1": tokens.sign(attempt_id, key), "arg_2": "1",
    }  # fmt: skip
    return ("".join(f"agi_{key}: {value}\n" for key, value in lines.items()) + "\n").encode()


def main(calls: int, rate: float) -> None:
    """Measures both sides and prints their figures."""
    with tempfile.TemporaryDirectory(prefix="dialer-cost-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        database = postgres.start_cluster(folder / "pg")
        try:
            postmaster = int((folder / "pg" / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
            made, attempts, prompt = prepare(folder, database, calls)
            requests = [request_for(attempt_id, made.mac_key()) for attempt_id in attempts]
            sides = {
                "worker": worker_side(folder, made, postmaster, requests, rate),
                "bare": bare_side(postmaster, prompt, requests, rate),
            }
        finally:
            postgres.stop_cluster(folder / "pg")
    print(f"{calls} dialogues of one question, {rate:g} a second")
    for side, cost in sides.items():
        waits = (f"p{percent} {percentile(cost.first_prompt_ms, percent):.1f}" for percent in (50, 99))
        print(f"{side:7} CPU {cost.cpu_ms:.2f} ms  SQL {cost.sql_ms:.2f} ms  first prompt ms {', '.join(waits)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["bare"]:
        asyncio.run(bare(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else DIALOGUES, float(sys.argv[2]) if sys.argv[2:] else RATE)
