"""The catalogue: every report there is, by name."""

from __future__ import annotations

from etl.reports.model import Report
from etl.reports.of_calls import CALLS
from etl.reports.of_surveys import SURVEYS
from etl.reports.of_tickets import TICKETS

REPORTS: dict[str, Report] = {report.name: report for report in (*CALLS, *SURVEYS, *TICKETS)}
ALIASES = {"calls": "call_detail", "answers": "survey_responses"}
"""Names that reports had before."""
