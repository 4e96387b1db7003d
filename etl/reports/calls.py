"""The report `calls`: one row an attempt, with its milestones, its verdict and the answers it brought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from dialer.storage.campaigns import StoredCampaign
from etl.reports.columns import asked
from etl.reports.table import STREAMED, Report

COLUMNS = (
    "attempt_id", "campaign", "person", "number", "wave", "node", "trunk", "submitted_at", "ringing_at", "answered_at",
    "hung_up_at", "ended_at", "disposition", "sip_code", "cause", "flow_result", "step", "answers",
)  # fmt: skip

# A step that was visited twice shows its last answer; the report `answers` has them all.
_ROWS = """
select a.id::text, :campaign, p.person_key, a.number, a.wave, a.node, a.trunk, a.submitting_at, a.ringing_at,
       a.answered_at, a.hung_up_at, a.ended_at, a.disposition, a.tech_cause, a.cause, f.result, f.step,
       (select count(*) from answer where attempt_id = a.id) as answers,
       (select json_object_agg(step, value order by visit) from
          (select distinct on (step) step, value, visit from answer where attempt_id = a.id
           order by step, visit desc) as last) as given
from attempt as a
join person as p on p.id = a.person_id
left join flow_result as f on f.attempt_id = a.id
where a.campaign_id = :id
order by a.submitting_at, a.id
"""


def calls(connection: Connection, campaign: StoredCampaign) -> Report:
    """Every attempt of a campaign in the order of dialling; one column `answer_STEP` a question."""
    questions = asked(connection, campaign.campaign_id).questions
    return Report(
        columns=COLUMNS + tuple(f"answer_{step}" for step in questions), rows=_rows(connection, campaign, questions)
    )  # fmt: skip


def _rows(connection: Connection, campaign: StoredCampaign, questions: Sequence[str]) -> Iterator[Sequence[Any]]:
    values = {"campaign": campaign.name, "id": campaign.campaign_id}
    with connection.execute(text(_ROWS), values, execution_options=STREAMED) as result:
        for *row, given in result:
            yield (*row, *(given.get(step) if given else None for step in questions))
