"""The geometry of a page's pictures: columns over time with a ceiling, and bars; the templates draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 720, 170
_LEFT, _TOP, _BELOW, _RIGHT = 48, 18, 20, 4
_GAP = 0.18
"""Of a column's room."""
_WIDEST = 64
_TOLD = 31
"""So many columns have room for their figures above them."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One part of every column: its name, its colour by the name that the page gives it, and whether it is hatched, for
    paper without colours."""

    name: str
    colour: str
    hatched: bool = False


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One column: what it is called, and how much of each series stands in it."""

    label: str
    values: Sequence[int]
    mark: str = ""
    """What is shown below it."""


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
    rects: Sequence[Rect]
    ticks: Sequence[tuple[float, str]]
    labels: Sequence[tuple[float, str]]
    figures: Sequence[tuple[float, float, str]]
    """What stands above columns, for paper too: the sum of each."""
    ceiling: tuple[float, str] | None
    base: float
    height: int = HEIGHT
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
    title: str, slots: Sequence[Slot], series: Sequence[Series], *, ceiling: tuple[int, str] | None = None
) -> Columns:  # fmt: skip
    """Stacked columns. `ceiling` is a line with its name."""
    tallest = max([*(sum(slot.values) for slot in slots), ceiling[0] if ceiling else 0, 1])
    step = nice_step(tallest)
    top = -(-tallest // step) * step
    base, room = HEIGHT - _BELOW, HEIGHT - _BELOW - _TOP
    each = (WIDTH - _RIGHT - _LEFT) / max(1, len(slots))
    width = min(each * (1 - _GAP), _WIDEST)
    rects = []
    for place, slot in enumerate(slots):
        below = 0
        for one, value in zip(series, slot.values, strict=False):
            if value:
                rects.append(Rect(
                    x=_LEFT + each * (place + 0.5) - width / 2, y=base - room * (below + value) / top,
                    width=width, height=room * value / top, series=one,
                    says=f"{slot.label}: {one.name} {value:,}",
                ))  # fmt: skip
            below += value
    middles = [_LEFT + each * (n + 0.5) for n in range(len(slots))]
    sums = [sum(slot.values) for slot in slots]
    return Columns(
        title=title, rects=rects, base=base,
        ticks=[(base - room * value / top, f"{value:,}") for value in range(0, top + 1, step)],
        labels=[(x, slot.mark) for x, slot in zip(middles, slots, strict=True) if slot.mark],
        figures=[
            (x, base - room * value / top - 3, f"{value:,}")
            for x, value in zip(middles, sums, strict=True) if value and len(slots) <= _TOLD
        ],
        ceiling=(base - room * ceiling[0] / top, f"{ceiling[1]} {ceiling[0]:,}") if ceiling else None,
    )  # fmt: skip


def nice_step(most: int) -> int:
    """The distance of the scale's lines: 1, 2 or 5 times a power of ten, so that there are at most six."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if most <= 5 * step * times:
                return step * times
        step *= 10
