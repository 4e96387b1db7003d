"""Where a campaign's number base comes from: one file, or the newest of a folder or pattern that receives it daily."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPORT_SUFFIX = ".report.csv"
"""What an import leaves beside a file; never itself a delivery."""
DONE_SUFFIX = ".done"
"""Beside a file: it is complete."""
WHY_SUFFIX = ".why.txt"
ASIDE = "aside"
"""The folder beside the deliveries that takes the broken ones."""

_DATE = "{date}"
_SPECIAL = re.compile(r"[*?\[]")
_KNOWN_NAMES = r".*\.(?:csv|txt|tsv|xlsx|ods)"


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """The names in a folder that are deliveries."""

    folder: Path
    name: re.Pattern[str]

    def date_of(self, name: str) -> str | None:
        """What deliveries are sorted by before their age: digits of the date; empty without `{date}`, None for no
        delivery."""
        match = self.name.fullmatch(name)
        if match is None or name.startswith(".") or name.endswith((REPORT_SUFFIX, DONE_SUFFIX, WHY_SUFFIX)):
            return None
        return match.groupdict().get("date", "").replace("-", "")


def is_pattern(source: str) -> bool:
    """Whether `from` names more than one file."""
    return source.endswith("/") or _DATE in source or _SPECIAL.search(source) is not None


def pattern_of(base_dir: Path, source: str) -> Pattern:
    """What a `from` that `is_pattern` stands for. Raises ValueError when the folder's own name is a pattern."""
    if source.endswith("/"):
        folder, name = source, _KNOWN_NAMES
    else:
        parent, slash, last = source.rpartition("/")
        folder, name = parent + slash, _expression(last)
    if is_pattern(folder.rstrip("/")):
        raise ValueError("only the name of the file may be a pattern, not its folder's")
    return Pattern(folder=base_dir / folder, name=re.compile(name, re.IGNORECASE))


def _expression(name: str) -> str:
    """A name with `*`, `?` and one `{date}` (2026-03-02 or 20260302) as a regular expression."""
    if name.count(_DATE) > 1 or "[" in name:
        raise ValueError("a pattern has *, ? and one {date}")
    parts = {"*": ".*", "?": ".", _DATE: r"(?P<date>\d{4}-\d\d-\d\d|\d{8})"}
    return "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\{date\}|[*?])", name))
