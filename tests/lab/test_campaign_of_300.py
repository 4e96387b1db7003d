"""The main job, whole: 300 people of every kind, by the command an operator types, judged by the carrier's record."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import text

from dialer.lab.subscribers import load_behaviours
from dialer.lab.truth import TruthRow, read_truth, write_truth_csv
from dialer.lab.up import Lab, running
from dialer.storage.session import sync_engine
from dialplan.render import render_node
from etl.reports.catalogue import REPORTS
from tests.lab.caller import Ami
from tests.lab.conftest import no_channels
from tests.support.carrier_figures import JUDGES, PRICE

pytestmark = [pytest.mark.lab, pytest.mark.alone]

EXAMPLE = Path(__file__).parents[2] / "examples" / "health-check"
CEILING, RATE = 80, 20
# Hostile to AMI, the dialplan, CSV and speech alike; it must be spoken and reported, and reach nothing else.
MARKER = "Qzxv"
NAMES = (
    f'{MARKER} "quoted", with a comma',
    f"{MARKER}${{SHELL(id)}}",
    f"{MARKER}\r\nAction: Command",
    f"{MARKER} مرحبا",
    f"{MARKER} Zażółć",
    f"{MARKER} 🙂",
    MARKER + "x" * 300,
)

# What a subscriber does, and how many INVITEs the example's retry policy allows it.
KINDS: tuple[tuple[str, str, int], ...] = (
    ("answers_and_presses", "2", 1),
    ("answers_and_presses", "1 3#", 1),
    ("answers_and_presses", "1 12#", 1),
    ("presses_late", "1 3#", 1),
    ("presses_wrong_first", "7 2", 1),
    ("presses_wrong_first", "* 2", 1),
    ("presses_during_prompt", "2@4", 1),
    ("answers_late", "2 2", 1),
    ("says_nothing", "", 1),
    ("hangs_up_mid_prompt", "1", 2),
    ("busy", "", 3),
    ("rings_out", "", 2),
    ("rejects", "", 1),
    ("unallocated", "", 1),
    ("congested", "", 2),
    ("trunk_refuses", "", 2),
    ("busy then answers_and_presses", "2", 2),
)
PEOPLE = 300


@dataclass(frozen=True, kw_only=True)
class Result:
    """What the run left: the carrier's rows and ours, by number."""

    truth: dict[str, list[TruthRow]]
    attempts: dict[str, list[tuple[str, str, int | None]]]
    """(attempt id, disposition, SIP status) in the order of submission."""
    tries: dict[str, list[tuple[str, str]]]
    """(outcome, keys) by attempt id, in the order of the dialogue."""
    names: dict[str, str]
    summary: str
    verified: subprocess.CompletedProcess[str]
    """Against the node's record and the carrier's."""
    ami: bytes
    reports: dict[str, list[dict[str, Any]]]
    """Rows by report, made of a nightly run."""


def kind_of(index: int) -> tuple[str, str, int]:
    return KINDS[index % len(KINDS)]


def number_of(index: int) -> str:
    return f"+48501{300_000 + index}"


