"""The documents cannot drift: they are held against the code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from dialer import waves
from dialer.calls.attempt import State
from dialer.calls.disposition import BLAME, Disposition
from dialer.campaign.retry import Retry
from dialer.contacts.contact import Tried
from dialer.settings import (
    AgiSettings,
    AmiSettings,
    CapLimits,
    CapSettings,
    CollectSettings,
    EtlSettings,
    LimitSettings,
    NodeSettings,
    OpeningHours,
    ReportSettings,
    Settings,
    TrunkSettings,
)
from dialer.telemetry_settings import KeepSettings, QuotaSettings
from etl.reports.catalogue import REPORTS
from tests.support import report_reference
from tests.support.cli_reference import commands, reference, runs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_command_reference_is_what_the_commands_say():
    assert page("cli.md") == reference(), "run `make docs`"


def test_the_reports_page_is_the_catalogue():
    assert page("report-columns.md") == report_reference.reference(), "run `make docs`"
    named = set(re.findall(r"`([a-z0-9_]+)`", page("reports.md").split("## What is asked")[0]))
    assert set(REPORTS) <= named


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])
def test_every_command_has_help_and_an_example(name, command):
    assert command.help, name
    if runs(command):
        assert re.search(rf"Examples?:\s+(\S.*\s+)*?{name}", command.help), f"{name} has no example"
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize("path", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_links_and_named_files_exist(path):
    text = path.read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#:!]+)\)", text) if not (path.parent / target).exists()]
    assert not links
    code = re.findall(r"`((?:dialer|agi|dialplan|sounds|etl|tests|examples|bench|docs)/[\w./-]+)`", text)
    assert not [name for name in code if not (ROOT / name).exists()]


def test_commands_named_in_the_documents_exist():
    known = {name for name, _ in commands()}
    for path in PAGES:
        for line in re.findall(r"`dialer ([a-z|-]+(?: [a-z|]+)?)", path.read_text(encoding="utf-8")):
            first, _, second = line.partition(" ")
            for one in first.split("|"):
                assert f"dialer {one}" in known, f"{path.name}: dialer {one}"
                for two in second.split("|") if f"dialer {one}" in groups() and second else ():
                    assert f"dialer {one} {two}" in known, f"{path.name}: dialer {one} {two}"


def groups() -> set[str]:
    return {name for name, command in commands() if isinstance(command, click.Group)}


def test_the_disposition_page_is_the_policy():
    rows = dict(re.findall(r"(?m)^\| (\w+) \|.*\| (.+) \|$", page("dispositions.md")))
    details = {
        name: (blame, counts)
        for name, blame, counts in re.findall(
            r"(?m)^\| (\w+) \| .+ \| (\w+) \| (\w+) \| .+ \|$", page("dispositions.md")
        )
    }
    for disposition in Disposition:
        assert details[disposition.value] == (
            BLAME[disposition].value,
            "yes" if waves.counts(unrung(disposition)) else "no",
        )  # fmt: skip
        if disposition is Disposition.RETURNED:
            continue
        said, default = rows[disposition.value], waves.DEFAULTS[disposition]
        if isinstance(default, Retry):
            assert said == f"{duration(default.after)}, {times(default.times)}", disposition
        elif disposition not in waves.DEAD_NUMBER:
            assert said == {"stop": "closed", "hold": "held for an operator"}[default]


def unrung(disposition: Disposition) -> Tried:
    """An attempt that ended so without a ring."""
    return Tried(number="+48501000001", disposition=disposition, trunk="a", wave=1, rang=False)


def duration(seconds: int) -> str:
    for unit, name in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    raise AssertionError(seconds)


def times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def test_the_state_page_names_every_state():
    assert {state.value for state in State} <= set(re.findall(r"\*\*(\w+)\*\*", page("attempt-states.md")))


@pytest.mark.parametrize(
    "part",
    [
        Settings,
        AgiSettings,
        AmiSettings,
        CapSettings,
        CapLimits,
        CollectSettings,
        EtlSettings,
        KeepSettings,
        LimitSettings,
        NodeSettings,
        OpeningHours,
        QuotaSettings,
        ReportSettings,
        TrunkSettings,
    ],
)
def test_every_setting_is_explained(part):
    explained = re.findall(r"`(?:\w+\.)?(\w+)`", page("settings.md"))
    groups = {"agi", "ami", "caps", "keep", "limits", "nodes", "quota", "trunks"}
    assert set(part.model_fields) - groups <= set(explained)
