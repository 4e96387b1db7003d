"""A lab of several nodes and carriers, and what goes wrong in it on request: a trunk's storm, a node's lack of CPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dialer.errors import InvalidInput, LabError
from dialer.lab.places import places
from dialer.lab.process import Instance, processes_of
from dialer.lab.truth import TruthRow, read_truth
from dialer.lab.up import Lab, down, find, running, up
from dialplan.render import render_node
from tests.lab.caller import ami, sound, until
from tests.lab.conftest import no_channels

pytestmark = pytest.mark.lab

NUMBERS = {
    "+48501400001": "carrier-a",
    "+48501400002": "carrier-b",
    "+48501400003": "carrier-c",
    "+48501400004": "carrier-d",
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two nodes, two carriers; every number answers and presses 4."""
    folder = tmp_path_factory.mktemp("many")
    table = folder / "numbers.csv"
    rows = "".join(f"+4850140{number:04d},*,answers_and_presses,4@0.2\n" for number in range(1, 31))
    table.write_text("number,nth_invite,behaviour,args\n" + rows, encoding="utf-8")
    with running("many", render_node=render_node, base=folder, nodes=2, carriers=2, numbers=table) as lab:
        sound(lab.places.state / "prompts" / "tone.alaw", ("tone", 1.0))
        yield lab


def call(lab: Lab, number: str, trunk: str, timeout_ms: int = 4000) -> TruthRow:
    """Calls a number over a trunk, from the trunk's own node; the carriers' record of it once it has ended."""
    node = next(one.node for one in lab.topology.trunks if one.name == trunk)
    with ami(lab, node=node) as session:
        answer = session.act(
            "Originate", Channel=f"PJSIP/{number}@{trunk}", Application="Playback", Async="true",
            Data=str(lab.places.state / "prompts" / "tone"), Timeout=str(timeout_ms),
        )  # fmt: skip
        assert answer["Response"] == "Success", answer
    (row,) = until(lambda: [one for one in read_truth(lab) if one.number == number and one.ended_at], f"{number} ends")
    no_channels(lab)
    return row


def test_every_node_and_carrier_carries_calls(many: Lab) -> None:
    rows = [call(many, number, trunk) for number, trunk in NUMBERS.items()]
    assert [(row.trunk, row.final_code, "".join(key.key for key in row.keys)) for row in rows] == [
        (trunk, 200, "4") for trunk in NUMBERS.values()
    ]
    assert all(row.first_audio_at for row in rows), "audio went both ways"
    for node, channels in (("node-1", ["carrier-a", "carrier-b"]), ("node-2", ["carrier-c", "carrier-d"])):
        record = (many.places.asterisk(node) / "log" / "cel.jsonl").read_text(encoding="utf-8")
        assert [trunk for trunk in NUMBERS.values() if f"PJSIP/{trunk}-" in record] == channels


# what the storm is, what the carrier then says to a call that gives up after a second
STORMS = [(503, 503, "callee"), ("403", 403, "callee"), ("silent", 487, "caller")]


@pytest.mark.parametrize(("code", "final_code", "ended_by"), STORMS)
def test_storm_hits_new_calls_of_its_trunk_alone(many: Lab, code: int | str, final_code: int, ended_by: str) -> None:
    first = 5 + 4 * STORMS.index((code, final_code, ended_by))
    struck, beside, elsewhere, after = (f"+4850140{number:04d}" for number in range(first, first + 4))
    many.storm("carrier-a", code)
    try:
        row = call(many, struck, "carrier-a", timeout_ms=1000)
        assert (row.final_code, row.ended_by, row.answered_at) == (final_code, ended_by, None)
        assert call(many, beside, "carrier-b").final_code == 200
        assert call(many, elsewhere, "carrier-c").final_code == 200
    finally:
        many.storm("carrier-a", None)
    assert call(many, after, "carrier-a").final_code == 200


def test_storm_keeps_calls_that_talk(many: Lab) -> None:
    with ami(many) as session:
        session.act(
            "Originate", Channel="PJSIP/+48501400020@carrier-b", Application="Playback", Async="true",
            Data=str(many.places.state / "prompts" / "tone"), Timeout="4000",
        )  # fmt: skip

        def found() -> list[TruthRow]:
            return [row for row in read_truth(many) if row.number == "+48501400020" and row.answered_at]

        until(found, "the call is answered")
        many.storm("carrier-b", 503)
        try:
            (row,) = until(lambda: [row for row in found() if row.ended_at], "it ends")
        finally:
            many.storm("carrier-b", None)
    no_channels(many)
    assert ([key.key for key in row.keys], row.ended_by) == (["4"], "caller")


def test_storms_that_are_none(many: Lab) -> None:
    for trunk, code in (("carrier-a", 200), ("carrier-a", "5o3"), ("carrier-a", "700"), ("carrier-z", 503)):
        with pytest.raises(InvalidInput):
            many.storm(trunk, code)
    assert call(many, "+48501400021", "carrier-a").final_code == 200


def test_a_slow_node_is_stopped_most_of_the_time_and_goes_on_after(many: Lab) -> None:
    with many.slow("node-2", share=0.7):
        until(lambda: state(many.nodes[1]) == "T", "node-2 is stopped")
        assert state(many.nodes[0]) != "T"
        # Slow, not dead: calls pass all the same.
        assert call(many, "+48501400022", "carrier-d").final_code == 200
    assert state(many.nodes[1]) != "T"
    with pytest.raises(InvalidInput):
        many.slow("node-9")


def state(instance: Instance) -> str:
    """The process state of proc(5)."""
    (pid,) = (pid for pid, arguments in processes_of(instance.directory) if "-F" in arguments)
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()[0]


def test_a_lab_keeps_its_shape_and_down_leaves_nothing(many: Lab, tmp_path: Path) -> None:
    with running("wide", render_node=render_node, base=tmp_path, nodes=2) as wide:
        assert not set(wide.ports.values()) & set(many.ports.values())
        assert [instance.name for instance in (*wide.nodes, *wide.carriers)] == ["node-1", "node-2", "carrier-1"]
        assert {trunk.host for trunk in wide.settings.trunks} == {"127.0.0.1"}
        assert up("wide", render_node=render_node, base=tmp_path).topology == wide.topology
        assert find("wide", base=tmp_path).topology == wide.topology
        with pytest.raises(LabError, match="take it down first"):
            up("wide", render_node=render_node, base=tmp_path, nodes=3)
        # Down must also end a node that stands still.
        with wide.slow("node-2", share=1):
            until(lambda: state(wide.nodes[1]) == "T", "node-2 is stopped")
            assert down("wide", base=tmp_path)
    where = places("wide", tmp_path)
    assert (processes_of(where.runtime), where.runtime.exists(), where.home.exists()) == ([], False, False)
