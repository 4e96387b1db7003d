"""What a collected event may be: its envelope, the types with their payloads and versions; reads a line of NDJSON.

docs/events.md is the contract in words. Types that nobody knows yet, and versions of later releases, are events too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from dialer.settings import CollectSettings

RESERVED = frozenset({"attempt", "dialogue", "contact", "campaign"})
"""Subjects of our own events: nobody else tells of them."""

_LONGEST_DETAIL = 300
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39}){1,3}")


class Reason(Enum):
    """Why a line is no event."""

    NOT_JSON = "not_json"
    SCHEMA = "schema"
    UNKNOWN_TENANT = "unknown_tenant"
    TOO_OLD = "too_old"
    FUTURE = "future"
    DUPLICATE_ID_CONFLICT = "duplicate_id_conflict"
    OVERSIZE = "oversize"
    UPCAST_FAILED = "upcast_failed"


class Refused(Exception):
    """A line is no event."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


# -- payloads --------------------------------------------------------------------------------------------------------

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Channel = Literal["telephone", "whatsapp", "web_chat", "email"]


class Payload(Struct, frozen=True, gc=False):
    """Keys that a type does not name are kept as they are, and read by nobody yet."""


class Nothing(Payload):
    """The type says it all."""


class ByAgent(Payload):
    """Who."""

    agent: Name


class TicketCreated(Payload):
    """A contact of a customer, on some channel."""

    channel: Channel
    group: Name | None = None
    agent: Name | None = None
    priority: Name | None = None
    requester: Name | None = None


class TicketUpdated(Payload):
    """What changed; what is not named did not."""

    status: Literal["new", "open", "pending", "hold"] | None = None
    priority: Name | None = None


class TicketQueued(Payload):
    """Into the queue of a group."""

    group: Name


class TicketAssigned(Payload):
    """To an agent, who may be of another group."""

    agent: Name
    group: Name | None = None


class TicketTransferred(Payload):
    """To another agent, another group, or both."""

    agent: Name | None = None
    group: Name | None = None

    def __post_init__(self) -> None:
        if self.agent is None and self.group is None:
            raise ValueError("neither `agent` nor `group` says where to")


class TicketMessage(Payload):
    """Somebody wrote or said something; what, stays with its source."""

    author: Literal["customer", "agent", "bot", "system"]
    visibility: Literal["public", "internal"]
    agent: Name | None = None
    channel: Channel | None = None


class TicketSolved(Payload):
    """By an agent, or by itself."""

    agent: Name | None = None


class QueueEntered(Payload):
    """One interaction begins to wait."""

    queue: Name
    channel: Channel
    ticket: Name | None = None


class QueueDeclined(Payload):
    """An offer came to nothing; `no_answer` is the one that rang out (RONA)."""

    agent: Name
    reason: Name | None = None


class QueueTransferred(Payload):
    """To another queue, another agent, or both."""

    queue: Name | None = None
    agent: Name | None = None

    def __post_init__(self) -> None:
        if self.queue is None and self.agent is None:
            raise ValueError("neither `queue` nor `agent` says where to")


class QueueEnded(Payload):
    """How it ended; the words are those of Asterisk's queue log, but `completed`."""

    reason: Literal["completed", "abandoned", "full", "joinempty", "leaveempty", "timeout", "exitwithkey"]


class AgentPaused(Payload):
    """Why no work is wanted now."""

    code: Name


# -- types -----------------------------------------------------------------------------------------------------------

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class EventType:
    """A type: what it is about, its payload now, its place among events of one moment, the way from older versions."""

    subject_type: str
    payload: type[Payload]
    rank: int
    upcasters: tuple[Upcaster, ...] = ()
    """The first makes version 2 of version 1, and so on; pure, and for good: old events are never rewritten."""

    @property
    def version(self) -> int:
        """The newest that this release knows."""
        return len(self.upcasters) + 1

    def upcast(self, payload: dict[str, Any], version: int) -> dict[str, Any]:
        """A payload of an older version as the present one. Raises Refused."""
        for step in self.upcasters[version - 1 :]:
            try:
                payload = step(payload)
            except (LookupError, TypeError, ValueError) as error:
                raise Refused(Reason.UPCAST_FAILED, f"version {version}: {type(error).__name__} {error}") from error
        return payload


