"""A changed file is planned, accepted under a run, and taken back; everything of it stands in the audit."""

from __future__ import annotations

import json
from textwrap import dedent

import pytest
from click.testing import CliRunner

from dialer.campaign.load import load_campaign
from dialer.campaign.running import Overrides, Wanted, running
from dialer.clock import utc_now
from dialer.errors import InvalidInput, RefusedBySafety
from dialer.plan_command import apply_command, plan_command, rollback_command
from dialer.run_command import Siblings
from dialer.storage import campaigns, runs
from dialer.storage.prepare import prepare
from dialer.storage.session import async_engine
from tests.support.claiming import order, route, store_of

CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, numbers: [mobile]}
    calling: {window: any}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello."}}
    """
)
SLOWER = CAMPAIGN.replace("calls_per_second: 5", "calls_per_second: 2").replace("Hello.", "Good day.")
SHUT = CAMPAIGN.replace("{window: any}", "{window: any, time_zone: Europe/Warsaw, deadline: 2020-01-01 20:00}")


@pytest.fixture
def settings_file(database, tmp_path):
    path = tmp_path / "dialer.yaml"
    path.write_text(
        f"database: {database.settings.database}\nmac_key_file: {database.settings.mac_key_file}\n"
        'caller_ids: ["+48221234567"]\n'
        "nodes: [{name: node-1, ami: {secret_file: ami.secret}}, {name: node-2, ami: {secret_file: ami.secret}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1},"
        " {name: carrier-b, node: node-2, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def prompts() -> list[str]:
    """The first sentence of each flow whose prompts were made."""
    return []


@pytest.fixture
def do(settings_file, prompts):
    def build(loaded, settings, progress) -> None:
        prompts.append(loaded.campaign.flow["hello"].say)

    siblings = Siblings(build_prompts=build, workers=None, look_at_workers=None, nightly=None)
    commands = {"plan": plan_command, "apply": apply_command(siblings), "rollback": rollback_command(siblings)}

    def run(verb: str, *words: str) -> str:
        done = CliRunner().invoke(
            commands[verb], [*words, "--settings", str(settings_file)], catch_exceptions=False
        )  # fmt: skip
        assert done.exit_code == 0
        return done.stdout

    return run


@pytest.fixture
def file(database, tmp_path):
    """The campaign's file, registered with its people; `write` changes it."""
    (tmp_path / "people.csv").write_text("mobile\n+48501100101\n+48501100102\n+48501100103\n", encoding="utf-8")
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN, encoding="utf-8")
    prepare(database.engine, load_campaign(path), utc_now())
    return path


@pytest.fixture
def campaign_id(database, file) -> int:
    """It runs, with a ceiling that an operator has set."""
    with database.engine.begin() as connection:
        stored = campaigns.require(connection, "health-check")
        limits = Overrides(max_concurrent=7)
        loaded = load_campaign(file)
        begun = running(loaded.campaign, stored.campaign_id, stored.revision_id, limits)
        runs.begin(connection, begun, {"node-1": 1}, "ann@host")
    return stored.campaign_id


def run_of(database):
    return database.rows(
        "select r.number, w.wanted, w.max_concurrent, w.calls_per_second from campaign_run w "
        "join revision r on r.id = w.revision_id"
    )  # fmt: skip


def test_a_plan_says_what_would_change_and_stores_nothing(database, do, file, campaign_id):
    file.write_text(SHUT, encoding="utf-8")
    page = do("plan", str(file))
    assert "calling.deadline: (not there) -> 2020-01-01 20:00" in page
    assert "3  leave: no hour or no trunk is left for them" in page
    assert "after   Nobody is left to call." in page
    data = json.loads(do("plan", str(file), "--json"))
    assert data["people"] == {"leaves": 3}
    assert data["forecast"]["after"] is None
    assert data["forecast"]["before"]["done_at"]
    assert database.rows("select count(*) from revision") == [(1,)]
    assert run_of(database) == [(1, "running", 7, 5)]


def test_the_same_file_plans_nothing(do, file):
    assert "nothing would change" in do("plan", str(file))


def test_an_applied_file_is_what_a_run_goes_on_by(database, do, file, campaign_id, prompts):
    file.write_text(SLOWER, encoding="utf-8")
    assert "goes on by revision 2" in do("apply", str(file), "--note", "the clinic asked for it")
    assert prompts == ["Good day."]
    assert run_of(database) == [(2, "running", 7, 2)], "the ceiling that an operator set stays, the rate is the file's"
    assert database.rows("select number, note, accepted_by is not null from revision order by 1") == [
        (1, None, True), (2, "the clinic asked for it", True),
    ]  # fmt: skip
    assert ("revision.accepted", "the clinic asked for it", 2) in database.rows(
        "select what, why, (detail ->> 'revision')::int from audit"
    )
    assert ("campaign.revise", "the clinic asked for it", 2) in database.rows(
        "select what, why, (detail ->> 'revision')::int from audit"
    )
    assert database.rows("select payload ->> 'revision', payload ->> 'wanted' from event "
                         "where type = 'campaign.revise'") == [("2", "running")]  # fmt: skip
    assert database.rows("select count(*) > 0 from open_interval o join revision r on r.id = o.revision_id "
                         "where r.number = 2") == [(True,)]  # fmt: skip
    assert "this very file" in do("apply", str(file), "--note", "again")


