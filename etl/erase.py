"""Erasure: what a person said and who they are leaves every store; that they were called, and how it ended, stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, text

from dialer.clock import utc_now
from dialer.errors import InvalidInput, RefusedBySafety
from dialer.storage import audit, guards
from dialer.storage.session import plain_errors
from etl.columns import ERASED, HISTORY, SEGMENT, SUBJECT_INDEX, Columns
from etl.engines.sql import inline
from etl.lake import from_day_number
from etl.ledger import Ledger
from etl.leftovers import clear_up, forget_strangers
from etl.pipeline import Night, inputs_of, publish, turn, work_on
from etl.retain import forget
from etl.sql.order import BY_NAME
from etl.stages.clean import digested
from etl.stages.enrich import enrich
from etl.stages.work import INDEX, Work

_PEOPLE = text("""
select distinct p.id, p.person_key from person p
left join contact c on c.person_id = p.id left join attempt a on a.person_id = p.id
where p.tenant_id = :tenant and (p.person_key = :person or :number = any(c.numbers) or a.number = :number)
order by p.id
""")
_ATTEMPTS = text("select id, state, submitting_at from attempt where person_id = any(:people) order by id")
# As a claim does: none of them begins a call until it is over.
_HELD = text("select 1 from contact where person_id = any(:people) order by id for update")
# Every row stays, so that what was counted is counted still; only what it says of the person goes.
_FORGET = {
    name: text(statement)
    for name, statement in {
        "answers": "update answer set keys = '', value = '' where attempt_id = any(:calls)",
        "tries": "update answer_try set keys = '' where attempt_id = any(:calls)",
        "results": "update flow_result set detail = null, callback_at = null where attempt_id = any(:calls)",
        "digits": "update cel_event set digit = null where attempt_id = any(:calls) and digit is not null",
        # The number stays on the list: what is not known any more is in which call it asked for that.
        "wishes": "update dnc set attempt_id = null where attempt_id = any(:calls)",
        "calls": f"update attempt set number = '{guards.ERASED}' where id = any(:calls)",
        "events": """
            update event set payload = payload - '{value,keys,callback_at}'::text[]
            where tenant_id = :tenant and occurred_at >= :since and subject_id = any(:names)
              and subject_type in ('attempt', 'dialogue') and payload ?| array['value', 'keys', 'callback_at']""",
        "contacts": """
            update contact set numbers = '{}', fields = '{}', language = null, line = null, next_number = null,
              next_attempt_at = null, resumes_at = null, on_hold = false, waits_for = null,
              closed_as = coalesce(closed_as, 'withdrawn'), withdrawn_at = coalesce(withdrawn_at, clock_timestamp())
            where person_id = any(:people)""",
        "people": "update person set person_key = 'erased-' || id where id = any(:people)",
    }.items()
}
_FORGET_REQUESTER = text("""
update event set payload = payload - 'requester' where tenant_id = :tenant and payload ->> 'requester' = :requester
""")
# As a whole text, for it may be part of another's; in what is no JSON nobody knows where one ends.
_FORGET_LETTERS = text("""
delete from event_dead where tenant_id = :tenant and (
  position(convert_to(to_json(cast(:requester as text))::text, 'UTF8') in raw) > 0
  or position(convert_to(:escaped, 'UTF8') in raw) > 0
  or reason = 'not_json' and position(convert_to(:requester, 'UTF8') in raw) > 0)
""")
_IN_LAKE = text("select 1 from etl_tenant where tenant_id = :tenant")
_UNREAD = text("""
select o.dataset, o.day, o.run, o.files from etl_output o
where o.tenant_id = :tenant and o.dataset = any(:datasets) and not exists (
  select from etl_pointer p where (p.tenant_id, p.dataset, p.day, p.run) = (o.tenant_id, o.dataset, o.day, o.run))
