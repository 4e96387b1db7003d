"""Workers that die while people are on the line."""

from __future__ import annotations

import os
import signal
import wave
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from dialer.lab.process import processes_of
from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from tests.lab.caller import until
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


def write_campaign(folder: Path) -> Path:
    folder.mkdir()
    with wave.open(str(folder / "silence.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 60))
    (folder / "people.csv").write_text(f"mobile\n{number_of(0)}\n", encoding="utf-8")
    (folder / "campaign.yaml").write_text(CAMPAIGN, encoding="utf-8")
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
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        found = connection.exec_driver_sql("select count(*) from event where type = 'dialogue.started'").scalar_one()
    engine.dispose()
    return bool(found)


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
        finish(process)
    assert row.answered_at
    assert row.first_audio_at, "the dialplan has said sorry"
    assert row.ended_at
    assert row.ended_by == "caller"
    assert (row.ended_at - row.first_audio_at).total_seconds() > 2, "to its end"
