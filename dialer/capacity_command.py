"""`dialer capacity`: what a number of calls an hour needs, what the present settings carry, and what to change."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from dialer import settings as settings_module
from dialer.campaign.capacity import Capacity
from dialer.pacing import sizing
from dialer.pacing.sizing import Carried, Demand, Limit, Requirement
from dialer.settings import AgiSettings

Row = tuple[str, str, str]
_FIRST_RTP_PORT = 10_000


class _Number(click.FloatRange):
    """A number in a range: FloatRange takes `nan` for one."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class _Share(_Number):
    """A share, as `40%` or `0.4`."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, str) and value.endswith("%"):
            try:
                value = float(value.removesuffix("%")) / 100
            except ValueError:
                self.fail(f"{value!r} is not a share: write 40% or 0.4.", param, ctx)
        return super().convert(value, param, ctx)


@click.command("capacity")
@click.option("--calls-per-hour", type=_Number(1, 1_000_000), required=True, help="Calls to make, answered or not.")
@click.option("--seconds", type=_Number(0, 7200, min_open=True), required=True,
              help="How long an answered call lasts, on average.")  # fmt: skip
@click.option("--answer-rate", type=_Share(0, 1, min_open=True), default="100%", show_default=True,
              help="The share of calls that somebody answers.")  # fmt: skip
@click.option("--ring-seconds", type=_Number(0, 120), default=0.0, show_default=True,
              help="How long a phone rings, on average over all calls.")  # fmt: skip
@click.option("--blocking", type=_Share(1e-6, 0.5), default="0.1%", show_default=True,
              help="The share of calls that may find every slot taken, and wait.")  # fmt: skip
@click.option("--cores", type=click.IntRange(1, 1024), default=4, show_default=True, help="CPU cores of a node.")
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def capacity_command(
    calls_per_hour: float,
    seconds: float,
    answer_rate: float,
    ring_seconds: float,
    blocking: float,
    cores: int,
    settings_path: Path | None,
    as_json: bool,
) -> None:
    """Say what so many calls an hour need: slots, rates, nodes, ports, descriptors, workers, PostgreSQL.

    With settings (--settings, or those of this machine) it also says what they carry, which limit binds, and what to
    change. Nothing is changed and nobody is called. docs/capacity.md tells how the figures come about.

    \b
    Examples:
      dialer capacity --calls-per-hour 50000 --seconds 45
      dialer capacity --calls-per-hour 20000 --seconds 60 --answer-rate 40% --ring-seconds 18 --cores 8
    """
    demand = Demand(
        calls_per_hour=calls_per_hour,
        answered_s=seconds,
        answer_rate=answer_rate,
        ring_s=ring_seconds,
        most_waiting=blocking,
    )
    needed = sizing.requirement(demand, cores)
    path = settings_module.find_file_if_any(settings_path)
    present = sizing.carried(demand, settings_module.load(path)) if path else None
    if as_json:
        click.echo(json.dumps(_data(demand, needed, path, present)))
        return
    console = Console(file=sys.stdout, highlight=False, markup=False, soft_wrap=True)
    console.print(_in_short(demand, needed))
    _show(console, ("Needed", "", "Because"), _requirement_rows(demand, needed, cores))
    for sentence in _split(needed):
        console.print(f"\n{sentence}")
    if present is None:
        console.print("\nNo settings were found to compare with; give --settings FILE.")
        return
    console.print(f"\nThe limits in {path}:")
    _show(console, ("Limit", "Now", "Carries an hour"), [_limit_row(limit) for limit in present.limits])
    console.print("\n" + "\n".join(_verdict(needed, present)))


# -- the tables --------------------------------------------------------------------------------------------------------


def _in_short(demand: Demand, needed: Requirement) -> str:
    return (
        f"{demand.calls_per_hour:,.0f} calls an hour are {demand.per_second:,.1f} a second; each keeps its slot for "
        f"{demand.slot_s:g} s on average,\n"
        f"so that {demand.load:,.0f} are taken on average. With {needed.slots:,} slots at most "
        f"{100 * demand.most_waiting:g} % of the calls wait for one\n"
        f"(Erlang C); were they turned away, {needed.slots_if_turned_away:,} would do (Erlang B)."
    )


def _requirement_rows(demand: Demand, needed: Requirement, cores: int) -> list[Row]:
    last_port = _FIRST_RTP_PORT + needed.rtp_ports - 1
    return [
        ("campaign, site: max_concurrent", f"{needed.slots:,}", "slots"),
        ("campaign: calls_per_second", f"{needed.rate:g}", f"the mean of {demand.per_second:.1f} and a tenth"),
        ("nodes", f"{needed.nodes}", f"{needed.node_cores} of {cores} cores used; one more if one may fail"),
        ("node: max_concurrent", f"{needed.node_slots:,}", "its part; its trunks together likewise"),
        ("node: calls_per_second", f"{needed.node_rate:g}", "its part; its trunks together likewise"),
        ("node: rtp_start, rtp_end", f"{_FIRST_RTP_PORT}, {last_port}", "two ports a call, at the least"),
        ("Asterisk: LimitNOFILE", f"{needed.node_descriptors:,}", f"{sizing.CALL_DESCRIPTORS} descriptors a call"),
        ("agi.workers", f"{needed.workers}", "one of them may die"),
        ("workers: LimitNOFILE", f"{needed.worker_descriptors:,}", "a connection and a file a dialogue"),
        ("PostgreSQL: max_connections", f"{needed.database_connections}", "engines, workers, some commands"),
        ("database, MB an hour", f"{needed.database_mb_per_hour:,.0f}", "for calls of one question"),
        ("its WAL, MB an hour", f"{needed.wal_mb_per_hour:,.0f}", "page images not counted"),
        ("journal and CEL, MB an hour", f"{needed.host_mb_per_hour:,.0f}", "on each host, kept for 14 days"),
    ]  # fmt: skip


def _split(needed: Requirement) -> Iterator[str]:
    """What no file can hold in one piece."""
    if needed.campaigns > 1:
        slots, rate = sizing.most(Capacity, "max_concurrent"), sizing.most(Capacity, "calls_per_second")
        yield (
            f"A campaign file takes {slots:,.0f} calls at once and {rate:,.0f} a second at most: "
            f"split the list into {needed.campaigns} campaigns."
        )
    if needed.hosts > 1:
        workers = sizing.most(AgiSettings, "workers")
        yield (
            f"A host has {workers:,.0f} workers at most: split the nodes among {needed.hosts} hosts, each with "
            "settings and workers of its own."
        )


def _limit_row(limit: Limit) -> Row:
    return _name(limit), f"{limit.value:,g}", f"{limit.calls_per_hour:,.0f}"


def _show(console: Console, head: Row, rows: Sequence[Row]) -> None:
    """A table on a terminal, columns of text elsewhere."""
    console.print()
    if console.is_terminal:
        table = Table(*head)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print(line.rstrip())


def _name(limit: Limit) -> str:
    return f"{limit.node}: {limit.name}" if limit.node else limit.name


# -- the verdict -------------------------------------------------------------------------------------------------------


def _verdict(needed: Requirement, present: Carried) -> list[str]:
    binding = "; ".join(f"{_name(limit)} ({limit.value:,g})" for limit in present.binding)
    said = f"these limits carry {present.calls_per_hour:,.0f} such calls an hour. What binds first: {binding}."
    cores = needed.nodes * needed.node_cores
    cpu = f"Limits are no machines: the calls asked for take about {cores} CPU cores in all."
    if present.enough:
        return [f"Enough: {said}", cpu]
    return [f"Not enough: {said}", "To change:", *(f"  {_change(limit)}" for limit in present.too_low), cpu]


def _change(limit: Limit) -> str:
    if limit.most is not None and limit.needed > limit.most:
        parts, noun = math.ceil(limit.needed / limit.most), "nodes" if limit.node else "hosts"
        needed = f"{limit.needed:,.10g} are needed and {limit.most:,.10g} the most"
        return f"{_name(limit)}: {needed}: split into {parts} {noun}"
    return f"{_name(limit)}: from {limit.value:,g} to at least {limit.needed:,.10g}"


def _data(demand: Demand, needed: Requirement, path: Path | None, present: Carried | None) -> dict[str, Any]:
    asked = asdict(demand) | {"per_second": demand.per_second, "slot_s": demand.slot_s, "erlangs": demand.load}
    carried = None if present is None else {"settings": str(path)} | asdict(present)
    return {"demand": asked, "needed": asdict(needed), "present": carried}
