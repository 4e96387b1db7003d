"""Which facts are computed from a day's histories, in which order, with which columns.

Each is one file `etl/sql/NAME.sql`: one SELECT that may read `history_KIND` of its kind, the datasets before it of the
same kind, and `tariff` and `opening`; its parameters are `:tenant`, `:as_of_us` (the cut-off: when the last event came
in), `:day` (the cohort day, in days since 1970) and `:late_after_us`. Rollups have no file: see `etl.reports.rollups`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etl.columns import Columns, Kind
from etl.reports.rollups import ROLLUPS

TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.sql"))}
"""Every transform. Read once: a release that is installed during a night must not mix with the one that runs."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One table of facts."""

    name: str
    kind: Kind
    key: tuple[str, ...]
    """Unique in the dataset; rows are compared by it."""
    columns: Columns
    lies_by: tuple[str, ...] = ()
    """The order in which rows lie, where readers gain by it: sorting costs as much as computing."""
    one_a_subject: bool = False
    """As many rows as the day has subjects, or the run fails."""
    published: bool = True
    """False: a step on the way, for the datasets after it; gone with the run."""
    of_whole_day: bool = False
    """Computed once, when the facts of all portions are there: subjects of several meet in its rows."""
    text: str = ""
    """The transform, if it has no file."""

    @property
    def query(self) -> str:
        """The transform, word for word as it stands in its file."""
        return self.text or TEXTS[self.name]


