"""Real worker processes, killed and frozen at the named points of a dialogue, asked again as the dialplan asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dialer import names
from dialer.campaign.model import Campaign
from dialer.crash_points import FILE_VARIABLE
from sounds.build import build
from tests.conftest import Database
from tests.database.test_agi_results import DOCUMENT, KEY, add_attempt
from tests.support.fake_asterisk import FakeAsterisk, request
from tests.unit.test_agi_serve import Serve, free_port

pytestmark = pytest.mark.database

TURNS = (1, 2, 3)
"""How often the dialplan asks (extensions.conf)."""


@pytest.fixture
async def faults(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[int, Path]]:
    """The port of two workers, and the file that asks one of them for a fault."""
    settings, port = database.settings, free_port()
    build(Campaign.model_validate(DOCUMENT), Path("/base"), settings)
    home = settings.mac_key_file.parent
    file = home / "dialer.yaml"
    file.write_text(
        f"database: '{settings.database}'\nmac_key_file: {settings.mac_key_file.name}\n"
        f"agi: {{port: {port}, workers: 2}}\n"
        f"nodes: [{{name: node-1, ami: {{secret_file: {settings.nodes[0].ami.secret_file.name}}}}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )
    monkeypatch.setenv(FILE_VARIABLE, str(home / "fault"))
    serve = Serve(file)
    await asyncio.to_thread(serve.wait, "worker_ready", 2)
    yield port, home / "fault"
    await asyncio.to_thread(serve.end)


# Where a worker is lost, what the caller then does in all, how often it hears the first and the second question.
LOST = [
    ("crash heard", "on 1 on 1 12 on", 2, 1),
    ("stop heard", "on 1 on 1 12 on", 2, 1),
    ("crash stored", "on 1 12 on", 1, 1),
    ("stop stored", "on 1 12 on", 1, 1),
    ("crash ending", "on 1 12 on", 1, 1),
]


@pytest.mark.parametrize(("fault", "does", "first", "second"), LOST, ids=[row[0] for row in LOST])
async def test_a_call_goes_on_in_another_worker(
    database: Database, faults: tuple[int, Path], fault: str, does: str, first: int, second: int
) -> None:
    (port, file), attempt_id = faults, add_attempt(database)
    file.write_text(fault, encoding="ascii")
    phone, turns = FakeAsterisk(port, does), 0
    while turns < len(TURNS) and names.DONE_VARIABLE not in phone.call.variables:
        turns += 1
        await asyncio.wait_for(phone.run(request(attempt_id, KEY, turn=turns)), 20)
    assert turns == 2
    asked = [command for command in phone.call.commands if command.startswith("GET DATA")]
    assert len(asked) == first + second
    assert len(set(asked)) == 2
    assert database.rows("select step, value from answer order by at") == [("fever", "yes"), ("days", "12")]
    assert database.rows("select step, try_no, keys from answer_try order by at") == [
        ("fever", 1, "1"),
        ("days", 1, "12"),
    ]
    assert database.rows("select result, answers from flow_result") == [("completed", 2)]
    seqs = database.rows("select seq from event where subject_id = :id order by seq", id=str(attempt_id))
    assert seqs == [(number,) for number in range(1, len(seqs) + 1)]
    async with asyncio.timeout(10):
        while list(database.settings.spool_dir.iterdir()):
            await asyncio.sleep(0.05)
