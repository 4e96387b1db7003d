"""`dialer collect` as its senders meet it: a real process, a real PostgreSQL, every status of the contract."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from click.testing import CliRunner
from hypothesis import HealthCheck
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from sqlalchemy import Engine, create_engine, text

from cli import root
from dialer.lab import postgres
from etl.access import Kind, webhook_secret
from tests.conftest import Database
from tests.support.collecting import DEADLINE_S, NDJSON, ROOT, Reply, Server, add_token, ids, line, ndjson, wait_until

SMALL = {"max_body": 100_000, "max_unpacked": 300_000, "max_lines": 200, "max_line": 5000}


@pytest.fixture(scope="module")
def site(cluster: Path) -> Iterator[tuple[Server, Engine]]:
    """One collector for all, since it takes seconds to start, and the owner's way into its database."""
    folder = Path(tempfile.mkdtemp(prefix="dialer-collect-"))
    admin = create_engine(_driver(postgres.url(cluster, "postgres")), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("create database collect_http template dialer"))
    engine = create_engine(_driver(postgres.url(cluster, "collect_http")))
    made = Server(folder, postgres.url(cluster, "collect_http"), **SMALL, tenants={"slow": {"events_per_second": 10}})
    try:
        made.start()
        yield made, engine
        assert made.stop() == 0, made.log()
    finally:
        made.stop()
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text("drop database collect_http with (force)"))
        admin.dispose()
        shutil.rmtree(folder)


@pytest.fixture
def server(site) -> Server:
    return site[0]


@pytest.fixture
def database(site) -> Database:
    """Of the collector, empty."""
    server, engine = site
    made = Database(url=server.settings.database, settings=server.settings, engine=engine)
    made.run("truncate event, event_dead, collect_token, collect_usage")
    return made


@pytest.fixture
def token(database, server) -> str:
    return known(server, add_token(database.engine, server.settings)[1])


