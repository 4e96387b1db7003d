"""Sizing: the formulas against tables and a queue played through, the advice against itself, the command's words."""

from __future__ import annotations

import heapq
import inspect
import json
import random
import re
import shlex
from collections.abc import Callable
from fractions import Fraction
from math import factorial
from pathlib import Path
from typing import Annotated

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agi import server
from cli import root
from dialer.campaign.capacity import Capacity
from dialer.pacing import breaker, decide, erlang, ramp, shares, sizing
from dialer.pacing.sizing import Demand
from dialer.settings import AgiSettings, NodeSettings, Settings
from dialer.storage import attempts, session

MISSION = Demand(calls_per_hour=50_000, answered_s=45, answer_rate=1, ring_s=0, most_waiting=0.001)


# -- formulas ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "share", "load"),
    [(1, 0.01, 0.0101), (10, 0.01, 4.46), (50, 0.01, 37.9), (100, 0.01, 84.1), (10, 0.001, 3.09), (100, 0.001, 75.2)],
)
def test_erlang_b_as_the_printed_tables_have_it(slots, share, load):
    assert erlang.blocked(load, slots) == pytest.approx(share, rel=0.03)
    assert erlang.slots_for(load * 0.995, most_blocked=share) == slots


@pytest.mark.parametrize(("load", "slots"), [(Fraction(1, 2), 1), (2, 3), (7, 9), (20, 20), (30, 42), (5, 0)])
def test_both_formulas_as_they_are_defined(load, slots):
    load = Fraction(load)
    terms = [load**taken / factorial(taken) for taken in range(slots + 1)]
    assert erlang.blocked(float(load), slots) == pytest.approx(float(terms[-1] / sum(terms)))
    if load < slots:
        waiting = terms[-1] * slots / (slots - load)
        assert erlang.waiting(float(load), slots) == pytest.approx(float(waiting / (sum(terms[:-1]) + waiting)))
    else:
        assert erlang.waiting(float(load), slots) == 1


@given(load=st.floats(0.01, 10_000), share=st.floats(1e-6, 0.5))
@hypothesis_settings(max_examples=40, deadline=None)
def test_slots_are_the_fewest_and_carry_what_they_were_asked_for(load, share):
    slots = erlang.slots_without_wait(load, most_waiting=share)
    assert slots > load
    assert erlang.waiting(load, slots) <= share < erlang.waiting(load, slots - 1)
    assert erlang.load_for(slots, most_waiting=share) >= load * (1 - 1e-6)
    assert erlang.load_for(slots - 1, most_waiting=share) <= load * (1 + 1e-6)
    turning_away = erlang.slots_for(load, most_blocked=share)
    assert turning_away <= slots
    assert erlang.blocked(load, turning_away) <= share


def test_ten_thousand_erlangs_neither_overflow_nor_vanish():
    assert erlang.blocked(10_000, 10_000) == pytest.approx(0.0079, rel=0.01)
    assert erlang.slots_for(10_000, most_blocked=0.001) == 10_170
    assert erlang.slots_without_wait(10_000, most_waiting=0.001) == 10_314


def share_that_waits(load: float, slots: int, length: Callable[[random.Random], float], calls: int = 40_000) -> float:
    """Calls at an even pace, each of mean length 1, the next in line taking the slot that is free first."""
    chance, taken, waited = random.Random(7), [], 0
    for number in range(calls):
        due = begins = number / load
        while taken and taken[0] <= due:
            heapq.heappop(taken)
        if len(taken) >= slots:
            begins, waited = heapq.heappop(taken), waited + 1
        heapq.heappush(taken, begins + length(chance))
    return waited / calls


@pytest.mark.parametrize(
    "length",
    [
        lambda chance: 1.0,
        lambda chance: chance.expovariate(1),
        # Two of five are answered and talk for long, the others ring for a while.
        lambda chance: chance.uniform(1.0, 3.0) if chance.random() < 0.4 else chance.uniform(0.1, 0.5667),
    ],
    ids=["all alike", "exponential", "answered or not"],
)
@pytest.mark.parametrize(("load", "share"), [(2, 0.01), (20, 0.05), (200, 0.01), (625, 0.2)])
def test_calls_at_an_even_pace_wait_less_than_the_formula_says(load, share, length):
    assert share_that_waits(load, erlang.slots_without_wait(load, most_waiting=share), length) <= share


