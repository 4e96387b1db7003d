"""Quotas: a tenant waits for its own faults alone, and everybody only when memory is full."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dialer.settings import CollectSettings
from etl.quota import OverQuota, Quotas, Usage

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
