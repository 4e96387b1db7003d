"""A slice of `make faults`, two minutes with its start and its end; docs/reliability.md tells of the long runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.alone, pytest.mark.long]

ROOT = Path(__file__).parents[2]
MINUTES, SEED = "1.2", "7"
FEWEST_CALLS, FEWEST_FAULTS = 60, 5
"""Below that nothing was tried: the slice must fail when no calls flow, too."""


def test_a_slice_of_faults_breaks_no_promise(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "faults", "--minutes", MINUTES, "--seed", SEED],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=420,
    )  # fmt: skip
    evidence = done.stdout + done.stderr[-20_000:]
    line = re.search(r"^faults: calls=(\d+) faults=(\d+) violations=(\d+) seed=7$", done.stdout, re.MULTILINE)
    assert line, evidence
    assert (int(line[3]), done.returncode) == (0, 0), evidence
    assert int(line[1]) >= FEWEST_CALLS, evidence
    assert int(line[2]) >= FEWEST_FAULTS, evidence
