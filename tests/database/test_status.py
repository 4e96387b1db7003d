"""`dialer status` and `dialer set` over a real database: what is used of which limit, who dials, what is in doubt."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from click.testing import CliRunner

from dialer.calls.disposition import Disposition
from dialer.campaign.running import Wanted
from dialer.clock import utc_now
from dialer.contacts.contact import ContactChange
from dialer.control_command import set_
from dialer.engine.capacity import Capacity, NodePlan
from dialer.engine.progress import Progress, as_data
from dialer.errors import InvalidInput
from dialer.pacing.decide import Binding
from dialer.pacing.strain import Signs
from dialer.status_command import status_command
from dialer.storage import runs
from dialer.storage.session import async_engine
from tests.support.claiming import ended, make_campaign, numbers, order, route, store_of

CALM = Signs(channel_s=None, audio_s=None, unanswered=0.0, queue=None, lag_s=None)


@pytest.fixture
def settings_file(database, tmp_path):
    path = tmp_path / "dialer.yaml"
    path.write_text(
        f"database: {database.settings.database}\nmac_key_file: {database.settings.mac_key_file}\n"
        "nodes: [{name: node-1, ami: {secret_file: ami.secret}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def ask(settings_file):
    def run(*words: str, command=status_command) -> str:
        done = CliRunner().invoke(command, [*words, "--settings", str(settings_file)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    return run


@pytest.fixture
async def store(database):
    made = store_of(async_engine(database.settings), database, "node-1")
    await made.hold_node()
    yield made
    await made.close()


@pytest.fixture
def report(database, store):
    """A node's engine that says what it does each second, with one trunk whose breaker the test may open."""
    settings = database.settings
    plan = NodePlan(node=settings.nodes[0], trunks=settings.trunks, prefixes={"carrier-a": ()})

    async def say(campaign_id: int, binding: Binding, faults: int = 0) -> None:
        capacity = Capacity(plan, lambda: 100.0)
        for order_id in (uuid4() for _ in range(faults)):
            capacity._trunks["carrier-a"].breaker.sent(order_id, 100.0)
            capacity._trunks["carrier-a"].breaker.fault(order_id, 100.0, "503")
        told = as_data(progress(binding))
        await store.set_limits(5000, 2500, {"carrier-a": 600})
        await store.report({campaign_id: told}, capacity.report(CALM) | {"blocked": None})

    return say


def progress(binding: Binding) -> Progress:
    return Progress(
        at=utc_now(), campaign="c", calls_now=2, unclear=0, answered=200, silent=9, max_concurrent=5,
        calls_per_second=0.2, max_calls_per_second=1.0, launched=2, wave=1, contacts=240, closed=118, held=0, due=100,
        due_now=31, never=0, next_call_at=None, dispositions={}, binding=binding, refusal="", drained=False, judged=100,
        judged_silent=3,
    )  # fmt: skip


def words(line: str) -> str:
    return " ".join(line.split())


def line(said: str, label: str) -> str:
    """The line of that label, without the column's spaces."""
    return next(words(one) for one in said.splitlines() if label in one.split()[:2])


async def test_an_empty_database_has_a_page_too(ask):
    assert "no engine has dialled here yet" in ask()
    assert json.loads(ask("--json"))["campaigns"] == []


