"""What SQL of docs/etl.md's restricted dialect may not say: found in the text, without an engine."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TEXT_OR_COMMENT = re.compile(r"'(?:[^']|'')*'|--[^\n]*")
_TYPES = {"BIGINT", "STRING", "BOOLEAN", "DOUBLE"}
_NEED_NO_FRAME = {"row_number", "lag", "lead"}

WORDS: dict[str, str] = {
    "a cast by ::": r"::",
    "a cast that forgives": r"\btry_\w+\s*\(",
    "a backslash": r"\\",
    "a name between quotes": r"[\"`]",
    "a list, a struct or a place in one": r"[\[\]{}]|\b(list\w*|struct\w*|map|array\w*|row|unnest|explode)\s*\(",
    "JSON": r"->|\b\w*json\w*\s*\(",
    "QUALIFY": r"\bqualify\b",
    "EXCLUDE or REPLACE of columns": r"\*\s*(exclude|except|replace)\b",
    "DISTINCT ON": r"\bdistinct\s+on\b",
    "ALL for a list of columns": r"\bby\s+all\b",
    "a join of one engine": r"\b(asof|positional|semi|anti|lateral|natural)\b",
    "a pivot or a sample": r"\b(un)?pivot\b|\b(table)?sample\b",
    "a whole division of one engine": r"//|\bdiv\b",
    "a power or an own operator": r"\*\*|\^|@>|<@|~",
    "a pattern of one engine": r"\bi?like\s+any\b|\bilike\b|\bsimilar\b|\bglob\b|\brlike\b|\bregexp\w*",
    "a time": r"\b(timestamp\w*|interval)\b|\bdate\s*''",
    "a clock or a part of a time": r"\b(now|today|current_\w+|epoch\w*|extract|age|strftime|make_\w+|\w*unix\w*|to_date"
                                   r"|to_timestamp|date\w*|time|year|month|day|hour|minute|second)\s*\(",
    "chance": r"\b(rand|random|uuid|gen_random_uuid|shuffle)\s*\(",
    "any of several values": r"\b(any_value|first|last|arbitrary|first_value|last_value|nth_value|mode)\s*\(",
    "values in the order they come": r"\b(string_agg|group_concat|listagg|array_agg|collect_\w+)\s*\(",
    "a percentile of one engine": r"\b(median|quantile\w*|percentile|percentile_approx|approx\w*)\s*\(",
    "a function of one engine": r"\b(ifnull|nvl2?|iif|if|isnull|arg_m\w+|instr|strpos|locate|len|\w*hash\w*)\s*\(",
    "some rows": r"\b(limit|offset|fetch|top)\b",
    "a float that an engine rounds in its own way": r"\b(round|bround|float|real|decimal)\b",
}  # fmt: skip
"""What a pattern finds anywhere in a query."""


def faults(query: str) -> Iterator[str]:
    """What a query says that engines understand differently, with the place."""
    plain = _TEXT_OR_COMMENT.sub(lambda found: "''" if found[0].startswith("'") else "", query)
    for what, pattern in WORDS.items():
        for found in re.finditer(pattern, plain, re.IGNORECASE):
            yield f"{what}: {_around(plain, found.start())}"
    for check in (_casts, _orderings, _windows, _sums, _divisions):
        yield from check(plain)


def _casts(plain: str) -> Iterator[str]:
    for at, inside in _calls(plain, "cast"):
        type_ = re.search(r".*\bas\s+(.+)$", inside.strip(), re.IGNORECASE | re.DOTALL)
        if type_ is None or type_[1].upper() not in _TYPES:
            yield f"a type that is none of ours: {_around(plain, at)}"


def _orderings(plain: str) -> Iterator[str]:
    for found in re.finditer(r"\border\s+by\b", plain, re.IGNORECASE):
        if re.search(r"within\s+group\s*\(\s*$", plain[: found.start()], re.IGNORECASE):
            continue
        listed = re.split(r"\b(?:rows|range)\s+between\b", _until_closed(plain, found.end()), flags=re.IGNORECASE)[0]
        for one in _parts(listed):
            if not re.search(r"\bnulls\s+(first|last)\s*$", one.strip(), re.IGNORECASE):
                yield f"an ordering that does not say where NULLs stand: {one.strip()}"


def _windows(plain: str) -> Iterator[str]:
    named = {
        found[1].lower(): _until_closed(plain, found.end())
        for found in re.finditer(r"\b(\w+)\s+as\s*\((?=\s*(?:partition|order)\s+by)", plain, re.IGNORECASE)
    }
    for found in re.finditer(r"\bover\b\s*(\(|\w+)", plain, re.IGNORECASE):
        window = _until_closed(plain, found.end()) if found[1] == "(" else named.get(found[1].lower(), "")
        ordered = re.search(r"\border\s+by\b", window, re.IGNORECASE)
        framed = re.search(r"\brows\s+between\b", window, re.IGNORECASE)
        name = _called_before(plain, found.start())
        if ordered and not framed and name not in _NEED_NO_FRAME:
            yield f"a window of {name} without a frame: {_around(plain, found.start())}"


def _sums(plain: str) -> Iterator[str]:
    for at, _ in _calls(plain, "sum"):
        if "cast" not in _around_calls(plain, at):
            yield f"a sum that is not cast: {_around(plain, at)}"


def _divisions(plain: str) -> Iterator[str]:
    for found in re.finditer(r"[/%]", plain):
        by = plain[found.end() :].lstrip()
        never_0 = re.match(r"[1-9][0-9]*\b|nullif\s*\(|cast\s*\(\s*(nullif\s*\(|[1-9][0-9]*\s+as)", by, re.IGNORECASE)
        if not never_0:
            yield f"a divisor that may be 0: {_around(plain, found.start())}"
        if found[0] == "/" and "floor" not in _around_calls(plain, found.start()):
            yield f"a fraction that is not cut off: {_around(plain, found.start())}"


# -- reading ---------------------------------------------------------------------------------------------------------


def _calls(plain: str, name: str) -> Iterator[tuple[int, str]]:
    for found in re.finditer(rf"\b{name}\s*\(", plain, re.IGNORECASE):
        yield found.start(), _until_closed(plain, found.end())


def _until_closed(plain: str, start: int) -> str:
    """What follows, up to the bracket that closes what stands open there."""
    depth = 0
    for at in range(start, len(plain)):
        depth += {"(": 1, ")": -1}.get(plain[at], 0)
        if depth < 0:
            return plain[start:at]
    return plain[start:]


def _parts(listed: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for char in listed:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _around_calls(plain: str, at: int) -> set[str]:
    """The names before the brackets that a place stands in."""
    open_: list[str] = []
    for found in re.finditer(r"(\w*)\s*\(|\)", plain[:at]):
        if found[0] == ")":
            open_.pop()
        else:
            open_.append(found[1].lower())
    return set(open_)


def _called_before(plain: str, at: int) -> str:
    """The function whose call ends before a place; of a FILTER, the one before that."""
    before = plain[:at].rstrip()
    while before.endswith(")"):
        depth, start = 0, len(before)
        while True:
            start -= 1
            depth += {")": 1, "(": -1}.get(before[start], 0)
            if depth == 0:
                break
        before = before[:start].rstrip()
        name = re.search(r"(\w*)$", before)
        assert name is not None
        if name[1].lower() != "filter":
            return name[1].lower()
        before = before[: name.start()].rstrip()
    return ""


def _around(plain: str, at: int) -> str:
    return " ".join(plain[max(0, at - 40) : at + 40].split())
