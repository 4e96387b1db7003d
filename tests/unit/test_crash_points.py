"""A process dies or stands still at the named point, at the asked-for time, and otherwise never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SCRIPT = """
from dialer.crash_points import reach
for turn in range(5):
    print(turn, flush=True)
    reach("claimed")
"""


def run(**variables: str) -> tuple[int, int]:
    """The exit code, and how many turns began."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env={**os.environ, **variables}, capture_output=True, text=True, timeout=20
    )
    return done.returncode, len(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("variables", "code", "turns"),
    [
        ({}, 0, 5),
        ({"DLR_CRASH_AT": "claimed"}, -signal.SIGKILL, 1),
        ({"DLR_CRASH_AT": "claimed:3"}, -signal.SIGKILL, 3),
        ({"DLR_CRASH_AT": "claimed:6"}, 0, 5),
        ({"DLR_CRASH_AT": "saved"}, 0, 5),
    ],
)
def test_the_process_dies_there_and_then(variables, code, turns):
    assert run(**variables) == (code, turns)


def test_only_the_first_process_obeys_the_file(tmp_path):
    file = tmp_path / "fault"
    file.write_text("crash claimed", encoding="ascii")
    assert run(DLR_FAULT_FILE=str(file)) == (-signal.SIGKILL, 1)
    assert [path.name.rpartition(".")[0] for path in tmp_path.iterdir()] == ["fault"]
    assert run(DLR_FAULT_FILE=str(file)) == (0, 5)


def test_a_file_that_names_another_point_stays(tmp_path):
    file = tmp_path / "fault"
    file.write_text("crash saved", encoding="ascii")
    assert run(DLR_FAULT_FILE=str(file)) == (0, 5)
    assert file.exists()


def test_a_stopped_process_goes_on_when_it_is_woken():
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], env={**os.environ, "DLR_STOP_AT": "claimed:2"}, stdout=subprocess.PIPE
    )
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=20)
        assert (process.returncode, out.split()) == (0, [b"0", b"1", b"2", b"3", b"4"])
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("text", ["nowhere", "claimed:0", "claimed:", "claimed:x"])
def test_a_point_that_does_not_exist_is_an_error(text):
    code, turns = run(DLR_CRASH_AT=text)
    assert (code, turns) == (1, 0)
