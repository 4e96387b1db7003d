"""Runs a report for a user: the rows, or what is behind a cell, into a file with its side-car, or to the screen."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dialer import settings as settings_module
from dialer.errors import InvalidInput
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine
from etl.reports import forms, make, sidecar
from etl.reports.asking import Machine, key_of
from etl.reports.forms import Table
from etl.reports.html import page
from etl.reports.make import Wanted
from etl.reports.model import Report
from etl.reports.options import PROFILES, Options
from etl.reports.sidecar import Standing
from etl.reports.target import checked, opened
from etl.zones import from_us

_NOTHING = "nothing has been computed for tenant {0!r} yet: `dialer etl run` does it."


def write_report(
    report: Report, options: Options, rows: Sequence[str], form: str, target: str, profile: str, settings: Path | None
) -> None:  # fmt: skip
    """Writes a report, or with `rows` what stands behind one of its cells. Raises DialerError."""
    checked(target, named=form in forms.NAMED)
    with _machine(settings) as machine:
        _write(machine, machine.wanted(report, options), rows, form, target, profile)


def write_page(options: Options, target: str, settings: Path | None) -> None:
    """Writes the page of a day or a campaign. Raises DialerError."""
    checked(target)
    with _machine(settings) as machine:
        drawn = page.drawn(machine, options)
        with opened(target) as file:
            file.write(drawn.encode())


def _write(machine: Machine, wanted: Wanted, rows: Sequence[str], form: str, target: str, profile: str) -> None:
    tenant = wanted.question.tenant
    sources = machine.sources(tenant)
    with machine.workshop() as duck:
        chosen = _table(duck, sources, wanted, rows)
        standing = machine.standing(tenant)
        # What follows may wait for a reader (a pager) longer than PostgreSQL lets a transaction idle, or vacuum wait.
        machine.connection.commit()
        match form:
            case "csv":
                made = forms.write_csv(duck, chosen, target, PROFILES[profile])
            case "xlsx":
                made = forms.write_xlsx(duck, chosen, target)
            case "parquet":
                made = forms.write_parquet(duck, chosen, target)
            case _:
                made = forms.write_json(duck, chosen, target)
    if standing.as_of is None and wanted.report.reads:
        click.echo(_NOTHING.format(tenant), err=True)
    for part, one in enumerate(made, 1):
        if one.path is not None and one.path.is_file():
            asked = _asked(wanted, rows, form, profile) | {"part": part, "parts": len(made)}
            sidecar.write(one, asked, chosen.columns, standing)
            click.echo(f"{one.path}: {one.rows:,} row{'s' * (one.rows != 1)} {_until(standing)}", err=True)
        if one.cut:
            click.echo(f"{one.path}: of {one.cut:,} texts a cell holds the first 32,767 characters alone.", err=True)


def _until(standing: Standing) -> str:
    return f"of events that came in before {standing.as_of:%Y-%m-%d %H:%M:%S} UTC" if standing.as_of else "of no events"


def _table(duck: Any, sources: Any, wanted: Wanted, rows: Sequence[str]) -> Table:
    if not rows:
        return make.table(duck, sources, wanted)
    if wanted.report.kind is None and not wanted.report.measures:
        raise InvalidInput(f"nothing stands behind a row of {wanted.report.name}: say it without --rows.")
    subjects = [said.removeprefix("subject=") for said in rows if said.startswith("subject=")]
    if subjects and (len(rows) > 1 or wanted.report.kind is None):
        raise InvalidInput(f"{wanted.report.name}: --rows subject=ID stands alone, for reports of subjects.")
    if subjects:
        return make.events_of(duck, sources, wanted, subjects[0])
    if not wanted.report.measures:
        raise InvalidInput(f"each row of {wanted.report.name} is one subject already: say --rows subject=ID.")
    said = [key_of(wanted.report, one) for one in rows]
    measures = [one for one in said if isinstance(one, str)]
    if len(measures) > 1:
        raise InvalidInput(f"--rows: one column at a time, not {' and '.join(measures)}.")
    keys = [one for one in said if not isinstance(one, str)]
    return make.rows_behind(duck, sources, wanted, keys, measures[0] if measures else "")


def _asked(wanted: Wanted, rows: Sequence[str], form: str, profile: str) -> dict[str, Any]:
    question, one = wanted.question, wanted.report
    return {
        "report": one.name, "version": one.version, "says": one.says, "basis": one.basis, "form": form,
        "profile": profile if form == "csv" else None, "rows_of": list(rows), "tenant": question.tenant,
        "campaign": wanted.campaigns.get(question.campaign) if question.campaign is not None else None,
        "tz": question.zone.name, "from_utc": from_us(question.from_us).isoformat(),
        "to_utc": from_us(question.to_us).isoformat(), "as_of_utc": from_us(question.as_of_us).isoformat(),
        "targets": question.targets.model_dump(),
    }  # fmt: skip


@contextmanager
def _machine(settings_path: Path | None) -> Iterator[Machine]:
    settings = settings_module.load(settings_path)
    engine = sync_engine(settings)
    try:
        with interruptible(), reading(engine) as connection:
            yield Machine(settings, connection)
    finally:
        engine.dispose()


@contextmanager
def interruptible() -> Iterator[None]:
    """Lets SIGTERM, as timers send it, end a report as Ctrl-C does: with nothing left of it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
