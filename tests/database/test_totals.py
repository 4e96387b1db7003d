"""Whether a campaign still has somebody to call: also when their turn comes behind the days that are written."""

from __future__ import annotations

import pytest

from dialer.storage.session import async_engine
from tests.support.claiming import make_campaign, numbers, store_of

pytestmark = pytest.mark.database


@pytest.mark.parametrize(
    ("due_in_days", "calendar_ends_in_days", "never"),
    [
        (0, 14, 0),
        (12, 14, 0),
        # A retry in a month, a cap of thirty days: nobody can say yet at which hour, but it will come.
        (30, 14, 0),
        # The deadline comes first.
        (30, 5, 2),
        (6, 5, 2),
        # A long holiday: what is written of the days after it says that it will end.
        (0, 40, 0),
        (60, 40, 0),
    ],
)
async def test_who_will_be_called_some_time_is_waited_for(database, due_in_days, calendar_ends_in_days, never):
    campaign_id = make_campaign(database, "c", numbers(2))
    database.run("update contact set next_attempt_at = now() + make_interval(days => :days)", days=due_in_days)
    database.run("delete from open_interval")
    database.run(
        "insert into open_interval select campaign.revision_id, 'Europe/Warsaw', ends - interval '6 hours', ends "
        "from campaign, (select now() + make_interval(days => :days) as ends) as calendar",
        days=calendar_ends_in_days,
    )
    engine = async_engine(database.settings, pool_size=1)
    store = store_of(engine, database, "node-1")
    ((revision_id,),) = database.rows("select revision_id from campaign where id = :id", id=campaign_id)
    totals = await store.totals(campaign_id, revision_id, [""])
    await store.close()
    await engine.dispose()
    assert (totals.due, totals.never) == (2, never)
    assert (totals.next_call_at is None) is bool(never)
