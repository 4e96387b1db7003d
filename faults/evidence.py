"""Gathers what a run left: our tables, the node's own record, the carrier's truth, and whatever was not given back."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from dialer import names
from dialer.clock import from_epoch, utc_now
from dialer.lab.process import Instance
from dialer.lab.truth import read_truth
from dialer.lab.up import Lab
from dialer.storage.session import sync_engine
from faults.disks import BALLAST
from faults.record import AttemptRow, CelRow, FaultRecord, History, TryRow
from faults.workload import Workload

_ATTEMPTS = text("""
with stored as (
  select subject_id, min(ingested_at) filter (where type = 'attempt.submitting') as opened_at,
         min(ingested_at) filter (where type = 'attempt.ended') as closed_at
  from event where subject_type = 'attempt' group by subject_id
)
select a.id::text as id, c.name as campaign, p.person_key as person, a.number, a.disposition, a.tech_cause,
       coalesce(s.opened_at, a.submitting_at) as opened_at,
       case when a.state = 'ended' then coalesce(s.closed_at, a.ended_at) end as closed_at,
       f.result, f.at as flow_ended_at, coalesce(f.answers, 0) as flow_answers
from attempt a
join campaign c on c.id = a.campaign_id
join person p on p.id = a.person_id
left join stored s on s.subject_id = a.id::text
left join flow_result f on f.attempt_id = a.id
order by a.submitting_at, a.id
""")
_TRIES = text("select attempt_id::text as id, step, keys, at from answer_try order by at, try_no")
_ANSWERS = text("select attempt_id::text as id, step from answer order by at")
_STORY = text("""
select subject_id as id, type, occurred_at, ingested_at, payload from event
where subject_type in ('attempt', 'dialogue') order by ingested_at, seq
""")
_IN_TRANSACTION = text("select pid, state, query from pg_stat_activity where state like 'idle in transaction%'")
_ADVISORY = text("select count(*) from pg_locks where locktype = 'advisory'")
_SESSIONS = text("select count(*) from pg_stat_activity where application_name = 'dialer' and pid <> pg_backend_pid()")


def gather(lab: Lab, workload: Workload, faults: Sequence[FaultRecord], leaks: Sequence[str]) -> History:
    """The whole run as values for the checker."""
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        attempts = tuple(_attempts(connection, _cel(lab.places.node / "log")))
    engine.dispose()
    return History(
        truth=tuple(read_truth(lab)),
        attempts=attempts,
        faults=tuple(faults),
        people=workload.people,
        ended_at=utc_now(),
        leaks=tuple(leaks),
    )


def _attempts(connection: Connection, cel: dict[str, list[CelRow]]) -> Iterator[AttemptRow]:
    tries: dict[str, list[TryRow]] = defaultdict(list)
    for row in connection.execute(_TRIES):
        tries[row.id].append(TryRow(step=row.step, keys=row.keys, at=row.at))
    answers: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_ANSWERS):
        answers[row.id].append(row.step)
    stories: dict[str, list[str]] = defaultdict(list)
    for row in connection.execute(_STORY):
        stories[row.id].append(f"{row.type} {row.occurred_at:%T.%f}, stored {row.ingested_at:%T.%f}: {row.payload}")
    for row in connection.execute(_ATTEMPTS):
        yield AttemptRow(
            id=row.id, campaign=row.campaign, person=row.person, number=row.number, disposition=row.disposition,
            opened_at=row.opened_at, closed_at=row.closed_at, tech_cause=row.tech_cause, flow_result=row.result,
            flow_ended_at=row.flow_ended_at, flow_answers=row.flow_answers, tries=tuple(tries[row.id]),
            answers=tuple(answers[row.id]), cel=tuple(cel.get(row.id, ())), story=tuple(stories[row.id]),
        )  # fmt: skip


def _cel(directory: Path) -> dict[str, list[CelRow]]:
    """The node's record from its files, by attempt; the database's copy of it is what is under test."""
    found: dict[str, list[CelRow]] = defaultdict(list)
    for path in directory.glob("cel.jsonl*"):
        for line in path.read_bytes().splitlines():
            try:
                said: dict[str, Any] = json.loads(line)
                attempt_id = names.attempt_of(said["uniqueid"])
                extra = json.loads(said.get("eventextra") or "{}")
                at = from_epoch(float(said["eventtime"]))
            except (ValueError, KeyError, TypeError):
                continue  # a full disk cuts lines
            if attempt_id is not None:
                row = CelRow(kind=said["eventtype"], at=at, digit=extra.get("digit"), cause=extra.get("hangupcause"))
                found[str(attempt_id)].append(row)
    return {attempt_id: sorted(rows, key=lambda row: row.at) for attempt_id, rows in found.items()}


# -- what was not given back -------------------------------------------------------------------------------------------


def channels_left(instance: Instance) -> str | None:
    """The instance's channels, in words; None when it has none."""
    said = instance.execute("core show channels count").splitlines()[0]
    return None if said.startswith("0 active channels") else f"the {instance.name} holds {said}"


def files_left(lab: Lab) -> list[str]:
    """Spool files of dialogues that are over."""
    spool = lab.places.state / "spool"
    files = [path.name for path in spool.glob("*") if path.name != BALLAST] if spool.is_dir() else []
    return [f"spool file {name}" for name in files[:10]]


def database_left(lab: Lab) -> list[str]:
    """Sessions, transactions and locks of processes that have ended."""
    engine = sync_engine(lab.settings)
    with engine.connect() as connection:
        found = [f"backend {row.pid} is {row.state}: {row.query[:80]}" for row in connection.execute(_IN_TRANSACTION)]
        if locks := connection.execute(_ADVISORY).scalar_one():
            found.append(f"{locks} advisory locks")
        if sessions := connection.execute(_SESSIONS).scalar_one():
            found.append(f"{sessions} database sessions")
    engine.dispose()
    return found


def descriptors(pid: int) -> int | None:
    """How many a process holds; None when it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None
