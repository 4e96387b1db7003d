"""`dialer explain NUMBER` as lines and data: where a contact came from, what each rule says, its calls, the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from dialer.campaign.calendar import closed_because
from dialer.contacts.suppress import CapRules, Verdict
from dialer.monitoring.explain_facts import Subject, held_by
from dialer.monitoring.explain_page import WORDS, closed_in_words
from dialer.monitoring.layout import Line, duration, iso, laid_out, moment
from dialer.monitoring.next_call import NextCall
from dialer.storage.explain import AttemptFacts, CallCounts, ContactFacts, ListEntry
from dialer.storage.funnel import Bucket

_WINDOWS = {"day": "24 h", "week": "7 days", "month": "30 days", "ever": "all"}


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What one rule says of a contact now."""

    rule: str
    allows: bool
    inputs: str
    """What it looked at, in words."""
    until: datetime | None = None
    """When it may say something else, where that is known."""


@dataclass(frozen=True, kw_only=True)
class Trail:
    """Everything about one contact."""

    contact: ContactFacts
    subject: Subject
    bucket: Bucket
    rulings: tuple[Ruling, ...]
    attempts: tuple[AttemptFacts, ...]
    next: NextCall


def rulings(
    contact: ContactFacts,
    subject: Subject,
    bucket: Bucket,
    verdicts: Mapping[str, Verdict],
    entries: Sequence[ListEntry],
    counts: Mapping[str, CallCounts],
) -> list[Ruling]:
    """Each rule with what it looked at and what it says, in the order in which the claim asks.

    `verdicts` and `counts` by number; `counts` holds the person's calls as `person`.
    """
    number = contact.next_number or (contact.numbers[0] if contact.numbers else "")
    return [
        _state(contact, bucket),
        _window(contact, subject),
        *_lists(contact, entries, subject),
        *_caps(number, subject.caps, verdicts.get(number), counts),
        _trunks(number, subject),
        _campaign(subject),
    ]


def _state(contact: ContactFacts, bucket: Bucket) -> Ruling:
    if contact.closed_as is not None:
        return Ruling(rule="contact", allows=False, inputs=f"closed as {contact.closed_as}")
    if contact.on_hold:
        return Ruling(rule="contact", allows=False, inputs="held: its last call may have been made, nobody knows")
    if bucket is Bucket.IN_CALL:
        return Ruling(rule="contact", allows=False, inputs="in a call now")
    return Ruling(rule="contact", allows=True, inputs="open")


def _window(contact: ContactFacts, subject: Subject) -> Ruling:
    now = subject.view.at
    reasons = closed_because(subject.rules, contact.zones, now)
    windows = subject.view.windows.get(contact.zones, ())
    following = next((one for one in windows if one.closes_at > now), None)
    if reasons:
        said = "; ".join(dict.fromkeys(_on_clock(closed_in_words(one), one.zone, now) for one in reasons))
        return Ruling(
            rule="window", allows=False, inputs=f"{contact.zones or 'no time zone'}: {said}",
            until=following.opens_at if following is not None else None,
        )  # fmt: skip
    is_open = following is not None and following.opens_at <= now
    return Ruling(
        rule="window", allows=is_open, inputs=f"{contact.zones or 'any hour'}: open"
        + ("" if is_open else ", but not in the calendar that claims look at"),
        until=following.closes_at if following is not None and is_open else None,
    )  # fmt: skip


def _on_clock(said: str, zone: str, now: datetime) -> str:
    return f"{said} in {zone}" if zone else said


def _lists(contact: ContactFacts, entries: Sequence[ListEntry], subject: Subject) -> Iterator[Ruling]:
    ours = [one for one in entries if _holds(one, contact)]
    for number in contact.numbers:
        found = [one for one in ours if one.number == number]
        if not found:
            yield Ruling(rule="do-not-call", allows=True, inputs=f"{number} is on no list")
        for one in found:
            why = f": {one.reason}" if one.reason else ""
            since = f"since {moment(one.added_at, subject.view.at)} by {one.added_by} ({one.source}{why})"
            yield Ruling(
                rule="do-not-call", allows=False, inputs=f"{number} is on the list of the {one.scope} {since}",
                until=one.until,
            )  # fmt: skip


def _holds(entry: ListEntry, contact: ContactFacts) -> bool:
    return (
        entry.scope == "site"
        or (entry.scope == "tenant" and entry.tenant_id == contact.tenant_id)
        or (entry.scope == "campaign" and entry.campaign == contact.campaign)
    )


def _caps(
    number: str, caps: CapRules, verdict: Verdict | None, counts: Mapping[str, CallCounts]
) -> Iterator[Ruling]:  # fmt: skip
    held = {hold.rule: hold.until for hold in verdict.holds} if verdict is not None else {}
    for subject, limits, found in (("number", caps.number, counts.get(number)),
                                   ("person", caps.person, counts.get("person"))):  # fmt: skip
        if found is None:
            continue
        for one in fields(limits):
            most = getattr(limits, one.name)
            if most is not None:
                rule = f"{subject}.{one.name}"
                yield Ruling(
                    rule=f"cap {rule}", allows=rule not in held,
                    inputs=f"{getattr(found, one.name)} of {most} calls in {_WINDOWS[one.name]}", until=held.get(rule),
                )  # fmt: skip
        if caps.gap_s:
            last = found.last_ended_at
            since = "no call so far" if last is None else f"the last call was over at {last:%Y-%m-%d %H:%M:%SZ}"
            yield Ruling(
                rule=f"gap {subject}", allows=f"{subject}.gap" not in held,
                inputs=f"{since}, {duration(caps.gap_s)} must lie between two", until=held.get(f"{subject}.gap"),
            )  # fmt: skip


