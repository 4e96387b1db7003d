"""One line of a benchmark, and how large a run is asked to be."""

from __future__ import annotations

from dataclasses import dataclass

Conditions = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of a benchmark: a value, and the ceiling measured in the same run, where there is one."""

    name: str
    value: float | int | None
    unit: str
    ceiling: float | int | None = None

    @property
    def ratio(self) -> float | None:
        """Of the ceiling."""
        return round(self.value / self.ceiling, 3) if self.value is not None and self.ceiling else None


Result = tuple[list[Figure], Conditions]


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the runs are made; None is each benchmark's own size, and anything else only tries it out."""

    seconds: float | None = None
    """How long each side makes calls."""
    calls: int | None = None
    """How many calls, or contacts, where the benchmark counts these."""


def rounded(name: str, unit: str, value: float | None, ceiling: float | None = None) -> Figure:
    """A figure with three decimals."""
    return Figure(
        name=name, unit=unit,
        value=None if value is None else round(value, 3),
        ceiling=None if ceiling is None else round(ceiling, 3),
    )  # fmt: skip
