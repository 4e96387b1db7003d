"""docs/reliability.md names the faults that there are and the violations that the checker knows; no more, no less."""

from __future__ import annotations

import re
from pathlib import Path

from faults.injections import FAULTS

ROOT = Path(__file__).parents[2]


def column(header: str) -> set[str]:
    """The names in the first column of the table with this header."""
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = text.split(f"| {header} |", 1)[1].split("\n\n", 1)[0]
    return {name for cell in re.findall(r"(?m)^\| ([\w, ]+) \|", table) for name in cell.split(", ")}


def test_the_matrix_names_every_fault():
    assert column("Fault") == {fault.name for fault in FAULTS}


def test_every_violation_is_explained():
    source = "".join((ROOT / "faults" / name).read_text(encoding="utf-8") for name in ("checker.py", "session.py"))
    assert column("Violation") == set(re.findall(r'kind="(\w+)"', source))
