"""What a report's columns are and how each is written: the type says it, in SQL, once for all forms.

A raw column holds integers (microseconds, micro-units, counts), texts and booleans, the same on every engine. What
people read is made of them at the very end: a ratio is divided and rounded here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import count
from math import gcd
from typing import Literal

from etl.zones import Zone

Form = Literal["csv", "json", "parquet", "xlsx"]


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "integer"
    NUMBER = "decimal"
    FLAG = "boolean"
    UTC = "instant, UTC"
    LOCAL = "instant, local"
    CAMPAIGN = "name of a campaign"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What columns are shown by: the clock of a zone, and the names of the campaigns."""

    zone: Zone
    campaigns: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a report, made of the raw column `of`.

    A NUMBER is `of` times `times`, divided by the raw column `over` (1 if there is none) times `by`, rounded half up to
    `decimals` places; empty when it would be divided by 0. `unit` and `says` are for the side-car and the documents.
    """

    name: str
    kind: Kind
    of: str
    over: str = ""
    times: int = 1
    by: int = 1
    decimals: int = 0
    unit: str = ""
    says: str = ""

    def sql(self, form: Form, shown: Shown) -> str:
        """DuckDB's expression for the value as a form needs it."""
        of, zone = quoted(self.of), shown.zone
        match self.kind:
            case Kind.NUMBER:
                return self._number()
            case Kind.UTC if form == "parquet":
                return f"make_timestamptz({of})"
            case Kind.UTC | Kind.LOCAL if form == "xlsx":
                return f"make_timestamp({of if self.kind is Kind.UTC else zone.local(of)})"
            case Kind.UTC:
                return _iso(of, "Z")
            case Kind.LOCAL:
                return f"{_iso(zone.local(of))} || {zone.ahead(of)}"
            case Kind.CAMPAIGN:
                names = " ".join(f"WHEN {id_} THEN {literal(name)}" for id_, name in shown.campaigns.items())
                return f"CASE {of} {names} ELSE CAST({of} AS VARCHAR) END" if names else f"CAST({of} AS VARCHAR)"
        return of

    def _number(self) -> str:
        """Integers all the way: (2·a + b) // 2·b is a/b rounded half up, and only then is it a decimal."""
        top, below = self.times * 10**self.decimals, self.by
        top, below = top // gcd(top, below), below // gcd(top, below)
        a = f"{quoted(self.of)} * {2 * top}"
        b = f"{quoted(self.over)} * {below}" if self.over else str(below)
        units = f"({a} + {b}) // nullif(2 * {b}, 0)" if self.over or below > 1 else f"{quoted(self.of)} * {top}"
        places = self.decimals
        return f"CAST({units} AS DECIMAL(18,0)) * CAST(0.{'1':0>{places}} AS DECIMAL({places},{places}))"


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text in SQL."""
    return "'" + value.replace("'", "''") + "'"


def _iso(instant: str, after: str = "") -> str:
    return f"strftime(make_timestamp({instant}), '%Y-%m-%dT%H:%M:%S.%g{after}')"


def text(name: str, of: str = "", says: str = "") -> Column:
    """Text, as it was given."""
    return Column(name=name, kind=Kind.TEXT, of=of or name, says=says)


def whole(name: str, of: str = "", says: str = "") -> Column:
    """A count, or another integer."""
    return Column(name=name, kind=Kind.WHOLE, of=of or name, says=says)


def flag(name: str, of: str = "", says: str = "") -> Column:
    """true or false."""
    return Column(name=name, kind=Kind.FLAG, of=of or name, says=says)


def utc(name: str, says: str = "") -> Column:
    """An instant: `NAME_us` as `NAME_utc`."""
    return Column(name=f"{name}_utc", kind=Kind.UTC, of=f"{name}_us", says=says)


def local(name: str, says: str = "") -> Column:
    """The same instant with the offset of the report's zone: `NAME_local`."""
    return Column(name=f"{name}_local", kind=Kind.LOCAL, of=f"{name}_us", says=says)


def seconds(name: str, says: str = "") -> Column:
    """A duration: `NAME_us` as `NAME_s`, three decimals."""
    return Column(name=f"{name}_s", kind=Kind.NUMBER, of=f"{name}_us", by=10**6, decimals=3, unit="s", says=says)


def quantile(name: str, says: str = "") -> Column:
    """A percentile of durations: `NAME_cus`, in hundredths of microseconds, as `NAME_s`."""
    return Column(name=f"{name}_s", kind=Kind.NUMBER, of=f"{name}_cus", by=10**8, decimals=3, unit="s", says=says)


def mean(name: str, of: str, over: str, says: str = "") -> Column:
    """Seconds a piece: the sum `of` in microseconds by the count `over`."""
    return Column(name=f"{name}_s", kind=Kind.NUMBER, of=of, over=over, by=10**6, decimals=3, unit="s", says=says)


def percent(name: str, of: str, over: str, says: str = "") -> Column:
    """`of` in percent of `over`, two decimals: `NAME_pct`."""
    return Column(name=f"{name}_pct", kind=Kind.NUMBER, of=of, over=over, times=100, decimals=2, unit="%", says=says)


def money(name: str, of: str = "", over: str = "", times: int = 1, says: str = "") -> Column:
    """Micro-units as units with six decimals, if asked by a count."""
    return Column(
        name=name, kind=Kind.NUMBER, of=of or f"{name}_micro", over=over, times=times, by=10**6, decimals=6,
        unit="currency of the tariff", says=says,
    )  # fmt: skip


def campaign() -> Column:
    """The name of the campaign whose id the raw column `campaign` holds."""
    return Column(name="campaign", kind=Kind.CAMPAIGN, of="campaign")


def distinct(names: Iterable[str]) -> list[str]:
    """The same names, a number behind those that stood there before: no reader of files tells `Name` from `name`."""
    taken: set[str] = set()
    given = []
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        free = name if name.lower() not in taken else next(one for one in numbered if one.lower() not in taken)
        taken.add(free.lower())
        given.append(free)
    return given
