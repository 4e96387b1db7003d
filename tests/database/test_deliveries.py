"""A daily base in a folder: taken when complete, once, the newest only; what is broken is put aside whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest

from dialer.campaign.load import load_campaign
from dialer.errors import DialerError, InvalidInput
from dialer.storage import campaigns, deliveries, status
from dialer.storage import prepare as prepare_module
from dialer.storage.deliveries import Deliveries, Delivery, watched
from dialer.storage.folder import RESTS_S, put_aside
from dialer.storage.prepare import prepare
from dialer.storage.reading import reading
from dialer.storage.status import CampaignStatus

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

    def look(self, after_s: float = 0, *, node: str | None = None, wake: bool = False) -> list[Delivery]:
        self.seconds += after_s
        now = NOW + timedelta(seconds=self.seconds)
        return list(self.deliveries.look(now, self.seconds, node=node, wake=wake))

    def status(self) -> CampaignStatus:
        with reading(self.database.engine) as connection:
            (campaign,) = status.page(connection).campaigns
        return campaign

    def people(self) -> list[tuple[object, ...]]:
        return self.database.rows(
            "select person_key, closed_as from contact join person on person.id = person_id order by 1"
        )


def fail_with(error):
    def fail(*arguments):
        raise error

    return fail


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
    assert list(again.look(NOW, 0)) == []


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
    refused = folder.status().refused_delivery
    assert refused is not None
    assert (refused.file, refused.aside, code in refused.why) == (str(path), str(aside), True)
    folder.put("base-2026-03-02.csv", JAN + EWA, done=True)
    assert [one.problem for one in folder.look(60)] == [None]
    assert folder.status().refused_delivery is None


def test_two_engines_refuse_a_delivery_once(folder, monkeypatch):
    path = folder.put("base-2026-03-02.csv", "1,12,Jan\n", done=True)
    monkeypatch.setattr(deliveries, "put_aside", lambda path, why: path.unlink() or put_aside(path, why))
    assert folder.look() == [], "it is gone, another was faster"
    assert not path.exists()
    assert folder.status().refused_delivery is None


def test_a_delivery_that_cannot_be_moved_is_told_once_and_stays(folder, monkeypatch):
    path = folder.put("base-2026-03-02.csv", "1,12,Jan\n", done=True)
    monkeypatch.setattr(deliveries, "put_aside", fail_with(PermissionError()))
    assert ["could not be moved away" in str(one) for one in folder.look()] == [True]
    assert folder.look(60) == []
    assert path.exists()
    assert folder.status().refused_delivery.aside is None


def test_what_is_not_the_files_fault_is_tried_again(folder, monkeypatch):
    path = folder.put("base-2026-03-02.csv", JAN, done=True)
    monkeypatch.setattr(prepare_module, "_write_report", fail_with(DialerError("no space")))
    path.write_text(HEADER + JAN + "2,12,Bad\n", encoding="utf-8")
    for _ in range(2):
        assert ["the next look tries again" in str(one) for one in folder.look(60)] == [True]
    assert folder.people() == []
    monkeypatch.undo()
    assert [one.summary.counts.accepted for one in folder.look(60)] == [1]
    assert path.exists()


ENDED = (
    "update campaign_run set wanted = 'idle', wanted_at = now(), wanted_by = 'dialer', wanted_why = 'nobody is left'"
)
WAKING = [
    # what became of the campaign                                              looks with wake  it runs again
    (ENDED,                                                                    True,            True),
    (ENDED,                                                                    False,           False),
    (ENDED.replace("nobody is left", "live calls have ended"),                 True,            False),
    (ENDED.replace("'dialer'", "'ann@host'"),                                  True,            False),
    (ENDED + ", revision_id = :other",                                         True,            False),
]  # fmt: skip


@pytest.mark.parametrize(("ending", "wake", "runs_again"), WAKING)
def test_a_campaign_that_ended_by_itself_goes_on_with_tomorrows_base(folder, ending, wake, runs_again):
    folder.put("base-2026-03-02.csv", JAN, done=True)
    folder.look()
    other = {}
    if ":other" in ending:
        ((other["other"],),) = folder.database.rows(
            "insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
            "select campaign_id, 2, 'x', document, base_dir, now() from revision returning id"
        )
    folder.database.run(ending, **other)
    folder.database.run("alter table audit disable trigger audit_stays")
    folder.database.run("update audit set at = at - interval '1 hour'")
    assert folder.look(60, wake=wake) == []
    assert folder.status().wanted == "idle", "nobody new"
    folder.put("base-2026-03-03.csv", JAN + EWA, done=True)
    assert len(folder.look(60, wake=wake)) == runs_again
    assert (folder.status().wanted == "running") is runs_again


def test_a_campaign_whose_end_crossed_an_import_goes_on(folder):
    folder.put("base-2026-03-02.csv", JAN, done=True)
    folder.look()
    folder.database.run(ENDED)
    assert folder.look(60, wake=True) == []
    assert folder.status().wanted == "running"


def test_a_node_looks_for_its_own_campaigns(folder):
    folder.database.run("insert into campaign_node (campaign_id, node, weight) select id, 'node-1', 1 from campaign")
    folder.put("base-2026-03-02.csv", JAN, done=True)
    assert folder.look(node="node-2") == []
    assert len(folder.look(node="node-1")) == 1


def test_a_campaign_that_this_release_cannot_read_does_not_stop_the_others(folder):
    folder.database.run(
        "update revision set document = cast(jsonb_set(cast(document as jsonb), '{flow}', '7') as json)"
    )
    folder.put("base-2026-03-02.csv", JAN, done=True)
    assert folder.look() == []


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
