"""Where every contact of a campaign stands, and why: each in exactly one bucket, by one statement.

The conditions stand in one CASE: the first that holds names the bucket, and the last one needs none. So the buckets add
up to the list, whatever the data. They are those of the claim (storage.claims). Caps and the least gap are not asked
anew for everybody: who was found to be beyond one carries it in `waits_for`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from dialer.campaign.calendar import Interval


class Bucket(Enum):
    """Where a contact stands."""

    CLOSED = "closed"
    """For good, by the verdict or the rule that is the detail."""
    WITHDRAWN = "withdrawn"
    """A later delivery of the number base left it out."""
    DNC = "dnc"
    """All its numbers are on do-not-call lists; the detail says whether it is closed for that."""
    HELD = "held"
    IN_CALL = "in_call"
    UNCARRIED = "uncarried"
    """No trunk of the campaign carries its next number."""
    NEVER = "never"
    """Its window opens on none of the days ahead; the detail is its calendar key."""
    CAP = "cap"
    GAP = "gap"
    CALLBACK = "callback"
    LISTED = "listed"
    """It waits until a number comes off a list."""
    RETRY = "retry"
    PLANNED = "planned"
    """Never called, and due later."""
    WINDOW = "window"
    """Due, its window closed; the detail is its calendar key."""
    ELSEWHERE = "elsewhere"
    """Due, the person or the number in a call of another campaign."""
    BREAKER = "breaker"
    """Due, the breakers of all trunks that carry its number open."""
    FAILOVER = "failover"
    """Due, the trunks that carry its number failed it minutes ago."""
    DUE = "due"
    """May be called now; the detail is what holds the campaign back."""
    REJECTED = "rejected"
    """Rows of the last import that are no contacts."""


COMING = (
    Bucket.CAP, Bucket.GAP, Bucket.CALLBACK, Bucket.LISTED, Bucket.RETRY, Bucket.PLANNED, Bucket.WINDOW,
    Bucket.ELSEWHERE, Bucket.BREAKER, Bucket.FAILOVER, Bucket.DUE,
)  # fmt: skip
"""Those whose people are called some time, as things are."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """A trunk of the campaign that may be called through."""

    trunk: str
    prefixes: tuple[str, ...]
    """None: it carries all numbers."""
    cut_off: bool = False
    """Its breaker is open."""


@dataclass(frozen=True, kw_only=True)
class View:
    """By what contacts are looked at."""

    campaign_id: int
    tenant_id: str
    at: datetime
    windows: Mapping[str, Sequence[Interval]]
    """When each calendar key may be called, from `at` on, in order."""
    ways: Sequence[Way]
    hold: str = ""
    """What keeps the campaign from calling those who may be called."""
    wanted_at: datetime | None = None
    """When it was ordered to run: trunks that failed somebody before that are not avoided any more."""


@dataclass(frozen=True, kw_only=True)
class Count:
    """People of one bucket with one detail."""

    bucket: Bucket
    detail: str
    people: int
    dials: int = 0
    """Calls that were claimed for them so far."""
    first_at: datetime | None = None
    """When the first of them goes on, where that is known; for a closed window when it opens."""
    last_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """A campaign's whole list at one moment."""

    at: datetime
    counts: tuple[Count, ...]
    """In the order of `Bucket`, then by number of people."""
    rejects_of: str = ""
    """The file whose rows were rejected."""
    totals: Mapping[Bucket, int] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[Bucket, int] = {}
        for count in self.counts:
            found[count.bucket] = found.get(count.bucket, 0) + count.people
        object.__setattr__(self, "totals", found)

    @property
    def contacts(self) -> int:
        """All contacts of the campaign."""
        return sum(count.people for count in self.counts if count.bucket is not Bucket.REJECTED)


@dataclass(frozen=True, kw_only=True)
class Coming:
    """People who are to be called, by calendar key and minute."""

    key: str
    bucket: Bucket
    due_at: datetime | None
    """To the minute; None: already."""
    people: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a campaign's calls have been like."""

    calls: int
    done: int
    """People who are closed or held."""
    slot_s: float | None
    """How long one of the latest thousand kept its slot, on average; None: there were none."""


