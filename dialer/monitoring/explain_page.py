"""`dialer explain CAMPAIGN` as lines and as data: how many people stand where, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from dialer.campaign.calendar import Cause, Closed, closed_because, read_key
from dialer.contacts.sources import REPORT_SUFFIX
from dialer.monitoring.explain_facts import Subject, held_by
from dialer.monitoring.layout import iso, moment
from dialer.storage.funnel import Bucket, Count, Funnel

WORDS: Mapping[Bucket, str] = {
    Bucket.CLOSED: "closed for good",
    Bucket.WITHDRAWN: "withdrawn by a later delivery of the number base",
    Bucket.DNC: "on do-not-call lists with all their numbers",
    Bucket.HELD: "held: an operator must decide",
    Bucket.IN_CALL: "in a call now",
    Bucket.UNCARRIED: "no trunk of the campaign carries their number",
    Bucket.NEVER: "no hour of the coming year is open for them",
    Bucket.CAP: "called as often as caps allow for now",
    Bucket.GAP: "called too recently",
    Bucket.CALLBACK: "asked to be called later",
    Bucket.LISTED: "wait until a number comes off a do-not-call list",
    Bucket.RETRY: "wait for their retry",
    Bucket.PLANNED: "never called, and not due yet",
    Bucket.WINDOW: "due, but their window is closed",
    Bucket.ELSEWHERE: "due, but the person or the number is in another call",
    Bucket.BREAKER: "due, but the breakers of their trunks are open",
    Bucket.FAILOVER: "due, but the trunks that carry them failed them minutes ago",
    Bucket.DUE: "may be called now",
    Bucket.REJECTED: "rows of the last import, rejected",
}
_OF_DNC = {"closed": "closed for that", "listed": "closed when their turn comes"}
_CAUSES = {
    Cause.NO_ZONE: "nobody knows their time zone",
    Cause.HOURS: "outside the hours",
    Cause.HOLIDAY: "a holiday",
    Cause.CLOSED_DAY: "a closed day",
    Cause.LAST_CALL: "too close to the end of the hours",
    Cause.DEADLINE: "the deadline has passed",
}


def lines(subject: Subject, funnel: Funnel) -> list[str]:
    """The page; a count stands before each reason, and the sum at the end."""
    width = max(len(f"{funnel.contacts:,}"), 6)
    page = [_head(subject, funnel), ""]
    for bucket, people in funnel.totals.items():
        found = [count for count in funnel.counts if count.bucket is bucket]
        said = [f"{count.people:,} {words}" for count in found if (words := _detail(count, subject, funnel))]
        if len(found) == 1:
            said = [words for count in found if (words := _detail(count, subject, funnel))]
        page.append(f"{people:>{width},}  {WORDS[bucket]}" + (f": {said[0]}" if len(said) == 1 else ""))
        if len(said) > 1:
            page += [f"{'':{width}}    {one}" for one in said]
    rejected = funnel.totals.get(Bucket.REJECTED, 0)
    rows = f", and {rejected:,} rows that are no contacts" if rejected else ""
    return [*page, "", f"{funnel.contacts:>{width},}  contacts{rows}"]


def _head(subject: Subject, funnel: Funnel) -> str:
    found = subject.status
    since = f" since {moment(found.wanted_at, funnel.at)} ({found.wanted_by})" if found.wanted_at is not None else ""
    wanted = "never ran" if found.wanted_at is None else found.wanted
    return f"{subject.name}, revision {subject.revision.number}, at {funnel.at:%Y-%m-%d %H:%M:%SZ}: {wanted}{since}"


def _detail(count: Count, subject: Subject, funnel: Funnel) -> str:
    now = funnel.at
    match count.bucket:
        case Bucket.CLOSED:
            return count.detail
        case Bucket.DNC:
            return _OF_DNC[count.detail]
        case Bucket.WINDOW:
            opens = f" opens at {moment(count.first_at, now)}" if count.first_at is not None else ""
            return f"{_where(count.detail)}{opens} ({_why_closed(subject, count.detail, now)})"
        case Bucket.NEVER:
            return f"{_where(count.detail)} ({_why_closed(subject, count.detail, now)})"
        case Bucket.DUE:
            return held_by(subject.status, subject.page)
        case Bucket.REJECTED:
            return f"see {funnel.rejects_of}{REPORT_SUFFIX} (or state_dir's rejects/)"
    return _span(count, now)


def _span(count: Count, now: datetime) -> str:
    if count.first_at is None or count.last_at is None:
        return ""
    first, last = moment(count.first_at, now), moment(count.last_at, now)
    return f"until {first}" if first == last else f"until {first} to {last}"


def _where(key: str) -> str:
    zones, places = read_key(key)
    return " and ".join(zones or ("no time zone",)) + (f" ({', '.join(places)})" if places else "")


def _why_closed(subject: Subject, key: str, now: datetime) -> str:
    reasons = dict.fromkeys(closed_in_words(one) for one in closed_because(subject.rules, key, now))
    return "; ".join(reasons) or "open by the rules, but not in the calendar that claims look at"


def closed_in_words(closed: Closed) -> str:
    """One reason why a calendar is closed: `a holiday (PL: Labour Day)`, `outside the hours of pack pl`."""
    by = f" of {closed.by}" if closed.by and closed.by != "campaign" else ""
    detail = f" ({closed.detail})" if closed.detail else ""
    return f"{_CAUSES[closed.cause]}{by}{detail}"


def as_data(subject: Subject, funnel: Funnel) -> dict[str, Any]:
    """The page for programs: `contacts` and `rejected` are the sums of `buckets`."""
    return {
        "campaign": subject.name,
        "at": iso(funnel.at),
        "revision": subject.revision.number,
        "wanted": subject.status.wanted,
        "hold": subject.view.hold,
        "contacts": funnel.contacts,
        "rejected": funnel.totals.get(Bucket.REJECTED, 0),
        "totals": {bucket.value: people for bucket, people in funnel.totals.items()},
        "buckets": [
            {
                "bucket": count.bucket.value,
                "detail": count.detail,
                "people": count.people,
                "dials": count.dials,
                "first_at": iso(count.first_at),
                "last_at": iso(count.last_at),
            }
            for count in funnel.counts
        ],
    }


CSV_COLUMNS = (
    "person", "numbers", "detail", "zones", "attempts", "dials", "wave", "next_number", "next_attempt_at", "file",
    "line",
)  # fmt: skip


def csv_rows(people: Iterable[RowMapping]) -> Iterator[tuple[Any, ...]]:
    """The contacts of a bucket as CSV has them."""
    for row in people:
        plain = {**row, "numbers": " ".join(row["numbers"]), "next_attempt_at": iso(row["next_attempt_at"])}
        yield tuple(plain[name] for name in CSV_COLUMNS)