async def test_what_is_used_is_counted_from_the_attempts_of_all_engines(database, ask, store, report):
    campaign_id = make_campaign(database, "c", numbers(4))
    claims = (await store.claim(order(database, campaign_id, most=3, routes=[route("carrier-a")]))).claims
    await report(campaign_id, Binding.NODE_RATE)
    # Calls of another node's engine, which says nothing here, count as well.
    database.run("update attempt set node = 'node-2', trunk = 'carrier-b' where id = :id", id=claims[0].attempt.id)
    said = ask()
    assert line(said, "site").startswith("site 3 of 5,000 at once · 0.3/s ·")
    assert line(said, "node-1").startswith("node-1 2 of 2,500 at once · 0.2/s of 50 ·")
    assert line(said, "carrier-a") == "carrier-a 2 of 600 · 0.2/s"
    assert line(said, "node-2") == "! node-2 1 at once · 0.1/s · no engine dials → dialer engine --node node-2"
    assert line(said, "c") == "c running · 3 of 10,000 · 0.3/s of 1 · held back by: rate of node-1"
    assert line(said, "people") == "people 31 due now · 118 of 240 closed"
    data = json.loads(ask("--json"))
    assert data["campaigns"][0]["held_back_by"] == [{"node": "node-1", "binding": "node_rate", "of": "node-1"}]
    assert data["nodes"][0]["trunks"][0]["breaker"] == "closed"
    assert (data["site"]["in_use"], data["site"]["max"]) == (3, 5000)


async def test_verdicts_of_the_last_minutes_are_shown_and_older_ones_only_by_name(database, ask, store, report):
    campaign_id = make_campaign(database, "c", numbers(3))
    claims = (await store.claim(order(database, campaign_id))).claims
    for claim, disposition in zip(claims, (Disposition.BUSY, Disposition.BUSY, Disposition.UNKNOWN), strict=True):
        change = ContactChange(contact_id=claim.contact.id, attempts=1, wave=1, closed_as="exhausted")
        await store.save([ended(claim, disposition)], [change], [])
    database.run(
        "alter table attempt disable trigger user; "
        "update attempt set ended_at = ended_at - interval '6 minutes', slot_until = slot_until - interval '6 minutes' "
        "where disposition = 'unknown'; alter table attempt enable trigger user"
    )
    await report(campaign_id, Binding.NOTHING_DUE)
    assert line(ask(), "last") == "last 5 min busy 2 · silent 3% of 100 (pauses above 5%)"
    named = ask("c")
    assert line(named, "verdicts") == "verdicts busy 2, unknown 1"
    assert line(named, "in") == "in doubt unclear 0, unknown 1 · people held for an operator 0"


async def test_an_open_breaker_is_trouble_that_heals_by_itself(database, ask, store, report):
    campaign_id = make_campaign(database, "c", numbers(1))
    await report(campaign_id, Binding.BREAKER_OPEN, faults=5)
    assert line(ask(), "carrier-a") == "! carrier-a 0 of 600 · 0/s · breaker open for 10 s more: 503: 5 calls in a row"
    trunk = json.loads(ask("--json"))["nodes"][0]["trunks"][0]
    assert (trunk["breaker"], trunk["why"]) == ("open", "503: 5 calls in a row")


async def test_an_old_report_is_never_shown_as_of_now(database, ask, store, report):
    campaign_id = make_campaign(database, "c", numbers(1))
    await report(campaign_id, Binding.NODE_RATE, faults=5)
    database.run("update node_report set reported_at = reported_at - interval '12 seconds'")
    database.run("update campaign_node set progress_at = progress_at - interval '12 seconds'")
    database.run("update engine_lease set taken_at = taken_at - interval '1 minute'")
    said = ask()
    assert "but its last report is 12 s ago" in line(said, "node-1")
    assert line(said, "carrier-a") == "carrier-a 0 of 600 · 0/s"
    assert "held back" not in said
    assert "due now" not in said
    data = json.loads(ask("--json"))
    assert data["nodes"][0]["trunks"][0]["breaker"] is None
    assert (data["campaigns"][0]["due_now"], data["campaigns"][0]["held_back_by"]) == (None, [])


