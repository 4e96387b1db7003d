"""`dialer status` over a real database: who dials, what is wanted and by whom, what is open and unclear."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from dialer.campaign.running import Wanted
from dialer.status_command import status_command
from dialer.storage import runs
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore
from tests.support import claiming
from tests.support.claiming import make_campaign, numbers


@pytest.fixture
def ask(database, tmp_path):
    settings = tmp_path / "dialer.yaml"
    settings.write_text(
        f"database: {database.settings.database}\nmac_key_file: {database.settings.mac_key_file}\n"
        "nodes: [{name: node-1, ami: {secret_file: ami.secret}}]\n"
        "trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1}]\n",
        encoding="utf-8",
    )

    def run(*words: str) -> str:
        done = CliRunner().invoke(status_command, [*words, "--settings", str(settings)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    return run


async def test_status_says_who_dials_what_is_wanted_and_what_is_unclear(database, ask):
    assert ask() == "no engine has dialled here yet\n"
    campaign_id = make_campaign(database, "c", numbers(2))
    engine = async_engine(database.settings)
    store = PostgresStore(engine, "node-1", database.settings.spool_dir, database.settings.journal_dir)
    await store.hold_node()
    await store.claim(claiming.order(database, campaign_id, most=1))
    database.run("update attempt set state = 'unclear'")
    order = runs.Order(verb="pause", wanted=Wanted.PAUSED, by="bob@host", why="wrong prompt")
    with database.engine.begin() as connection:
        assert runs.change(connection, campaign_id, "t", order, [Wanted.RUNNING])
        assert not runs.change(connection, campaign_id, "t", order, [Wanted.RUNNING])
    said = ask("c")
    assert "paused since" in said
    assert "(bob@host: wrong prompt)" in said
    assert "open: 1 unclear" in said
    assert "unclear: 1, unknown: 0" in said
    assert "engine of node-1: dials since" in ask()
    data = json.loads(ask("c", "--json"))
    assert data["engines"][0]["live"] is True
    assert data["campaigns"][0]["open"] == {"unclear": 1}
    assert database.rows(
        "select type, seq, payload->>'by', payload->>'why' from event where subject_type = 'campaign'"
    ) == [("campaign.pause", 2, "bob@host", "wrong prompt")]
    await store.close()
    assert "does not dial now" in ask()


async def test_an_order_of_an_engine_that_died_is_not_taken_up_by_the_next_campaigns(database):
    ids = [make_campaign(database, name, numbers(1)) for name in ("old", "mine", "new")]
    engine = async_engine(database.settings)
    store = PostgresStore(engine, "node-1", database.settings.spool_dir, database.settings.journal_dir)

    def want(campaign_id):
        database.run("update campaign_run set wanted_at = clock_timestamp() where campaign_id = :c", c=campaign_id)

    want(ids[0])
    want(ids[1])
    await store.hold_node()
    want(ids[2])
    assert [one.campaign.id for one in await store.wanted_runs([ids[1]])] == ids[1:]
    assert [one.campaign.id for one in await store.wanted_runs(None)] == ids
    await store.close()
