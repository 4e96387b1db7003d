"""`dialer report`: what a campaign did and what it learned, as files for people and programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy import Connection

from dialer import settings as settings_module
from dialer.storage import campaigns
from dialer.storage.campaigns import StoredCampaign
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from etl.reports.answers import answers as answers_report
from etl.reports.calls import calls as calls_report
from etl.reports.table import Report, opened, write_csv, write_json

_NAME = click.argument("name")
_SETTINGS = click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
_CSV = click.option("--csv", "csv_target", metavar="FILE", help="Where the CSV goes; - is standard output.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, on standard output.")


@click.group()
def report() -> None:
    """Reports about a campaign; times are ISO 8601 in UTC."""


@report.command()
@_NAME
@_CSV
@_JSON
@_SETTINGS
def calls(name: str, csv_target: str | None, as_json: bool, settings_path: Path | None) -> None:
    """One row a call: when it was dialled, rang, was answered and ended, how, and what was answered.

    Example: dialer report calls health-check --csv calls.csv
    """
    _write(calls_report, name, csv_target, as_json, settings_path)


@report.command()
@_NAME
@_CSV
@_JSON
@_SETTINGS
def answers(name: str, csv_target: str | None, as_json: bool, settings_path: Path | None) -> None:
    """One row an answer: who, to which question, what, with which keys and after how many tries.

    Example: dialer report answers health-check --csv -
    """
    _write(answers_report, name, csv_target, as_json, settings_path)


def _write(
    make: Callable[[Connection, StoredCampaign], Report],
    name: str,
    csv_target: str | None,
    as_json: bool,
    settings_path: Path | None,
) -> None:
    if as_json == (csv_target is not None):
        raise click.UsageError("say where the report goes: either --csv FILE (- is standard output) or --json")
    engine = sync_engine(settings_module.load(settings_path))
    try:
        with reading(engine) as connection:
            made = make(connection, campaigns.require(connection, name))
            with opened(csv_target or "-") as out:
                (write_json if as_json else write_csv)(made, out)
    finally:
        engine.dispose()
