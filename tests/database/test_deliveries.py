"""A daily base in a folder: taken when complete, once, the newest only; what is broken is put aside whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from dialer.campaign.load import load_campaign
from dialer.errors import InvalidInput
from dialer.storage import campaigns
from dialer.storage.deliveries import Deliveries, Delivery, watched
from dialer.storage.folder import RESTS_S
from dialer.storage.prepare import prepare

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: "base/base-{date}.csv", person: id, numbers: [mobile], region: PL, fields: [name]}
    calling: {window: {mon-fri: "09:00-20:00"}}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello."}}
    """
)
HEADER = "id,mobile,name\n"
JAN, EWA = "1,501100101,Jan\n", "2,+12125550123,Ewa\n"


class Folder:
    """The folder of a running campaign, and an engine's looks into it."""

    def __init__(self, database, path: Path) -> None:
        self.path = path
        self.database = database
        self.deliveries = Deliveries(database.engine, path / "rejects", "engine@host")
        self.seconds = 0.0

    def put(self, name: str, rows: str, *, done: bool = False) -> Path:
        path = self.path / "base" / name
        path.write_text(HEADER + rows, encoding="utf-8")
        if done:
            (self.path / "base" / f"{name}.done").touch()
        return path

    def look(self, after_s: float = 0) -> list[Delivery]:
        self.seconds += after_s
        return self.deliveries.look(NOW + timedelta(seconds=self.seconds), self.seconds)

    def people(self) -> list[tuple[object, ...]]:
        return self.database.rows(
            "select person_key, closed_as from contact join person on person.id = person_id order by 1"
        )


@pytest.fixture
def folder(database, tmp_path) -> Folder:
    (tmp_path / "base").mkdir()
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
    made = prepare(database.engine, load_campaign(tmp_path / "campaign.yaml"), NOW)
    assert (made.import_summary, made.in_words) == (None, "no delivery of the base has come yet")
    database.run(
        "insert into campaign_run (campaign_id, revision_id, wanted, wanted_at, wanted_by, orders, max_concurrent, "
        "calls_per_second) values (:c, :r, 'running', now(), 'ann@host', 1, 10, 5)",
        c=made.campaign_id, r=made.revision_id,
    )  # fmt: skip
    return Folder(database, tmp_path)


def test_a_file_is_taken_when_nobody_writes_to_it(folder):
    path = folder.put("base-2026-03-02.csv", JAN)
    assert folder.look() == []
    assert folder.look(RESTS_S - 1) == []
    path.write_text(HEADER + JAN + EWA, encoding="utf-8")
    assert folder.look(2) == []
    (delivery,) = folder.look(RESTS_S)
    assert (delivery.summary.counts.accepted, delivery.problem) == (2, None)
    assert folder.look(RESTS_S) == []
    zones = folder.database.rows("select distinct zones from open_interval order by 1")
    assert zones == [("America/New_York",), ("Europe/Warsaw",)], "who is new can be called"


def test_a_done_file_says_so_at_once(folder):
    folder.put("base-2026-03-02.csv", JAN, done=True)
    assert [one.summary.counts.accepted for one in folder.look()] == [1]


def test_each_delivery_is_merged_and_the_same_one_changes_nothing(folder):
    folder.put("base-2026-03-02.csv", JAN + EWA, done=True)
    folder.look()
    folder.put("base-2026-03-03.csv", EWA, done=True)
    (delivery,) = folder.look(60)
    assert (delivery.summary.counts.unchanged, delivery.summary.counts.withdrawn) == (1, 1)
    assert folder.people() == [("1", "withdrawn"), ("2", None)]
    folder.put("base-2026-03-04.csv", JAN + EWA, done=True)
    assert folder.look(60) == [], "these bytes came on another day: that a base goes back is said by a new file"
    folder.put("base-2026-03-05.csv", EWA + JAN, done=True)
    (delivery,) = folder.look(60)
    assert (delivery.summary.counts.changed, delivery.summary.counts.unchanged) == (1, 1)
    assert folder.people() == [("1", None), ("2", None)]


def test_another_engine_and_one_that_was_started_again_take_nothing_twice(folder):
    folder.put("base-2026-03-02.csv", JAN, done=True)
    assert len(folder.look()) == 1
    again = Deliveries(folder.database.engine, folder.path / "rejects", "engine@other")
    assert again.look(NOW, 0) == []


def test_only_the_newest_counts(folder):
    folder.put("base-2026-03-01.csv", JAN, done=True)
    folder.put("base-2026-03-02.csv", EWA, done=True)
    assert [one.file.name for one in folder.look()] == ["base-2026-03-02.csv"]
    assert folder.people() == [("2", None)]


BROKEN = {
    "cut-off": "1,501100101,Jan\n2,5011",
    "missing-column": None,
    "nobody-to-call": "1,12,Jan\n",
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_delivery_is_put_aside_whole_and_the_base_stays(folder, code):
    folder.put("base-2026-03-01.csv", JAN, done=True)
    folder.look()
    path = folder.put("base-2026-03-02.csv", BROKEN[code] or "", done=True)
    if BROKEN[code] is None:
        path.write_text("id,phone,name\n1,501100101,Jan\n", encoding="utf-8")
    (delivery,) = folder.look(60)
    aside = folder.path / "base" / "aside" / path.name
    assert isinstance(delivery.problem, InvalidInput)
    assert (delivery.problem.problems[0].code, delivery.aside) == (code, aside)
    assert f"It was put aside: {aside}" in str(delivery)
    assert code in aside.with_name(aside.name + ".why.txt").read_text(encoding="utf-8")
    assert not path.exists()
    assert folder.people() == [("1", None)]
    assert folder.look(60) == []


def test_a_campaign_that_nobody_wants_is_not_looked_at(folder):
    folder.database.run("update campaign_run set wanted = 'idle'")
    folder.put("base-2026-03-02.csv", JAN, done=True)
    assert folder.look() == []


def test_a_run_takes_the_newest_that_rests(folder):
    loaded = load_campaign(folder.path / "campaign.yaml")
    folder.put("base-2026-03-01.csv", JAN, done=True)
    folder.put("base-2026-03-02.csv", EWA)
    now = datetime.now(UTC)
    summary = prepare(folder.database.engine, loaded, now).import_summary
    assert summary is not None
    assert summary.file.name == "base-2026-03-01.csv"
    summary = prepare(folder.database.engine, loaded, now + timedelta(seconds=RESTS_S + 1)).import_summary
    assert summary is not None
    assert summary.file.name == "base-2026-03-02.csv"


def test_a_look_for_one_campaign_needs_no_run(folder):
    folder.database.run("delete from campaign_run")
    folder.put("base-2026-03-02.csv", JAN, done=True)
    with folder.database.engine.connect() as connection:
        campaign = watched(campaigns.require(connection, "health-check"))
    assert [one.campaign for one in folder.deliveries.look_for(campaign, NOW, 0)] == ["health-check"]
    assert folder.deliveries.nothing_awaited(campaign)