def _placed(only: str = "true", p: str = "") -> str:
    """Each contact with its bucket; `p` stands before the parameters, so that two views fit into one statement.

    `offset 0` keeps the planner from asking the CASE anew for each column that is made of it; `exists` lets it choose
    between the list's index and a hash of the whole list.
    """
    return f"""
select id, zones, dials, bucket, case when next_attempt_at > :{p}at then date_trunc('minute', next_attempt_at) end
    as due_at,
  case when bucket = 'window' then opens_at when next_attempt_at > :{p}at then next_attempt_at end as goes_on_at,
  case bucket when 'closed' then closed_as when 'dnc' then case when closed_as is null then 'listed' else 'closed' end
    when 'window' then zones when 'never' then zones when 'due' then :{p}hold else '' end as detail
from (
  select c.id, c.zones, c.dials, c.next_attempt_at, c.closed_as, w.opens_at, case
    when c.closed_as = 'withdrawn' then 'withdrawn'
    when c.closed_as = 'dnc' then 'dnc'
    when c.closed_as is not null then 'closed'
    when c.on_hold then 'held'
    when c.next_attempt_at is null then 'in_call'
    when exists (select from dnc where dnc.number = c.next_number and {_listed(p)}) and (
      cardinality(c.numbers) = 1 or not exists (
        select from unnest(c.numbers) as other(number) where not exists (
          select from dnc where dnc.number = other.number and {_listed(p)}))) then 'dnc'
    when not c.next_number like any(cast(:{p}carried as text[])) then 'uncarried'
    when w.key is null then 'never'
    when c.next_attempt_at > :{p}at then
      case c.waits_for when 'cap' then 'cap' when 'gap' then 'gap' when 'callback' then 'callback'
           when 'dnc' then 'listed' else case when c.dials > 0 then 'retry' else 'planned' end end
    when not w.is_open then 'window'
    when exists (select from attempt a where a.state <> 'ended' and a.person_id = c.person_id)
      or exists (select from attempt a where a.state <> 'ended' and a.number = c.next_number) then 'elsewhere'
    when not c.next_number like any(cast(:{p}through as text[])) then 'breaker'
    when c.avoid_trunks is not null
      and cast(:{p}at as timestamptz) - interval '5 minutes'
        < greatest(c.next_attempt_at, w.opens_at, cast(:{p}wanted_at as timestamptz))
      and not exists (select from unnest(cast(:{p}trunks as text[]), cast(:{p}prefixes as text[])) as t(trunk, prefix)
                      where starts_with(c.next_number, t.prefix) and t.trunk <> all(c.avoid_trunks)) then 'failover'
    else 'due' end as bucket
  from contact c
    left join unnest(cast(:{p}keys as text[]), cast(:{p}open as bool[]), cast(:{p}opens_at as timestamptz[]))
      as w(key, is_open, opens_at) on w.key = c.zones
  where c.campaign_id = :{p}campaign and {only}
  offset 0
) as judged
"""


def _listed(p: str) -> str:
    """The entries of the lists that hold for the campaign."""
    return f"""(dnc.scope = 'site' or (dnc.tenant_id = :{p}tenant
  and (dnc.scope = 'tenant' or dnc.campaign_id = :{p}campaign))) and (dnc.until is null or dnc.until > :{p}at)"""


_COUNTS = text(f"""
select bucket, detail, count(*) as people, sum(dials) as dials, min(goes_on_at) as first_at, max(goes_on_at) as last_at
from ({_placed()}) as placed group by 1, 2 order by people desc, detail
""")
_OF = text(f"select id, bucket, detail from ({_placed('c.id = any(:only)')}) as placed")
_IN_BUCKET = text(f"""
select person.person_key as person, c.numbers, placed.detail, c.zones, c.attempts, c.dials, c.wave, c.next_number,
  c.next_attempt_at, i.path as file, c.line
from ({_placed()}) as placed join contact c using (id) join person on person.id = c.person_id
  left join contact_import i on i.id = c.import_id
where placed.bucket = :bucket order by c.id
""")
_COMING = text(f"""
select zones as key, bucket, due_at, count(*) as people from ({_placed()}) as placed
where bucket = any(:coming) group by 1, 2, 3
""")
_BOTH = text(f"""
select before.zones as key, before.bucket as was, after.bucket as becomes, before.due_at, count(*) as people
from ({_placed(p="b_")}) as before join ({_placed(p="a_")}) as after using (id) group by 1, 2, 3, 4
""")
_SEEN = text("""
select coalesce(sum(dials), 0) as calls, count(*) filter (where closed_as is not null or on_hold) as done, (
  select extract(epoch from avg(slot_until - submitting_at)) from (
    select slot_until, submitting_at from attempt
    where campaign_id = :campaign and state = 'ended' and disposition not in ('returned', 'not_placed')
    order by submitting_at desc limit 1000) as latest
) as slot_s
from contact where campaign_id = :campaign
""")
_REJECTED = text("""
select rejected, path from contact_import where campaign_id = :campaign order by imported_at desc, id desc limit 1
""")
# Lists of a million are counted in memory, where there is some; the planner takes sorting them for as cheap.
_ROOM = text("select set_config('work_mem', '64MB', true), set_config('enable_sort', 'off', true)")


