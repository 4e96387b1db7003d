"""The report `answers`: one row an answer, with the person's fields, the keys pressed and the tries it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, text

from dialer.storage.campaigns import StoredCampaign
from etl.reports.columns import asked
from etl.reports.table import STREAMED, Report

COLUMNS = ("person", "number", "step", "visit", "value", "keys", "at", "tries", "revision", "attempt_id")

_ROWS = """
select p.person_key, a.number, n.step, n.visit, n.value, n.keys, n.at,
       (select count(*) from answer_try as t
        where t.attempt_id = n.attempt_id and t.step = n.step and t.visit = n.visit) as tries,
       r.number as revision, n.attempt_id::text, c.fields
from attempt as a
join answer as n on n.attempt_id = a.id
join person as p on p.id = a.person_id
join contact as c on c.id = a.contact_id
join revision as r on r.id = n.revision_id
where a.campaign_id = :id
order by n.at, n.attempt_id, n.step, n.visit
"""


def answers(connection: Connection, campaign: StoredCampaign) -> Report:
    """Every answer of a campaign in the order of giving; one column `field_NAME` a contact field."""
    fields = asked(connection, campaign.campaign_id).fields
    return Report(
        columns=COLUMNS + tuple(f"field_{name}" for name in fields), rows=_rows(connection, campaign, fields)
    )  # fmt: skip


def _rows(connection: Connection, campaign: StoredCampaign, fields: Sequence[str]) -> Iterator[Sequence[Any]]:
    with connection.execute(text(_ROWS), {"id": campaign.campaign_id}, execution_options=STREAMED) as result:
        for *row, known in result:
            yield (*row, *(known.get(name) for name in fields))
