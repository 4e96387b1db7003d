"""`dialer agi serve` as processes: it starts, survives the death and the silence of a worker, and stops cleanly."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agi.handshake import Listener, check
from agi.spawn import workers
from dialer.errors import DialerError
from dialer.settings import Settings, load
from tests.support.fake_asterisk import request

START_S = 30.0


class Serve:
    """A running `dialer agi serve` and the log lines that it wrote."""

    def __init__(self, settings_file: Path) -> None:
        self.settings_file = settings_file
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from agi.commands import agi; agi()", "serve", "--settings", str(settings_file)],
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(json.loads(line))
                self._news.notify_all()

    def wait(self, event: str, count: int = 1, within_s: float = START_S) -> list[dict[str, Any]]:
        """The first `count` lines of an event, as soon as they are there."""
        deadline = time.monotonic() + within_s
        with self._news:
            while len(found := [line for line in self.lines if line["event"] == event]) < count:
                if not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {event} in {self.lines}")
        return found[:count]

    def end(self) -> None:
        """Leaves no process behind."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_S)
        self._reader.join(START_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("k" * 64)
    (tmp_path / "ami").write_text("s" * 32)
    file = tmp_path / "dialer.yaml"
    file.write_text(
        "database: postgresql:///none\nmac_key_file: key\n"
        f"agi: {{port: {free_port()}, workers: 2}}\n"
        "nodes: [{name: n, ami: {secret_file: ami}}]\n"
        "trunks: [{name: a, node: n, host: 127.0.0.1}]\n"
    )
    return file


@pytest.fixture
def settings(settings_file: Path) -> Settings:
    return load(settings_file, {})


@pytest.fixture
def serve(settings_file: Path) -> Iterator[Serve]:
    running = Serve(settings_file)
    yield running
    running.end()


def gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether a process that is not our child ends in time."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_serves_and_stops_on_a_signal(serve: Serve, settings: Settings) -> None:
    serve.wait("worker_ready", 2)
    assert check(settings) is Listener.OK
    serve.process.send_signal(signal.SIGINT)
    assert serve.process.wait(START_S) == 0
    assert check(settings) is Listener.ABSENT
    assert [line["code"] for line in serve.wait("worker_ended", 2)] == [0, 0]


def test_a_worker_begins_by_removing_old_personal_sounds(settings_file: Path, settings: Settings) -> None:
    old = settings.prompts_dir / "personal" / "en" / "old.alaw"
    old.parent.mkdir(parents=True)
    old.touch()
    os.utime(old, times=(0, 0))
    running = Serve(settings_file)
    try:
        found = running.wait("old_files_removed", 2)
    finally:
        running.end()
    assert sum(line["personal_sounds"] for line in found) == 1
    assert not old.exists()


def test_a_dead_worker_is_replaced(serve: Serve, settings: Settings) -> None:
    serve.wait("worker_ready", 2)
    os.kill(serve.wait("worker_started")[0]["pid"], signal.SIGKILL)
    serve.wait("worker_ready", 3)
    assert check(settings) is Listener.OK


def test_a_silent_worker_is_killed_and_replaced(serve: Serve) -> None:
    serve.wait("worker_ready", 2)
    stalled = serve.wait("worker_started")[0]["pid"]
    os.kill(stalled, signal.SIGSTOP)
    stopped_at = time.monotonic()
    assert serve.wait("worker_silent", within_s=10)[0]["pid"] == stalled
    assert time.monotonic() - stopped_at < 6
    serve.wait("worker_ready", 3)
    assert gone(stalled)


def test_no_worker_outlives_its_parent(serve: Serve, settings: Settings) -> None:
    serve.wait("worker_ready", 2)
    workers = [line["pid"] for line in serve.wait("worker_started", 2)]
    serve.process.kill()
    serve.process.wait()
    assert all(gone(pid) for pid in workers)
    assert check(settings) is Listener.ABSENT


@pytest.fixture
def live_call(serve: Serve, settings: Settings) -> Iterator[socket.socket]:
    """A call that hears an apology (there is no database) for as long as it likes."""
    serve.wait("worker_ready", 2)
    with socket.create_connection((settings.agi.host, settings.agi.port), timeout=START_S) as call:
        call.sendall(request(UUID(int=7), settings.mac_key()))
        assert call.recv(100).startswith(b"STREAM FILE")
        yield call


def test_workers_that_only_finish_their_calls_take_no_new_ones(
    serve: Serve, live_call: socket.socket, settings: Settings
) -> None:
    serve.process.send_signal(signal.SIGTERM)
    serve.wait("draining")
    deadline = time.monotonic() + START_S
    while check(settings) is not Listener.ABSENT:
        assert time.monotonic() < deadline, "somebody still listens, and nobody reads"
    assert serve.process.poll() is None, "the live call is still served"


@pytest.mark.parametrize("stay", [False, True])
def test_workers_of_a_run_end_with_it_unless_they_are_told_to_stay(settings_file: Path, stay: bool) -> None:
    settings = load(settings_file, {})
    with workers(settings, settings_file) as staff:
        assert staff.process is not None
        with workers(settings, settings_file) as second:
            assert second.process is None, "those that run are used"
            second.stay()
        assert check(settings) is Listener.OK
        if stay:
            staff.stay()
    assert check(settings) is (Listener.OK if stay else Listener.ABSENT)
    if stay:
        staff.process.terminate()
    assert staff.process.wait(START_S) == 0


def test_a_log_that_cannot_be_written_is_one_clear_sentence(settings_file: Path, settings: Settings) -> None:
    settings.state_dir.mkdir()
    (settings.state_dir / "logs").write_text("not a directory")
    with pytest.raises(DialerError, match=r"agi\.log cannot be written.*state_dir"), workers(settings, settings_file):
        raise AssertionError("nothing was started")


def other_key(settings: Settings) -> Settings:
    file = settings.state_dir.with_name("other-key")
    file.write_text("o" * 64)
    return settings.model_copy(update={"mac_key_file": file})


OTHERS: dict[str, Callable[[Settings], Settings]] = {
    "another key": other_key,
    "another database": lambda settings: settings.model_copy(update={"database": "postgresql:///other"}),
    "other prompts": lambda settings: settings.model_copy(update={"state_dir": settings.state_dir / "other"}),
    "another codec": lambda settings: settings.model_copy(
        update={"trunks": (settings.trunks[0].model_copy(update={"codec": "ulaw"}),)}
    ),
    "another longest call": lambda settings: settings.model_copy(
        update={"nodes": (settings.nodes[0].model_copy(update={"longest_call_s": 10}),)}
    ),
}


def test_workers_with_other_settings_are_foreign(serve: Serve, settings: Settings) -> None:
    serve.wait("worker_ready", 2)
    assert check(settings) is Listener.OK
    assert {what: check(other(settings)) for what, other in OTHERS.items()} == dict.fromkeys(OTHERS, Listener.FOREIGN)


def test_a_taken_port_is_one_clear_sentence(settings_file: Path, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.agi.port)):
        done = subprocess.run(
            [sys.executable, "cli.py", "agi", "serve", "--settings", str(settings_file)],
            capture_output=True, text=True, timeout=START_S, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: 127.0.0.1:{settings.agi.port} is in use by another program.")
    assert len(done.stderr.splitlines()) == 1


def test_another_program_on_the_port_is_foreign(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.agi.port)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.sendall(b"220 mail.example.org ESMTP\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert check(settings) is Listener.FOREIGN
        thread.join()