def funnel(connection: Connection, view: View) -> Funnel:
    """The whole list of a campaign, and the rows of its last import that did not come onto it."""
    connection.execute(_ROOM)
    counts = [
        Count(bucket=Bucket(row.bucket), detail=row.detail, people=row.people, dials=int(row.dials),
              first_at=row.first_at, last_at=row.last_at)
        for row in connection.execute(_COUNTS, _values(view))
    ]  # fmt: skip
    last = connection.execute(_REJECTED, {"campaign": view.campaign_id}).first()
    if last is not None and last.rejected:
        counts.append(Count(bucket=Bucket.REJECTED, detail="", people=last.rejected))
    order = list(Bucket)
    return Funnel(
        at=view.at,
        counts=tuple(sorted(counts, key=lambda count: order.index(count.bucket))),
        rejects_of=last.path if last is not None and last.rejected else "",
    )


def places(connection: Connection, view: View, contact_ids: Sequence[int]) -> dict[int, tuple[Bucket, str]]:
    """The bucket of each of these contacts, with its detail."""
    values = _values(view) | {"only": list(contact_ids)}
    return {row.id: (Bucket(row.bucket), row.detail) for row in connection.execute(_OF, values)}


def people_in(connection: Connection, view: View, bucket: Bucket) -> Iterator[RowMapping]:
    """The contacts of a bucket, in the order of their import, streamed."""
    values = _values(view) | {"bucket": bucket.value}
    streaming = connection.execution_options(stream_results=True, max_row_buffer=1000)
    return (row._mapping for row in streaming.execute(_IN_BUCKET, values))


def coming(connection: Connection, view: View) -> list[Coming]:
    """Everybody who is to be called, counted by calendar key, bucket and minute."""
    connection.execute(_ROOM)
    rows = connection.execute(_COMING, _values(view) | {"coming": [one.value for one in COMING]})
    return [Coming(key=row.key, bucket=Bucket(row.bucket), due_at=row.due_at, people=row.people) for row in rows]


def compared(connection: Connection, before: View, after: View) -> list[tuple[Coming, Bucket]]:
    """Everybody as two views see them at one moment: as the first counts them, and the bucket of the second."""
    connection.execute(_ROOM)
    rows = connection.execute(_BOTH, _values(before, "b_") | _values(after, "a_"))
    return [
        (Coming(key=row.key, bucket=Bucket(row.was), due_at=row.due_at, people=row.people), Bucket(row.becomes))
        for row in rows
    ]


def seen(connection: Connection, campaign_id: int) -> Seen:
    """What is known of a campaign's calls so far."""
    row = connection.execute(_SEEN, {"campaign": campaign_id}).one()
    return Seen(calls=int(row.calls), done=row.done, slot_s=float(row.slot_s) if row.slot_s is not None else None)


def _values(view: View, p: str = "") -> dict[str, Any]:
    """The view as the statements take it. A closed window has the moment at which it opens, an open one that of its
    opening."""
    next_hours = {key: windows[0] for key, windows in view.windows.items() if windows}
    parts = [(way, prefix) for way in view.ways for prefix in way.prefixes or ("",)]
    values = {
        "campaign": view.campaign_id,
        "tenant": view.tenant_id,
        "at": view.at,
        "hold": view.hold,
        "wanted_at": view.wanted_at,
        "keys": list(next_hours),
        "open": [one.opens_at <= view.at for one in next_hours.values()],
        "opens_at": [one.opens_at for one in next_hours.values()],
        "carried": [f"{prefix}%" for _, prefix in parts],
        "through": [f"{prefix}%" for way, prefix in parts if not way.cut_off],
        "trunks": [way.trunk for way, _ in parts if not way.cut_off],
        "prefixes": [prefix for way, prefix in parts if not way.cut_off],
    }
    return {f"{p}{name}": value for name, value in values.items()}
