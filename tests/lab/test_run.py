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
    """Exit code, the summary's verdicts, and stderr."""
    out, err = process.communicate(timeout=150)
    summary = json.loads(out)["summary"] if out else {}
    return process.returncode, summary.get("dispositions", {}), err


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
    code, verdicts, err = finish(start(run_lab, campaign))
    assert code == 0, err
    assert sum(verdicts.values()) == PEOPLE
    assert set(verdicts) <= {"completed", "partial", "unknown"}
    assert verdicts["completed"] > PEOPLE / 2
    assert max(invites(run_lab).values()) == 1


def test_a_second_run_is_told_of_the_first(run_lab, tmp_path):
    first = start(run_lab, write_campaign(tmp_path / "one", "one"))
    until(lambda: invites(run_lab), "the first call", 30)
    code, _, err = finish(start(run_lab, write_campaign(tmp_path / "two", "two")))
    assert code == 1
    assert "another engine" in err
    assert "Traceback" not in err
    assert finish(first)[0] == 0
    assert max(invites(run_lab).values()) == 1


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
            assert code == (3 if name == "a real trunk" else 1), (name, err)
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
