"""The engine begins the nightly run at its hour, as a process of its own, and never two at a time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from dialer.engine.ports import Nightly
from dialer.engine.supervisor import Supervisor
from dialer.settings import EtlSettings
from etl.beside import Beside
from tests.conftest import settings_for
from tests.support.engine_parts import PLAN, FakeClock, FakeStore, FakeTelephony, make_parts

ROOT = Path(__file__).parents[2]


async def nothing(*_):
    return None


async def test_it_is_begun_at_its_hour_of_the_settings_time_zone():
    begun = []
    nightly = Nightly(at="02:30", time_zone="Europe/Warsaw", begin=lambda: begun.append(1))
    supervisor = Supervisor(make_parts(FakeStore(due=[]), FakeTelephony(), FakeClock()), PLAN, nothing, nothing,
                            nightly=nightly)  # fmt: skip
    running = asyncio.create_task(supervisor.run(None))
    try:
        async with asyncio.timeout(20):
            while not (jobs := [job for job in supervisor._scheduler.get_jobs() if "cron" in str(job.trigger)]):
                await asyncio.sleep(0.01)
        (job,) = jobs
        evening = datetime(2026, 10, 24, 20, 0, tzinfo=UTC)
        assert job.trigger.get_next_fire_time(None, evening) == datetime(
            2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Warsaw")
        )
        assert not begun
        await job.func()
        assert begun
    finally:
        supervisor.drain()
        await asyncio.wait_for(running, 20)


@pytest.mark.parametrize("wrong", [{"time_zone": "Mars/Olympus"}, {"at": "25:00"}, {"at": "2:30"}, {"memory_mb": 1}])
def test_what_cannot_be_planned_is_refused(wrong):
    with pytest.raises(ValidationError):
        EtlSettings.model_validate(wrong)


def test_a_host_may_leave_it_to_another():
    assert EtlSettings.model_validate({"at": None}).at is None


def test_it_is_a_process_of_its_own_that_tells_its_log(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    settings = settings_for("postgresql:///nowhere", tmp_path)
    beside = Beside(settings, tmp_path / "dialer.yaml")
    beside.begin()
    code = beside._process.wait(60)
    told = (settings.state_dir / "logs" / "etl.out").read_text(encoding="utf-8")
    assert (code, "there is no settings file" in told) == (2, True), told
    for thread in threading.enumerate():
        if thread.name == "nightly":
            thread.join(20)
    assert [record.code for record in caplog.records if record.levelname == "ERROR"] == [2]


def test_the_next_waits_for_the_one_before(tmp_path):
    beside = Beside(settings_for("postgresql:///nowhere", tmp_path), tmp_path / "dialer.yaml")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as last:
        beside._process = last
        beside.begin()
        assert beside._process is last
        last.communicate(b"\n")
