"""`python -m bench [NAME]`: runs benchmarks, prints their tables, writes var/bench/NAME.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.ivr import Figure, ivr_60, ivr_full
from bench.ledger import ledger_cost, restart
from dialer.clock import utc_now

BENCHMARKS = {"ivr_full": ivr_full, "ivr_60": ivr_60, "ledger_cost": ledger_cost, "restart": restart}
TARGET = Path("var/bench")


def main(wanted: list[str]) -> int:
    """Runs the named benchmarks, or all."""
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in wanted or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name].__doc__}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="dialer-bench-") as folder:
            figures, conditions = BENCHMARKS[name](Path(folder))
        conditions |= {"at": utc_now().isoformat(), "cores": os.cpu_count(), "python": platform.python_version()}
        _write(name, figures, conditions)
        _show(name, figures, conditions)
    return 0


def _write(name: str, figures: list[Figure], conditions: dict[str, object]) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"ratio": figure.ratio, "conditions": conditions} for figure in figures]
    (TARGET / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _show(name: str, figures: list[Figure], conditions: dict[str, object]) -> None:
    table = Table(title=f"{name}  ({', '.join(f'{key} {value}' for key, value in conditions.items())})")
    for column in ("figure", "value", "unit", "ceiling", "ratio"):
        table.add_column(column, justify="left" if column in ("figure", "unit") else "right")
    for figure in figures:
        cells = (figure.name, figure.value, figure.unit, figure.ceiling, figure.ratio)
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