""")
_SEGMENTS = text("select run, day, files from etl_segment where tenant_id = :tenant order by run")
_SEGMENT_IS = text("update etl_segment set files = :files, bytes = :bytes where run = :run")
_ANSWERS = {"history_call": ("subject", HISTORY["call"]), "answer_fact": ("call", BY_NAME["answer_fact"].columns)}
"""Datasets that hold what people answered: which of their columns is the call."""
_CLOCKS = timedelta(hours=1)
"""Clocks of hosts differ: an event may be dated before its attempt."""


@dataclass(frozen=True, kw_only=True)
class Whom:
    """Who is to be forgotten: one of the three."""

    person: str | None = None
    """Their key in the number base."""
    number: str | None = None
    requester: str | None = None
    """As ticket events name them."""


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was found of them."""

    people: int
    calls: int
    events: int
    letters: int
    days: tuple[date, ...]
    """Days of the lake that were written anew."""


def erase(night: Night, tenant: str, whom: Whom, who: str, why: str, say: Callable[[str], None]) -> Erased:
    """Forgets a person of a tenant: first in the lake, then in PostgreSQL, so that a second try finds them still.

    Raises InvalidInput when nobody is found, RefusedBySafety while they are in a call, Elsewhere.
    """
    with turn(night, tenant):
        if whom.requester is not None:
            return _forget_requester(night, tenant, whom.requester, who, why)
        with plain_errors(), night.database.begin() as connection:
            people, calls = _found(connection, tenant, whom)
        names = [str(row.id) for row in calls]
        days = _erase_in_lake(night, tenant, names, say) if names else []
        say("PostgreSQL")
        with plain_errors(), night.database.begin() as connection:
            connection.execute(_HELD, {"people": people})
            if _found(connection, tenant, whom) != (people, calls):
                raise RefusedBySafety("they were called meanwhile. Nobody was forgotten yet: run it again.")
            values = {
                "tenant": tenant, "people": people, "calls": [row.id for row in calls], "names": names,
                "since": min((row.submitting_at for row in calls), default=utc_now()) - _CLOCKS,
            }  # fmt: skip
            counts = {name: connection.execute(one, values).rowcount for name, one in _FORGET.items()}
            audit.record(connection, who=who, what="person.erase", tenant_id=tenant, why=why, detail=counts)
    return Erased(people=len(people), calls=len(calls), events=counts["events"], letters=0, days=tuple(days))


def _found(connection: Connection, tenant: str, whom: Whom) -> tuple[list[int], Sequence[Row[Any]]]:
    values = {"tenant": tenant, "person": whom.person, "number": whom.number}
    found = connection.execute(_PEOPLE, values).all()
    if not found:
        raise InvalidInput(f"tenant {tenant!r} knows nobody by that. Nothing was changed.")
    if len(found) > 1:
        keys = ", ".join(row.person_key for row in found)
        raise InvalidInput(f"several people have or had that number: say which with --person: {keys}.")
    people = [row.id for row in found]
    calls = connection.execute(_ATTEMPTS, {"people": people}).all()
    if any(row.state != "ended" for row in calls):
        raise RefusedBySafety(
            "they are in a call now, or it is not known how one ended. Nothing was changed; try later."
        )
    return people, calls


def _forget_requester(night: Night, tenant: str, requester: str, who: str, why: str) -> Erased:
    """Of tickets the lake holds nothing that names a person."""
    if not requester:
        raise InvalidInput("--requester is empty: say who. Nothing was changed.")
    values = {"tenant": tenant, "requester": requester, "escaped": json.dumps(requester)}
    with plain_errors(), night.database.begin() as connection:
        counts = {
            "events": connection.execute(_FORGET_REQUESTER, values).rowcount,
            "letters": connection.execute(_FORGET_LETTERS, values).rowcount,
        }
        if not any(counts.values()):
            raise InvalidInput(f"tenant {tenant!r} has no ticket event of that requester. Nothing was changed.")
        audit.record(connection, who=who, what="person.erase", tenant_id=tenant, why=why, detail=counts)
    return Erased(people=1, calls=0, events=counts["events"], letters=counts["letters"], days=())


# -- the lake --------------------------------------------------------------------------------------------------------


