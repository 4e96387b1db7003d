"""A database restored from an older backup: the journal finds what it forgot, and brings it up to where it was."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.clock import utc_now
from dialer.contacts.contact import Claim
from dialer.storage import attempts, journal, restore
from dialer.storage.journal import Journal
from dialer.storage.replay import Reconciled
from tests.support.claiming import SHOWN, make_campaign, numbers
from tests.support.restoring import Engine, backup_of, content, new_host, verdict

D = Disposition


@pytest.fixture
async def host(database, tmp_path):
    async with new_host(database, tmp_path) as made:
        yield made


async def some_hours(host: Engine, seed: int) -> list[Claim]:
    """Waves of calls of both campaigns, with every kind of verdict; the claims that are still open at the end."""
    chance = random.Random(seed)
    live: list[Claim] = []
    for _ in range(25):
        live += await host.claim(chance.choice(("autumn", "spring")), most=chance.randint(1, 4))
        chance.shuffle(live)
        for _ in range(min(len(live), chance.randint(0, 5))):
            claim, disposition = live.pop(), chance.choice(list(D))
            if disposition is D.COMPLETED:
                await host.talk(claim)
            await host.end(claim, disposition, again_now=True)
    return live


@pytest.mark.parametrize("seed", range(3))
async def test_a_restored_database_is_brought_up_to_the_lost_one(host, tmp_path, seed, monkeypatch):
    monkeypatch.setattr(restore, "BATCH", (500, 1, 7)[seed % 3])
    live = await some_hours(host, seed)
    assert host.ahead() is None
    async with backup_of(host, tmp_path) as again:
        for claim in live[::2]:
            await host.end(claim, D.BUSY)
        still_open = {claim.attempt.id for claim in live[1::2] + await some_hours(host, seed + 100)}
        assert again.ahead() is not None
        before = content(again.database)
        await again.reconcile(dry_run=True)
        assert content(again.database) == before
        report = await again.reconcile()
        made_open = still_open - {row[0] for row in before[0]}
        assert (report.open, report.unmatched, report.in_the_way) == (len(made_open), {}, [])
        assert report.attempts > 5
        lost, found = content(host.database), content(again.database)
        # Whether Asterisk took the order of an open attempt, the journal does not say.
        lost[0] = [(*row[:7], "unclear", *row[8:]) if row[0] in made_open else row for row in lost[0]]
        assert found == lost
        assert again.ahead() is None
        assert await again.reconcile() == Reconciled()
        assert content(again.database) == found


async def test_whoever_was_called_is_not_due_again(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        for claim in await host.claim("autumn", most=10):
            await host.end(claim, D.BUSY)
        await host.claim("spring", most=10)
        await again.reconcile()
        await again.begin()
        due = {one.attempt.number for one in await again.claim("autumn", most=99)}
        called = {number for (number,) in host.database.rows("select number from attempt")}
        assert due == set(numbers(30)) - called


async def test_a_verdict_alone_is_missed_too(host, tmp_path):
    (claim,) = await host.claim("autumn")
    async with backup_of(host, tmp_path) as again:
        await host.end(claim, D.COMPLETED)
        assert (again.ahead().attempts, again.ahead().verdicts) == (0, 1)
        assert (await again.reconcile()).verdicts == 1
        assert content(again.database) == content(host.database)
        assert again.database.rows(
            "select payload->>'caller_id', payload->>'disposition' from event where type = 'attempt.restored'"
        ) == [(SHOWN, "completed")]
        told = "select payload->'dial', payload->'number_dial', payload->>'hung_up_at' from event \
                where type = 'attempt.restored'"
        ((hung_up_at,),) = host.database.rows("select hung_up_at from attempt")
        assert again.database.rows(told) == [(1, 1, hung_up_at.isoformat())]


async def test_a_retry_avoids_the_same_trunks_as_before(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        await host.end(claim, D.CONGESTION, again_now=True)
        await again.reconcile()
        failed = claim.attempt.trunk
        avoided = "select avoid_trunks from contact where dials > 0"
        assert again.database.rows(avoided) == host.database.rows(avoided) == [([failed],)]
        again.database.run("update contact set next_attempt_at = null, next_number = null where dials = 0")
        await again.begin()
        (following,) = await again.claim("autumn")
        assert (following.attempt.number, following.attempt.trunk == failed) == (claim.attempt.number, False)


async def test_a_call_without_a_verdict_is_left_to_recovery(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        report = await again.reconcile()
        assert (report.attempts, report.open, report.verdicts, report.contacts) == (1, 1, 0, 1)
        (left,) = await attempts.open_attempts(again.engine, "node-1")
        assert (left.claim.attempt.id, left.claim.attempt.state) == (claim.attempt.id, State.UNCLEAR)
        assert left.claim.contact.person_key == claim.contact.person_key
        assert again.ahead() is None


async def test_calls_of_a_lost_revision_stand_under_the_current_one_and_are_counted(host, tmp_path):
    revision = (
        "with r as (insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
        "select campaign_id, 2, 'y', document, '/', now() from revision where campaign_id = 1 returning id), "
        "i as (insert into open_interval select r.id, zones, opens_at, closes_at from open_interval, r "
        "where revision_id = 1), "
        "w as (update campaign_run set revision_id = r.id from r where campaign_run.campaign_id = 1) "
        "update campaign set revision_id = r.id from r where campaign.id = 1"
    )
    async with backup_of(host, tmp_path) as again, backup_of(host, tmp_path) as imported_first:
        host.database.run(revision)
        (claim,) = await host.claim("autumn")
        await host.talk(claim)
        assert (await again.reconcile()).other_revision == 1
        current = (
            "select count(*) from answer join attempt a on a.id = attempt_id join campaign p on p.id = campaign_id "
            "where answer.revision_id = a.revision_id and p.revision_id = a.revision_id"
        )
        assert again.database.rows(current) == [(1,)]
        imported_first.database.run(revision)
        assert (await imported_first.reconcile()).other_revision == 0
        assert imported_first.database.rows(current) == [(1,)]


async def test_what_the_backup_wants_to_run_is_paused(host, tmp_path):
    """It may have been stopped since: nobody knows."""
    host.database.run(
        "update campaign_run set wanted_by = 'x', wanted = case when campaign_id = "
        "(select id from campaign where name = 'spring') then 'draining' else wanted end"
    )
    async with backup_of(host, tmp_path) as again:
        assert (await again.reconcile()).paused == []
        await host.claim("autumn")
        assert (await again.reconcile()).paused == ["autumn"]
        wanted = "select name, wanted, wanted_by from campaign_run join campaign on id = campaign_id order by name"
        assert again.database.rows(wanted) == [
            ("autumn", "paused", "dialer restore-reconcile"), ("spring", "draining", "x"),
        ]  # fmt: skip
        again.database.run("update campaign_run set wanted = 'running'")
        assert (await again.reconcile()).paused == [], "only what is put in says that something was lost"


async def test_people_whom_the_database_lacks_are_named_and_found_once_they_are_imported(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        make_campaign(host.database, "later", numbers(5))
        for claim in await host.claim("later", most=5):
            await host.end(claim, D.NO_ANSWER)
        (own,) = await host.claim("autumn")
        report = await again.reconcile()
        assert {name: len(keys) for name, keys in report.unmatched.items()} == {"later": 5}
        assert report.attempts == 1
        assert again.ahead() is not None, "the engine must not start"
        again.database.run("insert into campaign (tenant_id, name, created_at) values ('t', 'between', now())")
        make_campaign(again.database, "later", numbers(5))
        report = await again.reconcile()
        assert (report.attempts, report.unmatched, again.ahead()) == (5, {}, None)
        assert content(again.database)[1] == content(host.database)[1]
        assert own.attempt.id in {row[0] for row in content(again.database)[0]}


async def test_lines_that_a_crash_cut_are_passed_over(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        await host.claim("autumn", most=2)
        host.journal.close()
        (path,) = journal.files(host.directory)
        path.write_bytes(path.read_bytes() + b'{"claimed":{"at":"2026-')
        await host.claim("autumn", most=2)
        assert (await again.reconcile()).attempts == 4


async def test_a_verdict_lost_in_a_power_cut_does_not_bar_the_next_call_of_the_number(host, tmp_path):
    """Verdicts are not fsynced. That the number was claimed again proves that the call before was over."""
    (first,) = await host.claim("autumn")
    host.database.run("update contact set next_attempt_at = null, next_number = null where next_number <> :n",
                      n=first.attempt.number)  # fmt: skip
    async with backup_of(host, tmp_path) as again:
        attempt, change = verdict(first, D.BUSY)
        change = replace(change, next_attempt_at=utc_now())
        await attempts.save(host.engine, host.node, host.epoch, [attempt], [change], [], utc_now())
        (second,) = await host.claim("autumn")
        report = await again.reconcile()
        assert (report.attempts, report.verdicts, report.in_the_way) == (1, 1, [])
        assert again.database.rows("select id, state, disposition from attempt order by submitting_at") == [
            (first.attempt.id, "ended", "unknown"), (second.attempt.id, "unclear", None),
        ]  # fmt: skip
        assert again.database.rows("select next_attempt_at, on_hold from contact where dials > 0") == [(None, False)]
        assert again.ahead() is None


async def test_an_open_call_of_another_host_in_the_way_is_told_and_not_ended(host, tmp_path):
    other = Engine(host.database, host.engine, tmp_path / "other-journal", "node-2")
    await other.begin()
    (first,) = await other.claim("spring")
    async with backup_of(host, tmp_path) as again:
        await other.end(first, D.COMPLETED)
        host.database.run("update contact set next_attempt_at = null, next_number = null where next_number <> :n",
                          n=first.attempt.number)  # fmt: skip
        (second,) = await host.claim("autumn")
        assert second.attempt.number == first.attempt.number
        assert (await again.reconcile()).in_the_way == ["node-2"]
        assert again.ahead() is not None
        there = Engine(again.database, again.engine, other.directory, "node-2", other.epoch)
        assert (await there.reconcile()).verdicts == 1
        report = await again.reconcile()
        assert (report.attempts, report.in_the_way, again.ahead()) == (1, [], None)


async def test_a_contact_is_left_as_its_latest_call_left_it_whichever_host_is_first(host, tmp_path):
    other = Engine(host.database, host.engine, tmp_path / "other-journal", "node-2")
    await other.begin()
    async with backup_of(host, tmp_path) as again:
        for engine in (host, other):
            (claim,) = await engine.claim("autumn")
            await engine.end(claim, D.BUSY, again_now=True)
            host.database.run("update contact set next_attempt_at = now() - interval '1 day' "
                              "where next_attempt_at is not null and dials > 0")  # fmt: skip
        there = Engine(again.database, again.engine, other.directory, "node-2", other.epoch)
        await there.reconcile()
        await again.reconcile()
        ((attempts_, wave, dials),) = again.database.rows("select attempts, wave, dials from contact where dials > 0")
        assert (attempts_, wave, dials) == (2, 3, 2)


async def test_no_epoch_is_given_out_twice(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        for _ in range(3):
            await host.begin()
        frozen = host.epoch
        await host.claim("autumn")
        await again.reconcile()
        await again.begin()
        assert again.epoch > frozen


async def test_a_claim_that_was_never_noted_was_never_sent_and_does_not_bar_the_start(host, tmp_path):
    async with backup_of(host, tmp_path) as again:
        (claim,) = await host.claim("autumn")
        host.journal.close()
        journal.files(host.directory)[0].unlink()
        await host.end(claim, D.NOT_PLACED)
        assert again.ahead() is None
        assert await again.reconcile() == Reconciled()


async def test_a_claim_before_the_tail_is_found_by_its_verdict(host, tmp_path, monkeypatch):
    monkeypatch.setattr(restore, "TAIL", 2)
    async with backup_of(host, tmp_path) as again:
        for claim in await host.claim("autumn", most=4):
            await host.end(claim, D.BUSY)
        assert again.ahead().attempts == 2


async def test_looking_for_lost_calls_is_quick(host):
    """It stands before every start."""
    (claim,) = await host.claim("autumn")
    lines = [replace(claim, attempt=replace(claim.attempt, trunk=f"a{number}")) for number in range(3000)]
    for day in range(14):
        at = utc_now() - timedelta(days=day)
        Journal(host.directory, host.node, lambda at=at: at).claimed("autumn", lines)
    began = utc_now()
    assert host.ahead() is None
    assert (utc_now() - began).total_seconds() < 5