def test_slots_by_erlang_b_are_too_few_for_calls_that_wait():
    slots = erlang.slots_for(625, most_blocked=0.05)
    assert slots < 625
    assert share_that_waits(625, slots, lambda chance: 1.0) > 0.9


# -- what is needed, what is there -------------------------------------------------------------------------------------


def machine(*trunks: dict[str, object], site: int | None = None, workers: int = 2, **node: object) -> Settings:
    """Settings with a node for each that a trunk names."""
    names = sorted({str(trunk["node"]) for trunk in trunks})
    return Settings.model_validate({
        "database": "postgresql:///dialer",
        "mac_key_file": "mac.key",
        "limits": {"max_concurrent": site},
        "agi": {"workers": workers},
        "nodes": [{"name": name, "ami": {"secret_file": "ami"}, **node} for name in names],
        "trunks": [{"name": f"carrier-{number}", "host": "127.0.0.1", **trunk} for number, trunk in enumerate(trunks)],
    })  # fmt: skip


def test_the_mission():
    needed = sizing.requirement(MISSION, cores=4)
    assert MISSION.per_second == pytest.approx(13.9, abs=0.02)
    assert MISSION.load == pytest.approx(50_000 / 3600 * 45.5)
    assert (needed.slots, needed.rate, needed.nodes, needed.rtp_ports) == (713, 15.3, 1, 1426)


def test_ringing_and_unanswered_calls_hold_slots_too():
    demand = Demand(calls_per_hour=3600, answered_s=60, answer_rate=0.4, ring_s=18, most_waiting=0.01)
    assert demand.slot_s == 18 + 0.4 * 60 + 0.5


@given(
    calls=st.floats(1, 300_000), answered_s=st.floats(1, 600), rate=st.floats(0.01, 1), ring_s=st.floats(0, 60),
    waiting=st.floats(1e-5, 0.3), cores=st.integers(1, 32),
)  # fmt: skip
@hypothesis_settings(max_examples=40, deadline=None)
def test_settings_that_follow_the_advice_are_enough(calls, answered_s, rate, ring_s, waiting, cores):
    demand = Demand(calls_per_hour=calls, answered_s=answered_s, answer_rate=rate, ring_s=ring_s, most_waiting=waiting)
    needed = sizing.requirement(demand, cores)
    followed = machine(
        *({"node": f"node-{number}"} for number in range(needed.nodes)),
        site=needed.slots, workers=min(64, needed.workers),
        max_concurrent=needed.node_slots, calls_per_second=needed.node_rate,
        rtp_start=10_000, rtp_end=10_000 + needed.rtp_ports - 1,
    )  # fmt: skip
    found = sizing.carried(demand, followed)
    assert found.enough, found.too_low
    assert not found.too_low
    if needed.node_slots > 1:
        starved = followed.model_copy(
            update={
                "nodes": tuple(n.model_copy(update={"max_concurrent": n.max_concurrent - 1}) for n in followed.nodes)
            }
        )
        found = sizing.carried(demand, starved)
        assert not found.enough
        assert {limit.name for limit in found.too_low} == {"max_concurrent"}


BINDING = [
    # what the settings hold                                              what binds                          enough
    (machine({"node": "n"}), ["calls_per_second"], True),
    (machine({"node": "n"}, calls_per_second=15), ["calls_per_second"], False),
    (machine({"node": "n"}, max_concurrent=700), ["max_concurrent"], False),
    (machine({"node": "n"}, rtp_start=10_000, rtp_end=11_000), ["RTP ports"], False),
    (machine({"node": "n"}, site=712), ["limits.max_concurrent"], False),
    (machine({"node": "n"}, site=713), ["limits.max_concurrent"], True),
    (machine({"node": "n", "max_concurrent": 300}), ["max_concurrent of carrier-0"], False),
    (machine({"node": "n", "max_concurrent": 300}, {"node": "n"}), ["calls_per_second"], True),
    (machine({"node": "n", "max_concurrent": 400}, {"node": "n", "max_concurrent": 313}),
     ["max_concurrent of carrier-0, carrier-1"], True),
    (machine({"node": "n", "calls_per_second": 4}, {"node": "n", "calls_per_second": 9}),
     ["calls_per_second of carrier-0, carrier-1"], False),
    (machine({"node": "m"}, {"node": "n", "calls_per_second": 5}),
     ["calls_per_second", "calls_per_second of carrier-1"], True),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "binding", "enough"), BINDING)
