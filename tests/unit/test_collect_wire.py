"""What a line may be: every kind of bad input is located and named, and everything else is an event."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from etl import wire
from etl.event_types import TYPES, EventType, Reason, Refused, TicketMessage
from tests.support.collecting import ROOT, line, ndjson, terms

NOW = datetime(2031, 3, 1, 12, 0, tzinfo=UTC)
ID = "0190b0c0-0000-7000-8000-000000000001"


def raw(**changes: object) -> bytes:
    return json.dumps(line(event_id=ID, occurred_at=NOW.isoformat()) | changes).encode()


def note(values: bytes) -> bytes:
    """An event of a type that nobody knows, with values as they stand."""
    return raw(type="crm.note", payload=["#"]).replace(b'["#"]', b'{"values": [' + values + b"]}")


BAD = [
    # reason                 detail                     line
    (Reason.NOT_JSON,        "malformed",               b"<html>502 Bad Gateway</html>"),
    (Reason.NOT_JSON,        "truncated",               raw()[:-20]),
    (Reason.NOT_JSON,        "utf-8",                   raw(subject_id="T-#").replace(b"#", b"\xff\xfe")),
    (Reason.SCHEMA,          "Expected `object`",       b"[1, 2]"),
    (Reason.SCHEMA,          "`event_id`",              json.dumps(line(event_id=None)).encode()),
    (Reason.SCHEMA,          "$.event_id",              raw(event_id="T-1")),
    (Reason.SCHEMA,          "$.occurred_at",           raw(occurred_at="yesterday")),
    (Reason.SCHEMA,          "timezone",                raw(occurred_at="2031-03-01T12:00:00")),
    (Reason.SCHEMA,          "$.occurred_at",           raw(occurred_at="2031-02-28T23:59:60Z")),
    (Reason.SCHEMA,          "$.occurred_at",           raw(occurred_at="10000-01-01T00:00:00Z")),
    (Reason.SCHEMA,          "$.occurred_at",           raw(occurred_at=int(NOW.timestamp()))),
    (Reason.FUTURE,          "$.occurred_at",           raw(occurred_at="9999-12-31T23:59:59-23:59")),
    (Reason.TOO_OLD,         "$.occurred_at",           raw(occurred_at="0001-01-01T00:00:00+23:59")),
    (Reason.SCHEMA,          "$.event_id",              raw(event_id="urn:uuid:" + ID)),
    (Reason.SCHEMA,          "unknown field `sequence`", raw(sequence=7)),
    (Reason.SCHEMA,          "$.seq",                   raw(seq=-1)),
    (Reason.SCHEMA,          "$.seq",                   raw(seq=2**31)),
    (Reason.SCHEMA,          "$.seq",                   raw(seq=10**500)),
    (Reason.SCHEMA,          "$.seq",                   raw(seq=1.0)),
    (Reason.SCHEMA,          "$.schema_v",              raw(schema_v=0)),
    (Reason.SCHEMA,          "$.subject_id",            raw(subject_id="")),
    (Reason.SCHEMA,          "$.subject_id",            raw(subject_id="T\x001")),
    (Reason.SCHEMA,          "$.subject_type",          raw(subject_type="call")),
    (Reason.SCHEMA,          "$.type",                  raw(type="Ticket Created")),
    (Reason.SCHEMA,          "dialer itself",           raw(type="attempt.ended")),
    (Reason.SCHEMA,          "dialer itself",           raw(type="pbx.ended", subject_type="attempt")),
    (Reason.SCHEMA,          "$.payload",               raw(payload=[1])),
    (Reason.SCHEMA,          "$.payload.author",        raw(payload={"author": "robot", "visibility": "public"})),
    (Reason.SCHEMA,          "`visibility`",            raw(payload={"author": "agent"})),
    (Reason.SCHEMA,          "where to",                raw(type="ticket.transferred", payload={})),
    (Reason.SCHEMA,          "NUL",                     raw(type="crm.note", payload={"text": "a\x00b"})),
    (Reason.SCHEMA,          "too long",                note(b"1e1001, 1e131071")),
    (Reason.SCHEMA,          "too long",                note(b"1.5E-000131071")),
    (Reason.SCHEMA,          "too long",                note(b"1e+" + b"9" * 1500)),
    (Reason.SCHEMA,          "too long",                note(b", ".join([b"1e99"] * 50))),
    (Reason.NOT_JSON,        "malformed",               note(b"NaN")),
    (Reason.NOT_JSON,        "malformed",               note(b"01")),
    (Reason.NOT_JSON,        "malformed",               note(b'"\\x41"')),
    (Reason.NOT_JSON,        "malformed",               note(b'"a\x00b"')),
    (Reason.NOT_JSON,        "malformed",               b"\xef\xbb\xbf" + raw()),
    (Reason.NOT_JSON,        "trailing",                raw() + raw()),
    (Reason.NOT_JSON,        "utf-8",                   raw().decode().encode("utf-16")),
    (Reason.NOT_JSON,        "truncated",               raw(type="crm.note", payload={"text": "\ud83d"})),
    (Reason.NOT_JSON,        "surrogate",               raw(type="crm.note", payload={"text": "\udc00 \ud83d"})),
    (Reason.UNKNOWN_TENANT,  "$.tenant_id",             raw(tenant_id="globex")),
    (Reason.TOO_OLD,         "$.occurred_at",           raw(occurred_at=(NOW - timedelta(days=36)).isoformat())),
    (Reason.FUTURE,          "$.occurred_at",           raw(occurred_at=(NOW + timedelta(minutes=6)).isoformat())),
    (Reason.OVERSIZE,        "2000",                    raw(payload={"text": "x" * 2000})),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "detail", "given"), BAD, ids=[f"{r.value}-{n}" for n, (r, *_) in enumerate(BAD)])
def test_bad_lines_are_named_and_located(reason, detail, given):
    events, letters = wire.read_lines([(1, raw()), (2, given), (3, raw())], terms(at=NOW, longest=2000))
    assert [event.number for event in events] == [1, 3]
    (letter,) = letters
    assert (letter.number, letter.reason, letter.raw) == (2, reason, given[:2000])
    assert detail in letter.detail


@pytest.mark.parametrize(
    "given", [b'{"payload": ' + b"[" * 100_000, note(b"[" * 2000 + b"]" * 2000)], ids=["open", "whole"]
)
def test_json_that_is_too_deep_is_no_json(given):
    with pytest.raises(Refused, match="recursion") as refused:
        wire.read(1, given, terms(at=NOW))
    assert refused.value.reason is Reason.NOT_JSON


GOOD = [
    # what                       line                                                          unknown
    ("all that there is",        raw(tenant_id="acme", subject_type="ticket", seq=7, schema_v=1), False),
    ("more than we know",        raw(payload={"author": "bot", "visibility": "public", "mood": 5}), False),
    ("nanoseconds, an offset",   raw(occurred_at="2031-03-01T13:00:00.123456789+01:00"),       False),
    ("a type of tomorrow",       raw(type="ticket.merged", payload={"into": "T-2"}),           True),
    ("a family of tomorrow",     raw(type="survey.sent", subject_type="survey"),               True),
    ("a version of tomorrow",    raw(schema_v=2, payload={"by": {"kind": "human"}}),           True),
    ("an escaped backslash",     raw(type="crm.note", payload={"path": "C:\\u0000"}),          True),
    ("an emoji as escapes",      raw(type="crm.note", payload={"text": "\U0001f600"}),         True),
    ("numbers of all sizes",     note(b"1e308, 5E-324, 1e0000099, " + b"7" * 4000),            True),
    ("what is no number",        raw(type="crm.note", payload={"id": "3e999999999", "7e8": '\\"1e999999'}), True),
    ("a carriage return",        raw() + b"\r",                                                False),
    ("a key that comes twice",   raw()[:-1] + b', "subject_id": "T-2", "payload": ' + json.dumps(
        line()["payload"]).encode() + b"}",                                                     False),
    ("an id without dashes",     raw(event_id=UUID(ID).hex.upper()),                           False),
]  # fmt: skip


@pytest.mark.parametrize(("given", "unknown"), [row[1:] for row in GOOD], ids=[row[0] for row in GOOD])
def test_good_lines_are_events(given, unknown):
    event = wire.read(1, given, terms(at=NOW))
    assert (event.event_id, event.unknown) == (UUID(ID), unknown)
    assert json.loads(event.payload) == json.loads(given)["payload"], "the payload is as it came"


def test_blank_lines_are_nothing_and_count():
    events, letters = wire.read_lines(enumerate(ndjson([b"", b" \r", raw()]).split(b"\n"), 1), terms(at=NOW))
    assert ([event.number for event in events], letters) == ([3], [])


def test_an_older_version_is_checked_as_the_present_one_and_kept_as_it_came(monkeypatch):
    def two(payload):
        return {"author": payload["by"].lower(), "visibility": "public"}

    def three(payload):
        return payload | {"channel": "email"}

    kind = EventType("ticket", TicketMessage, 40, (two, three))
    monkeypatch.setattr(wire, "TYPES", {"ticket.message": kind})
    event = wire.read(1, raw(schema_v=1, payload={"by": "agent"}), terms(at=NOW))
    assert (event.schema_v, event.payload, event.unknown) == (1, b'{"by": "agent"}', False)
    assert kind.upcast({"by": "agent"}, 1) == {"author": "agent", "visibility": "public", "channel": "email"}
    for payload, reason in (
        ({}, Reason.UPCAST_FAILED), ({"by": 5}, Reason.UPCAST_FAILED), ({"by": "robot"}, Reason.SCHEMA),
    ):  # fmt: skip
        with pytest.raises(Refused) as refused:
            wire.read(1, raw(schema_v=1, payload=payload), terms(at=NOW))
        assert refused.value.reason is reason


def test_events_of_one_moment_have_an_order_in_each_family():
    for subject_type in {kind.subject_type for kind in TYPES.values()}:
        ranks = [kind.rank for kind in TYPES.values() if kind.subject_type == subject_type]
        assert len(set(ranks)) == len(ranks)


def test_the_page_of_events_names_every_type_and_key():
    page = (ROOT / "docs/events.md").read_text(encoding="utf-8")
    rows = {
        name: (subject_type, payload)
        for name, subject_type, payload in re.findall(r"(?m)^\| ([a-z_.]+) \| ([a-z_]+) \| (.*)\|$", page)
    }
    for name, kind in TYPES.items():
        subject_type, payload = rows[name]
        keys = [field.name + ("" if field.required else "?") for field in msgspec.structs.fields(kind.payload)]
        assert (subject_type, re.findall(r"\w+\??", payload.partition(":")[0])) == (kind.subject_type, keys), name