def _driver(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


def known(server: Server, token: str) -> str:
    """A token that the collector has heard of."""
    wait_until(lambda: server.post(b"", token).status == 400)
    return token


def test_a_batch_is_stored_when_it_is_answered(database, server, token):
    lines = [line(seq=n) for n in range(100)]
    reply = server.post(ndjson(lines), token)
    assert (reply.status, reply.json) == (
        202, {"accepted": 100, "duplicates": 0, "unknown": 0, "spooled": False, "rejected": []},
    )  # fmt: skip
    found = database.rows("select event_id from event where tenant_id = 'acme' and source = 'helpdesk'")
    assert {row[0] for row in found} == ids(lines)
    again = server.post(gzip.compress(ndjson(lines)), token, content_encoding="gzip")
    assert (again.status, again.json["duplicates"]) == (202, 100)
    assert database.rows("select count(*) from event") == [(100,)]


def test_good_lines_are_taken_and_bad_ones_told_by_number(database, server):
    token = known(server, add_token(database.engine, server.settings, "counted")[1])
    stored = line(seq=0)
    server.post(ndjson([stored]), token)
    merged = line(type="ticket.merged", seq=2)
    lines: list[Any] = [
        line(seq=1), b"", b"<html>", merged, line(tenant_id="globex"),
        line(occurred_at="2001-01-01T00:00:00Z"), stored | {"seq": 7}, line(payload={"x": "y" * 6000}),
        line(type="crm.note", payload={"n": 1}), merged | {"seq": 4},
        line(occurred_at="9999-12-31T23:59:59Z"), b"\xff\xfe{", line(seq=3),
    ]  # fmt: skip
    body = ndjson(lines).replace(b'{"n": 1}', b'{"n": 1e999999}')
    reply = server.post(body, token)
    assert reply.status == 202
    answer = reply.json
    assert (answer["accepted"], answer["duplicates"], answer["unknown"]) == (3, 0, 1)
    assert [(one["line"], one["code"]) for one in answer["rejected"]] == [
        (3, "not_json"), (5, "unknown_tenant"), (6, "too_old"), (7, "duplicate_id_conflict"), (8, "oversize"),
        (9, "schema"), (10, "duplicate_id_conflict"), (11, "future"), (12, "not_json"),
    ]  # fmt: skip
    assert all(one["detail"] for one in answer["rejected"])
    assert database.rows("select seq from event order by seq") == [(0,), (1,), (2,), (3,)]
    kept = database.rows("select tenant_id, reason from event_dead order by reason")
    assert kept == [("counted", one) for one in sorted(each["code"] for each in answer["rejected"])]
    counts = server.request("GET", "/metrics").body.decode()
    assert 'dialer_collect_dead_total{tenant="counted",reason="too_old"} 1\n' in counts
    assert 'dialer_collect_events_total{tenant="counted",outcome="accepted"} 4\n' in counts


def test_one_event_may_come_as_plain_json(database, server, token):
    reply = server.post(json.dumps(line(seq=1), indent=2).encode(), token, "application/json")
    assert (reply.status, reply.json["accepted"]) == (202, 1)
    assert database.rows("select seq from event") == [(1,)]


REFUSED = [
    # why                     body                                   headers                               status
    ("no line is an event",   b"<html>\n{}\n",                       {},                                   400),
    ("nothing",               b"\n\n",                               {},                                   400),
    ("no gzip",               b"plain",                              {"content_encoding": "gzip"},         400),
    ("nobody",                b"{}",                                 {"authorization": "Bearer dct_a.b"},  401),
    ("too many bytes",        b"x" * 100_001,                        {},                                   413),
    ("too many unpacked",     gzip.compress(b"x" * 300_001),         {"content_encoding": "gzip"},         413),
    ("too many lines",        b"{}\n" * 201,                         {},                                   413),
    ("another encoding",      b"{}",                                 {"content_encoding": "br"},           415),
]  # fmt: skip


def test_what_cannot_be_taken_is_refused_whole(database, server, token):
    for why, body, headers, status in REFUSED:
        reply = server.post(body, token, **headers)
        assert reply.status == status, (why, reply.body)
        assert reply.json.keys() in ({"error", "detail"}, {"accepted", "duplicates", "unknown", "spooled", "rejected"})
    chunked = {"content-type": NDJSON, "authorization": f"Bearer {token}"}
    assert server.request("POST", "/v1/events", (b"x" * 1000 for _ in range(101)), chunked).status == 413
    assert server.post(b"{}", token, "text/csv").status == 415
    assert server.request("GET", "/v1/events").status == 405
    assert server.request("POST", "/v2/events").status == 404
    assert database.rows("select count(*) from event") == [(0,)]
    assert server.post(ndjson([line()]), token).status == 202, "the next one is taken"


def test_a_sender_that_leaves_in_the_middle_harms_nobody(server, token):
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port)) as half:
            half.sendall(
                f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: {NDJSON}\r\nContent-Length: 90000\r\n\r\n{{".encode()
            )

    def nothing_is_held() -> bool:
        return "dialer_collect_pending_bytes 0\n" in server.request("GET", "/metrics").body.decode()

    wait_until(nothing_is_held)
    assert server.post(ndjson([line()]), token).status == 202


def test_headers_have_an_end(server, token):
    with socket.create_connection(("127.0.0.1", server.port), DEADLINE_S) as endless:
        endless.sendall(b"POST /v1/events HTTP/1.1\r\nX: " + b"x" * 70_000)
        assert endless.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert endless.recv(1000) == b""
    # What a body brings is counted as body.
    chunked = {"content-type": NDJSON, "authorization": f"Bearer {token}", "x-long": "x" * 30_000}
    assert server.request("POST", "/v1/events", (ndjson([line()]) * 20 for _ in range(10)), chunked).status == 202


def test_a_tenant_over_its_rate_waits_and_others_do_not(database, server, token):
    slow = known(server, add_token(database.engine, server.settings, "slow")[1])
    assert server.post(ndjson([line() for _ in range(100)]), slow).status == 202
    reply = server.post(ndjson([line()]), slow)
    assert (reply.status, reply.json["error"]) == (429, "quota")
    assert 5 <= int(reply.headers["retry-after"]) <= 9
    assert server.post(ndjson([line()]), token).status == 202
    assert database.rows("select count(*) from event where tenant_id = 'slow'") == [(100,)]


def test_a_signed_webhook_is_its_tenants(database, server):
    token_id, secret = add_token(database.engine, server.settings, "globex", Kind.WEBHOOK)
    assert base64.b64decode(secret.removeprefix("whsec_")) == webhook_secret(server.settings.mac_key(), token_id)

    def send(body: bytes, at: datetime, key: bytes) -> Reply:
        stamp = str(int(at.timestamp()))
        signed = hmac.new(key, f"msg_1.{stamp}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "content-type": "application/json", "webhook-id": "msg_1", "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }  # fmt: skip
        return server.request("POST", f"/v1/events?webhook={token_id}", body, headers)

    now, key, body = datetime.now(UTC), base64.b64decode(secret.removeprefix("whsec_")), json.dumps(line()).encode()
    wait_until(lambda: send(body, now, key).status == 202)
    assert send(body, now, b"another").status == 401
    assert send(body, now - timedelta(minutes=6), key).status == 401
    assert database.rows("select tenant_id, source from event") == [("globex", "helpdesk")]


def test_tokens_are_made_listed_and_revoked_by_command(database, server):
    def run(*words: str) -> str:
        done = CliRunner().invoke(root, [*words, "--settings", str(server.file)], standalone_mode=False)
        assert done.exception is None, done.output
        return done.stdout

    token = run("collect", "token", "add", "--tenant", "acme", "--source", "crm").strip()
    assert server.post(ndjson([line()]), known(server, token)).status == 202
    (listed,) = [json.loads(text) for text in run("collect", "token", "list", "--json").splitlines()]
    assert (listed["tenant_id"], listed["source"], listed["kind"], listed["revoked_at"]) == (
        "acme", "crm", "bearer", None,
    )  # fmt: skip
    secret = token.split(".")[1]
    assert secret not in str(database.rows("select * from collect_token")) + run("collect", "token", "list")
    run("collect", "token", "revoke", listed["id"])
    wait_until(lambda: server.post(ndjson([line()]), token).status == 401)
    assert secret not in server.log()
    assert [row[0] for row in database.rows("select what from audit order by id limit 2")] == [
        "collect.token.add", "collect.token.revoke",
    ]  # fmt: skip


def test_dead_letters_are_listed_and_purged_by_command(database, server, token):
    server.post(ndjson([line(seq=1), {"type": "T-7"}, b"<html>"]), token)

    def run(*words: str) -> str:
        done = CliRunner().invoke(
            root, ["events", "dead", *words, "--settings", str(server.file)], standalone_mode=False
        )
        assert done.exception is None, done.output
        return done.stdout

    listed = [json.loads(text) for text in run("list", "--json").splitlines()]
    assert {one["reason"] for one in listed} == {"schema", "not_json"}
    assert "T-7" in run("list", "--reason", "schema")
    assert "T-7" not in run("list", "--reason", "not_json")
    assert run("replay") == "0 of 2 became events\n"
    assert run("purge", "--older-than", "1") == "0 dead letters removed\n"
    assert run("purge", "--reason", "schema") == "1 dead letters removed\n"
    assert CliRunner().invoke(root, ["events", "dead", "list", "--older-than", "1000000000"]).exit_code == 2
    refused = CliRunner().invoke(
        root, ["events", "dead", "purge", "--settings", str(server.file)], standalone_mode=False
    )
    assert "say which" in str(refused.exception)
    assert run("purge", "--all") == "1 dead letters removed\n"
    assert database.rows("select count(*) from event_dead") == [(0,)]


def test_it_ends_when_told_and_answers_what_has_begun(database, server, token):
    replies: list[tuple[set[Any], Reply]] = []

    def send() -> None:
        while True:
            lines = [line() for _ in range(100)]
            try:
                replies.append((ids(lines), server.post(ndjson(lines), token)))
            except OSError:
                return

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(replies) > 10)
    began = time.monotonic()
    assert server.stop() == 0, server.log()
    assert time.monotonic() - began < DEADLINE_S
    for thread in threads:
        thread.join()
    acknowledged = set().union(*(sent for sent, reply in replies if reply.status == 202))
    assert acknowledged == {row[0] for row in database.rows("select event_id from event")}
    usage = database.rows("select events >= :sent from collect_usage", sent=len(acknowledged))
    assert usage == [(True,)]
    server.start()


def test_settings_before_a_command_are_not_passed_over_in_silence(server):
    done = CliRunner().invoke(root, ["collect", "--settings", str(server.file), "token", "list"])
    assert (done.exit_code, "write --settings behind `token`" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_said_plainly(server):
    done = subprocess.run(server.command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is in use by another program" in done.stderr
    assert "Traceback" not in done.stderr


# -- the description ---------------------------------------------------------------------------------------------------

CHECKS = [
    checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_headers_conformance, checks.response_schema_conformance,
]  # fmt: skip


@schemathesis.serializer(NDJSON)
def _as_it_is(_context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_the_description_is_what_it_does(server, token, mode):
    """Whatever is made up from it: no status, header or shape that is not described, and never an error of ours."""
    schema = schemathesis.openapi.from_dict(server.request("GET", "/openapi.json").json)
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @hypothesis.seed(6)
        @hypothesis.given(case=operation.as_strategy(mode))
        def tried(case: Any) -> None:
            case.headers = {**(case.headers or {}), "authorization": f"Bearer {token}"}
            if mode is GenerationMode.POSITIVE and isinstance(case.body, dict):
                # What no schema says: near the present, of this tenant, and of a type.
                case.body |= {"occurred_at": datetime.now(UTC).isoformat(), "tenant_id": None, "type": "crm.note"}
            reply = case.call_and_validate(base_url=f"http://127.0.0.1:{server.port}", checks=CHECKS)
            statuses[reply.status_code] += 1

        with suppress(Unsatisfiable):  # nothing wrong can be made of a route that takes nothing
            tried()
    assert statuses[400]
    assert statuses[202] or mode is GenerationMode.NEGATIVE
