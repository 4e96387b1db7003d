"""Two nodes, two carriers: limits over several engines, and what dies or strains meanwhile. The carrier judges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from dialer.clock import utc_now
from dialer.lab.process import processes_of
from dialer.lab.trouble import slowed
from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from tests.lab.caller import until
from tests.lab.conftest import no_channels

pytestmark = [pytest.mark.lab, pytest.mark.alone]

PEOPLE, A_TEST = 3000, 500
CEILING, RATE = 12, 10
_FIRST = count(0)


def number_of(index: int) -> str:
    return f"+48501{600_000 + index}"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes and two carriers; everybody answers and presses one, a second after the question began."""
    folder = tmp_path_factory.mktemp("two")
    table = folder / "numbers.csv"
    rows = "".join(f"{number_of(index)},*,answers_and_presses,1@1.5\n" for index in range(PEOPLE))
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    with running("two", render_node=render_node, base=folder, nodes=2, carriers=2, numbers=table) as lab:
        yield lab


class Site:
    """One campaign of a test's own people in the lab, and the processes that dial it."""

    def __init__(self, lab: Lab, folder: Path, people: int, trunks: str, **capacity: object) -> None:
        self.lab, self.name = lab, folder.name.replace("_", "-")[:40].strip("-")
        first = next(_FIRST) * A_TEST
        self.numbers = [number_of(first + index) for index in range(people)]
        (folder / "people.csv").write_text("\n".join(["mobile", *self.numbers]) + "\n", encoding="utf-8")
        limits = {"max_concurrent": CEILING, "calls_per_second": RATE, **capacity}
        self.file = folder / "campaign.yaml"
        self.file.write_text(
            f"campaign: {self.name}\ncontacts: {{from: people.csv, numbers: [mobile]}}\ncalling: {{window: any}}\n"
            f'capacity: {{trunks: {trunks}, caller_id: "+48221234567", ring: 6s, longest_call: 15s, '
            f"{', '.join(f'{key}: {value}' for key, value in limits.items())}}}\n"
            "retry: {attempts: 1, unknown: hold}\n"
            'flow:\n  question: {ask: "Press one.", keys: {1: yes}, tries: 1, complete: yes}\n',
            encoding="utf-8",
        )
        self.processes: list[subprocess.Popen[str]] = []

    def dialer(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command on the lab."""
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", *words, "--settings", str(self.lab.settings_file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self) -> subprocess.Popen[str]:
        return self.dialer("run", str(self.file))

    def say(self, *words: str) -> str:
        """Runs a short command to its end."""
        process = self.dialer(*words)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
        return out

    def finish(self, process: subprocess.Popen[str], timeout_s: float = 120) -> str:
        out, _ = process.communicate(timeout=timeout_s)
        assert process.returncode == 0, out
        return out

    def rows(self) -> list[TruthRow]:
        """This campaign's calls at the carriers."""
        mine = set(self.numbers)
        return [row for row in read_truth(self.lab) if row.number in mine]

    def sql(self, query: str) -> list[tuple[object, ...]]:
        engine = sync_engine(self.lab.settings)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.exec_driver_sql(query)]
        finally:
            engine.dispose()

    def verdicts(self) -> Counter[str]:
        query = (
            "select a.disposition, count(*) from attempt a join campaign c on c.id = a.campaign_id "
            f"where c.name = '{self.name}' group by 1"
        )
        return Counter({str(name): int(str(number)) for name, number in self.sql(query)})

    def open_on(self, node: str) -> int:
        query = f"select count(*) from attempt where state = 'answered' and node = '{node}'"
        return int(str(self.sql(query)[0][0]))

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.processes:
            process.communicate(timeout=60)


@pytest.fixture
def site(two: Lab, tmp_path: Path):
    """Makes a campaign; ends what a failed test has left."""
    made: list[Site] = []

    def make(people: int, trunks: str, **capacity: object) -> Site:
        made.append(Site(two, tmp_path, people, trunks, **capacity))
        return made[-1]

    yield make
    for one in made:
        one.end()
    for trunk in ("carrier-a", "carrier-b", "carrier-c", "carrier-d"):
        two.storm(trunk, None)
    no_channels(two)


def most_at_once(rows: list[TruthRow], since: datetime | None = None) -> int:
    steps = sorted([(row.invited_at, 1) for row in rows] + [(row.ended_at, -1) for row in rows if row.ended_at])
    now = most = 0
    for at, step in steps:
        now += step
        if since is None or at >= since:
            most = max(most, now)
    return most


def most_in_ten_seconds(rows: list[TruthRow]) -> int:
    times = sorted(row.invited_at for row in rows)
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - timedelta(seconds=10):
            first += 1
        most = max(most, last - first + 1)
    return most


def each_once(site: Site) -> None:
    assert set(Counter(row.number for row in site.rows()).values()) == {1}
    assert {row.number for row in site.rows()} == set(site.numbers)