def _erase_in_lake(night: Night, tenant: str, calls: Sequence[str], say: Callable[[str], None]) -> list[date]:
    """Writes anew every file that holds what was answered in these calls, and removes the old ones at once."""
    with plain_errors(), night.database.begin() as connection:
        if connection.execute(_IN_LAKE, {"tenant": tenant}).one_or_none() is None:
            return []
    page = Ledger(night.database, tenant, night.etl.engine)
    page.open()
    clear_up(night, tenant, page.killed())
    # What PostgreSQL does not know cannot be written anew.
    forget_strangers(night, tenant, older_than=utc_now())
    inputs = inputs_of(night, tenant)
    page.know(as_of_us=inputs.as_of_us)
    try:
        with work_on(night, page, "patient", inputs, say) as work:
            work.engine.view("erased", inline({"call": "STRING"}, [(call,) for call in calls]))
            days = _days(work)
            for day in days:
                say(f"lake: {day}")
                work.engine.register("history", work.now("history_call", day).files, HISTORY["call"])
                query = _without_answers("history", HISTORY["call"])
                written = work.write("history_call", day, query, HISTORY["call"], digest_of=digested("call"))
                if work.now("history_call", day).digest != written.digest:
                    enrich(work, day, "call", [written])
                work.keep("history_call", day, [written])
            _rewrite_segments(night, work)
            publish(night, page, replace(inputs, segments=()), work.made)
            _forget_unread(night, work)
    except Exception as error:
        if page.fail(str(error)):
            clear_up(night, tenant, [page.run])
        raise
    return days


def _days(work: Work) -> list[date]:
    work.engine.register(INDEX, work.all_days(INDEX), SUBJECT_INDEX)
    query = (
        f"SELECT DISTINCT day FROM {INDEX} JOIN erased ON erased.call = {INDEX}.subject WHERE kind = 'call' "
        "ORDER BY day NULLS LAST"
    )
    return [from_day_number(number) for (number,) in work.engine.rows(query, {})]


def _without_answers(table: str, columns: Columns) -> str:
    """Every row of a table, without what was answered in the calls that are to be erased."""
    given = (
        f"CASE WHEN erased.call IS NULL THEN {table}.{name} END AS {name}" if name in ERASED else f"{table}.{name}"
        for name in columns
    )
    return f"SELECT {', '.join(given)} FROM {table} LEFT JOIN erased ON erased.call = {table}.subject"


def _rewrite_segments(night: Night, work: Work) -> None:
    """Writes anew the segments that hold these calls, each within its own run: it is read whatever becomes of ours."""
    with plain_errors(), night.database.begin() as connection:
        segments = connection.execute(_SEGMENTS, {"tenant": work.tenant}).all()
    for row in segments:
        if not _holds(work, row.files, "subject", SEGMENT):
            continue
        folder = night.lake.folder(work.tenant, "segment", row.day, row.run)
        anew = folder / f"without-{work.run}"
        written = work.engine.write(_without_answers("there", SEGMENT), {}, SEGMENT, anew)
        names = [str(file.relative_to(night.lake.root)) for file in written.files]
        with plain_errors(), night.database.begin() as connection:
            values = {"run": row.run, "files": names, "bytes": written.bytes}
            connection.execute(_SEGMENT_IS, values)
        # What an erasure that was killed had written too.
        for path in folder.iterdir():
            if path != anew:
                _remove(path)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _forget_unread(night: Night, work: Work) -> None:
    """Removes what nobody reads any more and holds these calls, whichever run and day they stood under then."""
    with plain_errors(), night.database.begin() as connection:
        unread = connection.execute(_UNREAD, {"tenant": work.tenant, "datasets": list(_ANSWERS)}).all()
    forget(night, work.tenant, [row for row in unread if _holds(work, row.files, *_ANSWERS[row.dataset])])


def _holds(work: Work, names: Sequence[str], subject: str, columns: Columns) -> bool:
    """Whether files of the lake hold some of the calls; registers those that there are as `there`."""
    files = [path for name in names if (path := work.lake.root / name).exists()]
    work.engine.register("there", files, columns)
    found = work.engine.rows(f"SELECT count(*) FROM there JOIN erased ON erased.call = there.{subject}", {})
    return list(found) != [(0,)]
