"""A campaign file becomes a numbered revision, and a calendar that says when its people may be called."""

from datetime import UTC, datetime, timedelta
from textwrap import dedent

import pytest

from dialer.campaign.load import load_campaign
from dialer.campaign.model import Campaign
from dialer.errors import InvalidInput
from dialer.storage import campaigns
from dialer.storage.prepare import prepare

MONDAY = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, numbers: [mobile], time_zone: tz, types: [mobile, fixed, satellite]}
    calling: {window: {mon-fri: "09:00-17:00"}}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {zebra: {say: "One."}, a: {say: "Two."}}
    """
)


@pytest.fixture
def prepared(database, tmp_path):
    """Registers a file as the campaign, with one person in Warsaw and one in New York, and one nowhere."""
    (tmp_path / "people.csv").write_text(
        "mobile,tz\n+48501100101,\n+12125550123,America/New_York\n+870773111632,\n", encoding="utf-8"
    )

    def run(content: str = CAMPAIGN, now: datetime = MONDAY):
        path = tmp_path / "campaign.yaml"
        path.write_text(content, encoding="utf-8")
        return prepare(database.engine, load_campaign(path), now)

    return run


def test_a_changed_file_is_the_next_revision_and_an_unchanged_one_is_not(database, prepared):
    first = prepared()
    assert prepared().revision_id == first.revision_id
    changed = prepared(CAMPAIGN + "title: Another\n")
    assert changed.campaign_id == first.campaign_id
    assert changed.revision_id != first.revision_id
    assert database.rows("select number from revision order by id") == [(1,), (2,)]
    assert database.rows("select revision_id from campaign") == [(changed.revision_id,)]
    assert prepared().revision_id not in (first.revision_id, changed.revision_id), "back to the first text: a third one"


def test_the_same_file_with_another_pack_is_another_revision(database, prepared, tmp_path):
    ours, content = tmp_path / "ours.yaml", CAMPAIGN.replace('"}}', '"}, rules: [ours.yaml]}', 1)
    ours.write_text('pack: ours\nwindow: {mon: "10:00-11:00"}\n', encoding="utf-8")
    first = prepared(content)
    assert prepared(content).revision_id == first.revision_id
    ours.write_text('pack: ours\nwindow: {tue: "10:00-11:00"}\n', encoding="utf-8")
    second = prepared(content)
    days = "select distinct extract(isodow from opens_at)::int from open_interval where revision_id = :id"
    assert database.rows(days, id=second.revision_id) == [(2,)]
    with database.engine.begin() as connection:
        campaigns.refresh_calendar(connection, first.revision_id, MONDAY)
    assert database.rows(days, id=first.revision_id) == [(1,)], "the first keeps the pack that it was accepted with"


def test_the_stored_document_is_the_same_campaign_in_the_same_order(database, prepared, tmp_path):
    prepared()
    with database.engine.connect() as connection:
        stored = campaigns.by_name(connection, "health-check")
    assert stored is not None
    again = Campaign.model_validate(stored.document)
    assert again == load_campaign(tmp_path / "campaign.yaml").campaign
    assert list(again.flow) == ["zebra", "a"]


def test_a_name_belongs_to_one_tenant(prepared):
    prepared()
    with pytest.raises(InvalidInput, match="tenant 'default'"):
        prepared(CAMPAIGN + "tenant: north\n")


def test_an_unknown_campaign_is_told_with_the_known_ones(database, prepared):
    prepared()
    with database.engine.connect() as connection, pytest.raises(InvalidInput, match="Known are: health-check"):
        campaigns.require(connection, "helth-check")


def test_the_calendar_knows_each_set_of_zones_and_no_unknown_one(database, prepared):
    prepared()
    first_days = (
        "select zones, min(opens_at), min(closes_at), count(*) from open_interval group by zones order by zones"
    )
    assert database.rows(first_days) == [
        ("America/New_York", MONDAY + timedelta(hours=14), MONDAY + timedelta(hours=22), 11),
        ("Europe/Warsaw", MONDAY + timedelta(hours=8), MONDAY + timedelta(hours=16), 11),
    ], "ten days, and the Monday behind the weekend in which the fortnight ends"


def test_refreshing_the_calendar_is_repeatable_and_moves_on(database, prepared):
    done = prepared()
    rows = "select zones, opens_at, closes_at from open_interval order by 1, 2"
    before = database.rows(rows)
    with database.engine.begin() as connection:
        campaigns.refresh_calendar(connection, done.revision_id, MONDAY)
    assert database.rows(rows) == before
    with database.engine.begin() as connection:
        campaigns.refresh_calendar(connection, done.revision_id, MONDAY + timedelta(days=7, hours=10))
    after = database.rows(rows)
    now = MONDAY + timedelta(days=7, hours=10)
    assert min(row[1] for row in after) == now, "what is open now starts now, and the past is gone"
    assert max(row[2] for row in after if row[0] == "Europe/Warsaw") == now + timedelta(days=14)


def test_people_who_come_while_a_run_goes_by_an_older_revision_are_in_its_calendar(database, prepared, tmp_path):
    first = prepared()
    database.run(
        "insert into campaign_run (campaign_id, revision_id, wanted, wanted_at, wanted_by, orders, max_concurrent, "
        "calls_per_second) values (:c, :r, 'running', now(), 'ann@host', 1, 10, 5)",
        c=first.campaign_id, r=first.revision_id,
    )  # fmt: skip
    (tmp_path / "people.csv").write_text("mobile,tz\n+48501100101,\n+48501100102,Asia/Tokyo\n", encoding="utf-8")
    path = tmp_path / "campaign.yaml"
    path.write_text(CAMPAIGN.replace("09:00-17:00", "10:00-11:00"), encoding="utf-8")
    second = prepare(database.engine, load_campaign(path), MONDAY)
    assert second.revision_id != first.revision_id
    in_tokyo = (
        "select revision_id, extract(hour from min(opens_at) at time zone 'Asia/Tokyo')::int "
        "from open_interval where zones = 'Asia/Tokyo' group by 1 order by 1"
    )
    assert database.rows(in_tokyo) == [(first.revision_id, 9), (second.revision_id, 10)]


def test_another_window_leaves_no_open_hour_of_the_old_one(database, prepared):
    prepared()
    done = prepared(CAMPAIGN.replace("09:00-17:00", "10:00-11:00"))
    opens = database.rows(
        "select distinct extract(hour from opens_at at time zone 'Europe/Warsaw')::int "
        "from open_interval where revision_id = :id and zones = 'Europe/Warsaw'",
        id=done.revision_id,
    )
    assert opens == [(10,)]