async def test_who_ordered_a_pause_is_said_with_what_is_unclear(database, ask, store):
    campaign_id = make_campaign(database, "c", numbers(2))
    await store.claim(order(database, campaign_id, most=1))
    database.run("update attempt set state = 'unclear'")
    pause = runs.Order(verb="pause", wanted=Wanted.PAUSED, by="bob@host", why="wrong prompt")
    with database.engine.begin() as connection:
        assert runs.change(connection, campaign_id, "t", pause, [Wanted.RUNNING])
        assert not runs.change(connection, campaign_id, "t", pause, [Wanted.RUNNING])
    said = ask("c")
    assert "(bob@host: wrong prompt)" in said
    assert line(said, "open") == "open unclear 1"
    assert "engine " in line(ask(), "node-1")
    assert json.loads(ask("c", "--json"))["campaigns"][0]["open"] == {"unclear": 1}
    assert database.rows(
        "select type, seq, payload->>'by', payload->>'why' from event where subject_type = 'campaign'"
    ) == [("campaign.pause", 2, "bob@host", "wrong prompt")]


async def test_a_campaign_whose_engine_ended_is_trouble_with_what_to_do(database, ask, store):
    make_campaign(database, "c", numbers(1))
    await store.close()
    said = ask()
    assert line(said, "node-1").endswith("was heard of 0 s ago → dialer engine --node node-1")
    assert line(said, "c") == "! c running · 0 of 10,000 · 0/s of 1 · no engine dials it → dialer engine"


async def test_an_order_of_an_engine_that_died_is_not_taken_up_by_the_next_campaigns(database, store):
    ids = [make_campaign(database, name, numbers(1)) for name in ("old", "mine", "new")]
    database.run("update campaign_run set wanted_at = wanted_at - interval '1 day' where campaign_id <> :c", c=ids[2])
    assert [one.campaign.id for one in await store.wanted_runs([ids[1]])] == ids[1:]
    assert [one.campaign.id for one in await store.wanted_runs(None)] == ids


# -- dialer set ------------------------------------------------------------------------------------------------------


async def test_limits_change_while_a_campaign_runs(database, ask):
    campaign_id = make_campaign(database, "c", numbers(1))
    said = ask("c", "max_concurrent=100", "calls_per_second=2.5", "priority=2", "--why", "fair share", command=set_)
    assert said.startswith("c: max_concurrent=100 calls_per_second=2.5 priority=2 share=1\n")
    assert database.rows(
        "select max_concurrent, calls_per_second, priority, share from campaign_run where campaign_id = :c",
        c=campaign_id,
    ) == [(100, 2.5, 2, 1)]
    assert database.rows(
        "select type, payload->>'why', payload->>'max_concurrent', payload->>'share' from event "
        "where subject_type = 'campaign'"
    ) == [("campaign.set", "fair share", "100", "1")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("max_concurrent=0", "write a number that is at least 1"),
        ("max_concurrent=10001", "write a number that is at most 10000"),
        ("max_concurrent=1.5", "must be a whole number"),
        ("calls_per_second=0", "write a number that is more than 0"),
        ("calls_per_second=nan", "must be a number"),
        ("calls_per_second=fast", "must be a number, but is the text 'fast'"),
        ("priority=10", "at most 9"),
        ("share=101", "at most 100"),
        ("ring=20", "`ring` cannot be set: max_concurrent, calls_per_second, priority, share can"),
        ("100", "write it as KEY=VALUE"),
    ],
)
async def test_a_wrong_limit_changes_nothing(database, ask, change, said):
    make_campaign(database, "c", numbers(1))
    before = database.rows("select * from campaign_run")
    with pytest.raises(InvalidInput) as refused:
        ask("c", change, command=set_)
    assert said in str(refused.value)
    assert database.rows("select * from campaign_run") == before


async def test_an_idle_campaign_has_its_limits_in_its_file(database, ask):
    make_campaign(database, "c", numbers(1))
    database.run("update campaign_run set wanted = 'idle'")
    with pytest.raises(InvalidInput, match="c is idle: change its file"):
        ask("c", "share=2", command=set_)


async def test_a_limit_named_twice_is_refused(database, ask):
    make_campaign(database, "c", numbers(1))
    with pytest.raises(InvalidInput, match="`share` stands here twice"):
        ask("c", "share=2", "share=3", command=set_)