def test_what_binds_first(settings, binding, enough):
    found = sizing.carried(MISSION, settings)
    assert [limit.name for limit in found.binding] == binding
    assert found.enough is enough
    assert bool(found.too_low) is not enough


def test_a_node_without_a_trunk_carries_nothing():
    one = machine({"node": "m"}, {"node": "n"}, calls_per_second=10)
    idle = one.model_copy(update={"trunks": one.trunks[:1]})
    assert sizing.carried(MISSION, one).calls_per_hour == 2 * sizing.carried(MISSION, idle).calls_per_hour


def test_the_figures_of_the_code_are_the_codes():
    assert sizing.SETTLE_S == attempts.SETTLE_S
    assert sizing.WORKER_CALLS == server.MAX_CONNECTIONS
    assert inspect.signature(session.async_engine).parameters["pool_size"].default == sizing.WORKER_CONNECTIONS
    assert sizing.ENGINE_CONNECTIONS == sizing.WORKER_CONNECTIONS + 1


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "capacity.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("short keypad calls a second and core", f"{sizing.CORE_CALLS_PER_S:g}"),
        ("calls at once and core", f"{sizing.CORE_CALLS}"),
        ("CPU of the workers an answered call", f"{1000 * sizing.WORKER_CPU_S:g} ms"),
        ("descriptors of a worker a dialogue", f"{sizing.DIALOGUE_DESCRIPTORS}"),
        ("database a call of one question", f"{sizing.DATABASE_BYTES / 1000:g} KB"),
        ("WAL a call", f"{sizing.WAL_BYTES / 1000:g} KB"),
        ("journal and the node's record (CEL) a call", f"{sizing.HOST_BYTES / 1000:g} KB"),
    ],
)
def test_the_page_says_the_figures_of_the_code(figure, value):
    assert re.search(rf"(?m)^\| {re.escape(figure)}[^|]*\| {re.escape(value)} \|", PAGE)


def test_the_page_explains_limits_as_they_are():
    assert (breaker.FEWEST_OUTCOMES, breaker.FAULT_SHARE, breaker.COUNTED_S, breaker.FAULTS_IN_A_ROW) == (8, 0.5, 10, 5)
    assert (breaker.FIRST_OPEN_S, breaker.LONGEST_OPEN_S, breaker.PROBES_OK) == (10, 300, 3)
    assert (ramp.FIRST_SHARE, int(shares.HOLD_S), decide.MOST_WAITING) == (0.1, 14, 100)
    defaults = {name: field.default for name, field in NodeSettings.model_fields.items()}
    assert (defaults["max_concurrent"], defaults["calls_per_second"]) == (2500, 50)
    assert (defaults["rtp_start"], defaults["rtp_end"]) == (10_000, 29_999)
    assert Capacity.model_fields["max_silent"].default == 0.05


# -- the command -------------------------------------------------------------------------------------------------------

