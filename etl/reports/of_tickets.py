"""The reports of tickets, queues and agents, and of what could not be taken in, as data."""

from __future__ import annotations

from etl.reports.columns import flag, local, mean, percent, quantile, seconds, text, utc, whole
from etl.reports.model import Measure, Period, Report, count, percentile, total

_CREATED = "the tickets that were created in the period"
_TICKETS = ("ticket_fact", "ticket_business_fact")
_CHANNEL, _GROUP = text("channel"), text("group", "group_name", "the first group")
_DURATIONS = (
    "first_assignment", "queue", "first_response", "requester_wait", "agent_wait", "hold", "owned", "handle",
    "first_resolution", "full_resolution",
)  # fmt: skip
_BUSINESS = tuple(f"business_{name}" for name in _DURATIONS)
"""Within opening hours."""


def _durations(*names: str) -> tuple[Measure, ...]:
    """Of each: how many have it, their sum, and two percentiles."""
    made: list[Measure] = []
    for name in names:
        made += [
            count(f"with_{name}", f"{name}_us IS NOT NULL"), total(f"{name}_us"),
            percentile(f"{name}_p50_cus", f"{name}_us", 50), percentile(f"{name}_p90_cus", f"{name}_us", 90),
        ]  # fmt: skip
    return tuple(made)


def _state(name: str, state: str) -> Measure:
    return total(f"{name}_us", "piece_us", f"state = '{state}'")


_AUTHORS = ("agent", "customer", "bot")
_STATES = (
    "logged_in", "available", "busy", "paused", "handling", "engaged", "talk", "hold", "acw", "ring", "ticket_work",
)  # fmt: skip
_DONE = ("login", "answered", "declined", "transferred", "solved", "passed_on")
_SERVED = (
    # Named after the formulas of docs/metrics/queues.md.
    count("answered_in_time", "is_answered AND is_in_time"),
    count("abandoned_in_time", "is_abandoned AND is_in_time"),
    count("ended_in_time", "(is_answered OR is_abandoned) AND is_in_time"),
    count("answered_or_abandoned", "is_answered OR is_abandoned"),
    count("answered_or_abandoned_late", "is_answered OR (is_abandoned AND NOT is_in_time)"),
    count("answered_in_time_or_abandoned_shortly", "(is_answered AND is_in_time) OR (is_abandoned AND is_short)"),
)
_WAITED = "is_answered OR outcome IN ('abandoned', 'leaveempty', 'timeout')"
"""Nobody waits whom the queue did not take in, and who left it by a key asked for something else."""
_REFUSALS = ("full", "joinempty", "leaveempty", "timeout", "exitwithkey")

