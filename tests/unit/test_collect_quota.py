"""Quotas: a tenant waits for its own faults alone, and everybody only when memory, the disk or the ports are full."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import httpx
import pytest

from dialer.clock import SystemClock
from dialer.settings import CollectSettings
from etl import collect
from etl.access import Kind, Token
from etl.quota import OverQuota, Quotas, Usage
from tests.conftest import settings_for

NOW = datetime(2031, 3, 1, 23, 59, 30, tzinfo=UTC)
MIB = 2**20


class Monotonic:
    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock():
    return Monotonic()


@pytest.fixture
def quotas(clock):
    settings = CollectSettings.model_validate(
        {
            "max_body": MIB,
            "max_unpacked": 3 * MIB,
            "max_lines": 1000,
            "max_pending": 10 * MIB,
            "quota": {"events_per_second": 100, "bytes_per_day": 1000},
            "tenants": {"big": {"events_per_second": 1000}},
        }
    )
    return Quotas(settings, clock)


def refused(quotas, tenant_id):
    with pytest.raises(OverQuota) as over:
        quotas.admit(tenant_id, NOW)
    return over.value


def test_a_batch_is_taken_whole_and_the_next_waits_until_it_is_paid(quotas, clock):
    quotas.admit("acme", NOW)
    quotas.charge("acme", NOW, 700, 0)
    over = refused(quotas, "acme")
    assert (over.retry_after_s, over.everybody) == (5, False), "200 were saved, 500 are owed at 100 a second"
    clock.at = 4.9
    assert refused(quotas, "acme").retry_after_s == 1
    clock.at = 5.1
    quotas.admit("acme", NOW)
    for other in ("globex", "big"):
        quotas.admit(other, NOW)


def test_a_silent_tenant_saves_up_two_seconds(quotas, clock):
    clock.at = 3600.0
    quotas.charge("acme", NOW, 200, 0)
    refused(quotas, "acme")


def test_bytes_of_a_day_count_over_all_collectors_until_midnight(quotas):
    quotas.charge("acme", NOW, 1, 400)
    quotas.learn({("acme", NOW.date()): Usage(events=1, bytes=600)})
    assert refused(quotas, "acme").retry_after_s == 30
    quotas.admit("big", NOW)
    taken = quotas.unstored()
    quotas.admit("acme", NOW)
    quotas.restore(taken)
    assert refused(quotas, "acme").retry_after_s == 30


def test_memory_is_shared_and_one_tenant_has_half(quotas):
    quotas.grow("acme", 5 * MIB)
    with pytest.raises(OverQuota) as over:
        quotas.grow("acme", 1)
    assert not over.value.everybody
    quotas.grow("globex", 4 * MIB)
    with pytest.raises(OverQuota) as over:
        quotas.grow("third", 2 * MIB)
    assert over.value.everybody
    quotas.shrink("acme", 5 * MIB)
    quotas.shrink("globex", 4 * MIB)
    assert quotas.pending == 0


async def test_whoever_is_told_to_wait_is_told_how_long(tmp_path, monkeypatch):
    made = collect.Collector(settings_for("postgresql:///nobody", tmp_path), SystemClock())

    async def post(tenant_id: str) -> tuple[int, str, str | None, str | None]:
        headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer dct_{tenant_id}.right"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made.app()), base_url="http://collector") as client:
            reply = await client.post("/v1/events", content=b"\n", headers=headers)
        told = reply.headers
        return reply.status_code, reply.json()["error"], told.get("retry-after"), told.get("connection")

    def learn(*tenants: str) -> None:
        right = hashlib.sha256(b"right").digest()
        made._access.learn(Token(id=one, tenant_id=one, source="x", kind=Kind.BEARER, sha256=right) for one in tenants)

    assert await post("acme") == (503, "starting", "2", None)
    learn("acme", "globex")
    assert await post("acme") == (400, "empty", None, None)
    with monkeypatch.context() as crowd:
        crowd.setattr(made, "connections", lambda: collect.MOST_CONNECTIONS + 1)
        assert await post("acme") == (503, "crowded", "1", "close")
    made._intake.away = True
    made._intake._spooled["acme"] = made._limits.spool_size // 2
    assert await post("acme") == (429, "full", "10", None)
    assert await post("globex") == (400, "empty", None, None)
    learn("acme")
    assert await post("acme") == (400, "empty", None, None), "nobody else needs the disk"
    monkeypatch.setattr(collect.Spool, "full", True)
    assert await post("acme") == (503, "full", "10", None)
    made._spool.close()
