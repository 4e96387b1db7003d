"""The geometry of a page's pictures: columns over time with a ceiling, and bars; the templates draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 720
_LEFT, _TOP, _BELOW, _RIGHT = 56, 18, 34, 8
_GAP = 0.18
"""Of a column's room."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One part of every column: its name, its colour, and whether it is hatched, for paper without colours."""

    name: str
    colour: str
    hatched: bool = False


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One column: what it is called, and how much of each series stands in it."""

    label: str
    values: Sequence[int]
    marked: bool = False
    """Its label is shown below."""


@dataclass(frozen=True, kw_only=True)
class Rect:
    """A rectangle with what is said of it."""

    x: float
    y: float
    width: float
    height: float
    series: Series
    says: str


@dataclass(frozen=True, kw_only=True)
class Columns:
    """A picture of columns, ready to be drawn."""

    title: str
    height: int
    rects: Sequence[Rect]
    ticks: Sequence[tuple[float, str]]
    labels: Sequence[tuple[float, str]]
    series: Sequence[Series]
    ceiling: tuple[float, str] | None
    base: float
    left: int = _LEFT
    right: int = WIDTH - _RIGHT


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar: its name, its length from 0 to 1, its figure, and what else is said of it."""

    name: str
    length: float
    figure: str
    says: str
    colour: str


def columns(
    title: str, slots: Sequence[Slot], series: Sequence[Series], *, ceiling: tuple[int, str] | None = None,
    most: int | None = None, unit: str = "", height: int = 180,
) -> Columns:  # fmt: skip
    """Stacked columns. `ceiling` is a line with its name; `most` is the top of the scale, if it is known."""
    tallest = max([*(sum(slot.values) for slot in slots), ceiling[0] if ceiling else 0, 1])
    step = nice_step(most or tallest)
    top = most or -(-tallest // step) * step
    base, room = height - _BELOW, height - _BELOW - _TOP
    each = (WIDTH - _RIGHT - _LEFT) / max(1, len(slots))
    rects = []
    for place, slot in enumerate(slots):
        below = 0
        for one, value in zip(series, slot.values, strict=True):
            if value:
                rects.append(Rect(
                    x=_LEFT + each * (place + _GAP / 2), y=base - room * (below + value) / top,
                    width=each * (1 - _GAP), height=room * value / top, series=one,
                    says=f"{slot.label}: {one.name} {value:,}{unit}",
                ))  # fmt: skip
            below += value
    return Columns(
        title=title, height=height, rects=rects, series=series, base=base,
        ticks=[(base - room * value / top, f"{value:,}{unit}") for value in range(0, top + 1, step)],
        labels=[(_LEFT + each * (n + 0.5), slot.label) for n, slot in enumerate(slots) if slot.marked],
        ceiling=(base - room * ceiling[0] / top, f"{ceiling[1]} {ceiling[0]:,}{unit}") if ceiling else None,
    )  # fmt: skip


def nice_step(most: int) -> int:
    """The distance of the scale's lines: 1, 2 or 5 times a power of ten, so that there are at most six."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if most <= 5 * step * times:
                return step * times
        step *= 10
