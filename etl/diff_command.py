"""`dialer report diff`: what a restatement changed, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import click

from dialer import settings as settings_module
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from etl.diff import Cause, Change, Changed, Difference, changes, difference
from etl.engines.port import Engine
from etl.lake import Lake
from etl.night_commands import open_engine
from etl.sql.order import BY_NAME

SHOWN = 20


@click.command("diff")
@click.argument("day", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))
@click.argument("run1", type=click.UUID)
@click.argument("run2", type=click.UUID)
@click.option("--all", "all_rows", is_flag=True, help=f"Every row that differs, not {SHOWN} of each dataset.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row that differs.")
@click.option(
    "--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file."
)  # fmt: skip
def diff_command(
    day: datetime, run1: UUID, run2: UUID, all_rows: bool, as_json: bool, settings_path: Path | None
) -> None:  # fmt: skip
    """Show what changed on a day between two runs of the nightly ETL: rows of facts, and the events behind it.

    DAY is the UTC day on which tickets, calls, waits and logins began. `dialer etl status` lists the runs.

    \b
    Example:
      dialer report diff 2026-11-20 3c1f9f9e-7b0c-4d27-9b7e-0f6a3f1d2a11 9a7d0c4b-58f1-4c1b-8a60-6a6f0f4f7c22
    """
    settings = settings_module.load(settings_path)
    database, lake = sync_engine(settings), Lake.of(settings)
    engine = open_engine(settings, "patient", settings.state_dir / "etl" / str(uuid4()))
    try:
        with reading(database) as connection:
            found = difference(connection, lake, engine, day.date(), run1, run2)
        if as_json:
            for one in found.changed:
                for change in changes(engine, found, one.dataset):
                    click.echo(json.dumps(_as_data(change), ensure_ascii=False))
            return
        for line in _lines(engine, found, all_rows=all_rows):
            click.echo(line)
    finally:
        engine.close()
        database.dispose()


def _lines(engine: Engine, found: Difference, *, all_rows: bool) -> Iterator[str]:
    yield from (f"from {_told(found.first)}", f"to   {_told(found.second)}", "")
    yield from ("why:", *(f"  {one}" for one in _reasons(found)), "")
    if not found.changed:
        yield "no fact differs"
    for one in found.changed:
        yield f"{one.dataset}: {_counted(one)}"
        for change in changes(engine, found, one.dataset, None if all_rows else SHOWN):
            yield f"  {_row(change)}"
        rows = one.new + one.gone + one.changed
        if rows > SHOWN and not all_rows:
            yield f"  … and {rows - SHOWN:,} more (--all)"


def _told(run: Any) -> str:
    as_of = datetime.fromtimestamp(run.as_of_us / 1e6, UTC).isoformat(timespec="seconds") if run.as_of_us else "nothing"
    return f"{run.run}, ended {run.ended_at:%Y-%m-%d %H:%M:%SZ}, events until {as_of}, code {run.code}"


def _reasons(found: Difference) -> list[str]:
    reasons = [_cause(cause) for cause in found.causes]
    if found.first.code != found.second.code:
        reasons.append("the code of the transforms is another")
    if found.first.as_of_us != found.second.as_of_us:
        reasons.append("the cut-off is another: what was open then is counted up to a later event")
    if found.changed and not reasons:
        reasons.append("what the settings say is another (tariffs, opening hours), or a person was erased")
    return reasons or ["nothing: the same events, the same code, the same cut-off"]


def _cause(cause: Cause) -> str:
    sign, source = "+" if cause.came else "-", f" from {cause.source}" if cause.source else ""
    late = f", the latest {cause.late_us / 3.6e9:.1f} h after it occurred" if cause.came and cause.late_us else ""
    return f"{sign}{cause.events} {cause.type}{source}{late}"


def _counted(one: Changed) -> str:
    counts = {"new": one.new, "gone": one.gone, "changed": one.changed}
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _row(change: Change) -> str:
    key = " ".join("-" if part is None else str(part) for part in change.key[1:])
    if change.was is None or change.now is None:
        return f"{'+' if change.was is None else '-'} {key}"
    places = list(BY_NAME[change.dataset].columns)
    told = (f"{name} {change.was[places.index(name)]} → {change.now[places.index(name)]}" for name in change.columns)
    return f"~ {key}: {', '.join(told)}"


def _as_data(change: Change) -> dict[str, Any]:
    names = list(BY_NAME[change.dataset].columns)
    return {
        "dataset": change.dataset,
        "was": None if change.was is None else dict(zip(names, change.was, strict=True)),
        "now": None if change.now is None else dict(zip(names, change.now, strict=True)),
    }
