"""What reports and rollups count of calls: one place for each measure that both have."""

from __future__ import annotations

from dialer.calls.disposition import Disposition
from etl.reports.model import Measure, count, total

BY_CALL = (
    count("attempts"),
    count("not_seized", "NOT is_seizure"),
    count("seizures", "is_seizure"),
    count("judged", "is_judged"),
    count("answered", "is_answered"),
    count("human", "is_human"),
    count("delivered", "is_ner"),
    count("open", "is_open"),
)
VERDICTS = tuple(count(verdict.value, f"disposition = '{verdict.value}'") for verdict in Disposition)
COMPLETED = next(one for one in VERDICTS if one.name == Disposition.COMPLETED.value)
TALK = (total("talk_us", where="is_answered"), total("human_talk_us", "talk_us", "is_human"))
DELAYS = (count("with_pdd", "pdd_us IS NOT NULL"), total("pdd_us"))
RESPONSES = (
    count("ser_answers", "is_seizure AND (is_answered OR sip_code = 200)"),
    count("seer_answers", "is_seizure AND (is_answered OR sip_code IN (200, 480, 486, 600, 603))"),
    count("ineffective", "is_seizure AND NOT is_answered AND sip_code IN (408, 500, 503, 504)"),
    count("redirected", "is_seizure AND sip_code BETWEEN 300 AND 399"),
    count("not_redirected", "is_seizure AND NOT COALESCE(sip_code BETWEEN 300 AND 399, FALSE)"),
)
COST = (count("priced", "cost_micro IS NOT NULL"), total("billed_s"), total("cost_micro"))
COST_IN_ONE = """CASE WHEN MIN(currency) IS DISTINCT FROM MAX(currency) THEN NULL
  ELSE CAST(COALESCE(SUM(cost_micro), 0) AS BIGINT) END"""
"""Empty when it is in several currencies; of calls and of a rollup alike."""
SILENT = count("silent", "is_silent")
# Between them lie the ids of a campaign's contacts: close together, as a list is imported at once.
IDS = (
    Measure(name="least_contact", sql="MIN(contact)", adds_up="MIN(least_contact)"),
    Measure(name="most_contact", sql="MAX(contact)", adds_up="MAX(most_contact)"),
)
