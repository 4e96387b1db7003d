"""`python -m faults --minutes 5 --seed 7`: one fault run; its report is var/faults/SEED.json."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from dialer.errors import DialerError, InvalidInput
from faults.injections import FAULTS
from faults.session import run, write_report

TARGET = Path("var/faults")


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(0.1, 600), default=5.0, show_default=True, help="How long faults come."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Chooses the people and the faults.")
@click.option("--only", multiple=True, type=click.Choice([fault.name for fault in FAULTS]), help="Only these faults.")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Keep the run's files in this folder.")
def main(minutes: float, seed: int, only: tuple[str, ...], keep: Path | None) -> None:
    """Break everything while real calls run, then compare the carrier's record with the database.

    Exit code 1 when a promise was broken; the last line says how many times.

    Example: python -m faults --minutes 5 --seed 7
    """
    if keep is not None and keep.is_dir() and any(keep.iterdir()):
        raise InvalidInput(f"{keep} holds files already. Name a new folder with --keep.")
    with tempfile.TemporaryDirectory(prefix="dialer-faults-") as scratch:
        folder = (keep or Path(scratch)).resolve()
        outcome = run(
            folder, minutes=minutes, seed=seed, only=frozenset(only), say=lambda text: click.echo(text, err=True)
        )
    for violation in outcome.violations:
        click.echo(violation, err=True)
    write_report(outcome, TARGET / f"{seed}.json")
    click.echo(outcome.last_line)
    sys.exit(1 if outcome.violations else 0)


if __name__ == "__main__":
    try:
        main()
    except DialerError as error:
        click.echo(f"faults: {error}", err=True)
        sys.exit(error.exit_code)
