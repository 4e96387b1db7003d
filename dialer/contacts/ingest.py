"""The rows of a number base, one by one: accepted as people with numbers, or rejected with line and reason. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from dialer.campaign.calendar import is_zone
from dialer.campaign.number_base import Contacts
from dialer.contacts.numbers import NumberReader
from dialer.contacts.rows import NOT_TEXT, Rejected, RejectReason, Table, require_columns
from dialer.phone import COSTLY, Number, NumberKind, NumberReject, mask

MAX_PERSON_CHARS = 200
"""Longer keys do not fit into an index of PostgreSQL."""
_SUBDIVISION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")
_OF_NO_COUNTRY = "001"

_OF_NO_ROW = frozenset(
    {RejectReason.NUL, RejectReason.WRONG_ENCODING, RejectReason.CELLS, RejectReason.NO_PERSON,
     RejectReason.PERSON_TOO_LONG}
)  # fmt: skip
"""Of such a row nobody knows which cell is which, or whose it is."""

_OF_NUMBER = {
    NumberReject.EMPTY: RejectReason.NO_NUMBER,
    NumberReject.NOT_A_NUMBER: RejectReason.NOT_A_NUMBER,
    NumberReject.INVALID: RejectReason.INVALID_NUMBER,
    NumberReject.COSTLY: RejectReason.COSTLY_NUMBER,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A person to call. `line` counts from 1; `zones` is the key of their calendar (storage.tables.contact)."""

    line: int
    person_key: str
    numbers: tuple[str, ...]
    zones: str
    language: str | None
    fields: dict[str, str]
    """The text of each named column, exactly as it was read, and the constants."""
    priority: int = 5
    left_out: tuple[Rejected, ...] = ()
    """Numbers of the row that are not dialled, each with its reason in the detail."""


def read_contacts(table: Table, contacts: Contacts) -> Iterator[Accepted | Rejected]:
    """The rows of a table, in order. Raises InvalidInput at once when a column is missing."""
    require_columns(table, contacts.columns)
    return _rows(table, _Reader(table, contacts))


def _rows(table: Table, reader: _Reader) -> Iterator[Accepted | Rejected]:
    for line, cells in table.records:
        if isinstance(cells, Rejected):
            yield cells
        elif cells and any(map(str.strip, cells)):
            yield reader.row(line, cells)


class _Refused(Exception):
    """The row is not called."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class _Reader:
    """Where in a row the campaign's columns are, and what may stand in them."""

    def __init__(self, table: Table, contacts: Contacts) -> None:
        def place(name: str | None) -> int | None:
            return None if name is None else table.header.index(name)

        self._count = len(table.header)
        self._beside = table.beside
        self._person = place(contacts.person)
        self._numbers = tuple((name, table.header.index(name)) for name in contacts.numbers)
        self._language, self._time_zone = place(contacts.language), place(contacts.time_zone)
        self._subdivision = place(contacts.subdivision)
        self._priority = place(contacts.priority) if isinstance(contacts.priority, str) else None
        self._usual_priority = contacts.priority if isinstance(contacts.priority, int) else 5
        self._fields = tuple((name, table.header.index(at)) for name, at in contacts.field_columns.items())
        self._constants = contacts.constants
        self._defaults = tuple((table.header.index(name), text) for name, text in contacts.defaults.items())
        self._consent = tuple(
            (name, table.header.index(name), frozenset(word.strip().casefold() for word in words))
            for name, words in contacts.consent.items()
        )
        self._reader = NumberReader(contacts.region)
        self._allowed = _Allowed.of(contacts)

    def row(self, line: int, cells: list[str]) -> Accepted | Rejected:
        """What a row says."""
        try:
            return self._accepted(line, cells)
        except _Refused as refused:
            return self._reject(line, cells, refused.reason, refused.detail)

    def _accepted(self, line: int, cells: list[str]) -> Accepted:
        self._require_text(cells)
        if len(cells) != self._count:
            raise _Refused(RejectReason.CELLS, f"{len(cells)} cells; the header has {self._count}")
        for at, text in self._defaults:
            if not cells[at].strip():
                cells[at] = text
        person = self._person_key(cells)
        self._require_consent(cells)
        priority = self._priority_of(cells)
        zone, place = self._zone(cells), self._place(cells)
        good, bad = self._read_numbers(cells)
        if not good:
            first = next((why for _, _, why in bad if why is not RejectReason.NO_NUMBER), RejectReason.NO_NUMBER)
            raise _Refused(first, ", ".join(f"{column}: {reason.value}" for column, _, reason in bad))
        fields = {name: cells[at] for name, at in self._fields}
        fields.update(self._constants)
        return Accepted(
            line=line,
            person_key=person or good[0].number,
            numbers=(good[0].number,) if len(good) == 1 else tuple(dict.fromkeys(one.number for one in good)),
            zones=_calendar_key(zone, good, place),
            language=(cells[self._language].strip() or None) if self._language is not None else None,
            fields=fields,
            priority=priority,
            left_out=tuple(
                _left_out(line, person or good[0].number, *one) for one in bad if one[2] is not RejectReason.NO_NUMBER
            )
            if bad
            else (),
        )

    def _require_text(self, cells: list[str]) -> None:
        text = "".join(cells)
        if "\0" in text:
            raise _Refused(RejectReason.NUL, "the row holds a NUL byte")
        if text.isascii():
            return
        if NOT_TEXT.search(text):
            raise _Refused(RejectReason.WRONG_ENCODING, "the row is not text in the encoding of the file")
        if self._beside is not None and _is_utf8(text, self._beside):
            raise _Refused(RejectReason.WRONG_ENCODING, "the row is UTF-8 text, the others are not")

    def _person_key(self, cells: list[str]) -> str | None:
        """None when the number says who it is."""
        if self._person is None:
            return None
        person = cells[self._person].strip()
        if not person:
            raise _Refused(RejectReason.NO_PERSON, "the cell that says who it is is empty")
        if len(person) > MAX_PERSON_CHARS:
            detail = f"the person's key has more than {MAX_PERSON_CHARS} characters"
            raise _Refused(RejectReason.PERSON_TOO_LONG, detail)
        return person

    def _require_consent(self, cells: list[str]) -> None:
        for name, at, words in self._consent:
            if cells[at].strip().casefold() not in words:
                raise _Refused(RejectReason.NO_CONSENT, f"{name}: {cells[at].strip()[:60]!r} is no consent")

    def _priority_of(self, cells: list[str]) -> int:
        text = cells[self._priority].strip() if self._priority is not None else ""
        if not text:
            return self._usual_priority
        if text not in _PRIORITIES:
            raise _Refused(RejectReason.WRONG_PRIORITY, f"{text[:60]!r} is not 1 to 9")
        return _PRIORITIES[text]

    def _zone(self, cells: list[str]) -> str:
        zone = cells[self._time_zone].strip() if self._time_zone is not None else ""
        if zone and not is_zone(zone):
            raise _Refused(RejectReason.UNKNOWN_TIME_ZONE, f"{zone[:60]!r} is not an IANA time zone")
        return zone

    def _place(self, cells: list[str]) -> str:
        place = cells[self._subdivision].strip().upper() if self._subdivision is not None else ""
        if place and not _SUBDIVISION.fullmatch(place):
            detail = f"{place[:60]!r} is no ISO 3166-2 code, such as PL-14"
            raise _Refused(RejectReason.UNKNOWN_SUBDIVISION, detail)
        return place

    def _read_numbers(self, cells: list[str]) -> tuple[list[Number], list[tuple[str, str, RejectReason]]]:
        good: list[Number] = []
        bad: list[tuple[str, str, RejectReason]] = []
        for column, at in self._numbers:
            raw = cells[at]
            found = self._reader.read(raw)
            reason = self._allowed.refusal(found) if isinstance(found, Number) else _OF_NUMBER[found]
            if reason is not None:
                bad.append((column, raw, reason))
            elif isinstance(found, Number):
                good.append(found)
        return good, bad

    def _reject(self, line: int, cells: list[str], reason: RejectReason, detail: str) -> Rejected:
        raw = next((cells[at] for _, at in self._numbers if at < len(cells) and cells[at].strip()), "")
        who = None if reason in _OF_NO_ROW else self._who(cells)
        return Rejected(line=line, reason=reason, detail=detail, number=_masked(raw), person_key=who)

    def _who(self, cells: list[str]) -> str | None:
        """Whose row it is that is rejected; None when it does not say."""
        if self._person is not None:
            return cells[self._person].strip() or None
        found = (self._reader.read(cells[at]) for _, at in self._numbers)
        return next((one.number for one in found if isinstance(one, Number)), None)


