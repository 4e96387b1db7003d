"""The reports of calls, campaigns and questions, as data."""

from __future__ import annotations

from dialer.calls.disposition import Disposition
from etl.reports.call_measures import BY_CALL, COMPLETED, COST, COST_IN_ONE, DELAYS, RESPONSES, SILENT, TALK, VERDICTS
from etl.reports.columns import campaign as of_campaign
from etl.reports.columns import flag, local, mean, money, percent, quantile, seconds, text, utc, whole
from etl.reports.model import Measure, Period, Report, all_of, count, distinct, most, percentile, so_far, total

_SUBMITTED = "the calls that were submitted in the period"
_CAMPAIGN = of_campaign()
_TRUNK = (text("node"), text("trunk"))
_RATES = (
    whole("attempts", says="calls that the engine ordered (bids)"),
    whole("not_seized", says="of them, those that no trunk was asked for"),
    whole("seizures", says="those that were put on a trunk"),
    whole("answered", says="those with an answer signal, by a person or a machine"),
    percent("asr", "answered", "seizures", "answer seizure ratio (ITU-T E.425)"),
    percent("abr", "answered", "attempts", "answer bid ratio (ITU-T E.425)"),
    whole("delivered", says="answered, busy, rung without an answer, or refused by the person's telephone"),
    whole("judged", says="seizures that have ended and that no order of ours cut short before they rang"),
    percent("ner", "delivered", "judged", "network effectiveness ratio (ITU-T E.425)"),
)
_MILESTONES = ("accepted", "ringing", "answered", "audio", "hung_up", "ended")