TYPES: Mapping[str, EventType] = {
    "ticket.created": EventType("ticket", TicketCreated, 0),
    "ticket.updated": EventType("ticket", TicketUpdated, 10),
    "ticket.queued": EventType("ticket", TicketQueued, 15),
    "ticket.assigned": EventType("ticket", TicketAssigned, 20),
    "ticket.transferred": EventType("ticket", TicketTransferred, 30),
    "ticket.work_started": EventType("ticket", ByAgent, 35),
    "ticket.message": EventType("ticket", TicketMessage, 40),
    "ticket.work_ended": EventType("ticket", ByAgent, 45),
    "ticket.hold": EventType("ticket", Nothing, 50),
    "ticket.solved": EventType("ticket", TicketSolved, 60),
    "ticket.closed": EventType("ticket", Nothing, 70),
    "ticket.reopened": EventType("ticket", Nothing, 80),
    "queue.entered": EventType("queue_entry", QueueEntered, 0),
    "queue.offered": EventType("queue_entry", ByAgent, 10),
    "queue.declined": EventType("queue_entry", QueueDeclined, 20),
    "queue.answered": EventType("queue_entry", ByAgent, 30),
    "queue.held": EventType("queue_entry", Nothing, 40),
    "queue.resumed": EventType("queue_entry", Nothing, 50),
    "queue.transferred": EventType("queue_entry", QueueTransferred, 60),
    "queue.ended": EventType("queue_entry", QueueEnded, 70),
    "queue.wrapped": EventType("queue_entry", ByAgent, 80),
    "agent.logged_in": EventType("agent_session", ByAgent, 0),
    "agent.available": EventType("agent_session", Nothing, 10),
    "agent.busy": EventType("agent_session", Nothing, 20),
    "agent.paused": EventType("agent_session", AgentPaused, 30),
    "agent.logged_out": EventType("agent_session", Nothing, 90),
}
_CHECKS = {kind.payload: msgspec.json.Decoder(kind.payload).decode for kind in TYPES.values()}


# -- lines -----------------------------------------------------------------------------------------------------------