ORDER: tuple[Dataset, ...] = (
    # -- tickets
    Dataset(
        name="ticket_opening", kind="ticket", key=("tenant", "ticket"), published=False,
        columns={
            "tenant": "STRING", "ticket": "STRING", "first_us": "BIGINT", "created_us": "BIGINT",
            "created_inferred": "BOOLEAN", "agent_wrote_us": "BIGINT", "customer_wrote_us": "BIGINT",
            "messages_agent": "BIGINT", "messages_customer": "BIGINT", "messages_internal": "BIGINT",
            "messages_bot": "BIGINT", "late": "BOOLEAN",
        },
    ),
    Dataset(
        name="ticket_state", kind="ticket", key=("tenant", "ticket", "n"), published=False,
        columns={
            "tenant": "STRING", "ticket": "STRING", "n": "BIGINT", "at_us": "BIGINT", "channel": "STRING",
            "priority": "STRING", "status": "STRING", "agent": "STRING", "group_name": "STRING", "owner": "STRING",
            "in_group": "STRING", "waiting": "BOOLEAN", "was_status": "STRING", "was_agent": "STRING",
            "was_group": "STRING", "was_owner": "STRING", "was_in_group": "STRING", "was_waiting": "BOOLEAN",
        },
    ),
    Dataset(
        name="ticket_piece", kind="ticket", key=("tenant", "ticket", "begin_us", "end_us", "stay"), published=False,
        columns={"tenant": "STRING", "ticket": "STRING", "group_name": "STRING", "waiting": "BOOLEAN",
                 "stay": "BIGINT", "begin_us": "BIGINT", "end_us": "BIGINT"},
    ),
    Dataset(
        name="ticket_course", kind="ticket", key=("tenant", "ticket"), published=False,
        columns={
            "tenant": "STRING", "ticket": "STRING", "channel": "STRING", "priority": "STRING",
            "first_group": "STRING", "last_group": "STRING", "first_agent": "STRING", "last_agent": "STRING",
            "status": "STRING", "agent_stations": "BIGINT", "group_stations": "BIGINT", "assigned_us": "BIGINT",
            "first_solved_us": "BIGINT", "last_solved_us": "BIGINT", "last_closed_us": "BIGINT",
            "first_reopened_us": "BIGINT", "reopens": "BIGINT",
        },
    ),
    Dataset(
        name="ticket_session_fact", kind="ticket", key=("tenant", "ticket", "begin_us", "agent"),
        columns={"tenant": "STRING", "ticket": "STRING", "agent": "STRING", "group_name": "STRING",
                 "begin_us": "BIGINT", "end_us": "BIGINT"},
    ),
    Dataset(
        name="ticket_stay_fact", kind="ticket", key=("tenant", "ticket", "begin_us", "group_name"),
        columns={"tenant": "STRING", "ticket": "STRING", "group_name": "STRING", "begin_us": "BIGINT",
                 "end_us": "BIGINT", "queue_us": "BIGINT"},
    ),
    Dataset(
        name="ticket_wait_fact", kind="ticket", key=("tenant", "ticket", "place"),
        columns={"tenant": "STRING", "ticket": "STRING", "asked_us": "BIGINT", "answered_us": "BIGINT",
                 "agent": "STRING", "place": "BIGINT"},
    ),
    Dataset(
        name="ticket_move_fact", kind="ticket", key=("tenant", "ticket", "place", "what"),
        columns={"tenant": "STRING", "ticket": "STRING", "at_us": "BIGINT", "what": "STRING", "from_name": "STRING",
                 "to_name": "STRING", "ping_pong": "BOOLEAN", "place": "BIGINT"},
    ),
    Dataset(
        name="ticket_work_fact", kind="ticket", key=("tenant", "ticket", "agent", "begin_us"),
        columns={"tenant": "STRING", "ticket": "STRING", "agent": "STRING", "begin_us": "BIGINT", "end_us": "BIGINT"},
    ),
    Dataset(
        name="ticket_span_fact", kind="ticket", key=("tenant", "ticket", "begin_us", "status"),
        columns={"tenant": "STRING", "ticket": "STRING", "status": "STRING", "begin_us": "BIGINT",
                 "end_us": "BIGINT"},
    ),
    Dataset(
        name="ticket_fact", kind="ticket", key=("tenant", "ticket"), one_a_subject=True,
        columns={
            "tenant": "STRING", "ticket": "STRING", "channel": "STRING", "created_us": "BIGINT",
            "created_inferred": "BOOLEAN", "first_group": "STRING", "last_group": "STRING", "first_agent": "STRING",
            "last_agent": "STRING", "priority": "STRING", "status": "STRING", "first_assignment_us": "BIGINT",
            "queue_us": "BIGINT", "first_response_us": "BIGINT", "requester_wait_us": "BIGINT",
            "agent_wait_us": "BIGINT", "hold_us": "BIGINT", "owned_us": "BIGINT", "handle_us": "BIGINT",
            "transfers_agent": "BIGINT", "transfers_group": "BIGINT", "ping_pong": "BIGINT",
            "agent_stations": "BIGINT", "group_stations": "BIGINT", "messages_agent": "BIGINT",
            "messages_customer": "BIGINT", "messages_internal": "BIGINT", "messages_bot": "BIGINT",
            "one_touch": "BOOLEAN", "one_touch_final_us": "BIGINT", "first_resolution_us": "BIGINT",
            "full_resolution_us": "BIGINT", "reopens": "BIGINT", "solved_us": "BIGINT", "closed_us": "BIGINT",
            "clock_skew": "BOOLEAN", "late": "BOOLEAN",
        },
    ),
    Dataset(
        name="ticket_business_fact", kind="ticket", key=("tenant", "ticket"),
        columns={
            "tenant": "STRING", "ticket": "STRING", "hours_of": "STRING", "first_assignment_us": "BIGINT",
            "queue_us": "BIGINT", "first_response_us": "BIGINT", "requester_wait_us": "BIGINT",
            "agent_wait_us": "BIGINT", "hold_us": "BIGINT", "owned_us": "BIGINT", "handle_us": "BIGINT",
            "first_resolution_us": "BIGINT", "full_resolution_us": "BIGINT",
        },
    ),
    # -- queues and agents
    Dataset(
        name="queue_state", kind="queue_entry", key=("tenant", "entry", "n"), published=False,
        columns={
            "tenant": "STRING", "entry": "STRING", "n": "BIGINT", "at_us": "BIGINT", "type": "STRING",
            "queue": "STRING", "channel": "STRING", "ticket": "STRING", "agent": "STRING", "reason": "STRING",
            "cleared": "BIGINT", "is_over": "BIGINT", "bound_agent": "STRING", "bound_state": "STRING",
            "was_agent": "STRING", "was_state": "STRING",
        },
    ),
    Dataset(
        name="queue_work_fact", kind="queue_entry", key=("tenant", "entry", "place"),
        columns={"tenant": "STRING", "entry": "STRING", "queue": "STRING", "channel": "STRING", "agent": "STRING",
                 "state": "STRING", "begin_us": "BIGINT", "end_us": "BIGINT", "ended_by": "STRING",
                 "place": "BIGINT"},
    ),
    Dataset(
        name="queue_fact", kind="queue_entry", key=("tenant", "entry"), one_a_subject=True,
        columns={
            "tenant": "STRING", "entry": "STRING", "queue": "STRING", "channel": "STRING", "ticket": "STRING",
            "agent": "STRING", "entered_us": "BIGINT", "answered_us": "BIGINT", "ended_us": "BIGINT",
            "wrapped_us": "BIGINT", "outcome": "STRING", "wait_us": "BIGINT", "ring_us": "BIGINT",
            "talk_us": "BIGINT", "hold_us": "BIGINT", "acw_us": "BIGINT", "transfers": "BIGINT",
            "declined": "BIGINT", "is_open": "BOOLEAN", "clock_skew": "BOOLEAN",
        },
    ),
    Dataset(
        name="agent_span_fact", kind="agent_session", key=("tenant", "session", "begin_us", "state", "code"),
        columns={"tenant": "STRING", "session": "STRING", "agent": "STRING", "state": "STRING", "code": "STRING",
                 "begin_us": "BIGINT", "end_us": "BIGINT"},
    ),
    # -- calls
    Dataset(
        name="call_fact", kind="call", key=("tenant", "call"), one_a_subject=True,
        # Who asks for one campaign reads its part of a day, and sets of contacts are made in their order.
        lies_by=("campaign", "contact", "submitted_us", "call"),
        columns={
            "tenant": "STRING", "call": "STRING", "campaign": "BIGINT", "contact": "BIGINT", "revision": "BIGINT",
            "wave": "BIGINT", "dial": "BIGINT", "node": "STRING", "trunk": "STRING", "submitted_us": "BIGINT",
            "accepted_us": "BIGINT", "ringing_us": "BIGINT", "answered_us": "BIGINT", "audio_us": "BIGINT",
            "hung_up_us": "BIGINT", "ended_us": "BIGINT", "disposition": "STRING", "sip_code": "BIGINT",
            "cause": "BIGINT", "refusal": "STRING", "result": "STRING", "last_step": "STRING", "answers": "BIGINT",
            "language": "STRING", "is_seizure": "BOOLEAN", "is_answered": "BOOLEAN", "is_human": "BOOLEAN",
            "is_ner": "BOOLEAN", "pdd_us": "BIGINT", "ring_us": "BIGINT", "talk_us": "BIGINT", "billed_s": "BIGINT",
            "cost_micro": "BIGINT", "clock_skew": "BOOLEAN", "is_open": "BOOLEAN", "number_dial": "BIGINT",
            "ner_class": "STRING", "currency": "STRING",
        },
    ),
    Dataset(
        name="answer_fact", kind="call", key=("tenant", "call", "step", "visit"),
        lies_by=("campaign", "step", "call", "visit"),
        columns={
            "tenant": "STRING", "call": "STRING", "campaign": "BIGINT", "contact": "BIGINT", "revision": "BIGINT",
            "step": "STRING", "visit": "BIGINT", "asked_us": "BIGINT", "answered_us": "BIGINT", "value": "STRING",
            "keys": "STRING", "tries": "BIGINT", "invalid": "BIGINT", "no_input": "BIGINT", "is_last": "BOOLEAN",
        },
    ),
    Dataset(
        name="step_fact", kind="call", key=("tenant", "call", "place"), lies_by=("campaign", "step", "call", "place"),
        columns={
            "tenant": "STRING", "call": "STRING", "campaign": "BIGINT", "contact": "BIGINT", "revision": "BIGINT",
            "step": "STRING", "place": "BIGINT", "entered_us": "BIGINT", "left_us": "BIGINT", "next_step": "STRING",
        },
    ),
    Dataset(
        name="load_quarter", kind="call", key=("tenant", "node", "trunk", "at_us"), of_whole_day=True,
        columns={"tenant": "STRING", "node": "STRING", "trunk": "STRING", "at_us": "BIGINT", "net": "BIGINT",
                 "rise": "BIGINT", "begun_in_second": "BIGINT"},
    ),
    *(
        Dataset(name=one.name, kind="call", key=one.key, columns=one.columns, of_whole_day=True, text=one.query)
        for one in ROLLUPS
    ),
)  # fmt: skip
BY_NAME = {dataset.name: dataset for dataset in ORDER}