def _trunks(number: str, subject: Subject) -> Ruling:
    ways = [way for way in subject.view.ways if number.startswith(way.prefixes or ("",))]
    usable = [way.trunk for way in ways if not way.cut_off]
    if usable:
        return Ruling(rule="trunk", allows=True, inputs=f"{' and '.join(usable)} carries it")
    if ways:
        names = " and ".join(way.trunk for way in ways)
        return Ruling(rule="trunk", allows=False, inputs=f"the breaker of {names} is open")
    return Ruling(rule="trunk", allows=False, inputs=f"no trunk of the campaign carries {number or 'it'}")


def _campaign(subject: Subject) -> Ruling:
    return Ruling(
        rule="campaign", allows=subject.view.hold == "next",
        inputs=held_by(subject.status, subject.page),
    )  # fmt: skip


# -- the page ----------------------------------------------------------------------------------------------------------


def lines(number: str, trails: Sequence[Trail], entries: Sequence[ListEntry], width: int | None) -> list[str]:
    """What is known of a number, contact by contact."""
    if not trails:
        parts = ["stands in no campaign; a row that its import rejected stands in the report beside the file"]
        return laid_out([Line(label=number, parts=[*parts, *map(_entry, entries)])], width)
    told = []
    for trail in trails:
        told += [*_head(trail), *_rules(trail), *_attempts(trail), *_next(trail), Line()]
    return laid_out(told[:-1], width)


def _entry(one: ListEntry) -> str:
    whose = one.campaign or one.tenant_id or "everybody"
    return f"on the do-not-call list of {whose} since {one.added_at:%Y-%m-%d} by {one.added_by} ({one.source})"


def _head(trail: Trail) -> Iterator[Line]:
    contact, subject = trail.contact, trail.subject
    parts = [f"person {contact.person}", f"numbers {' '.join(contact.numbers)}", f"priority {contact.priority}"]
    yield Line(label=contact.campaign, parts=[f"revision {subject.revision.number}", subject.status.wanted, *parts])
    if contact.file is not None and contact.imported_at is not None:
        line = f"line {contact.line}" if contact.line is not None else "line not kept"
        yield _below("imported", [f"{contact.file} {line}", f"at {contact.imported_at:%Y-%m-%d %H:%M:%SZ}"])
    stands = [WORDS[trail.bucket], f"{contact.attempts} attempts that count", f"{contact.dials} calls claimed"]
    yield _below("stands", [*stands, f"wave {contact.wave}"])


def _rules(trail: Trail) -> Iterator[Line]:
    now = trail.subject.view.at
    for one in trail.rulings:
        until = f"until {moment(one.until, now)}" if one.until is not None else ""
        said = "allows" if one.allows else "forbids"
        yield Line(label=one.rule, parts=[f"{said}: {one.inputs}", until], below=True, trouble=not one.allows)


def _attempts(trail: Trail) -> Iterator[Line]:
    for place, one in enumerate(trail.attempts, 1):
        parts = [
            f"{one.at:%Y-%m-%d %H:%M:%SZ} to {one.number} through {one.trunk} ({one.node})",
            f"wave {one.wave}, revision {one.revision}",
            one.disposition or f"not over: {one.state}",
            *_causes(one),
        ]
        yield _below(f"call {place}", parts)


def _causes(one: AttemptFacts) -> Iterator[str]:
    if one.ringing_at is not None:
        yield f"rang after {(one.ringing_at - one.at).total_seconds():.1f} s"
    if one.answered_at is not None:
        yield f"answered after {(one.answered_at - one.at).total_seconds():.1f} s"
    if one.tech_cause is not None:
        yield f"SIP {one.tech_cause}"
    if one.cause is not None:
        yield f"Q.850 {one.cause}"
    if one.result is not None:
        step = f" at {one.step}" if one.step else ""
        yield f"dialogue {one.result}{step} with {one.answers} answers"
    if one.given:
        yield ", ".join(f"{step}={answer}" for step, answer in one.given.items())
    if one.callback_at is not None:
        yield f"asked to be called at {one.callback_at:%Y-%m-%d %H:%MZ}"
    if one.opted_out:
        yield "opted out"


def _next(trail: Trail) -> Iterator[Line]:
    at = trail.next.at
    if at is None:
        yield _below("next", [trail.next.why])
        return
    when = "now" if at <= trail.subject.view.at else f"{at:%Y-%m-%d %H:%M:%SZ}"
    yield _below("next", [f"{when} to {trail.next.number}", trail.next.why])


def _below(label: str, parts: list[str]) -> Line:
    return Line(label=label, parts=parts, below=True)


def as_data(number: str, trails: Sequence[Trail], entries: Sequence[ListEntry]) -> dict[str, Any]:
    """The trail for programs."""
    return {
        "number": number,
        "lists": [_plain(asdict(one)) for one in entries],
        "contacts": [
            {
                **_plain(asdict(trail.contact)),
                "revision": trail.subject.revision.number,
                "wanted": trail.subject.status.wanted,
                "bucket": trail.bucket.value,
                "rules": [_plain(asdict(one)) for one in trail.rulings],
                "calls": [_plain(asdict(one)) for one in trail.attempts],
                "next_call_at": iso(trail.next.at),
                "next_call_number": trail.next.number,
                "next_why": trail.next.why,
            }
            for trail in trails
        ],
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return iso(value)
        return value if value is None or isinstance(value, str | int | bool | tuple | dict) else str(value)

    return {name: plain(value) for name, value in values.items()}