class Line(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """The envelope, as it is sent; news of a type belong into its payload."""

    event_id: UUID
    occurred_at: Annotated[datetime, Meta(tz=True)]
    type: Annotated[str, Meta(max_length=100)]
    subject_id: Annotated[str, Meta(min_length=1, max_length=200)]
    subject_type: Annotated[str, Meta(max_length=40)] | None = None
    seq: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    schema_v: Annotated[int, Meta(ge=1, le=2**15 - 1)] = 1
    tenant_id: str | None = None
    payload: Raw = Raw(b"{}")


class Event(Struct, frozen=True, gc=False):
    """An event that may be stored, with the line that it came in."""

    number: int
    """Of the line in its batch, from 1."""
    raw: bytes
    event_id: UUID
    occurred_at: datetime
    type: str
    subject_type: str
    subject_id: str
    seq: int | None
    schema_v: int
    unknown: bool
    payload: bytes
    """JSON, as it came."""


class Letter(Struct, frozen=True, gc=False):
    """A dead letter: a line that is no event, and why."""

    number: int
    """Of the line in its batch, from 1."""
    reason: Reason
    detail: str
    raw: bytes


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What holds for all lines of a batch."""

    tenant_id: str
    earliest: datetime
    latest: datetime
    longest: int
    """Bytes."""


AHEAD = timedelta(minutes=5)
"""A source's clock may be so much before ours."""


def terms_of(limits: CollectSettings) -> Callable[[str, datetime], Terms]:
    """Makes a tenant's terms at the moment that a batch came."""

    def at(tenant_id: str, received_at: datetime) -> Terms:
        return Terms(
            tenant_id=tenant_id, earliest=received_at - timedelta(days=limits.late_days), latest=received_at + AHEAD,
            longest=limits.max_line,
        )  # fmt: skip

    return at


_decode = msgspec.json.Decoder(Line).decode


def read_lines(lines: Iterable[tuple[int, bytes]], terms: Terms) -> tuple[list[Event], list[Letter]]:
    """Numbered lines as events, and those that are none as letters; blank ones are neither."""
    events, letters = [], []
    for number, raw in lines:
        if raw and not raw.isspace():
            try:
                events.append(read(number, raw, terms))
            except Refused as refused:
                letters.append(letter(number, refused.reason, refused.detail, raw[: terms.longest]))
    return events, letters


def letter(number: int, reason: Reason, detail: str, raw: bytes) -> Letter:
    """A letter whose detail can be stored and printed, whatever the line holds."""
    return Letter(number, reason, "".join(c if c.isprintable() else "?" for c in detail[:_LONGEST_DETAIL]), raw)


def read(number: int, raw: bytes, terms: Terms) -> Event:
    """The event in a line. Raises Refused."""
    if len(raw) > terms.longest:
        raise Refused(Reason.OVERSIZE, f"the line has {len(raw)} bytes, and {terms.longest} are the most")
    try:
        if not raw.isascii():
            raw.decode()
        line = _decode(raw)
    except msgspec.ValidationError as error:
        raise Refused(Reason.SCHEMA, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(Reason.NOT_JSON, str(error)) from error
    _check_envelope(line, terms)
    payload = bytes(line.payload)
    if payload[:1] != b"{":
        raise Refused(Reason.SCHEMA, "Expected `object` - at `$.payload`")
    if b"\\u" in payload:
        _check_escapes(payload)
    subject_type, unknown = _check_type(line, payload)
    return Event(
        number, raw, line.event_id, line.occurred_at, line.type, subject_type, line.subject_id, line.seq,
        line.schema_v, unknown, payload,
    )  # fmt: skip


def _check_envelope(line: Line, terms: Terms) -> None:
    if line.tenant_id is not None and line.tenant_id != terms.tenant_id:
        raise Refused(Reason.UNKNOWN_TENANT, "the credential speaks for another tenant - at `$.tenant_id`")
    if line.occurred_at < terms.earliest:
        raise Refused(Reason.TOO_OLD, f"before {terms.earliest.isoformat()} - at `$.occurred_at`")
    if line.occurred_at > terms.latest:
        raise Refused(Reason.FUTURE, f"after {terms.latest.isoformat()} - at `$.occurred_at`")
    if not line.subject_id.isprintable():
        raise Refused(Reason.SCHEMA, "characters that cannot be printed - at `$.subject_id`")


def _check_type(line: Line, payload: bytes) -> tuple[str, bool]:
    """What it is about, and whether this release does not know the type or its version."""
    known = TYPES.get(line.type)
    if known is None:
        return _of_unknown_type(line), True
    if line.subject_type not in (None, known.subject_type):
        raise Refused(Reason.SCHEMA, f"Expected `{known.subject_type}` - at `$.subject_type`")
    if line.schema_v > known.version:
        return known.subject_type, True
    try:
        if line.schema_v < known.version:
            msgspec.convert(known.upcast(msgspec.json.decode(payload), line.schema_v), known.payload)
        else:
            _CHECKS[known.payload](payload)
    except msgspec.DecodeError as error:
        raise Refused(Reason.SCHEMA, _below_payload(str(error))) from error
    return known.subject_type, False


def _of_unknown_type(line: Line) -> str:
    if not _TYPE.fullmatch(line.type):
        raise Refused(Reason.SCHEMA, "a type is written as `ticket.created` - at `$.type`")
    family = line.type.partition(".")[0]
    subject_type = line.subject_type or family
    if not _SLUG.fullmatch(subject_type):
        raise Refused(Reason.SCHEMA, "small letters, digits and _, at most 40 - at `$.subject_type`")
    if reserved := RESERVED & {family, subject_type}:
        raise Refused(Reason.SCHEMA, f"`{reserved.pop()}` is what dialer itself tells of - at `$.type`")
    return subject_type


def _check_escapes(payload: bytes) -> None:
    """PostgreSQL stores neither NUL nor half of a surrogate pair in jsonb; a batch must not fail over one of them."""
    try:
        msgspec.json.decode(payload)
    except msgspec.DecodeError as error:
        raise Refused(Reason.SCHEMA, _below_payload(str(error))) from error
    # With the escaped backslashes gone, what begins with one is an escape.
    if b"\\u0000" in payload.replace(b"\\\\", b""):
        raise Refused(Reason.SCHEMA, "NUL cannot be stored - at `$.payload`")


def _below_payload(message: str) -> str:
    return message.replace("`$", "`$.payload") if "`$" in message else f"{message} - at `$.payload`"
