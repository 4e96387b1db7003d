"""Workers that die, and a PostgreSQL that stands still, while people are on the line."""

from __future__ import annotations

import os
import signal
import subprocess
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dialer.clock import monotonic
from dialer.lab.process import processes_of
from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from tests.lab.caller import until
from tests.lab.conftest import no_channels
from tests.lab.test_run import finish, number_of, start

pytestmark = pytest.mark.lab

CAMPAIGN = """\
campaign: workers
contacts: {from: people.csv, numbers: [mobile]}
calling: {window: any}
capacity: {max_concurrent: 1, calls_per_second: 1, trunks: [carrier-a], caller_id: "+48221234567", ring: 20s}
retry: {attempts: 1, unknown: hold}
flow:
  # Nothing can be heard of it: what the carrier hears is the apology.
  question: {ask: {file: silence.wav}, keys: {1: yes}}
"""


def write_campaign(folder: Path, text: str = CAMPAIGN, people: int = 1) -> Path:
    folder.mkdir()
    with wave.open(str(folder / "silence.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 60))
    numbers = "\n".join(map(number_of, range(people)))
    (folder / "people.csv").write_text(f"mobile\n{numbers}\n", encoding="utf-8")
    (folder / "campaign.yaml").write_text(text, encoding="utf-8")
    return folder / "campaign.yaml"


def kill_workers(lab: Lab) -> None:
    """The parent too, so that nobody starts them again."""
    found = [pid for pid, arguments in processes_of(lab.settings_file) if {"agi", "agi.worker"} & set(arguments)]
    assert len(found) >= 3
    for pid in found:
        # A worker leaves by itself when its parent is gone.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def invited(lab: Lab) -> bool:
    return bool(read_truth(lab))


def talking(lab: Lab) -> bool:
    return bool(ask(lab, "select 1 from event where type = 'dialogue.started'"))


def ask(lab: Lab, statement: str) -> list[tuple[object, ...]]:
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(statement)]
    engine.dispose()
    return found


MOMENTS = [
    ("in the dialogue", "says_nothing,", talking),
    ("before the person answers", "answers_late,3 1", invited),
]


@pytest.mark.parametrize(("when", "behaviour", "reached"), MOMENTS, ids=[row[0] for row in MOMENTS])
def test_when_every_worker_dies_the_person_hears_an_apology(
    tmp_path: Path, when: str, behaviour: str, reached: Callable[[Lab], bool]
) -> None:
    table = tmp_path / "numbers.csv"
    table.write_text(f"number,nth_invite,behaviour,args\n{number_of(0)},*,{behaviour}\n", encoding="utf-8")
    with running("workers", render_node=render_node, numbers=table, base=tmp_path / "lab") as lab:
        process = start(lab, write_campaign(tmp_path / "c"))
        until(lambda: reached(lab), when, 30)
        (row,) = read_truth(lab)
        assert row.first_audio_at is None
        kill_workers(lab)

        def over() -> TruthRow | None:
            (row,) = read_truth(lab)
            return row if row.ended_at else None

        row = until(over, "the call has ended", 20)
        process.terminate()
        _, dispositions, _ = finish(process)
        assert not list(lab.settings.spool_dir.glob("*"))
    assert dispositions == {"dialogue_error": 1}
    assert row.answered_at
    assert row.first_audio_at, "the dialplan has said sorry"
    assert row.ended_at
    assert row.ended_by == "caller"
    assert (row.ended_at - row.first_audio_at).total_seconds() > 2, "to its end"


PEOPLE = 4
TWO_QUESTIONS = """\
campaign: talking
contacts: {from: people.csv, numbers: [mobile]}
calling: {window: any}
capacity: {max_concurrent: 4, calls_per_second: 4, trunks: [carrier-a], caller_id: "+48221234567", ring: 20s}
retry: {attempts: 1, unknown: hold}
flow:
  first: {ask: "Press one.", keys: {1: yes}}
  second: {ask: {file: silence.wav}, keys: {2: no}, timeout: 10s}
  thanks: {say: "Thank you.", complete: yes}
"""


@contextmanager
def all_in_the_second_question(tmp_path: Path) -> Iterator[tuple[Lab, subprocess.Popen[str]]]:
    """A run whose people have given the first answer, and give the second in eight seconds."""
    table = tmp_path / "numbers.csv"
    rows = "".join(f"{number_of(index)},*,presses_during_prompt,1@2 2@8\n" for index in range(PEOPLE))
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    campaign = write_campaign(tmp_path / "c", TWO_QUESTIONS, PEOPLE)
    with running("talking", render_node=render_node, numbers=table, base=tmp_path / "lab") as lab:
        process = start(lab, campaign)
        until(lambda: ask(lab, "select count(*) from answer") == [(PEOPLE,)], "all are in the second question", 30)
        yield lab, process
        until(lambda: not list(lab.settings.spool_dir.glob("*")), "every dialogue's file is gone", 10)
        no_channels(lab)


def all_went_well(lab: Lab, process: subprocess.Popen[str]) -> None:
    code, dispositions, err = finish(process)
    assert code == 0, err
    assert dispositions == {"completed": PEOPLE}
    assert ask(lab, "select step, value, count(*) from answer group by 1, 2 order by 1") == [
        ("first", "yes", PEOPLE), ("second", "no", PEOPLE),
    ]  # fmt: skip
    assert ask(lab, "select result, answers, count(*) from flow_result group by 1, 2") == [("completed", 2, PEOPLE)]
    assert [row.answered_at is not None for row in read_truth(lab)] == [True] * PEOPLE, "one call each"


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGSTOP])
def test_when_a_worker_dies_or_freezes_its_calls_go_on_in_another(tmp_path: Path, kind: signal.Signals) -> None:
    with all_in_the_second_question(tmp_path) as (lab, process):
        workers = [pid for pid, arguments in processes_of(lab.settings_file) if "agi.worker" in arguments]
        assert len(workers) == 2
        os.kill(max(workers, key=lambda pid: dialogues_of(lab, pid)), kind)
        all_went_well(lab, process)
        resumed = ask(lab, "select payload ->> 'tries' from event where type = 'dialogue.resumed'")
        assert resumed
        assert set(resumed) == {("1",)}


def dialogues_of(lab: Lab, worker: int) -> int:
    """How many it leads, by the spool files that it holds open: the kernel may have given one worker all of them."""
    found = 0
    for descriptor in Path(f"/proc/{worker}/fd").iterdir():
        with suppress(FileNotFoundError):
            file = descriptor.readlink()
            found += file.parent == lab.settings.spool_dir and file.suffix == ".jsonl"
    return found


def test_while_postgresql_stands_still_dialogues_go_on_and_all_is_stored_later(tmp_path: Path) -> None:
    with all_in_the_second_question(tmp_path) as (lab, process):
        began = monotonic()
        frozen = postgres_processes(lab)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            # From the carrier alone: each has pressed its second key and is thanked, with PostgreSQL standing still.
            until(lambda: all(row.ended_at for row in read_truth(lab)), "the calls have ended", 25)
        finally:
            for pid in frozen:
                # A backend that was ending when it was listed is gone by now, its frozen parent having just buried it.
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        assert monotonic() - began > 6
        all_went_well(lab, process)


def postgres_processes(lab: Lab) -> list[int]:
    """The server and its children; the server first, so that it starts no more."""
    server = int((lab.places.postgres / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
    children = Path(f"/proc/{server}/task/{server}/children").read_text(encoding="ascii")
    return [server, *map(int, children.split())]