async def test_claims_by_the_old_revision_are_refused_from_the_commit_on(database, do, file, campaign_id):
    store = store_of(async_engine(database.settings), database, "node-1")
    try:
        await store.hold_node()
        routes = (route("carrier-a"),)
        old = order(database, campaign_id, most=1, routes=routes)
        (first,) = (await store.claim(old)).claims
        file.write_text(SLOWER, encoding="utf-8")
        do("apply", str(file), "--note", "n")
        assert (await store.claim(old)).claims == []
        new = order(database, campaign_id, most=5, routes=routes)
        assert new.revision_id != old.revision_id
        assert len((await store.claim(new)).claims) == 2
        assert {attempt.revision_id for attempt in (first.attempt,)} == {old.revision_id}
        ((wanted, revision),) = database.rows("select wanted, revision_id from campaign_run")
        assert (wanted, revision) == (Wanted.RUNNING.value, new.revision_id)
    finally:
        await store.close()


def test_a_rollback_returns_as_a_revision_of_its_own(database, do, file, campaign_id, prompts):
    file.write_text(SLOWER, encoding="utf-8")
    do("apply", str(file), "--note", "slower")
    assert "goes on by revision 3" in do("rollback", "health-check", "--note", "too slow")
    assert prompts == ["Good day.", "Hello."]
    assert run_of(database) == [(3, "running", 7, 5)]
    assert database.rows("select note from revision where number = 3") == [("back to revision 1: too slow",)]
    listed = do("rollback", "health-check", "--list").splitlines()
    assert [line.split()[:2] for line in listed] == [
        ["*", "3"],
        ["2", listed[1].split()[1]],
        ["1", listed[2].split()[1]],
    ]
    do("rollback", "health-check")
    assert run_of(database) == [(4, "running", 7, 2)], "once more is where it was"
    do("rollback", "health-check", "--to", "1")
    assert run_of(database) == [(5, "running", 7, 5)]


def test_there_may_be_nothing_to_go_back_to(do, file):
    with pytest.raises(InvalidInput, match="only ever had this one"):
        do("rollback", "health-check")
    with pytest.raises(InvalidInput, match="no revision 9"):
        do("rollback", "health-check", "--to", "9")


def test_an_idle_campaign_accepts_a_file_for_its_next_run(database, do, file):
    file.write_text(SLOWER, encoding="utf-8")
    assert "`dialer run` calls by it" in do("apply", str(file), "--note", "n")
    assert run_of(database) == []


def test_other_nodes_need_an_order_to_run(database, do, file, campaign_id):
    file.write_text(CAMPAIGN.replace("carrier-a", "carrier-b"), encoding="utf-8")
    with pytest.raises(RefusedBySafety, match="drain it"):
        do("apply", str(file), "--note", "n")
    assert database.rows("select count(*) from revision") == [(1,)]


def test_people_are_read_anew_only_when_the_file_reads_them_in_another_way(database, do, file, tmp_path):
    rows = "".join(f"+4850110010{n},Jan\n" for n in range(1, 5))
    (tmp_path / "people.csv").write_text(f"mobile,name\n{rows}", encoding="utf-8")
    file.write_text(SLOWER, encoding="utf-8")
    do("apply", str(file), "--note", "n")
    assert database.rows("select count(*) from contact") == [(3,)]
    file.write_text(SLOWER.replace("numbers: [mobile]", "numbers: [mobile], fields: [name]"), encoding="utf-8")
    do("apply", str(file), "--note", "n")
    assert database.rows("select fields ->> 'name' from contact where '+48501100104' = any(numbers)") == [("Jan",)]


def test_a_new_campaign_has_no_plan(do, file):
    file.write_text(CAMPAIGN.replace("health-check", "another"), encoding="utf-8")
    with pytest.raises(InvalidInput, match="is new"):
        do("plan", str(file))


def test_orders_stand_in_the_audit(database, file, campaign_id):
    with database.engine.begin() as connection:
        pause = runs.Order(verb="pause", wanted=Wanted.PAUSED, by="bob@host", why="lunch")
        runs.change(connection, campaign_id, "default", pause, [Wanted.RUNNING])
        runs.set_limits(connection, campaign_id, "default", Overrides(calls_per_second=1), "bob@host", "slowly")
    assert database.rows("select who, what, why from audit where what like 'campaign.%' order by id") == [
        ("ann@host", "campaign.run", None), ("bob@host", "campaign.pause", "lunch"),
        ("bob@host", "campaign.set", "slowly"),
    ]  # fmt: skip
