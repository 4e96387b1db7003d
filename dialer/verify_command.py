"""`dialer verify`: our tables against the node's own record of every call, and against a carrier's call records."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import click
from sqlalchemy import Connection

from dialer import phone
from dialer import settings as settings_module
from dialer.calls.carrier_file import KEYS, LAB_COLUMNS, CarrierCalls, Layout, read_carrier_calls
from dialer.calls.carrier_record import CarrierCall, Comparison, Found, Side, clock_offset_s
from dialer.errors import InvalidInput
from dialer.storage import campaigns
from dialer.storage import verify as stored
from dialer.storage.campaigns import StoredCampaign
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine

LATE = timedelta(hours=1)
"""A call that leaves this long after a campaign's last verdict is still looked at: an order that nobody knows of any
more would leave then."""
NOTABLE_OFFSET_S = 1.0


def _columns(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    columns = {}
    for one in given:
        key, equals, column = one.partition("=")
        if not equals or key not in KEYS or not column:
            raise click.BadParameter(f"{one!r}: write KEY=COLUMN with KEY one of {', '.join(KEYS)}")
        columns[key] = column
    return columns or LAB_COLUMNS


def _zone(_context: click.Context, _option: click.Parameter, given: str) -> ZoneInfo:
    try:
        return ZoneInfo(given)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(f"{given!r} is no IANA time zone, such as Europe/Warsaw") from None


def _known_region(_context: click.Context, _option: click.Parameter, given: str | None) -> str | None:
    if given is not None and not phone.is_region(given):
        raise click.BadParameter(f"{given!r} is no country, such as PL")
    return given


@click.command()
@click.argument("name")
@click.option("--carrier", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="Compare with a carrier's call records too: a CSV with a header.")  # fmt: skip
@click.option("--map", "columns", multiple=True, callback=_columns, metavar="KEY=COLUMN",
              help="Which column of the carrier's holds the number, started_at (of the INVITE), answered_at, ended_at, "
              "seconds (billed), status. Default: as `dialer lab truth` writes them.")  # fmt: skip
@click.option("--timezone", "zone", default="UTC", show_default=True, callback=_zone,
              help="Of the carrier's times that name no offset.")  # fmt: skip
@click.option("--region", callback=_known_region,
              help="Country of numbers without a country code, as PL. Default: the campaign's.")  # fmt: skip
@click.option("--trunk", "trunks", multiple=True, help="Compare only the calls through this trunk; may be repeated.")
@click.option("--answered-only", is_flag=True, help="The carrier lists only calls that were answered.")
@click.option("--tolerance", default=5.0, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
              help="How far the start of a call may differ between the carrier and us.")  # fmt: skip
@click.option("--seconds-apart", default=1.0, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
              help="How much longer or shorter a call may be at the carrier than with us.")  # fmt: skip
@click.option("--settings", "settings_path", type=click.Path(path_type=Path), help="The machine's settings file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a disagreement; the carrier's totals come last.")
def verify(
    name: str, carrier: Path | None, columns: dict[str, str], zone: ZoneInfo, region: str | None,
    trunks: tuple[str, ...], answered_only: bool, tolerance: float, seconds_apart: float,
    settings_path: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Compare a campaign's calls and keys with what Asterisk itself recorded; print what does not agree.

    In health nothing is printed and the exit code is 0; else it is 1. Needs `cel_file` in the settings of the node.

    With --carrier, also compare each call with the carrier's own records, the gravest first: calls that we do not
    know of, calls that we judged as never made, calls answered on one side only, calls that the carrier does not
    have, and seconds that differ. Times are ISO 8601 or seconds since 1970. Rows on other numbers or of other times
    are only counted, so the file may hold all of the carrier's traffic.

    \b
    Examples:
      dialer verify health-check
      dialer verify health-check --carrier cdr.csv --map number=Called --map started_at=Start --map seconds=Billed
    """
    engine = sync_engine(settings_module.load(settings_path))
    comparison = Comparison(tolerance_s=tolerance, seconds_apart_s=seconds_apart, answered_only=answered_only)
    try:
        with reading(engine) as connection:
            campaign = campaigns.require(connection, name)
            differ = _with_the_node(connection, campaign.campaign_id, as_json)
            if carrier is not None:
                layout = Layout(columns=columns, zone=zone, region=region or _region(campaign))
                outside = _with_the_carrier(connection, campaign.campaign_id, comparison, carrier, layout, trunks)
                _tell(comparison, outside, as_json)
    finally:
        engine.dispose()
    sys.exit(1 if differ or comparison.found else 0)


