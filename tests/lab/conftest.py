"""A real lab for the tests of this folder: one for the session, checked after each test for calls left behind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dialer.lab.process import Instance
from dialer.lab.up import Lab, running
from dialplan.render import render_node
from tests.lab.caller import until


@pytest.fixture(scope="session")
def session_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A running lab of this session's own."""
    with running("test", render_node=render_node, base=tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture
def lab(session_lab: Lab) -> Iterator[Lab]:
    """The session's lab; after the test no Asterisk may hold a channel."""
    yield session_lab
    no_channels(session_lab)


def no_channels(lab: Lab) -> None:
    """Waits until every Asterisk is idle; fails when one does not become so."""
    for instance in (*lab.nodes, *lab.carriers):
        until(partial(_idle, instance), f"the {instance.name} has no channel left")


def _idle(instance: Instance) -> bool:
    return instance.execute("core show channels count").startswith("0 active channels")


@pytest.fixture
def numbers_file(tmp_path: Path) -> Path:
    """Where a test may write its own table of numbers."""
    return tmp_path / "numbers.csv"
