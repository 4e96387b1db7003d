"""Reads lines of NDJSON as events: the envelope, and the payload by its type.

docs/events.md is the contract in words. Types that nobody knows yet, and versions of later releases, are events too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Raw, Struct

from dialer.settings import CollectSettings
from etl.event_types import TYPES, Reason, Refused

RESERVED = frozenset({"attempt", "dialogue", "contact", "campaign"})
"""Subjects of our own events: nobody else tells of them."""

_LONGEST_DETAIL = 300
_SLUG = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39}){1,3}")
_POWER = re.compile(rb"[\[:,\s]-?[0-9][0-9.]*[eE]")
_EXPONENT = re.compile(rb"[eE][+-]?([0-9]+)")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONG_EXPONENT = 6
_CLASSES = bytes(ord("0") if 48 <= one <= 57 else ord("e") if one in b"eE" else ord(" ") for one in range(256))
_CHECKS = {kind.payload: msgspec.json.Decoder(kind.payload).decode for kind in TYPES.values()}


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
    payload: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))


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
    # PostgreSQL stores no NUL in jsonb. With the escaped backslashes gone, what begins with one is an escape.
    if b"\\u0000" in payload and b"\\u0000" in payload.replace(b"\\\\", b""):
        raise Refused(Reason.SCHEMA, "NUL cannot be stored - at `$.payload`")
    if b"0e" in payload.translate(_CLASSES):
        _check_numbers(payload)
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


def _check_numbers(payload: bytes) -> None:
    """PostgreSQL writes 1e131071 out, nine bytes as 131,072: a short line of such kept a whole night from its dump."""
    if not _POWER.search(payload):
        return
    # What looks like a number in a text is none.
    exponents = [found.lstrip(b"0") for found in _EXPONENT.findall(_TEXT.sub(b"", payload))]
    most = 1000 + 4 * len(payload)
    if any(len(one) > _LONG_EXPONENT for one in exponents) or sum(int(one or b"0") for one in exponents) > most:
        raise Refused(Reason.SCHEMA, "numbers that are too long when they are written out - at `$.payload`")


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
        raise Refused(Reason.SCHEMA, f"`{min(reserved)}` is what dialer itself tells of - at `$.type`")
    return subject_type


def _below_payload(message: str) -> str:
    return message.replace("`$", "`$.payload") if "`$" in message else f"{message} - at `$.payload`"