def _region(campaign: StoredCampaign) -> str | None:
    region = campaign.document["contacts"].get("region")
    return str(region) if region else None


def _with_the_node(connection: Connection, campaign_id: int, as_json: bool) -> int:
    """Prints where the node's record and our tables differ; how many attempts do."""
    compared = differ = 0
    for one in stored.compare(connection, campaign_id):
        compared += 1
        differ += bool(one.found)
        for found in one.found:
            row = {"attempt": str(one.attempt_id), "found": found}
            click.echo(json.dumps(row) if as_json else f"{one.attempt_id}: {found}")
    click.echo(f"{compared} attempts compared, {differ} do not agree", err=True)
    return differ


def _with_the_carrier(
    connection: Connection, campaign_id: int, comparison: Comparison, path: Path, layout: Layout,
    trunks: tuple[str, ...],
) -> int:  # fmt: skip
    """Fills the comparison; how many of the carrier's rows are outside of the campaign."""
    carried = _read(path, layout, stored.numbers(connection, campaign_id))
    rows = carried.elsewhere + sum(len(calls) for calls in carried.by_number.values())
    span = stored.span(connection, campaign_id)
    if span is None:
        return rows
    between = (span[0] - timedelta(seconds=comparison.tolerance_s), span[1] + LATE)
    offset_s = clock_offset_s(
        (ours, carried.by_number.get(number, ()))
        for number, ours in stored.calls_by_number(connection, campaign_id, between, trunks)
    )
    _judge_clock(offset_s, comparison.tolerance_s, path)
    within = {number: _between(calls, between) for number, calls in carried.by_number.items()}
    compared = sum(len(calls) for calls in within.values())
    for number, ours in stored.calls_by_number(connection, campaign_id, between, trunks):
        comparison.take(number, ours, within.pop(number, []))
    for number, theirs in within.items():
        comparison.take(number, [], theirs)
    return rows - compared + comparison.elsewhere


def _read(path: Path, layout: Layout, numbers: set[str]) -> CarrierCalls:
    # Only ASCII columns are read; a name in some older encoding beside them is no reason to stop.
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return read_carrier_calls(file, layout, numbers, str(path))


def _between(calls: list[CarrierCall], between: tuple[datetime, datetime]) -> list[CarrierCall]:
    return [call for call in calls if between[0] <= call.started_at <= between[1]]


def _judge_clock(offset_s: float | None, tolerance_s: float, path: Path) -> None:
    if offset_s is None or abs(offset_s) <= NOTABLE_OFFSET_S:
        return
    told = f"the carrier's clock is {abs(offset_s):.1f} s {'ahead of' if offset_s > 0 else 'behind'} ours"
    if abs(offset_s) > tolerance_s:
        raise InvalidInput(
            f"No call can be paired: in {path}, {told}. Name the time zone of its times with --timezone, or allow the "
            f"difference with --tolerance."
        )
    click.echo(told, err=True)


def _tell(comparison: Comparison, outside: int, as_json: bool) -> None:
    for one in comparison.gravest_first():
        click.echo(json.dumps(_row(one)) if as_json else _line(one))
    ours, carrier = comparison.ours, comparison.carrier
    if as_json:
        click.echo(json.dumps({"carrier": _sums(carrier), "ours": _sums(ours), "outside": outside}))
    click.echo(
        f"carrier: {carrier.calls} calls, {carrier.answered} answered, {carrier.seconds:.0f} s; "
        f"ours: {ours.calls} calls, {ours.answered} answered, {ours.seconds:.0f} s; "
        f"{len(comparison.found)} differences; {outside} rows outside of the campaign",
        err=True,
    )


def _sums(side: Side) -> dict[str, object]:
    return {"calls": side.calls, "answered": side.answered, "seconds": round(side.seconds, 3)}


def _row(one: Found) -> dict[str, object]:
    return {
        "found": one.difference.value,
        "number": one.number,
        "at": one.at.isoformat(),
        "line": one.line,
        "attempt": str(one.attempt_id) if one.attempt_id else None,
        "detail": one.detail,
    }


def _line(one: Found) -> str:
    where = [f"line {one.line}" if one.line else "", f"attempt {one.attempt_id}" if one.attempt_id else ""]
    return f"{one.number} {one.at.isoformat(timespec='seconds')}: {one.detail}; {', '.join(filter(None, where))}"