CALLS = (
    Report(
        name="call_detail",
        says="One row a call: whom, through which trunk, when it rang, was answered and ended, how, and what was said.",
        basis=_SUBMITTED, base="call_detail", reads=("call_fact",), database=("dialled",), kind="call",
        order=("submitted_us", "call"), answers_by="call",
        columns=(
            text("call", says="the attempt's id"), _CAMPAIGN, text("person"), text("number"), text("caller_id"),
            whole("revision"), whole("wave"), whole("dial", says="the contact's calls, counted from 1"),
            text("node"), text("trunk"), utc("submitted"), local("submitted"), *(utc(name) for name in _MILESTONES),
            text("disposition"), whole("sip_code"), whole("q850_cause", "cause"), text("refusal"),
            text("flow_result", "result"), text("last_step"), whole("answers"), text("language"), seconds("pdd"),
            seconds("ring"), seconds("talk"), whole("billed_s"), money("cost"), text("currency"), flag("clock_skew"),
            flag("is_open"),
        ),
    ),
    Report(
        name="attempts_by_hour",
        says="One row a campaign and hour: how many calls, and what became of them.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call", period=Period.HOUR, keys=(_CAMPAIGN,),
        rollup="call_quarter", measures=(*BY_CALL, COMPLETED, *TALK),
        columns=(
            *_RATES, whole("human"), percent("connect_rate", "human", "attempts"), whole("completed"),
            seconds("talk"), mean("acd", "talk_us", "answered", "talk a call that was answered"), whole("open"),
        ),
    ),
    Report(
        name="calls_at_once",
        says="One row a campaign and hour: the most calls that there were at once; without a campaign, of all of them.",
        basis="every moment at which the number of calls changed", base="calls_at_once", reads=("call_fact",),
        period=Period.HOUR, keys=(_CAMPAIGN,), measures=(most("peak_calls", "calls_at_once"),),
        columns=(whole("peak_calls"),), most_days=366,
    ),
    Report(
        name="campaign_summary",
        says="One row a campaign: contacts, calls, verdicts, and the rates of people reached and completed.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call", keys=(_CAMPAIGN,),
        rollup="call_quarter", measures=(
            *BY_CALL, distinct("contacts_tried", "contact"), distinct("contacts_reached", "contact", "is_human"),
            *VERDICTS, SILENT, *TALK,
        ),
        columns=(
            whole("contacts_tried"), whole("contacts_reached", says="by a person who answered"),
            percent("contact_rate", "contacts_reached", "contacts_tried"), *_RATES, whole("human"),
            percent("connect_rate", "human", "attempts"),
            percent("completion", "completed", "human", "of the calls that a person answered"),
            percent("completion_of_contacts", "completed", "contacts_tried"),
            *(whole(verdict.value) for verdict in Disposition),
            whole("silent", says="answered by a person who heard nothing of ours for 2 s"),
            percent("silent", "silent", "human"), seconds("talk"), mean("acd", "talk_us", "answered"),
            mean("acd_human", "human_talk_us", "human"), whole("open"),
        ),
    ),
    Report(
        name="campaign_by_attempt",
        says="One row a campaign and number of the call to a contact: what the first, second, … call brings.",
        basis=_SUBMITTED, base="calls_by_dial", reads=("call_fact",), kind="call", reach_days=366,
        rollup="dial_quarter", quick="first_by_dial",
        keys=(_CAMPAIGN, whole("dial", says="the contact's calls, counted from 1")),
        measures=(
            count("attempts"), count("answered", "is_answered"), count("human", "is_human"),
            count("first_reached", "is_first_reached"), count("first_completed", "is_first_completed"),
            so_far("reached_so_far", count("first_reached", "is_first_reached"), ("campaign",), "dial"),
            so_far("completed_so_far", count("first_completed", "is_first_completed"), ("campaign",), "dial"),
            Measure(name="cost_micro", sql=COST_IN_ONE, value="cost_micro", adds_up=COST_IN_ONE),
        ),
        columns=(
            whole("attempts"), whole("answered"), percent("answer_rate", "answered", "attempts"), whole("human"),
            percent("connect_rate", "human", "attempts"),
            whole("first_reached", says="contacts that this call was the first to reach"),
            percent("yield", "first_reached", "attempts"), whole("reached_so_far"),
            whole("first_completed", says="contacts that this call was the first to complete with"),
            percent("completion_yield", "first_completed", "attempts"), whole("completed_so_far"),
            money("cost_per_first_completed", "cost_micro", "first_completed", says="empty with several currencies"),
        ),
    ),
    Report(
        name="campaign_by_number_attempt",
        says="One row a campaign and number of the call to a telephone number: how often the nth is answered.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call",
        keys=(_CAMPAIGN, whole("number_dial", says="the calls to that number, counted from 1")),
        measures=(count("attempts"), count("answered", "is_answered"), count("human", "is_human")),
        columns=(
            whole("attempts"), whole("answered"), percent("answer_rate", "answered", "attempts"), whole("human"),
            percent("connect_rate", "human", "attempts"),
        ),
    ),
    Report(
        name="hangup_causes",
        says="One row a trunk, SIP status, Q.850 cause and verdict: how calls ended.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call",
        keys=(_CAMPAIGN, *_TRUNK, whole("sip_code"), whole("q850_cause", "cause"), text("disposition")),
        measures=(count("attempts"), all_of("of_trunk", count(""), ("campaign", "node", "trunk"))),
        columns=(whole("attempts"), whole("of_trunk"), percent("share", "attempts", "of_trunk")),
    ),
    Report(
        name="trunk_quality",
        says="One row a trunk: answer and network rates, delays, and the most calls at once and in a second.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call", keys=_TRUNK,
        rollup="call_quarter", beside="trunk_load", quick="trunk_load",
        measures=(
            *BY_CALL, *TALK, *DELAYS, percentile("pdd_p50_cus", "pdd_us", 50), percentile("pdd_p90_cus", "pdd_us", 90),
            percentile("pdd_p95_cus", "pdd_us", 95), *RESPONSES, Measure(name="peak_channels", sql=""),
            Measure(name="peak_cps", sql=""),
        ),
        columns=(
            *_RATES, mean("acd", "talk_us", "answered"), mean("acd_human", "human_talk_us", "human"), whole("with_pdd"),
            mean("pdd", "pdd_us", "with_pdd", "from the order to the first sign of the person's telephone"),
            quantile("pdd_p50"), quantile("pdd_p90"), quantile("pdd_p95"),
            percent("ser", "ser_answers", "not_redirected", "session establishment ratio (RFC 6076)"),
            percent("seer", "seer_answers", "not_redirected", "session establishment effectiveness (RFC 6076)"),
            percent("isa", "ineffective", "seizures", "ineffective session attempts (RFC 6076)"),
            whole("peak_channels", says="the most calls at once"), whole("peak_cps", says="the most in a second"),
        ),
    ),
    Report(
        name="ivr_funnel",
        says="One row a step of the flow: how many calls came there, how many ended there, and how long they stayed.",
        basis=_SUBMITTED, base="steps", reads=("call_fact", "step_fact"), kind="call",
        keys=(_CAMPAIGN, whole("revision"), text("step")),
        measures=(
            Measure(name="first_place", sql="MIN(place)"), distinct("entered", "subject"), count("visits"),
            count("dropped", "next_step IS NULL"), percentile("dwell_p50_cus", "dwell_us", 50),
            percentile("dwell_p90_cus", "dwell_us", 90),
        ),
        order=("campaign", "revision", "first_place", "step"),
        columns=(
            whole("first_place", says="the earliest that it was in a call"), whole("entered", says="calls"),
            whole("visits"), whole("dropped", says="calls whose last step it was"),
            percent("drop", "dropped", "entered"), quantile("dwell_p50"), quantile("dwell_p90"),
        ),
    ),
    Report(
        name="ivr_paths",
        says="One row a step and the step after it: which way calls went.",
        basis=_SUBMITTED, base="steps", reads=("call_fact", "step_fact"), kind="call",
        keys=(_CAMPAIGN, whole("revision"), text("step"), text("next_step", says="empty: the call ended")),
        measures=(count("visits"), all_of("of_step", count(""), ("campaign", "revision", "step"))),
        columns=(whole("visits"), whole("of_step"), percent("share", "visits", "of_step")),
    ),
    Report(
        name="question_answers",
        says="One row a question and answer: how many calls gave it; an empty answer is of calls without a valid one.",
        basis=_SUBMITTED, base="answers", reads=("call_fact", "answer_fact"), kind="call",
        keys=(_CAMPAIGN, whole("revision"), text("step"), text("answer", "value")),
        measures=(
            count("given", "is_last"),
            all_of("reached", count("", "visit = 1"), ("campaign", "revision", "step")),
            all_of("answered", count("", "is_last"), ("campaign", "revision", "step")),
            all_of("tries", total("", "tries"), ("campaign", "revision", "step")),
            all_of("no_input", total("", "no_input"), ("campaign", "revision", "step")),
            all_of("invalid", total("", "invalid"), ("campaign", "revision", "step")),
        ),
        columns=(
            whole("given", says="calls whose last valid answer it was"),
            percent("share", "given", "answered", "of the calls that answered"),
            whole("reached", says="calls that came to the question"), whole("answered", says="calls that answered it"),
            percent("response", "answered", "reached"), whole("tries"),
            whole("no_input", says="tries without a key"), whole("invalid", says="tries with keys that were refused"),
        ),
    ),
    Report(
        name="survey_responses",
        says="One row a contact that was called: who, how it ended, and the last answer to each question.",
        basis=_SUBMITTED, base="survey_responses", reads=("call_fact", "answer_fact"), database=("respondent",),
        kind="call", order=("first_us", "contact"), one_campaign=True, answers_by="contact", fields=True,
        columns=(
            _CAMPAIGN, text("person"), text("number", says="the first of the contact's"), whole("revision"),
            text("language"), text("disposition", says="of the last call"), text("flow_result", "result"),
            flag("is_completed"), whole("calls"), whole("calls_reached"), utc("first"), utc("last"), local("last"),
            text("last_call", "subject"),
        ),
    ),
    Report(
        name="cost_summary",
        says="One row a campaign, trunk and currency: what was billed, and what it cost by minute, contact and result.",
        basis=_SUBMITTED, base="calls", reads=("call_fact",), kind="call",
        rollup="call_quarter", keys=(_CAMPAIGN, *_TRUNK, text("currency")),
        measures=(*BY_CALL, distinct("contacts_tried", "contact"), COMPLETED, *TALK, *COST),
        columns=(
            whole("attempts"), whole("answered"), whole("priced", says="calls that a tariff was known for"),
            seconds("talk"), whole("billed_s"), money("cost"),
            money("cost_per_minute", "cost_micro", "billed_s", 60), whole("contacts_tried"),
            money("cost_per_contact", "cost_micro", "contacts_tried"), whole("completed"),
            money("cost_per_completed", "cost_micro", "completed"),
        ),
    ),
)  # fmt: skip
