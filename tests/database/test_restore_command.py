"""`dialer restore-reconcile` as an operator meets it: what it says, what it refuses, and its exit codes."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from dialer.ami import cel
from dialer.calls.disposition import Disposition
from dialer.clock import SystemClock
from dialer.engine.witness import Witness
from dialer.errors import RefusedBySafety
from dialer.restore_command import restore_reconcile
from dialer.storage import journal
from dialer.storage.store import PostgresStore
from tests.support.claiming import make_campaign, numbers
from tests.support.restoring import Engine, backup_of, content, new_host
from tests.unit.test_cel import line


@pytest.fixture
async def host(database, tmp_path):
    async with new_host(database, tmp_path) as made:
        yield made


@pytest.fixture
def cel_file(tmp_path):
    return tmp_path / "cel.jsonl"


def witness(host: Engine, path) -> Witness:
    store = PostgresStore(host.engine, host.node, host.database.settings.spool_dir, host.database.settings.journal_dir)
    return Witness(store, lambda position: cel.read(path, position), SystemClock())


async def reconcile(host: Engine, cel_file, *options: str) -> Result:
    """Runs the command on the host's database."""
    settings = host.database.settings.model_dump(mode="json", exclude_defaults=True)
    settings["nodes"][0]["cel_file"] = str(cel_file)
    path = host.database.settings.state_dir.parent / "dialer.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    run = CliRunner().invoke
    return await asyncio.to_thread(run, restore_reconcile, [f"--settings={path}", *options])


async def test_lost_calls_are_put_in_again_and_told(host, tmp_path, cel_file):
    async with backup_of(host, tmp_path) as again:
        first, second = await host.claim("autumn", most=2)
        await host.talk(first)
        await host.end(first, Disposition.COMPLETED)
        before = content(again.database)
        result = await reconcile(again, cel_file, "--dry-run")
        told = "2 attempts (1 without a verdict), 1 verdicts, 1 dialogues with 1 answers; 2 contacts changed\n"
        told += "paused: campaign 'autumn'\npaused: campaign 'spring'\n"
        assert (result.exit_code, result.stdout) == (0, f"would restore {told}")
        assert content(again.database) == before
        result = await reconcile(again, cel_file)
        assert (result.exit_code, result.stdout) == (0, f"restored {told}")
        assert {row[0] for row in content(again.database)[0]} == {first.attempt.id, second.attempt.id}
        assert content(again.database)[2] == content(host.database)[2]
        assert "restored 0 attempts" in (await reconcile(again, cel_file)).stdout


async def test_it_refuses_while_an_engine_runs(host, cel_file):
    store = PostgresStore(host.engine, "node-9", host.database.settings.spool_dir, host.database.settings.journal_dir)
    assert await store.hold_node()
    result = await reconcile(host, cel_file)
    assert isinstance(result.exception, RefusedBySafety)
    assert "node-9" in str(result.exception)
    await store.close()


async def test_people_whom_it_cannot_find_are_told_and_the_exit_code_is_1(host, tmp_path, cel_file):
    async with backup_of(host, tmp_path) as again:
        make_campaign(host.database, "later", numbers(3))
        await host.claim("later", most=3)
        result = await reconcile(again, cel_file)
        assert result.exit_code == 1
        assert "unmatched: 3 people of campaign 'later'" in result.stdout
        assert "dialer contacts import" in result.stderr
        assert numbers(1)[0] not in result.output


async def test_calls_that_only_asterisk_remembers_must_be_accepted(host, tmp_path, cel_file):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        strangers = [uuid4(), uuid4()]
        for attempt_id in (claim.attempt.id, *strangers):
            with cel_file.open("ab") as file:
                file.write(line("CHAN_START", channel=f"d-{attempt_id}"))
        result = await reconcile(again, cel_file)
        assert result.exit_code == 1
        assert "only the record of node-1 knows 2 calls, between 2026-11-21 " in result.stdout
        assert set(await witness(again, cel_file).unknown_calls()) == set(strangers)
        assert (await reconcile(again, cel_file, "--accept-unidentified", "--dry-run")).exit_code == 0
        assert set(await witness(again, cel_file).unknown_calls()) == set(strangers)
        result = await reconcile(again, cel_file, "--accept-unidentified")
        assert (result.exit_code, "2 calls" in result.stdout) == (0, True)
        assert await witness(again, cel_file).unknown_calls() == {}
        assert again.database.rows("select count(*) from cel_event") == [(3,)], "the evidence is kept"
        await again.begin()
        assert await again.claim("spring"), "the engine may start"


async def test_a_new_database_on_purpose(host, database, cel_file):
    make_campaign(database, "later", numbers(3))
    await host.claim("autumn", most=3)
    cel_file.write_bytes(line("CHAN_START", channel=f"d-{uuid4()}"))
    database.run("delete from event")
    database.run("truncate attempt cascade")
    assert host.ahead() is not None
    result = await reconcile(host, cel_file, "--forget-journal")
    assert result.exit_code == 0
    assert host.ahead() is None
    assert await witness(host, cel_file).unknown_calls() == {}
    (aside,) = host.directory.glob("forgotten-*")
    assert len(list(journal.read_all(aside))) == 3
    assert (await reconcile(host, cel_file, "--forget-journal")).stderr == "there was no journal\n"


async def test_forgetting_goes_alone(host, cel_file):
    for option in ("--dry-run", "--accept-unidentified"):
        result = await reconcile(host, cel_file, "--forget-journal", option)
        assert "goes alone" in str(result.exception)