_PRIORITIES: Mapping[str, int] = {str(priority): priority for priority in range(1, 10)}


@dataclass(frozen=True, kw_only=True)
class _Allowed:
    """Which numbers may be called: by what they cost, by kind, by country."""

    kinds: frozenset[NumberKind] | None
    countries: frozenset[str] | None

    @classmethod
    def of(cls, contacts: Contacts) -> _Allowed:
        kinds = {NumberKind(name) for name in contacts.types or ()}
        if kinds & {NumberKind.MOBILE, NumberKind.FIXED}:
            kinds.add(NumberKind.FIXED_OR_MOBILE)
        return cls(
            kinds=frozenset(kinds) if contacts.types is not None else None,
            countries=frozenset(contacts.countries) if contacts.countries is not None else None,
        )

    def refusal(self, number: Number) -> RejectReason | None:
        """Why a number is not called; None when it is."""
        named = self.kinds is not None and number.kind in self.kinds
        if number.kind in COSTLY and not named:
            return RejectReason.COSTLY_NUMBER
        if self.kinds is not None and not named:
            return RejectReason.KIND_NOT_ALLOWED
        if self.countries is None or number.country in self.countries:
            return None
        # What belongs to no country, as satellites do, is allowed by its kind alone.
        return None if named and number.country == _OF_NO_COUNTRY else RejectReason.COUNTRY_NOT_ALLOWED


def _calendar_key(zone: str, numbers: list[Number], subdivision: str) -> str:
    if zone:
        zones = zone
    elif len(numbers) == 1:
        zones = ",".join(numbers[0].zones)
    else:
        zones = ",".join(sorted(set(chain.from_iterable(number.zones for number in numbers))))
    return f"{zones}@{subdivision}" if subdivision else zones


def _is_utf8(text: str, codec: str) -> bool:
    """Whether a text that was read in another encoding is made of UTF-8's bytes, which hardly any word is by chance."""
    try:
        text.encode(codec, "surrogateescape").decode("utf-8")
    except UnicodeError:
        return False
    return True


def _left_out(line: int, person_key: str, column: str, raw: str, reason: RejectReason) -> Rejected:
    return Rejected(
        line=line, reason=RejectReason.NUMBER_LEFT_OUT, detail=f"{column}: {reason.value}", number=_masked(raw),
        person_key=person_key,
    )  # fmt: skip


def _masked(raw: str) -> str:
    """What stood in a number's cell, fit for a list that people pass around."""
    text = " ".join(re.sub("[\0-\x1f\x7f\ud800-\udfff]", " ", raw).split())
    return mask(text if len(text) <= 40 else text[:40])
