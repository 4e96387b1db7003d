"""What happened to tickets, and the figures that follow, computed by hand; docs/metrics/tickets.md has the rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened to a ticket, and some of its figures: seconds, counts, names; instants as the story writes them."""

    name: str
    story: str
    figures: dict[str, Any] = field(default_factory=dict)
    sessions: list[tuple[str, str | None, str, str | None]] | None = None
    stays: list[tuple[str, str, str | None, float]] | None = None
    waits: list[tuple[str, str | None, str | None]] | None = None
    moves: list[tuple[str, str, str, str]] | None = None
    work: list[tuple[str, str, str | None]] | None = None
    spans: list[tuple[str, str, str | None]] | None = None


STORIES = [
    Story(
        name="as it should be",
        story="""
            10:00 created channel=telephone group=support priority=low
            10:00 message customer
            10:01 updated priority=high
            10:05 assigned agent=ann
            10:07 message agent agent=ann
            10:10 updated status=pending
            10:30 message customer
            10:30 updated status=open
            10:40 message agent agent=ann
            10:45 solved agent=ann
            +1d 10:45 closed
        """,
        figures={
            "channel": "telephone", "created_us": "10:00", "created_inferred": False, "first_group": "support",
            "last_group": "support", "first_agent": "ann", "last_agent": "ann", "priority": "high", "status": "closed",
            "first_assignment_us": 300, "queue_us": 300, "first_response_us": 420, "requester_wait_us": 1500,
            "agent_wait_us": 1200, "hold_us": 0, "owned_us": 2400, "handle_us": None, "transfers_agent": 0,
            "transfers_group": 0, "ping_pong": 0, "agent_stations": 1, "group_stations": 1, "messages_agent": 2,
            "messages_customer": 2, "messages_internal": 0, "messages_bot": 0, "one_touch": False,
            "one_touch_final_us": "+7d 10:45", "first_resolution_us": 2700, "full_resolution_us": 2700, "reopens": 0,
            "solved_us": "10:45", "closed_us": "+1d 10:45", "clock_skew": False, "late": False,
        },
        sessions=[("ann", "support", "10:05", "10:45")],
        stays=[("support", "10:00", "10:45", 300)],
        waits=[("10:00", "10:07", "ann"), ("10:30", "10:40", "ann")],
        moves=[],
        work=[],
        spans=[
            ("new", "10:00", "10:05"), ("open", "10:05", "10:10"), ("pending", "10:10", "10:30"),
            ("open", "10:30", "10:45"), ("solved", "10:45", "+1d 10:45"), ("closed", "+1d 10:45", None),
        ],
    ),
    Story(
        name="bots, the system and notes answer nobody",
        story="""
            10:00 created channel=web_chat
            10:00 message customer
            10:01 message bot
            10:02 message system
            10:03 message agent agent=ann visibility=internal
            10:04 message customer
            10:09 message agent agent=ann
        """,
        figures={
            "first_response_us": 540, "messages_agent": 1, "messages_customer": 2, "messages_internal": 1,
            "messages_bot": 1, "first_assignment_us": None, "first_agent": None, "first_group": None,
            "agent_stations": 0, "group_stations": 0,
        },
        waits=[("10:00", "10:09", "ann")],
    ),
    Story(
        name="what has not ended counts in nothing",
        story="""
            10:00 created channel=email group=a
            10:30 updated priority=high
        """,
        figures={"status": "new", "queue_us": 0, "requester_wait_us": 0, "owned_us": 0, "one_touch": False,
                 "one_touch_final_us": None, "first_resolution_us": None, "full_resolution_us": None,
                 "solved_us": None},
        stays=[("a", "10:00", None, 0)],
        spans=[("new", "10:00", None)],
    ),
    Story(
        name="opened by an agent: the second message is the first response",
        story="""
            10:00 created channel=email agent=ann group=sales
            10:00 message agent agent=ann
            10:20 message customer
            10:50 message agent agent=ann
        """,
        figures={"first_response_us": 3000, "first_assignment_us": 0, "queue_us": 0, "status": "open",
                 "messages_agent": 2},
        waits=[("10:20", "10:50", "ann")],
    ),
    Story(
        name="an answer in the same moment is one if the customer had asked",
        story="""
            10:00 created channel=web_chat seq=1
            10:00 message customer seq=2
            10:00 message agent agent=ann seq=3
        """,
        figures={"first_response_us": 0},
        waits=[("10:00", "10:00", "ann")],
    ),
    Story(
        name="customers' messages in a row are one wait; one that nobody answers has no end",
        story="""
            10:00 created channel=whatsapp
            10:00 message customer
            10:01 message customer
            10:04 message agent agent=ann
            10:05 message agent agent=ann
            10:07 message customer
            10:08 message bot
        """,
        waits=[("10:00", "10:04", "ann"), ("10:07", None, None)],
    ),
    Story(
        name="another group's queue does not end the wait for an agent",
        story="""
            10:00 created channel=whatsapp
            10:02 queued group=first
            10:05 transferred group=second
            10:09 assigned agent=bob
        """,
        figures={"queue_us": 540, "first_assignment_us": 540, "transfers_group": 1, "transfers_agent": 0,
                 "group_stations": 2, "first_group": "first", "last_group": "second"},
        stays=[("first", "10:02", "10:05", 180), ("second", "10:05", None, 240)],
        moves=[("10:05", "group", "first", "second")],
        sessions=[("bob", "second", "10:09", None)],
    ),
    Story(
        name="transfers, there and back",
        story="""
            10:00 created channel=telephone group=a agent=ann
            10:10 transferred agent=bob
            10:20 transferred agent=ann
            10:25 assigned agent=ann
            10:30 transferred agent=cid group=b
            10:40 transferred group=a
            10:45 assigned agent=dora
            10:50 solved
        """,
        figures={"transfers_agent": 3, "transfers_group": 2, "ping_pong": 2, "agent_stations": 5, "group_stations": 3,
                 "first_assignment_us": 0, "queue_us": 300, "owned_us": 2700, "first_agent": "ann",
                 "last_agent": "dora", "first_group": "a", "last_group": "a"},
        moves=[("10:10", "agent", "ann", "bob"), ("10:20", "agent", "bob", "ann"), ("10:30", "agent", "ann", "cid"),
               ("10:30", "group", "a", "b"), ("10:40", "group", "b", "a")],
        sessions=[("ann", "a", "10:00", "10:10"), ("bob", "a", "10:10", "10:20"), ("ann", "a", "10:20", "10:30"),
                  ("cid", "b", "10:30", "10:40"), ("dora", "a", "10:45", "10:50")],
        stays=[("a", "10:00", "10:30", 0), ("b", "10:30", "10:40", 0), ("a", "10:40", "10:50", 300)],
    ),
    Story(
        name="three agents in turn are no ping-pong",
        story="""
            10:00 created channel=email agent=ann
            10:10 transferred agent=bob
            10:20 transferred agent=cid
            10:30 transferred agent=ann
        """,
        figures={"transfers_agent": 3, "ping_pong": 0, "agent_stations": 4},
    ),
    Story(
        name="who comes back after another had it between is no ping-pong",
        story="""
            10:00 created channel=email agent=ann group=a
            10:10 transferred agent=bob
            10:20 queued group=a
            10:30 assigned agent=cid
            10:40 transferred agent=ann
        """,
        figures={"transfers_agent": 2, "ping_pong": 0, "agent_stations": 4},
    ),
    Story(
        name="new again, though an agent has it",
        story="""
            10:00 created channel=email agent=ann
            10:10 updated status=new
            10:20 assigned agent=bob
        """,
        figures={"status": "open", "queue_us": 0, "requester_wait_us": 1200},
        spans=[("open", "10:00", "10:10"), ("new", "10:10", "10:20"), ("open", "10:20", None)],
    ),
    Story(
        name="back into the queue and to the same agent is no transfer",
        story="""
            10:00 created channel=email group=a
            10:01 assigned agent=ann
            10:02 queued group=a
            10:07 assigned agent=ann
        """,
        figures={"transfers_agent": 0, "transfers_group": 0, "agent_stations": 1, "queue_us": 360, "owned_us": 60,
                 "first_assignment_us": 60, "status": "open"},
        sessions=[("ann", "a", "10:01", "10:02"), ("ann", "a", "10:07", None)],
        stays=[("a", "10:00", None, 360)],
    ),
    Story(
        name="reopened and solved again",
        story="""
            10:00 created channel=email agent=ann group=a
            11:00 solved
            12:00 reopened
            12:30 message agent agent=ann
            13:00 solved
        """,
        figures={"first_resolution_us": 3600, "full_resolution_us": 10800, "reopens": 1, "owned_us": 7200,
                 "requester_wait_us": 7200, "solved_us": "13:00", "closed_us": None, "one_touch": False,
                 "one_touch_final_us": "+7d 11:00", "status": "solved", "transfers_agent": 0},
        sessions=[("ann", "a", "10:00", "11:00"), ("ann", "a", "12:00", "13:00")],
        stays=[("a", "10:00", "11:00", 0), ("a", "12:00", "13:00", 0)],
    ),
    Story(
        name="reopened, and open still",
        story="""
            10:00 created channel=email agent=ann
            11:00 closed
            12:00 updated status=open
        """,
        figures={"first_resolution_us": 3600, "full_resolution_us": None, "reopens": 1, "solved_us": None,
                 "closed_us": None, "status": "open", "one_touch": False},
    ),
    Story(
        name="to be on hold after all is to be reopened",
        story="""
            10:00 created channel=email agent=ann
            11:00 solved
            12:00 hold
            12:30 closed
        """,
        figures={"reopens": 1, "hold_us": 1800, "requester_wait_us": 5400, "full_resolution_us": 9000,
                 "solved_us": "12:30", "closed_us": "12:30"},
    ),
    Story(
        name="closed at once",
        story="""
            10:00 created channel=email agent=ann
            10:30 closed
        """,
        figures={"first_resolution_us": 1800, "full_resolution_us": 1800, "solved_us": "10:30", "closed_us": "10:30",
                 "one_touch": True, "reopens": 0},
    ),
    Story(
        name="solved by nobody",
        story="""
            10:00 created channel=email group=a
            10:30 solved
            11:30 closed
        """,
        figures={"queue_us": 1800, "first_assignment_us": None, "owned_us": 0, "first_resolution_us": 1800,
                 "full_resolution_us": 1800, "solved_us": "10:30", "closed_us": "11:30", "one_touch": True},
        stays=[("a", "10:00", "10:30", 1800)],
    ),
    Story(
        name="one touch: a reopening after the week changes nothing",
        story="""
            10:00 created channel=email agent=ann
            10:05 message agent agent=ann
            10:06 solved
            +7d 10:06:00.000001 reopened
            +8d 10:00 message agent agent=ann
        """,
        figures={"one_touch": True, "one_touch_final_us": "+7d 10:06", "reopens": 1, "full_resolution_us": None},
    ),
    Story(
        name="not one touch: a reopening in the week's last moment",
        story="""
            10:00 created channel=email agent=ann
            10:05 message agent agent=ann
            10:06 solved
            +7d 10:06 reopened
        """,
        figures={"one_touch": False},
    ),
    Story(
        name="not one touch: a second message in the week",
        story="""
            10:00 created channel=email agent=ann
            10:05 message agent agent=ann
            10:06 solved
            +3d 10:00 message agent agent=ann
        """,
        figures={"one_touch": False},
    ),
    Story(
        name="on hold",
        story="""
            10:00 created channel=email agent=ann
            10:10 hold
            10:40 reopened
            10:50 updated status=pending
            11:00 solved
        """,
        figures={"hold_us": 1800, "requester_wait_us": 3000, "agent_wait_us": 600, "reopens": 0, "owned_us": 3600},
    ),
    Story(
        name="work: one agent's times are united, those of two are added",
        story="""
            10:00 created channel=email agent=ann
            10:01 work_started agent=ann
            10:03 work_started agent=ann
            10:04 work_ended agent=ann
            10:05 work_started agent=bob
            10:06 work_ended agent=ann
            10:08 work_ended agent=bob
            10:09 work_ended agent=ann
            10:10 work_started agent=ann
            10:11 work_ended agent=ann
            10:12 work_started agent=bob
        """,
        figures={"handle_us": 540},
        work=[("ann", "10:01", "10:06"), ("ann", "10:10", "10:11"), ("bob", "10:05", "10:08"), ("bob", "10:12", None)],
    ),
    Story(
        name="work that has not ended is not yet known",
        story="""
            10:00 created channel=email agent=ann
            10:01 work_started agent=ann
        """,
        figures={"handle_us": None},
        work=[("ann", "10:01", None)],
    ),
    Story(
        name="its beginning was lost",
        story="""
            10:00 message customer
            10:02 assigned agent=ann group=a
            10:03 message agent agent=ann
        """,
        figures={"created_us": "10:00", "created_inferred": True, "channel": None, "queue_us": 120,
                 "first_assignment_us": 120, "first_response_us": 180, "clock_skew": False},
        spans=[("new", "10:00", "10:02"), ("open", "10:02", None)],
        stays=[("a", "10:02", None, 0)],
    ),
    Story(
        name="clocks disagree: no time is negative",
        story="""
            09:59 assigned agent=ann
            09:59:10 message customer
            09:59:30 message agent agent=ann
            10:00 created channel=telephone
            10:10 solved
        """,
        figures={"created_us": "10:00", "created_inferred": False, "first_assignment_us": 0, "first_response_us": 0,
                 "first_resolution_us": 600, "owned_us": 660, "clock_skew": True},
    ),
    Story(
        name="late is more than an hour",
        story="""
            10:00 created channel=telephone
            10:01 updated priority=high late=3600
        """,
        figures={"late": True},
    ),
    Story(
        name="an hour is not late",
        story="""
            10:00 created channel=telephone
            10:01 updated priority=high late=3599
        """,
        figures={"late": False},
    ),
    Story(
        name="all in one moment",
        story="""
            10:00 solved
            10:00 assigned agent=ann
            10:00 created channel=telephone
            10:00 queued group=a
        """,
        figures={"queue_us": 0, "first_assignment_us": 0, "first_resolution_us": 0, "status": "solved",
                 "agent_stations": 1, "owned_us": 0, "one_touch": True, "clock_skew": False},
        sessions=[],
        stays=[],
        spans=[("solved", "10:00", None)],
    ),
    Story(
        name="the source's order goes before the order of types",
        story="""
            10:00 created channel=telephone
            11:00 updated status=open seq=2
            11:00 solved seq=1
        """,
        figures={"status": "open", "reopens": 1, "full_resolution_us": None},
    ),
]  # fmt: skip
