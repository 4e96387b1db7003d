"""A campaign's attempts as they are compared: with the node's own record of them, and with a carrier's calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from sqlalchemy import Connection, Row, text

from dialer.calls.carrier_record import OurCall
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


# Calls of other campaigns on the same numbers are read too: they explain rows of the carrier's.
_CALLS = text("""
select a.number, a.id, a.submitting_at, a.answered_at is not null as answered,
  extract(epoch from a.hung_up_at - a.answered_at) as seconds, a.disposition,
  a.campaign_id = :campaign and (:all_trunks or a.trunk = any(:trunks)) as counts
from attempt a
where a.submitting_at between :first and :last
  and a.number in (select unnest(numbers) from contact where campaign_id = :campaign
                   union select number from attempt where campaign_id = :campaign)
order by a.number, a.submitting_at, a.id
""")
_NUMBERS = text("""
select unnest(numbers) from contact where campaign_id = :campaign
union select number from attempt where campaign_id = :campaign
""")
_SPAN = text("""
select min(submitting_at) as first, max(coalesce(ended_at, clock_timestamp())) as last
from attempt where campaign_id = :campaign
""")


def span(connection: Connection, campaign_id: int) -> tuple[datetime, datetime] | None:
    """From a campaign's first submission to its last verdict, or to now while an attempt is open."""
    row = connection.execute(_SPAN, {"campaign": campaign_id}).one()
    return None if row.first is None else (row.first, row.last)


def numbers(connection: Connection, campaign_id: int) -> set[str]:
    """Every number that the campaign may call or has called."""
    return set(connection.execute(_NUMBERS, {"campaign": campaign_id}).scalars())


def calls_by_number(
    connection: Connection, campaign_id: int, between: tuple[datetime, datetime], trunks: Sequence[str]
) -> Iterator[tuple[str, list[OurCall]]]:
    """Our calls on a campaign's numbers, a number at a time; without `trunks`, those of every trunk count."""
    values = {"campaign": campaign_id, "first": between[0], "last": between[1],
              "trunks": list(trunks), "all_trunks": not trunks}  # fmt: skip
    rows = connection.execution_options(yield_per=500).execute(_CALLS, values)
    for number, group in groupby(rows, key=lambda row: row.number):
        yield (
            str(number),
            [
                OurCall(
                    attempt_id=row.id,
                    submitted_at=row.submitting_at,
                    answered=row.answered,
                    seconds=None if row.seconds is None else float(row.seconds),
                    disposition=Disposition(row.disposition) if row.disposition else None,
                    counts=row.counts,
                )
                for row in group
            ],
        )