TICKETS = (
    Report(
        name="ticket_facts",
        says="One row a ticket: its groups and agents, every duration, transfers, messages, and how it stands.",
        basis=_CREATED, base="tickets", reads=_TICKETS, kind="ticket", reach_days=36500, order=("created_us", "ticket"),
        columns=(
            text("ticket"), _CHANNEL, utc("created"), local("created"), flag("created_inferred"), text("first_group"),
            text("last_group"), text("first_agent"), text("last_agent"), text("priority"), text("status"),
            *(seconds(name) for name in _DURATIONS),
            text("hours_of", says="whose opening hours hold: a group, or empty for the tenant's own"),
            *(seconds(name, "within opening hours") for name in _BUSINESS), whole("transfers_agent"),
            whole("transfers_group"),
            whole("ping_pong"), whole("agent_stations"), whole("group_stations"), whole("messages_agent"),
            whole("messages_customer"), whole("messages_internal"), whole("messages_bot"), flag("one_touch"),
            utc("one_touch_final"), whole("reopens"), utc("solved"), utc("closed"), flag("clock_skew"), flag("late"),
        ),
    ),
    Report(
        name="ticket_cohort_daily",
        says="One row a day, channel and group: the tickets created then, what became of them, and the backlog after.",
        basis=f"{_CREATED}; the backlog is that of the midnight which ends the day",
        base="tickets_and_backlog", reads=(*_TICKETS, "ticket_span_fact"), kind="ticket", period=Period.DAY,
        keys=(_CHANNEL, _GROUP), reach_days=36500, most_days=366,
        measures=(
            count("created", "is_created"), count("created_inferred", "created_inferred"), count("solved", "is_solved"),
            count("reopened", "is_created AND reopens > 0"), count("one_touch", "one_touch"),
            count("provisional", "is_provisional"), count("late", "late"), total("transfers_agent"),
            total("transfers_group"), total("messages_agent"), total("messages_customer"),
            *_durations(*_DURATIONS, *_BUSINESS),
            count("backlog", "age_us IS NOT NULL"), percentile("backlog_age_p50_cus", "age_us", 50),
            percentile("backlog_age_p90_cus", "age_us", 90),
        ),
        columns=(
            whole("created"), whole("created_inferred"), whole("solved"), percent("solved", "solved", "created"),
            whole("reopened"), percent("reopened", "reopened", "solved"), whole("one_touch"),
            percent("one_touch", "one_touch", "solved"),
            whole("one_touch_provisional", "provisional", "their seven days are not over"), whole("late"),
            whole("transfers_agent"), whole("transfers_group"), whole("messages_agent"), whole("messages_customer"),
            *(column for name in (*_DURATIONS, *_BUSINESS) for column in (
                whole(f"with_{name}"), mean(name, f"{name}_us", f"with_{name}"), quantile(f"{name}_p50"),
                quantile(f"{name}_p90"),
            )),
            whole("backlog"), quantile("backlog_age_p50"), quantile("backlog_age_p90"),
        ),
    ),
    Report(
        name="sla_daily",
        says="One row a day, target, channel and group: how many promises were met, broken, or may still be met.",
        basis=f"{_CREATED}; for `next_response` the customers' waits that began in it",
        base="sla", reads=("ticket_fact", "ticket_wait_fact"), database=("opening",), kind="ticket",
        period=Period.DAY, reach_days=36500,
        keys=(text("target"), _CHANNEL, _GROUP, text("hours", says="what it is measured by: calendar or opening")),
        measures=(
            count("met", "is_met"), count("breached", "is_breached"), count("pending", "is_pending"),
            count("finished", "is_met OR is_breached"), Measure(name="within_us", sql="MAX(within_us)"),
        ),
        columns=(
            seconds("within", "the target"), whole("met"), whole("breached"), whole("pending"), whole("finished"),
            percent("sla", "met", "finished"),
        ),
    ),
    Report(
        name="messages_daily",
        says="One row a day, channel and group: how many messages agents, customers and bots wrote.",
        basis="the messages that were written in the period", base="messages", reads=("history_ticket", "ticket_fact"),
        kind="ticket", period=Period.DAY, reach_days=36500,
        keys=(text("channel", says="the message's own, else its ticket's"), _GROUP),
        measures=(
            *(count(f"messages_{author}", f"author = '{author}' AND NOT is_internal") for author in _AUTHORS),
            count("messages_internal", "is_internal"), Measure(name="tickets", sql="COUNT(DISTINCT subject)"),
        ),
        columns=(
            *(whole(f"messages_{author}") for author in _AUTHORS),
            whole("messages_internal", says="notes of anybody, which the customer does not see"),
            whole("tickets", says="that had messages"),
        ),
    ),
    Report(
        name="transfers_matrix",
        says="One row a pair of agents or of groups: how often tickets went from the one to the other.",
        basis="the transfers of the period", base="moves", reads=("ticket_move_fact",), kind="ticket", reach_days=36500,
        keys=(text("what", says="agent or group"), text("from", "from_name"), text("to", "to_name")),
        measures=(count("transfers"), Measure(name="tickets", sql="COUNT(DISTINCT subject)")),
        columns=(whole("transfers"), whole("tickets")),
    ),
    Report(
        name="queue_intervals_15m",
        says="One row a quarter of an hour, queue and channel: offered, answered, abandoned, five service levels.",
        basis="the waits that began in the period", base="queue", reads=("queue_fact",), kind="queue_entry",
        period=Period.QUARTER, keys=(text("queue"), _CHANNEL), reach_days=1,
        measures=(
            count("offered"), count("answered", "is_answered"), count("abandoned", "is_abandoned"),
            count("short_abandoned", "is_abandoned AND is_short"),
            count("abandoned_but_short", "is_abandoned AND NOT is_short"),
            count("offered_but_short", "NOT (is_abandoned AND is_short)"),
            *(count(f"ended_{reason}", f"outcome = '{reason}'") for reason in _REFUSALS), count("open", "is_open"),
            total("answered_wait_us", "wait_us", "is_answered"), total("abandoned_wait_us", "wait_us", "is_abandoned"),
            total("waited_us", "wait_us", _WAITED), count("waited", _WAITED), *_SERVED, total("talk_us"),
            total("hold_us"), total("acw_us"),
            total("handle_us", "talk_us + hold_us + COALESCE(acw_us, 0)", "is_answered"), total("declined"),
            total("transfers"),
        ),
        columns=(
            whole("offered"), whole("answered"), whole("abandoned"), whole("short_abandoned"),
            *(whole(reason, f"ended_{reason}") for reason in _REFUSALS), whole("open"),
            mean("asa", "answered_wait_us", "answered", "average speed of answer"),
            mean("time_to_abandon", "abandoned_wait_us", "abandoned"), whole("waited"),
            mean("avg_wait", "waited_us", "waited", "of all who waited, served or not"),
            whole("abandoned_but_short"), whole("offered_but_short"),
            percent("abandon", "abandoned_but_short", "offered_but_short"),
            *(whole(measure.name) for measure in _SERVED),
            percent("service_level_f1", "ended_in_time", "answered_or_abandoned"),
            percent("service_level_f2", "answered_in_time", "answered"),
            percent("service_level_f3", "answered_in_time", "answered_or_abandoned"),
            percent("service_level_f4", "answered_in_time", "answered_or_abandoned_late", "the usual one here"),
            percent("service_level_f5", "answered_in_time_or_abandoned_shortly", "answered_or_abandoned"),
            seconds("talk"), seconds("hold"), seconds("acw"), mean("aht", "handle_us", "answered", "handling time"),
            whole("declined"), whole("transfers"),
        ),
    ),
    Report(
        name="agent_daily",
        says="One row a day and agent: time logged in, available, paused and at work, and what was done.",
        basis="time is cut at midnight; what was done belongs to its moment", base="agent_time",
        reads=("agent_span_fact", "queue_work_fact", "ticket_work_fact", "ticket_fact", "ticket_move_fact"),
        period=Period.DAY, keys=(text("agent"),), reach_days=36500, most_days=366,
        measures=(
            *(_state(name, name) for name in _STATES),
            total("conversation_us", "piece_us", "state IN ('talk', 'hold', 'acw')"),
            *(count(name, f"state = '{name}'") for name in _DONE),
        ),
        columns=(
            whole("logins", "login"), *(seconds(name) for name in _STATES), whole("answered"),
            whole("declined", says="rung, and not taken (RONA)"),
            whole("transferred", says="conversations handed on, to an agent or a queue"),
            mean("aht", "conversation_us", "answered", "talk, hold and wrap-up a conversation"),
            percent("occupancy", "handling_us", "engaged_us", "at work, of the time at work or available"),
            percent("utilisation", "engaged_us", "logged_in_us"),
            whole("tickets_solved", "solved", "solved for now, by whose they were last"),
            whole("tickets_passed_on", "passed_on", "to another agent"),
        ),
    ),
    Report(
        name="agent_intervals",
        says="One row a quarter of an hour, agent, state and pause code: how long, to the edges of the quarter.",
        basis="time is cut at each quarter of an hour", base="agent_time",
        reads=("agent_span_fact", "queue_work_fact", "ticket_work_fact", "ticket_fact", "ticket_move_fact"),
        period=Period.QUARTER, keys=(text("agent"), text("state"), text("code")), reach_days=36500, most_days=31,
        measures=(total("spent_us", "piece_us"), count("times")),
        columns=(seconds("spent"), whole("times", says="pieces of time, or how often it was done")),
    ),
    Report(
        name="dead_letters",
        says="One row a line that was sent to the collector and is no event: from whom, when, and why.",
        basis="when it came first", base="dead_letters", database=("dead",), order=("first_us", "letter"),
        columns=(
            text("letter"), text("source"), text("reason"), text("detail"), utc("first"), local("first"), utc("last"),
            whole("times", says="it came"), whole("attempts", says="at replaying it"), whole("bytes"),
        ),
    ),
)  # fmt: skip