FILE = """
database: postgresql:///dialer
mac_key_file: mac.key
nodes: [{name: node-1, ami: {secret_file: ami}, calls_per_second: 12}]
trunks: [{name: carrier-a, node: node-1, host: 127.0.0.1, max_concurrent: 100}]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIALER_SETTINGS", raising=False)
    (tmp_path / "site.yaml").write_text(FILE, encoding="utf-8")
    return lambda *words: CliRunner().invoke(root, ["capacity", *words])


ASKED = ("--calls-per-hour", "50000", "--seconds", "45")


def test_without_settings_it_says_what_is_needed(run):
    done = run(*ASKED)
    assert done.exit_code == 0
    assert "With 713 slots" in done.output
    assert "No settings were found" in done.output
    assert "\x1b" not in done.output


def test_with_settings_it_says_what_binds_and_what_to_change(run):
    done = run(*ASKED, "--settings", "site.yaml")
    assert done.exit_code == 0
    said = done.output[done.output.index("Not enough") :]
    assert "What binds first: node-1: max_concurrent of carrier-a (100)" in said
    assert "node-1: calls_per_second: from 12 to at least 15.3" in said
    assert "node-1: max_concurrent of carrier-a: from 100 to at least 713" in said
    assert run("--calls-per-hour", "2000", "--seconds", "45", "--settings", "site.yaml").output.count("\nEnough: ") == 1


SPLIT = [
    # calls an hour   seconds   said                                       not said
    ("190000",        "180",    (),                                        ("split",)),
    ("210000",        "180",    ("into 2 campaigns",),                     ("hosts",)),
    ("1000000",       "300",    ("into 9 campaigns",),                     ("hosts",)),
    ("1000000",       "7000",   ("into 195 campaigns", "among 8 hosts"),   ()),
]  # fmt: skip


@pytest.mark.parametrize(("calls", "seconds", "said", "not_said"), SPLIT)
def test_what_no_file_can_hold_is_split(run, calls, seconds, said, not_said):
    output = run("--calls-per-hour", calls, "--seconds", seconds).output
    assert all(words in output for words in said)
    assert not any(words in output for words in not_said)


def test_no_advice_is_beyond_what_the_settings_take(run):
    said = run("--calls-per-hour", "1000000", "--seconds", "7000", "--settings", "site.yaml").output
    assert re.search(r"agi\.workers: 489 are needed and 64 the most: split into 8 hosts", said)
    assert re.search(r"node-1: RTP ports: [\d,]+ are needed and 65,535 the most: split into \d+ nodes", said)


def test_the_bounds_are_those_of_the_files():
    for model, key in ((Capacity, "max_concurrent"), (Capacity, "calls_per_second"), (AgiSettings, "workers")):
        adapter = TypeAdapter(Annotated[model.model_fields[key].annotation, *model.model_fields[key].metadata])
        assert adapter.validate_python(sizing.most(model, key))
        with pytest.raises(ValidationError):
            adapter.validate_python(sizing.most(model, key) + 1)


def test_programs_read_the_same(run):
    data = json.loads(run(*ASKED, "--settings", "site.yaml", "--json").output)
    assert data["needed"]["slots"] == 713
    assert data["demand"]["erlangs"] == pytest.approx(631.9, abs=0.1)
    assert (data["present"]["enough"], data["present"]["binding"][0]["value"]) == (False, 100)
    assert json.loads(run(*ASKED, "--json").output)["present"] is None


def test_the_page_shows_what_the_command_says(run):
    examples = re.findall(r"```text\n\$ dialer capacity (.+)\n([^`]+)```", PAGE)
    assert len(examples) == 2
    for words, said in examples:
        assert run(*shlex.split(words)).output.startswith(said + "\nNo settings")


@pytest.mark.parametrize(("written", "same"), [("40%", "0.4"), ("100%", "1"), ("0.5 %", "0.005")])
def test_a_share_may_be_written_in_two_ways(run, written, same):
    assert run(*ASKED, "--answer-rate", written).output == run(*ASKED, "--answer-rate", same).output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--calls-per-hour", "nan", "--seconds", "45"), "'nan' is not a number"),
        (("--calls-per-hour", "0", "--seconds", "45"), "0.0 is not in the range"),
        (("--calls-per-hour", "10", "--seconds", "0"), "not in the range"),
        (("--calls-per-hour", "10"), "Missing option '--seconds'"),
        ((*ASKED, "--answer-rate", "x%"), "is not a share: write 40% or 0.4"),
        ((*ASKED, "--answer-rate", "0%"), "not in the range"),
        ((*ASKED, "--answer-rate", "140%"), "not in the range"),
    ],
)
def test_what_is_wrong_is_said_plainly(run, words, said):
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_a_settings_file_that_was_named_must_be_there(run, monkeypatch):
    assert "there is no settings file at nowhere.yaml" in str(run(*ASKED, "--settings", "nowhere.yaml").exception)
    monkeypatch.setenv("DIALER_SETTINGS", "nowhere.yaml")
    assert "there is no settings file at nowhere.yaml" in str(run(*ASKED).exception)
