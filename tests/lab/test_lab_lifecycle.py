"""Up and down, also after crashes and interrupts: nothing is left, and labs do not meet."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from dialer.errors import InvalidInput, LabError
from dialer.lab.places import places
from dialer.lab.process import processes_of
from dialer.lab.up import Lab, down, find, running, status, up
from dialplan.render import render_node
from tests.lab.caller import ami, until

pytestmark = pytest.mark.lab


def leftovers(name: str, base: Path) -> list[object]:
    where = places(name, base)
    return [*processes_of(where.runtime), *[path for path in (where.runtime, where.home) if path.exists()]]


def test_up_twice_keeps_what_runs(lab: Lab) -> None:
    base = lab.places.home.parents[1]
    before = sorted(processes_of(lab.places.runtime))
    again = up(lab.places.name, render_node=render_node, base=base)
    assert again.ports == lab.ports
    assert sorted(processes_of(lab.places.runtime)) == before
    assert status(lab.places.name, base=base).up


def test_two_labs_side_by_side_and_nothing_left_of_the_second(lab: Lab, tmp_path: Path) -> None:
    with running("second", render_node=render_node, base=tmp_path) as second:
        assert not set(second.ports.values()) & set(lab.ports.values())
        assert second.places.runtime != lab.places.runtime
        with ami(lab), ami(second):
            pass
        assert second.settings.trunk("carrier-b") is not None
    assert leftovers("second", tmp_path) == []
    assert not (tmp_path / "lab").exists()
    for port in second.ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    assert status("test", base=lab.places.home.parents[1]).up


def test_up_brings_back_a_part_that_died(lab: Lab, tmp_path: Path) -> None:
    with running("wounded", render_node=render_node, base=tmp_path) as wounded:
        for pid, _ in processes_of(wounded.places.node):
            os.kill(pid, signal.SIGKILL)
        until(lambda: not wounded.node.running(), "the node is dead")
        assert not status("wounded", base=tmp_path).up
        up("wounded", render_node=render_node, base=tmp_path)
        assert status("wounded", base=tmp_path).up


UP = """
import sys
from pathlib import Path
from dialer.lab.up import up


def stuck(*_, **__):
    print("the carrier runs, the node does not", flush=True)
    sys.stdin.read()


up("cut", render_node=stuck, base=Path(sys.argv[1]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_down_clears_what_an_interrupted_up_left(session_lab: Lab, tmp_path: Path, how: signal.Signals) -> None:
    """The command dies at the moment its first Asterisk runs."""
    with subprocess.Popen(
        [sys.executable, "-c", UP, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as command:  # fmt: skip
        assert command.stdout is not None
        assert command.stdout.readline()
        assert processes_of(places("cut", tmp_path).carrier)
        command.send_signal(how)
        assert command.wait(timeout=30) != 0
    if how is signal.SIGINT:
        assert leftovers("cut", tmp_path) == []
    else:
        assert down("cut", base=tmp_path)
        assert leftovers("cut", tmp_path) == []
    assert not down("cut", base=tmp_path)


def test_wrong_numbers_start_nothing(tmp_path: Path) -> None:
    table = tmp_path / "numbers.csv"
    table.write_text("number,nth_invite,behaviour,args\n+48501100101,*,sings,\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as raised:
        up("wrong", render_node=render_node, numbers=table, base=tmp_path)
    assert [problem.code for problem in raised.value.problems] == ["unknown-behaviour"]
    assert leftovers("wrong", tmp_path) == []


def test_a_lab_that_is_not_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="dialer lab up --name none"):
        find("none", base=tmp_path)


def test_down_removes_no_directory_but_the_labs_own(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    where = places("led-astray", tmp_path)
    where.home.mkdir(parents=True)
    where.pointer.write_text(str(precious), encoding="utf-8")
    with pytest.raises(LabError, match="no directory of this lab"):
        down("led-astray", base=tmp_path)
    assert precious.is_dir()


def test_names_that_cannot_be_paths(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        places("../x", tmp_path)
