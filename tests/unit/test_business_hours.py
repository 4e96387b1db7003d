"""Tickets' durations within opening hours, over nights, weekends, holidays and changes of clocks."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from dialer.campaign.calendar import Hours, Timetable, open_intervals
from dialer.clock import to_us
from dialer.errors import InvalidInput
from dialer.settings import OpeningHours
from etl import opening
from etl.engines import duckdb
from etl.sql.order import BY_NAME
from tests.support.metric_stream import stream
from tests.support.reference_metrics import cleaned, lived, waiting
from tests.support.stories import computed, placed, told, write_history

HOURS = [
    OpeningHours(
        tenant="acme", time_zone="Europe/Warsaw", open={"mon-fri": "09:00-17:00"}, holidays=("PL",),
        closed=("2026-12-24",),
    ),
    OpeningHours(tenant="acme", group="always", time_zone="UTC", open={"mon-sun": "00:00-24:00"}),
    OpeningHours(tenant="acme", group="sunday", time_zone="Europe/Warsaw", open={"sun": "01:00-04:00"}),
    OpeningHours(tenant="other", group="first_line", time_zone="UTC", open={"mon": "10:00-11:00"}),
]  # fmt: skip
# 2026-11-21 is a Saturday; from 09:00 to 17:00 in Warsaw is from 08:00 to 16:00 UTC.
STORIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a weekend does not count": (
        """
        10:00 created channel=email group=a
        10:00 message customer
        +2d 08:30 message agent agent=ann
        +3d 16:30 solved
        """,
        {"hours_of": "", "first_response_us": 1800, "first_resolution_us": 57600, "queue_us": 57600,
         "requester_wait_us": 57600, "first_assignment_us": None, "owned_us": 0, "handle_us": None},
    ),
    "a night does not count": (
        """
        +2d 15:00 created channel=email group=a
        +2d 15:30 assigned agent=ann
        +2d 15:45 work_started agent=ann
        +2d 16:30 work_ended agent=ann
        +2d 20:00 work_started agent=bob
        +2d 21:00 work_ended agent=bob
        +2d 22:00 work_started agent=bob
        +3d 08:10 message agent agent=ann
        +3d 08:20 updated status=pending
        +3d 16:20 updated status=open
        +4d 09:00 hold
        +4d 10:00 solved
        """,
        {"first_assignment_us": 1800, "queue_us": 1800, "first_response_us": 4200,
         # 15:30 to 16:00 and 08:00 to 08:20; then, of the next day, 08:00 to 09:00, and an hour on hold.
         "requester_wait_us": 1800 + 1800 + 1200 + 3600 + 3600, "agent_wait_us": 27600, "hold_us": 3600,
         # From 15:45 to 16:00; who works at night works out of hours.
         "handle_us": 900,
         # From 15:30 on, a whole day of eight hours, and two hours.
         "owned_us": 1800 + 28800 + 7200, "full_resolution_us": 3600 + 28800 + 7200},
    ),
    "neither do holidays and closed days": (
        """
        +32d 15:00 created channel=email agent=ann
        +37d 08:30 solved
        """,
        {"first_resolution_us": 5400, "owned_us": 5400, "first_assignment_us": 0},
    ),
    "a group has its own hours": (
        """
        10:00 created channel=email group=always
        +2d 10:00 solved
        +3d 10:00 reopened
        """,
        {"hours_of": "always", "first_resolution_us": 172800, "full_resolution_us": None},
    ),
    "in the hour that the clock skips nobody works": (
        """
        +126d 12:00 created channel=email group=sunday
        +127d 12:00 solved
        """,
        {"hours_of": "sunday", "first_resolution_us": 7200},
    ),
    "what has not ended counts in nothing": (
        "10:00 created channel=email group=a",
        {"queue_us": 0, "requester_wait_us": 0, "first_response_us": None},
    ),
}  # fmt: skip


@pytest.fixture
def engine(tmp_path):
    engine = duckdb.open(600, 2, tmp_path / "spill")
    yield engine
    engine.close()


def facts(engine, folder, events, hours) -> dict[str, list[dict[str, Any]]]:
    write_history("ticket", placed(events), folder / "history.parquet")
    found, _ = computed(engine, "ticket", [folder / "history.parquet"], folder, hours)
    return {name: [dict(zip(BY_NAME[name].columns, row, strict=True)) for row in rows] for name, rows in found.items()}


def test_stories(engine, tmp_path):
    events = [event for name, (story, _) in STORIES.items() for event in told("ticket", name, story)]
    rows = {row["ticket"]: row for row in facts(engine, tmp_path, events, HOURS)["ticket_business_fact"]}
    for name, (_, figures) in STORIES.items():
        wanted = {
            column: value * 1_000_000 if value and column.endswith("_us") else value
            for column, value in figures.items()
        }
        assert {column: rows[name][column] for column in wanted} == wanted, name


def test_without_hours_there_is_nothing_to_measure_by(engine, tmp_path):
    events = told("ticket", "t", "10:00 created channel=email group=a")
    assert facts(engine, tmp_path, events, HOURS[1:])["ticket_business_fact"] == []


def test_hours_of_one_group_are_not_those_of_others(engine, tmp_path):
    """Each overlap of a stretch with the open hours, one by one."""
    events = cleaned(stream("ticket", 3, subjects=150, longest=100))
    found = facts(engine, tmp_path, events, [*HOURS, _first_line()])
    again = {row["ticket"]: row for row in found["ticket_fact"]}
    assert len(found["ticket_business_fact"]) == len(again)
    for row in found["ticket_business_fact"]:
        ticket = again[row["ticket"]]
        assert row["hours_of"] == ("first_line" if ticket["first_group"] == "first_line" else "")
        own = [event for event in events if event["subject"] == row["ticket"]]
        assert row == _reckoned(row, ticket, found, waiting(lived(own)))


def _first_line() -> OpeningHours:
    return OpeningHours(
        tenant="acme", group="first_line", time_zone="America/Sao_Paulo", open={"mon-sat": "07:30-12:00, 13:15-22:00"}
    )


def _open(name: str) -> list[tuple[int, int]]:
    day = [((9 * 60, 17 * 60),)] * 5 + [(), ()]
    main = [((7 * 60 + 30, 12 * 60), (13 * 60 + 15, 22 * 60))] * 6 + [()]
    table = Timetable(name="", week=tuple(main)) if name else Timetable(
        name="", week=tuple(day), holidays=("PL",), closed=((datetime(2026, 12, 24, tzinfo=UTC).date(),) * 2,)
    )  # fmt: skip
    zone = "America/Sao_Paulo" if name else "Europe/Warsaw"
    found = open_intervals(Hours(timetables=(table,)), zone, datetime(2026, 11, 1, tzinfo=UTC), 900)
    return [(to_us(one.opens_at), to_us(one.closes_at)) for one in found]


OPEN = {name: _open(name) for name in ("", "first_line")}


def _reckoned(
    row: dict[str, Any], ticket: dict[str, Any], found: dict[str, list[dict[str, Any]]],
    waits: list[tuple[int, int | None]],
) -> dict[str, Any]:  # fmt: skip
    def within(begin: int, end: int | None) -> int:
        if end is None:
            return 0
        days = OPEN[row["hours_of"]]
        first, last = bisect_right(days, (begin,)), bisect_right(days, (end,))
        return sum(max(0, min(end, closes) - max(begin, opens)) for opens, closes in days[max(0, first - 1) : last])

    def since(name: str) -> int | None:
        took = ticket[name]
        return None if took is None else within(ticket["created_us"], ticket["created_us"] + took)

    def spans(*statuses: str) -> int:
        own = [one for one in found["ticket_span_fact"] if one["ticket"] == row["ticket"] and one["status"] in statuses]
        return sum(within(one["begin_us"], one["end_us"]) for one in own)

    sessions = [one for one in found["ticket_session_fact"] if one["ticket"] == row["ticket"]]
    works = [one for one in found["ticket_work_fact"] if one["ticket"] == row["ticket"]]
    worked = [within(one["begin_us"], one["end_us"]) for one in works if one["end_us"] is not None]
    firsts = ("first_assignment_us", "first_response_us", "first_resolution_us", "full_resolution_us")
    return row | {name: since(name) for name in firsts} | {
        "requester_wait_us": spans("new", "open", "hold"), "agent_wait_us": spans("pending"), "hold_us": spans("hold"),
        "owned_us": sum(within(one["begin_us"], one["end_us"]) for one in sessions),
        "queue_us": sum(within(begin, end) for begin, end in waits),
        "handle_us": sum(worked) if worked else None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"open": {"monday": "09:00-17:00"}}, "monday"),
        ({"open": {"mon": "9-17"}}, "9-17"),
        ({"open": {"mon-fri": "09:00-17:00", "fri": "09:00-15:00"}}, "'fri' names a day that another line names too"),
        ({"holidays": ("XX",)}, "XX"),
        ({"closed": ("24.12.2026",)}, "24.12.2026"),
    ],
)
def test_what_cannot_be_read_is_said(wrong, said):
    hours = OpeningHours(**{"tenant": "acme", "group": "a", "time_zone": "UTC", "open": {"mon": "09:00-17:00"}} | wrong)
    with pytest.raises(InvalidInput, match=said):
        opening.query([hours], "acme", 20000, 20001)


def test_the_table_covers_every_moment_once():
    day = (datetime(2026, 11, 20, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(days=1)
    with duckdb.duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT * FROM ({opening.query(HOURS[:1], 'acme', day, day + 30)}) ORDER BY begin_us"
        ).fetchall()
    assert (rows[0][2], rows[-1][3]) == (day * 86_400_000_000, (day + 31) * 86_400_000_000)
    for before, after in pairwise(rows):
        assert before[3] == after[2]
        assert after[4] == before[4] + (before[3] - before[2] if before[5] else 0)
        assert before[1] == before[2] // 86_400_000_000