def test_two_engines_share_a_campaign_and_one_is_killed(site):
    """The ceiling and the rate hold over both; the other goes on; who watched takes up what was left, nothing leaks."""
    this = site(90, "[carrier-a, carrier-c]")
    first, second = this.dialer("engine", "--node", "node-1"), this.dialer("engine", "--node", "node-2")
    leases = "select count(*) from engine_lease where lease_until > now()"
    until(lambda: this.sql(leases) == [(2,)], "both engines hold their nodes", 30)
    watching = this.run()
    until(lambda: this.open_on("node-1") >= 2 and this.open_on("node-2") >= 2, "calls on both nodes", 60)
    first.kill()
    first.communicate()
    killed_at = utc_now()
    until(lambda: sum(row.invited_at > killed_at for row in this.rows()) > 20, "the other engine goes on", 60)
    assert "taking over" in this.finish(watching)
    rows = this.rows()
    assert most_at_once(rows) <= CEILING
    assert most_in_ten_seconds(rows) <= 10 * RATE
    assert {row.trunk for row in rows if row.invited_at > killed_at} == {"carrier-a", "carrier-c"}
    each_once(this)
    assert this.verdicts() == {"completed": 90}
    assert this.sql("select count(*) from attempt where state <> 'ended'") == [(0,)]
    second.send_signal(signal.SIGTERM)
    this.finish(second)


def test_one_of_two_nodes_is_killed_and_comes_back(site, two):
    this = site(A_TEST, "[carrier-a, carrier-c]")
    run = this.run()
    until(lambda: this.open_on("node-1") >= 2 and this.open_on("node-2") >= 2, "calls on both nodes", 60)
    for pid, _ in processes_of(two.nodes[1].directory):
        os.kill(pid, signal.SIGKILL)
    killed_at = utc_now()
    until(lambda: sum(row.invited_at > killed_at for row in this.rows()) > 20, "the other node goes on", 60)
    assert {row.trunk for row in this.rows() if row.invited_at > killed_at + timedelta(seconds=1)} == {"carrier-a"}
    two.nodes[1].start()
    two.nodes[1].wait_ready()
    back_at = utc_now()
    # Nobody told the subscribers of the dead node that their caller is gone; for us these calls ended with it.
    two.carriers[1].execute("channel request hangup all")

    def is_used() -> bool:
        return any(row.trunk == "carrier-c" and row.invited_at > back_at for row in this.rows())

    until(is_used, "it is used again by itself", 60)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    rows = [_without_zombie(row, killed_at) for row in this.rows()]
    assert most_at_once(rows) <= CEILING
    assert set(Counter(row.number for row in rows).values()) == {1}
    # Those whose call was cut off with the node; nobody knows how some of them went.
    cut = sum(count for name, count in this.verdicts().items() if name != "completed")
    assert cut <= CEILING
    assert this.sql("select count(*) from attempt where state <> 'ended'") == [(0,)]


def _without_zombie(row: TruthRow, killed_at: datetime) -> TruthRow:
    lived = row.trunk == "carrier-c" and row.invited_at < killed_at and (not row.ended_at or row.ended_at > killed_at)
    return replace(row, ended_at=killed_at) if lived else row


def test_a_storm_on_one_of_two_trunks_moves_its_calls_and_uses_up_nobody(site, two):
    this = site(160, "[carrier-a, carrier-b]", max_concurrent=30)
    run = this.run()
    until(lambda: len(this.rows()) > 20, "calls on both trunks", 60)
    two.storm("carrier-a", 503)
    storm_at = utc_now()
    until(lambda: utc_now() > storm_at + timedelta(seconds=8), "the storm has lasted", 20)
    two.storm("carrier-a", None)
    over_at = utc_now()
    this.finish(run)
    rows = this.rows()
    moved = [row for row in rows if storm_at + timedelta(seconds=5) < row.invited_at < over_at]
    on_a = sum(row.trunk == "carrier-a" for row in moved)
    assert len(moved) >= 2 * RATE, "the calls went on"
    assert on_a <= 1, "at most a probe"
    well = [row for row in rows if row.trunk == "carrier-a" and row.invited_at > over_at and row.final_code == 200]
    assert len(well) > 5, "the trunk is used again by itself"
    verdicts = this.verdicts()
    assert verdicts["completed"] == 160, "one attempt a person, and nobody has lost it"
    assert verdicts.keys() == {"completed", "congestion"}


def test_limits_are_changed_while_it_runs(site):
    this = site(70, "[carrier-a]", max_concurrent=15, calls_per_second=15)
    run = this.run()
    until(lambda: most_at_once(this.rows()) > 8, "many calls at once", 60)
    this.say("set", this.name, "max_concurrent=3", "--why", "the carrier asked for it")
    set_at = utc_now()
    # Live calls end as they would; nobody's is longer than some seconds here.
    low_since = set_at + timedelta(seconds=8)
    until(lambda: utc_now() > low_since + timedelta(seconds=5), "some seconds with the lower ceiling", 30)
    assert 0 < most_at_once(this.rows(), since=low_since) <= 3
    this.say("set", this.name, "max_concurrent=15")
    this.finish(run)
    assert this.verdicts() == {"completed": 70}


@pytest.mark.long
def test_a_node_without_cpu_gets_fewer_calls_and_nobody_hears_silence(site, two):
    this = site(160, "[carrier-a]", max_concurrent=200, calls_per_second=40)
    run = this.run()
    until(lambda: len(this.rows()) > 30, "calls", 60)
    pace = "select (report->>'pace')::float from node_report where node = 'node-1'"
    before = float(str(this.sql(pace)[0][0]))
    with slowed(two.nodes[0], share=0.9, period_s=0.7):
        until(lambda: float(str(this.sql(pace)[0][0])) < 0.8 * before, "the pace falls", 30)
    this.finish(run)
    assert this.verdicts()["completed"] >= 152, this.verdicts()
    rows = [row for row in this.rows() if row.answered_at]
    late = [
        row for row in rows if not row.first_audio_at or row.first_audio_at - row.answered_at > timedelta(seconds=2)
    ]
    assert len(late) <= len(rows) // 50, f"{len(late)} of {len(rows)} people heard nothing for two seconds"