def write_files(folder: Path) -> tuple[Path, Path]:
    """The example campaign with 300 people, and the carrier's table of what each does."""
    shutil.copytree(EXAMPLE, folder / "campaign")
    with (folder / "campaign" / "contacts.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case_id", "mobile", "lang", "first_name"])
        for index in range(PEOPLE):
            # Who presses at a fixed time would do so during a long name, where no key is asked for.
            hostile = index % 5 == 0 and kind_of(index)[0] != "presses_during_prompt"
            name = NAMES[index % len(NAMES)] if hostile else "Ann"
            writer.writerow([f"case-{index}", number_of(index), ("en", "pl")[index % 2], name])
    with (folder / "numbers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["number", "nth_invite", "behaviour", "args"])
        for index in range(PEOPLE):
            behaviour, args, _ = kind_of(index)
            first, _, later = behaviour.partition(" then ")
            if later:
                table.writerow([number_of(index), 1, first, ""])
            table.writerow([number_of(index), "*", later or first, args])
    return folder / "campaign" / "campaign.yaml", folder / "numbers.csv"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Result]:
    """One run, watched through a second AMI session; afterwards both Asterisks must be idle."""
    folder = tmp_path_factory.mktemp("campaign")
    campaign, numbers = write_files(folder)
    with running("three-hundred", render_node=render_node, numbers=numbers, base=folder / "lab") as lab:
        settings = YAML(typ="safe", pure=True).load(lab.settings_file)
        settings["trunks"][0]["tariff"] = [PRICE]
        lab.settings_file.write_text(json.dumps(settings), encoding="utf-8")
        heard = bytearray()
        watch = Ami(lab, "dialer-watch")
        listening = threading.Thread(target=watch.record, args=(heard,))
        listening.start()
        done = subprocess.run(
            [
                sys.executable, "-m", "cli", "run", str(campaign), "--settings", str(lab.settings_file),
                "--max-concurrent", str(CEILING), "--calls-per-second", str(RATE),
            ],
            capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        watch.close()
        listening.join()
        assert done.returncode == 0, done.stderr[-3000:]
        with (folder / "truth.csv").open("w", newline="", encoding="utf-8") as file:
            write_truth_csv(read_truth(lab), file)
        verified = subprocess.run(
            [
                sys.executable, "-m", "cli", "verify", "health-check", "--settings", str(lab.settings_file),
                "--carrier", str(folder / "truth.csv"),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        command(lab, "etl", "run")
        reports = {
            name: [json.loads(line) for line in command(lab, "report", name, *of, "--json").splitlines()]
            for name in JUDGES
            for of in [["--campaign", "health-check"] if REPORTS[name].one_campaign else []]
        }
        yield collect(lab, done.stdout, verified, bytes(heard), reports)
        no_channels(lab)


def command(lab: Lab, *words: str) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words, "--settings", str(lab.settings_file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def collect(
    lab: Lab,
    summary: str,
    verified: subprocess.CompletedProcess[str],
    ami: bytes,
    reports: dict[str, list[dict[str, Any]]],
) -> Result:
    truth: dict[str, list[TruthRow]] = {}
    for row in read_truth(lab):
        truth.setdefault(row.number, []).append(row)
    attempts: dict[str, list[tuple[str, str, int | None]]] = {}
    tries: dict[str, list[tuple[str, str]]] = {}
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        rows = "select id, number, disposition, tech_cause from attempt order by submitting_at, id"
        for attempt_id, number, disposition, sip in connection.execute(text(rows)):
            attempts.setdefault(number, []).append((str(attempt_id), disposition, sip))
        rows = "select attempt_id, outcome, keys from answer_try order by attempt_id, at, step, visit, try_no"
        for attempt_id, outcome, keys in connection.execute(text(rows)):
            tries.setdefault(str(attempt_id), []).append((outcome, keys))
        people = connection.execute(text("select next_number, numbers, fields, closed_as, on_hold from contact")).all()
    engine.dispose()
    assert all(row.closed_as and not row.on_hold for row in people)
    names = {row.numbers[0]: row.fields["first_name"] for row in people}
    return Result(
        truth=truth, attempts=attempts, tries=tries, names=names, summary=summary, verified=verified, ami=ami,
        reports=reports,
    )  # fmt: skip


def expected_behaviour(index: int, nth: int) -> str:
    first, _, later = kind_of(index)[0].partition(" then ")
    return later if later and nth > 0 else first


def test_every_number_has_the_invites_that_the_policy_allows_and_no_other(result):
    wrong = {
        number_of(index): (kind_of(index), len(result.truth.get(number_of(index), [])))
        for index in range(PEOPLE)
        if len(result.truth.get(number_of(index), [])) != kind_of(index)[2]
    }
    assert not wrong
    assert set(result.truth) == {number_of(index) for index in range(PEOPLE)}


def test_every_attempt_is_one_invite_and_has_the_verdict_that_the_carrier_explains(result):
    behaviours = load_behaviours()
    wrong = []
    for index in range(PEOPLE):
        number = number_of(index)
        invites, attempts = result.truth[number], result.attempts[number]
        if len(invites) != len(attempts):
            wrong.append(f"{number}: {len(invites)} INVITEs, {len(attempts)} attempts")
        for nth, (invite, (_, disposition, _sip)) in enumerate(zip(invites, attempts, strict=True)):
            expected = behaviours[expected_behaviour(index, nth)].expected
            if (invite.final_code, disposition) != (expected.final_code, expected.disposition):
                wrong.append(
                    f"{number} call {nth + 1}, {expected_behaviour(index, nth)}: {invite.final_code} {disposition}"
                )
    assert not wrong, "\n".join(wrong)


def test_tries_and_digits_are_the_ones_that_the_carrier_pressed(result):
    behaviours = load_behaviours()
    wrong = []
    for index in range(PEOPLE):
        number = number_of(index)
        for nth, (invite, (attempt_id, _, _sip)) in enumerate(
            zip(result.truth[number], result.attempts[number], strict=True)
        ):
            tries = result.tries.get(attempt_id, [])
            expected = behaviours[expected_behaviour(index, nth)].expected
            outcomes = tuple(outcome for outcome, _ in tries)
            if outcomes[: len(expected.tries)] != expected.tries or set(outcomes[len(expected.tries) :]) - set(
                expected.tries[-1:] if expected.last_repeats else ()
            ):
                wrong.append(f"{number} {expected_behaviour(index, nth)}: tries {outcomes}")
            pressed = "".join(key.key for key in invite.keys).replace("#", "")
            stored = "".join(keys for _, keys in tries).replace("#", "")
            if pressed != stored:
                wrong.append(f"{number} {expected_behaviour(index, nth)}: pressed {pressed!r}, stored {stored!r}")
    assert not wrong, "\n".join(wrong)


def test_the_ceiling_holds_at_the_carrier(result):
    """Promise 5. A call is open from its INVITE to its end."""
    rows = [row for rows in result.truth.values() for row in rows]
    assert all(row.ended_at for row in rows)
    steps = sorted([(row.ended_at, -1) for row in rows] + [(row.invited_at, 1) for row in rows])
    now = most = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    assert CEILING * 0.8 <= most <= CEILING


def test_the_rate_holds_at_the_carrier(result):
    """Promise 5: any 10 s hold at most 10 times the limit."""
    times = sorted(row.invited_at for rows in result.truth.values() for row in rows)
    first = most = 0
    for last, at in enumerate(times):
        while times[first] <= at - timedelta(seconds=10):
            first += 1
        most = max(most, last - first + 1)
    assert most <= 10 * RATE


def test_every_answered_call_heard_something(result):
    silent = [
        row
        for number, rows in result.truth.items()
        for row in rows
        if row.answered_at and not row.first_audio_at and row.ended_by == "caller"
    ]
    assert not silent


def test_contact_fields_are_kept_as_they_are_and_never_reach_asterisk(result):
    kept = Counter(name for name in result.names.values() if MARKER in name)
    assert set(kept) == set(NAMES)
    assert b"Newchannel" in result.ami
    assert MARKER.encode() not in result.ami


def test_the_nodes_record_and_the_carriers_agree_with_our_tables(result):
    calls = sum(len(attempts) for attempts in result.attempts.values())
    answered = sum(1 for rows in result.truth.values() for row in rows if row.answered_at)
    assert result.verified.stdout == ""
    node, carrier = result.verified.stderr.strip().splitlines()
    assert node == f"{calls} attempts compared, 0 do not agree"
    assert carrier.startswith(f"carrier: {calls} calls, {answered} answered, ")
    assert f"; ours: {calls} calls, {answered} answered, " in carrier
    assert carrier.endswith("; 0 differences; 0 rows outside of the campaign")
    assert result.verified.returncode == 0


def test_the_summary_counts_every_call(result):
    counts = Counter(disposition for attempts in result.attempts.values() for _, disposition, _ in attempts)
    for disposition, count in counts.items():
        line = next(line for line in result.summary.splitlines() if f" {disposition} " in line)
        assert str(count) in line


@pytest.mark.parametrize("report", JUDGES)
def test_every_figure_of_a_report_is_the_carriers(result, report):
    wrong = JUDGES[report](result.reports[report], result.truth)
    assert not wrong, "\n".join(wrong[:40])
