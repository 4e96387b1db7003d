"""`dialer run` as an operator uses it: stopped, killed, started twice, with parts missing."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dialer.lab.process import processes_of
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from tests.lab.caller import until
from tests.lab.conftest import no_channels

pytestmark = pytest.mark.lab

PEOPLE = 8
CAMPAIGN = """\
campaign: {name}
contacts: {{from: people.csv, numbers: [mobile]}}
calling: {{window: any}}
capacity: {{max_concurrent: 6, calls_per_second: 4, trunks: [carrier-a], caller_id: "+48221234567", ring: 6s,
  longest_call: 15s}}  # an order that was perhaps sent keeps its number for 6 + 15 + 60 s, within this test's patience
retry: {{attempts: 1, unknown: hold}}
flow:
  question: {{ask: "Press one.", keys: {{1: yes}}}}
  thanks: {{say: "Thank you.", complete: yes}}
"""


def number_of(index: int) -> str:
    return f"+48501{400_000 + index}"


def write_campaign(folder: Path, name: str) -> Path:
    folder.mkdir()
    people = "\n".join(["mobile", *map(number_of, range(PEOPLE))])
    (folder / "people.csv").write_text(people + "\n", encoding="utf-8")
    (folder / "campaign.yaml").write_text(CAMPAIGN.format(name=name), encoding="utf-8")
    return folder / "campaign.yaml"


def start(lab: Lab, campaign: Path, *options: str, settings: Path | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "cli", "run", str(campaign), "--json",
            "--settings", str(settings or lab.settings_file), *options,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, int], str]:
    """Exit code, the summary's verdicts, and stderr; not those that were claimed, and never sent when calls stopped."""
    out, err = process.communicate(timeout=150)
    verdicts = json.loads(out)["summary"].get("dispositions", {}) if out else {}
    verdicts.pop("returned", None)
    return process.returncode, verdicts, err


@pytest.fixture
def run_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab of the test's own, whose subscribers answer and press one."""
    table = tmp_path / "numbers.csv"
    rows = "".join(f"{number_of(index)},*,answers_and_presses,1\n" for index in range(PEOPLE))
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    with running("run", render_node=render_node, numbers=table, base=tmp_path / "lab") as lab:
        yield lab
        no_channels(lab)


def invites(lab: Lab) -> Counter[str]:
    return Counter(row.number for row in read_truth(lab))


def test_ctrl_c_drains_and_the_next_run_goes_on(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "drained")
    first = start(run_lab, campaign)
    until(lambda: invites(run_lab), "the first call", 30)
    first.send_signal(signal.SIGINT)
    code, verdicts, err = finish(first)
    assert code == 130, err
    called = invites(run_lab)
    assert 0 < len(called) < PEOPLE
    assert verdicts == {"completed": len(called)}
    code, verdicts, err = finish(start(run_lab, campaign))
    assert (code, verdicts) == (0, {"completed": PEOPLE}), err
    assert invites(run_lab) == Counter(map(number_of, range(PEOPLE)))


