"""An engine looks into the folders of daily bases: each minute, one look at a time, refusals said loudly."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from dialer.campaign.running import Wanted
from dialer.clock import DatabaseClock
from dialer.delivery_watch import DeliveryWatch
from dialer.engine import supervisor as supervisor_module
from dialer.engine.supervisor import Supervisor
from dialer.engine_process import EngineProcess, Machine
from dialer.errors import DatabaseAway, InvalidInput, Problem
from dialer.settings import Settings
from dialer.storage.deliveries import Delivery
from dialer.storage.prepare import ImportSummary
from tests.support.engine_parts import PLAN, FakeClock, FakeJournal, FakeStore, FakeTelephony, make_parts

PROBLEM = Problem(file="b.csv", line=3, key="", code="cut-off", message="it ends here", fix="deliver it whole")
REFUSED = Delivery(
    campaign="c", file=Path("b.csv"), problem=InvalidInput("b.csv cannot be imported", [PROBLEM]),
    aside=Path("aside/b.csv"),
)  # fmt: skip
MERGED = Delivery(campaign="c", file=Path("a.csv"), summary=ImportSummary(file=Path("a.csv"), unchanged=False))


class Folders:
    """Deliveries as a test has them; a look waits until it may end."""

    def __init__(self) -> None:
        self.found: list[Delivery] = []
        self.looks: list[tuple[str | None, bool]] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def look(self, now, monotonic_s, *, node, wake):
        assert now.tzinfo is not None
        self.looks.append((node, wake))
        assert self.may_end.wait(20)
        yield from self.found


async def test_what_came_of_a_look_is_logged(caplog):
    caplog.set_level(logging.INFO)
    folders = Folders()
    folders.found = [MERGED, REFUSED]
    await DeliveryWatch(folders).look("node-1", wake=True)
    assert folders.looks == [("node-1", True)]
    assert [(record.levelname, record.event) for record in caplog.records] == [
        ("INFO", "delivery.merged"),
        ("ERROR", "delivery.refused"),
    ]
    assert "b.csv:3: it ends here [cut-off]" in caplog.text
    assert "It was put aside: aside/b.csv" in caplog.text


async def test_one_look_at_a_time():
    folders = Folders()
    watch = DeliveryWatch(folders)
    folders.may_end.clear()
    first = asyncio.create_task(watch.look("node-1", wake=False))
    async with asyncio.timeout(20):
        while not folders.looks:
            await asyncio.sleep(0.001)
        await watch.look("node-2", wake=False)
    assert folders.looks == [("node-1", False)]
    folders.may_end.set()
    await first
    await watch.look("node-2", wake=False)
    assert folders.looks == [("node-1", False), ("node-2", False)]


async def test_an_engine_process_looks_for_the_campaigns_of_its_node(tmp_path):
    (tmp_path / "mac.key").write_text("k" * 64, encoding="utf-8")
    (tmp_path / "mac.key").chmod(0o600)
    folders, clock = Folders(), DatabaseClock()

    async def nothing(revision_id: int) -> None:
        return None

    machine = Machine(
        settings=Settings(
            database="postgresql:///none", mac_key_file=tmp_path / "mac.key", nodes=(PLAN.node,), trunks=PLAN.trunks
        ),
        workers=nullcontext, look_at_workers=AsyncMock(), refresh_calendar=nothing, deliveries=DeliveryWatch(folders),
        nightly=lambda: None,
    )  # fmt: skip
    process = EngineProcess(
        machine=machine, node=PLAN.node, store=FakeStore(), link=Mock(), journal=FakeJournal(), clock=clock
    )  # fmt: skip
    supervisor = process.supervisor(Mock())
    supervisor._own = None
    await supervisor._look_into_folders()
    supervisor.drain()
    await supervisor._look_into_folders()
    assert folders.looks == [(PLAN.node.name, True)], "who drains takes nothing in"


@pytest.mark.parametrize(("own", "wake"), [([1], False), (None, True)])
async def test_the_engine_looks_again_and_again_whatever_a_look_raises(monkeypatch, caplog, own, wake):
    """Who runs one campaign wakes no other; a service does."""
    monkeypatch.setattr(supervisor_module, "DELIVERIES_EVERY_S", 0.01)
    looks: list[bool] = []

    async def look(wake: bool) -> None:
        looks.append(wake)
        raise DatabaseAway("restarting") if len(looks) == 1 else OSError("a share is away")

    async def yes() -> None:
        return None

    async def nothing(revision_id: int) -> None:
        return None

    store = FakeStore()
    store.wanted = Wanted.PAUSED
    made = Supervisor(
        make_parts(store, FakeTelephony(), FakeClock()), PLAN, yes, nothing, look_for_deliveries=look
    )  # fmt: skip
    running = asyncio.create_task(made.run(own))
    async with asyncio.timeout(20):
        while len(looks) < 3:
            await asyncio.sleep(0.001)
    assert set(looks) == {wake}
    assert not running.done()
    assert {"job.failed"} <= {getattr(record, "event", "") for record in caplog.records}
    made.drain()
    store.wanted = Wanted.IDLE
    await asyncio.wait_for(running, 20)
