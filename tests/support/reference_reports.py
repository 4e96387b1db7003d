"""The figures of the reports of tickets and queues once more, in exact fractions, from facts in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import floor
from typing import Any
from zoneinfo import ZoneInfo

from etl.columns import HISTORY
from etl.sql.order import BY_NAME
from tests.support.reference_metrics import DONE, Facts

Row = dict[str, Any]
Cells = dict[tuple[Any, ...], Row]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
QUARTER_US = 900_000_000
DURATIONS = (
    "first_assignment", "queue", "first_response", "requester_wait", "agent_wait", "hold", "owned", "handle",
    "first_resolution", "full_resolution",
)  # fmt: skip


class Asked:
    """A zone's days from the first on, and the moment up to which what is open counts."""

    def __init__(self, zone: str, first: date, days: int, as_of_us: int) -> None:
        self.zone, self.as_of_us = ZoneInfo(zone), as_of_us
        start = datetime.combine(first, time(), self.zone)
        midnights = [start + timedelta(days=number) for number in range(days + 1)]
        edges = [(midnight.astimezone(UTC) - EPOCH) // MICROSECOND for midnight in midnights]
        self.days = list(pairwise(edges))
        self.from_us, self.to_us = edges[0], edges[-1]

    def day(self, us: int) -> tuple[int, int] | None:
        return next((day for day in self.days if day[0] <= us < day[1]), None)

    def text(self, us: int) -> str:
        """As reports write it, with milliseconds and the offset."""
        return (EPOCH + us * MICROSECOND).astimezone(self.zone).isoformat(timespec="milliseconds")


def named(facts: Facts, dataset: str) -> list[Row]:
    columns = BY_NAME[dataset].columns if dataset in BY_NAME else HISTORY["ticket"]
    return [dict(zip(columns, row, strict=True)) for row in facts.get(dataset, [])]


def shown(value: Fraction | int | None, decimals: int) -> Decimal | None:
    """Rounded half up, once."""
    if value is None:
        return None
    return Decimal(floor(Fraction(value) * 10**decimals + Fraction(1, 2))).scaleb(-decimals)


def by(rows: Iterable[Row], key: Callable[[Row], tuple[Any, ...] | None]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if (found := key(row)) is not None:
            groups[found].append(row)
    return groups


def percent(part: int, whole: int) -> Decimal | None:
    return shown(Fraction(100 * part, whole), 2) if whole else None


def seconds(total_us: Fraction | int | None, among: int = 1) -> Decimal | None:
    return shown(Fraction(total_us, among) / 10**6, 3) if total_us is not None and among else None


def percentile(values: Sequence[int], of_100: int) -> Fraction | None:
    """Between the two values that stand nearest to it, as far as it lies."""
    if not values:
        return None
    values, place = sorted(values), Fraction(of_100 * (len(values) - 1), 100)
    low = floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def ticket_cohort_daily(facts: Facts, asked: Asked) -> Cells:
    within = {
        row["ticket"]: {f"business_{name}_us": row[f"{name}_us"] for name in DURATIONS}
        for row in named(facts, "ticket_business_fact")
    }
    nothing = {name: None for name in next(iter(within.values()), {})}
    tickets = [row | within.get(row["ticket"], nothing) for row in named(facts, "ticket_fact")]
    cells: Cells = defaultdict(lambda: _cohort([], []))
    cohorts = by(
        tickets, lambda row: (day := asked.day(row["created_us"])) and (day, row["channel"], row["first_group"])
    )
    ages = _backlog(tickets, named(facts, "ticket_span_fact"), asked)
    for key in {*cohorts, *ages}:
        cells[asked.text(key[0][0]), *key[1:]] = _cohort(cohorts.get(key, []), ages.get(key, []))
    return dict(cells)


def _backlog(tickets: list[Row], spans: list[Row], asked: Asked) -> dict[tuple[Any, ...], list[int]]:
    of = {row["ticket"]: row for row in tickets}
    ages: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for span in spans:
        ticket = of[span["ticket"]]
        for day in asked.days:
            lasts = span["end_us"] is None or span["end_us"] > day[1]
            there = max(span["begin_us"], ticket["created_us"]) <= day[1] <= asked.as_of_us
            if there and lasts and span["status"] not in DONE:
                ages[day, ticket["channel"], ticket["first_group"]].append(day[1] - ticket["created_us"])
    return ages


def _cohort(rows: list[Row], ages: list[int]) -> Row:
    solved = sum(row["first_resolution_us"] is not None for row in rows)
    reopened = sum(row["reopens"] > 0 for row in rows)
    one_touch = sum(row["one_touch"] for row in rows)
    cell: Row = {
        "created": len(rows), "solved": solved, "solved_pct": percent(solved, len(rows)), "reopened": reopened,
        "reopened_pct": percent(reopened, solved), "one_touch": one_touch,
        "one_touch_pct": percent(one_touch, solved), "late": sum(row["late"] for row in rows),
        "transfers_agent": sum(row["transfers_agent"] for row in rows), "backlog": len(ages),
        "backlog_age_p50_s": seconds(percentile(ages, 50)), "backlog_age_p90_s": seconds(percentile(ages, 90)),
    }  # fmt: skip
    for name in (*DURATIONS, *(f"business_{name}" for name in DURATIONS)):
        known = [row[f"{name}_us"] for row in rows if row[f"{name}_us"] is not None]
        cell |= {
            f"with_{name}": len(known), f"{name}_s": seconds(sum(known), len(known)),
            f"{name}_p50_s": seconds(percentile(known, 50)), f"{name}_p90_s": seconds(percentile(known, 90)),
        }  # fmt: skip
    return cell


class Shop:
    """Open every day of its zone from one hour to another."""

    def __init__(self, zone: str, opens: int, closes: int) -> None:
        self.zone, self.opens, self.closes = ZoneInfo(zone), opens, closes

    def open_us(self, begin_us: int, end_us: int) -> int:
        """How much of a stretch lies in its hours, day after day."""
        first, last = ((EPOCH + us * MICROSECOND).astimezone(self.zone).date() for us in (begin_us, end_us))
        total_us = 0
        for number in range((last - first).days + 1):
            edges = (
                datetime.combine(first + timedelta(days=number), time(hour), self.zone)
                for hour in (self.opens, self.closes)
            )
            opens_us, closes_us = ((edge.astimezone(UTC) - EPOCH) // MICROSECOND for edge in edges)
            total_us += max(0, min(end_us, closes_us) - max(begin_us, opens_us))
        return total_us


def sla_daily(facts: Facts, asked: Asked, within_us: Mapping[str, int], shops: Mapping[str, Shop]) -> Cells:
    """By all hours, but for groups that have a shop."""
    tickets = {row["ticket"]: row for row in named(facts, "ticket_fact")}
    promises = [
        (target, ticket, ticket["created_us"], ticket[f"{target}_us"])
        for target in ("first_response", "full_resolution")
        for ticket in tickets.values()
    ]
    for wait in named(facts, "ticket_wait_fact"):
        took = None if wait["answered_us"] is None else wait["answered_us"] - wait["asked_us"]
        promises.append(("next_response", tickets[wait["ticket"]], wait["asked_us"], took))
    cells: dict[tuple[Any, ...], Row] = defaultdict(lambda: {"met": 0, "breached": 0, "pending": 0})
    for target, ticket, at, took in promises:
        if (day := asked.day(at)) is None:
            continue
        past = took if took is not None else max(0, asked.as_of_us - at)
        shop = shops.get(ticket["first_group"])
        past = shop.open_us(at, at + past) if shop else past
        how = "breached" if past > within_us[target] else "pending" if took is None else "met"
        hours = "opening" if shop else "calendar"
        cells[asked.text(day[0]), target, ticket["channel"], ticket["first_group"], hours][how] += 1
    for cell in cells.values():
        cell["finished"] = cell["met"] + cell["breached"]
        cell["sla_pct"] = percent(cell["met"], cell["met"] + cell["breached"])
    return dict(cells)


def messages_daily(facts: Facts, asked: Asked) -> Cells:
    tickets = {row["ticket"]: row for row in named(facts, "ticket_fact")}
    cells: dict[tuple[Any, ...], Row] = defaultdict(lambda: defaultdict(int))
    for row in named(facts, "history_ticket"):
        if row["type"] != "ticket.message" or (day := asked.day(row["occurred_us"])) is None:
            continue
        kind = "internal" if row["visibility"] == "internal" else row["author"]
        if kind == "system":
            continue
        ticket = tickets[row["subject"]]
        cell = cells[asked.text(day[0]), row["channel"] or ticket["channel"], ticket["first_group"]]
        cell[f"messages_{kind}"] += 1
    kinds = [f"messages_{kind}" for kind in ("agent", "customer", "bot", "internal")]
    return {key: {kind: cell[kind] for kind in kinds} for key, cell in cells.items()}


def transfers_matrix(facts: Facts, asked: Asked) -> Cells:
    moves = by(
        named(facts, "ticket_move_fact"),
        lambda row: asked.day(row["at_us"]) and (row["what"], row["from_name"], row["to_name"]),
    )
    return {
        key: {"transfers": len(rows), "tickets": len({row["ticket"] for row in rows})} for key, rows in moves.items()
    }


def queue_intervals_15m(facts: Facts, asked: Asked, within_us: int, short_us: int) -> Cells:
    def key(row: Row) -> tuple[Any, ...] | None:
        at = row["entered_us"]
        return asked.day(at) and (asked.text(at - at % QUARTER_US), row["queue"], row["channel"])

    return {key: _quarter(rows, within_us, short_us) for key, rows in by(named(facts, "queue_fact"), key).items()}


def _quarter(rows: list[Row], within_us: int, short_us: int) -> Row:
    answered = [row for row in rows if row["answered_us"] is not None]
    gave_up = [row["wait_us"] for row in rows if row["answered_us"] is None and row["outcome"] == "abandoned"]
    an, ab = len(answered), len(gave_up)
    an_t = sum(row["wait_us"] <= within_us for row in answered)
    ab_t, ab_5 = sum(wait <= within_us for wait in gave_up), sum(wait <= short_us for wait in gave_up)
    waited = ("abandoned", "leaveempty", "timeout")
    waits = [row["wait_us"] for row in rows if row["answered_us"] is not None or row["outcome"] in waited]
    handled = sum(row["talk_us"] + row["hold_us"] + (row["acw_us"] or 0) for row in answered)
    return {
        "offered": len(rows), "answered": an, "abandoned": ab, "short_abandoned": ab_5,
        **{reason: sum(row["outcome"] == reason for row in rows)
           for reason in ("full", "joinempty", "leaveempty", "timeout", "exitwithkey")},
        "answered_in_time": an_t, "abandoned_in_time": ab_t, "ended_in_time": an_t + ab_t,
        "answered_or_abandoned": an + ab, "answered_or_abandoned_late": an + ab - ab_t,
        "answered_in_time_or_abandoned_shortly": an_t + ab_5, "abandoned_but_short": ab - ab_5,
        "offered_but_short": len(rows) - ab_5, "open": sum(row["is_open"] for row in rows),
        "asa_s": seconds(sum(row["wait_us"] for row in answered), an), "time_to_abandon_s": seconds(sum(gave_up), ab),
        "waited": len(waits), "avg_wait_s": seconds(sum(waits), len(waits)),
        "abandon_pct": percent(ab - ab_5, len(rows) - ab_5),
        "service_level_f1_pct": percent(an_t + ab_t, an + ab), "service_level_f2_pct": percent(an_t, an),
        "service_level_f3_pct": percent(an_t, an + ab), "service_level_f4_pct": percent(an_t, an + ab - ab_t),
        "service_level_f5_pct": percent(an_t + ab_5, an + ab), "aht_s": seconds(handled, an),
        "declined": sum(row["declined"] for row in rows), "transfers": sum(row["transfers"] for row in rows),
    }  # fmt: skip
