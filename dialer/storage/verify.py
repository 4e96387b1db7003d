"""Compares a campaign's attempts with the node's own record of them, attempt by attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, Row, text

from dialer.calls.disposition import Disposition
from dialer.calls.witness import CelRecord, Told, disagreements
from dialer.clock import from_epoch

# One row an attempt, with its tries and its records as arrays: the client sees one attempt at a time, however many
# there are. Attempts from before the record began have nothing to be compared with.
_COMPARED = text("""
select a.id, a.disposition, a.answered_at is not null as answered,
  (select coalesce(string_agg(t.keys, '' order by t.at, t.step, t.visit, t.try_no), '')
   from answer_try t where t.attempt_id = a.id) as keys,
  (select coalesce(json_agg(json_build_array(c.inode, c.byte_offset, c.kind, extract(epoch from c.at),
                                              c.digit, c.cause)
                            order by c.at, c.inode, c.byte_offset), '[]')
   from cel_event c where c.attempt_id = a.id) as records
from attempt a
where a.campaign_id = :campaign and a.state = 'ended'
  and a.submitting_at >= (select since from cel_position where node = a.node)
order by a.submitting_at, a.id
""")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One attempt and what does not agree about it; nothing, in health."""

    attempt_id: UUID
    found: list[str]


def compare(connection: Connection, campaign_id: int) -> Iterator[Compared]:
    """Every ended attempt of a campaign that the node's record covers, oldest first."""
    for row in connection.execution_options(yield_per=500).execute(_COMPARED, {"campaign": campaign_id}):
        told = Told(
            disposition=Disposition(row.disposition), answered=row.answered, keys=row.keys
        )  # fmt: skip
        yield Compared(attempt_id=row.id, found=disagreements(told, _records(row)))


def _records(row: Row[tuple[object, ...]]) -> list[CelRecord]:
    return [
        CelRecord(inode=inode, offset=offset, attempt_id=row.id, kind=kind, at=from_epoch(at), digit=digit, cause=cause)
        for inode, offset, kind, at, digit, cause in row.records
    ]