def test_a_killed_run_is_taken_up_and_nobody_is_called_twice(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "killed")
    first = start(run_lab, campaign)
    until(lambda: sum(invites(run_lab).values()) >= 3, "some calls", 30)
    first.kill()
    first.communicate()
    # Nobody dials it, so its file may be changed.
    campaign.write_text(campaign.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    code, verdicts, err = finish(start(run_lab, campaign))
    assert code == 0, err
    assert sum(verdicts.values()) == PEOPLE
    assert set(verdicts) <= {"completed", "partial", "unknown"}
    assert verdicts["completed"] > PEOPLE / 2
    assert max(invites(run_lab).values()) == 1


def test_a_second_run_of_a_campaign_shows_it_and_takes_over_when_its_engine_dies(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "twice")
    first = start(run_lab, campaign)
    until(lambda: invites(run_lab), "the first call", 30)
    second = start(run_lab, campaign)
    assert second.stderr is not None
    shown = iter(second.stderr.readline, "")
    assert any("Another engine dials" in line for line in shown)
    assert any('"calls_now"' in line for line in shown), "the first one's progress is seen here"
    first.kill()
    first.communicate()
    code, verdicts, err = finish(second)
    assert (code, sum(verdicts.values())) == (0, PEOPLE), err
    assert "taking over" in err
    assert set(invites(run_lab).values()) == {1}


def test_two_campaigns_share_one_engine_and_nobody_has_two_calls(run_lab, tmp_path):
    """The second campaign calls the same numbers: promise 2 makes them wait for each other."""
    first = start(run_lab, write_campaign(tmp_path / "one", "one"))
    until(lambda: invites(run_lab), "the first call", 30)
    second = start(run_lab, write_campaign(tmp_path / "two", "two"))
    assert finish(second)[:2] == (0, {"completed": PEOPLE})
    assert finish(first)[:2] == (0, {"completed": PEOPLE})
    assert set(invites(run_lab).values()) == {2}
    assert at_once(read_truth(run_lab)) == 1


def at_once(rows) -> int:
    """The most calls that one number had at once."""
    most = 0
    for number in {row.number for row in rows}:
        own = [row for row in rows if row.number == number]
        most = max(most, *(sum(a.invited_at <= b.invited_at < a.ended_at for a in own) for b in own))
    return most


def test_a_frozen_engine_that_wakes_changes_nothing_and_ends(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "frozen")
    first = start(run_lab, campaign)
    until(lambda: sum(invites(run_lab).values()) >= 3, "some calls", 30)
    first.send_signal(signal.SIGSTOP)
    code, verdicts, err = finish(start(run_lab, campaign))
    assert (code, sum(verdicts.values())) == (0, PEOPLE), err
    after = invites(run_lab)
    first.send_signal(signal.SIGCONT)
    code, _, err = finish(first)
    assert code == 1
    assert "another engine has taken over" in err
    assert "Traceback" not in err
    assert invites(run_lab) == after
    assert set(after.values()) == {1}


def serve(lab: Lab) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "engine", "--json", "--settings", str(lab.settings_file)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_engine_as_a_service_dials_what_is_ordered_and_a_second_stands_by(run_lab, tmp_path):
    first = serve(run_lab)
    until(lambda: f":{first.pid} (epoch" in order(run_lab, "status").stdout, "an engine", 20)
    code, verdicts, err = finish(start(run_lab, write_campaign(tmp_path / "one", "one")))
    assert (code, verdicts) == (0, {"completed": PEOPLE}), err
    assert "Another engine dials" in err
    second = serve(run_lab)
    assert second.stderr is not None
    assert "waiting for its end" in second.stderr.readline()
    first.kill()
    until(lambda: f":{second.pid} (epoch" in order(run_lab, "status").stdout, "the second engine", 20)
    code, verdicts, err = finish(start(run_lab, write_campaign(tmp_path / "two", "two")))
    assert (code, verdicts) == (0, {"completed": PEOPLE}), err
    assert "Another engine dials" in err
    second.send_signal(signal.SIGTERM)
    first.communicate()
    second.communicate(timeout=30)
    assert second.returncode == 0
    assert set(invites(run_lab).values()) == {2}


def order(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *words, "--settings", str(lab.settings_file)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_campaign_is_paused_resumed_drained_and_stopped_from_another_terminal(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "ordered")
    assert "there is no campaign" in order(run_lab, "pause", "ordered").stderr
    first = start(run_lab, campaign)
    until(lambda: invites(run_lab), "the first call", 30)
    assert order(run_lab, "pause", "ordered", "--why", "a test").returncode == 0
    assert "nothing to pause" in order(run_lab, "pause", "ordered").stderr
    no_channels(run_lab)
    paused = invites(run_lab)
    assert len(paused) < PEOPLE
    assert first.poll() is None
    assert order(run_lab, "resume", "ordered").returncode == 0
    until(lambda: len(invites(run_lab)) > len(paused), "another call", 30)
    assert order(run_lab, "stop", "ordered", "--now").returncode == 0
    code, verdicts, err = finish(first)
    assert code == (130 if len(invites(run_lab)) < PEOPLE else 0), err
    assert sum(verdicts.values()) == len(invites(run_lab))
    assert "idle" in order(run_lab, "drain", "ordered").stderr
    found = rows_of(run_lab, "select type from event where subject_type = 'campaign' order by seq")
    assert [kind for (kind,) in found] == [f"campaign.{verb}" for verb in ("run", "pause", "resume", "stop", "drained")]


def rows_of(lab: Lab, query: str) -> list[tuple[object, ...]]:
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


def test_running_a_finished_campaign_again_calls_nobody(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "again")
    assert finish(start(run_lab, campaign))[0] == 0
    before = invites(run_lab)
    assert finish(start(run_lab, campaign))[:2] == (0, {"completed": PEOPLE})
    assert invites(run_lab) == before


@contextmanager
def changed(lab: Lab, tmp_path: Path, old: str, new: str) -> Iterator[Path]:
    path = tmp_path / "changed.yaml"
    text = lab.settings_file.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    yield path


def test_what_is_missing_at_the_start_is_said_in_a_sentence(run_lab, tmp_path):
    campaign = write_campaign(tmp_path / "c", "missing")
    ami, agi = f"port: {run_lab.ports['ami']}", f"port: {run_lab.ports['agi']}"
    (tmp_path / "wrong").write_text("wrong", encoding="utf-8")
    secret = str(run_lab.places.secrets / "ami-dialer")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        cases = [
            ("no Asterisk", ami, "port: 1", "does not answer at 127.0.0.1:1"),
            ("wrong AMI password", secret, str(tmp_path / "wrong"), "refused the AMI login"),
            ("no PostgreSQL", str(run_lab.places.postgres), "/nowhere", "PostgreSQL does not answer"),
            ("port in use", agi, f"port: {taken.getsockname()[1]}", "another program listens"),
            ("a real trunk", "host: 127.0.0.1", "host: 192.0.2.1", "outside this machine"),
        ]
        for name, old, new, said in cases:
            with changed(run_lab, tmp_path, old, new) as settings:
                code, _, err = finish(start(run_lab, campaign, settings=settings))
            # At any hour, as this campaign calls, only telephones of a lab may ring.
            assert code == (2 if name == "a real trunk" else 1), (name, err)
            assert said in err, name
            assert "Traceback" not in err, name
    assert not invites(run_lab)


def test_strangers_on_the_ports_stop_nothing(run_lab, tmp_path):
    process = start(run_lab, write_campaign(tmp_path / "c", "scanned"))
    until(lambda: invites(run_lab), "the first call", 30)
    for port in (run_lab.ports["agi"], run_lab.ports["ami"]):
        for talk in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\x00\xff" * 5000, b"agi_network: yes\n" * 2000, b"\n\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
                stranger.sendall(talk)
    assert finish(process)[:2] == (0, {"completed": PEOPLE})


def workers_of(lab: Lab) -> list[int]:
    return [pid for pid, arguments in processes_of(lab.settings_file) if "agi" in arguments]


def test_taking_the_lab_down_ends_the_workers_of_a_killed_run(tmp_path):
    table = tmp_path / "numbers.csv"
    table.write_text(f"number,nth_invite,behaviour,args\n{number_of(0)},*,rings_out,\n", encoding="utf-8")
    with running("orphans", render_node=render_node, numbers=table, base=tmp_path / "lab") as lab:
        process = start(lab, write_campaign(tmp_path / "c", "orphans"))
        until(lambda: workers_of(lab), "workers", 30)
        process.kill()
        process.communicate()
        assert workers_of(lab)
    assert not workers_of(lab)
