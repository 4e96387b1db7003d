"""Each behaviour of the carrier, called once for real: what the carrier's truth must say of it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass

import pytest

from dialer.lab.subscribers import load_behaviours
from dialer.lab.truth import TruthRow, read_truth, write_truth_csv
from dialer.lab.up import Lab
from tests.lab.caller import Ami, ami, sound, until
from tests.lab.conftest import no_channels

pytestmark = pytest.mark.lab

# The caller asks three questions: a tone each; a second of silence is the end of a question.
QUESTIONS = (("tone", 0.4), ("silence", 1.3), ("tone", 0.4), ("silence", 2.2), ("tone", 0.4), ("silence", 1.5))
NUMBERS = """\
number,nth_invite,behaviour,args
+48501200001,*,answers_and_presses,5 12# *
+48501200002,*,presses_late,7
+48501200003,*,presses_wrong_first,9 1
+48501200004,*,presses_during_prompt,3@0.2
+48501200005,*,says_nothing,
+48501200006,*,hangs_up_mid_prompt,0.5
+48501200007,*,busy,
+48501200008,*,rings_out,
+48501200009,*,rejects,
+48501200010,*,unallocated,
+48501200011,*,congested,
+48501200012,*,trunk_refuses,
+48501200013,*,answers_late,1.5 4
+48501200014,1,busy,
+48501200014,2,answers_and_presses,6@0.3
+48501200015,*,hangs_up_at_once,
+48501200016,*,never_rings,
"""

# number, final code, keys, who ended it
EXPECTED = [
    ("+48501200001", 200, "512#*", "caller"),
    ("+48501200002", 200, "7", "caller"),
    ("+48501200003", 200, "91", "caller"),
    ("+48501200004", 200, "3", "caller"),
    ("+48501200005", 200, "", "caller"),
    ("+48501200006", 200, "", "callee"),
    ("+48501200007", 486, "", "callee"),
    ("+48501200008", 487, "", "caller"),
    ("+48501200009", 603, "", "callee"),
    ("+48501200010", 404, "", "callee"),
    ("+48501200011", 503, "", "callee"),
    ("+48501200012", 403, "", "callee"),
    ("+48501200013", 200, "4", "caller"),
    ("+48501200015", 200, "", "callee"),
    ("+48501200016", 487, "", "caller"),
    ("+48501299999", 404, "", "callee"),
]


@dataclass(frozen=True, kw_only=True)
class World:
    """What the carrier and the node recorded of the calls."""

    lab: Lab
    rows: list[TruthRow]

    def of(self, number: str) -> list[TruthRow]:
        return [row for row in self.rows if row.number == number]


@pytest.fixture(scope="module")
def world(session_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> World:
    """All numbers called at once over both trunks, the last one twice; then everything has ended."""
    lab = session_lab
    table = tmp_path_factory.mktemp("numbers") / "numbers.csv"
    table.write_text(NUMBERS, encoding="utf-8")
    lab.set_numbers(table)
    questions = sound(lab.places.state / "prompts" / "questions.alaw", *QUESTIONS)
    numbers = [*dict.fromkeys(row[0] for row in EXPECTED), "+48501200014"]
    with ami(lab) as session:
        for position, number in enumerate(numbers):
            _call(session, number, "carrier-a" if position % 2 == 0 else "carrier-b", questions)
        until(lambda: _ended(lab, "+48501200014"), "the busy number has refused the first call")
        _call(session, "+48501200014", "carrier-a", questions)
        until(lambda: len(_ended(lab)) == len(numbers) + 1, "every call has ended", within_s=20)
    no_channels(lab)
    return World(lab=lab, rows=read_truth(lab))


def _ended(lab: Lab, number: str | None = None) -> list[TruthRow]:
    return [row for row in read_truth(lab) if row.ended_at and number in (None, row.number)]


def _call(session: Ami, number: str, trunk: str, data: str) -> None:
    answer = session.act(
        "Originate", Channel=f"PJSIP/{number}@{trunk}", Application="Playback", Data=data, Async="true", Timeout="4000"
    )
    assert answer["Response"] == "Success", answer


@pytest.mark.parametrize(("number", "final_code", "keys", "ended_by"), EXPECTED)
def test_behaviour(world: World, number: str, final_code: int, keys: str, ended_by: str) -> None:
    (row,) = world.of(number)
    assert (row.final_code, "".join(key.key for key in row.keys), row.ended_by) == (final_code, keys, ended_by)
    assert row.ended_at is not None
    assert row.ended_at > row.invited_at
    assert (row.answered_at is not None) == (final_code == 200)
    listened = final_code == 200 and number != "+48501200015"
    assert (row.first_audio_at is not None) == listened


def test_every_behaviour_is_called_and_ends_as_it_declares() -> None:
    called = {line.split(",")[2]: line.split(",")[0] for line in NUMBERS.splitlines()[1:]}
    codes = {number: code for number, code, *_ in EXPECTED}
    for name, behaviour in load_behaviours().items():
        number = next(line.split(",")[0] for line in NUMBERS.splitlines() if f",{name}," in line)
        assert codes[number] == behaviour.expected.final_code, name
    assert set(called) == set(load_behaviours())


def test_second_call_to_a_number_may_differ(world: World) -> None:
    assert [(row.final_code, [key.key for key in row.keys]) for row in world.of("+48501200014")] == [
        (486, []),
        (200, ["6"]),
    ]


def test_trunk_is_the_one_that_was_used(world: World) -> None:
    assert {row.trunk for row in world.rows} == {"carrier-a", "carrier-b"}
    assert world.of("+48501200001")[0].trunk == "carrier-a"
    assert world.of("+48501200002")[0].trunk == "carrier-b"


def test_times_are_those_of_the_sounds(world: World) -> None:
    (late,) = world.of("+48501200013")
    assert late.answered_at is not None
    assert 1.5 <= (late.answered_at - late.invited_at).total_seconds() < 2.5
    (row,) = world.of("+48501200001")
    assert row.answered_at is not None
    assert row.first_audio_at is not None
    # A tone from the first packet on: heard within a few packets. The first question is over after its 0.4 s of
    # tone and 1 s of silence.
    assert 0 < (row.first_audio_at - row.answered_at).total_seconds() < 0.5
    assert 1.3 < (row.keys[0].at - row.first_audio_at).total_seconds() < 2.2


def test_node_heard_the_keys_that_the_subscribers_pressed(world: World) -> None:
    """The node's own witness (CEL) and the carrier's truth are independent records of the same digits."""
    cel = (world.lab.places.node / "log" / "cel.jsonl").read_text(encoding="utf-8").splitlines()
    heard: dict[str, str] = {}
    for event in map(json.loads, cel):
        if event["eventtype"] == "DTMF":
            heard[event["uniqueid"]] = heard.get(event["uniqueid"], "") + json.loads(event["eventextra"])["digit"]
    pressed = ["".join(key.key for key in row.keys) for row in world.rows if row.keys]
    assert sorted(heard.values()) == sorted(pressed)


def test_csv_has_a_row_a_call_with_utc_times(world: World) -> None:
    file = io.StringIO()
    write_truth_csv(world.rows, file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(rows) == len(world.rows) == len({row["call_id"] for row in rows})
    (row,) = [row for row in rows if row["number"] == "+48501200013"]
    assert row["keys"].startswith("4@20")
    assert row["invited_at"].endswith("+00:00")


def test_nothing_goes_wrong_in_the_logs(world: World) -> None:
    for instance in (world.lab.node, world.lab.carrier):
        lines = instance.log.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if "ERROR" in line or "WARNING" in line] == []
