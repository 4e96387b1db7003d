"""`python -m bench [NAME …]`: runs benchmarks, prints their tables, writes var/bench/NAME.json."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.claims import claims, claims_rules
from bench.engines import engines_2
from bench.etl_10m import etl_10m
from bench.explain_1m import explain_1m
from bench.figure import Conditions, Figure, Size
from bench.held import held_2700, held_5000
from bench.import_1m import import_1m
from bench.ingest import ingest
from bench.ingest_http import ingest_http
from bench.ivr import call_files, client_cpu, first_audio, ivr_full
from bench.ledger import ledger_cost, restart
from bench.overload import overload
from bench.reports import csv_rows, report_100m, report_month
from dialer.clock import utc_now

BENCHMARKS = {
    one.__name__: one
    for one in (ivr_full, call_files, overload, held_2700, held_5000, client_cpu, first_audio, claims, claims_rules,
                engines_2, explain_1m, etl_10m, ledger_cost, restart, import_1m,
                report_100m, report_month, csv_rows, ingest, ingest_http)
}  # fmt: skip
TARGET = Path("var/bench")


def main() -> int:
    """Runs the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios against a ceiling of the same run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which; default all: {', '.join(BENCHMARKS)}")
    parser.add_argument("--seconds", type=float, help="how long each side makes calls, to try a benchmark out")
    parser.add_argument("--calls", type=int, help="how many calls or contacts, where a benchmark counts these")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    # Ended by force, the labs and engines would stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    for name in given.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name].__doc__}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="dialer-bench-") as folder:
            figures, conditions = BENCHMARKS[name](Path(folder), Size(seconds=given.seconds, calls=given.calls))
        conditions |= {"at": utc_now().isoformat(), "cores": os.cpu_count(), "python": platform.python_version()}
        _write(name, figures, conditions)
        _show(name, figures, conditions)
    return 0


def _write(name: str, figures: list[Figure], conditions: Conditions) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    rows = [asdict(figure) | {"ratio": figure.ratio, "conditions": conditions} for figure in figures]
    (TARGET / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _show(name: str, figures: list[Figure], conditions: Conditions) -> None:
    table = Table(title=f"{name}  ({', '.join(f'{key} {value}' for key, value in conditions.items())})")
    for column in ("figure", "value", "unit", "ceiling", "ratio"):
        table.add_column(column, justify="left" if column in ("figure", "unit") else "right")
    for figure in figures:
        cells = (figure.name, figure.value, figure.unit, figure.ceiling, figure.ratio)
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
