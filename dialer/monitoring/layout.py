"""Lays out a page of labelled facts: trouble marked at the line's begin, labels in a column, wrapped to a width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

LONGEST_TIED = 40
"""A longer part may be broken like any text: kept whole it would leave half a line empty."""
LONGEST_LABEL = 24
"""A longer one does not move the column for all others."""
ARROW = " → "
"""Stands before what to do."""
_TIED = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A label and what is said of it, in parts; without both, an empty line."""

    label: str = ""
    parts: Sequence[str] = ()
    below: bool = False
    """It belongs to the line above."""
    trouble: bool = False


def laid_out(lines: Sequence[Line], width: int | None) -> list[str]:
    """The page's lines; `!` stands before trouble, so that it can be searched for. `width`: None does not wrap."""
    labels = [_label(line) for line in lines]
    column = max((len(label) for label in labels if len(label) <= LONGEST_LABEL), default=0) + 2
    page: list[str] = []
    for line, label in zip(lines, labels, strict=True):
        start = _plain(f"{'!' if line.trouble else ' '} {label:<{column - 2}}  ")
        parts = [_plain(part) for part in line.parts if part]
        if width is None:
            page.append((start + " · ".join(parts)).rstrip())
            continue
        text = " ".join(
            _tied(part) + (f"{_TIED}·" if place < len(parts) else "") for place, part in enumerate(parts, 1)
        )
        wrapped = textwrap.wrap(
            text, width, initial_indent=start, subsequent_indent=" " * (column + 2), break_on_hyphens=False
        )
        page += [one.replace(_TIED, " ").rstrip() for one in wrapped or [start]]
    return page


def _label(line: Line) -> str:
    return f"{'  ' if line.below else ''}{line.label}"


def _tied(part: str) -> str:
    if len(part) <= LONGEST_TIED:
        return part.replace(" ", _TIED)
    # A command is copied from one line.
    said, arrow, command = part.partition(ARROW)
    return f"{said}{arrow}{command.replace(' ', _TIED)}"


def _plain(text: str) -> str:
    """What others wrote (reasons, Asterisk's messages) must not steer the terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def number(value: float) -> str:
    """With a thousands separator and at most one decimal: 1,204 or 48.9."""
    return f"{round(value, 1):,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Roughly, in one unit: `8 s`, `3 min`, `2 h`, `5 d`."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def iso(at: datetime | None) -> str | None:
    """For programs, in UTC to the second."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else None


def moment(at: datetime, now: datetime) -> str:
    """In UTC; without the day when it is today's."""
    return f"{at:%H:%MZ}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%MZ}"
