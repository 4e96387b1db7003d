"""Portions: a large day is computed some subjects at a time; which portion a subject is of follows from its name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DIGITS = "0123456789abcdef"
DIGIT = "substr(md5(subject), 1, 1)"
"""Of a subject, in every engine alike."""
COUNTS = (1, 2, 4, 8, 16)
"""Into how many a day may be divided."""


def digits(portion: int, of: int) -> str:
    """The digits of a portion's subjects."""
    return DIGITS[portion::of]


def condition(portion: int, of: int, digit: str = DIGIT) -> str:
    """What is true of a portion's subjects, as a condition of a query, which may know their DIGIT by a name."""
    return f"{digit} IN ({', '.join(repr(digit) for digit in digits(portion, of))})" if of > 1 else "1 = 1"


def file_name(number: int, portion: int, of: int) -> str:
    """Of a file that holds only a portion's subjects; the name says so, so that others need not read it."""
    return f"part-{number}-{digits(portion, of)}.parquet"


def holding(files: Iterable[Path], portion: int, of: int) -> list[Path]:
    """The files that may hold subjects of a portion: all but those whose name says that they do not."""
    wanted = set(digits(portion, of))
    return [file for file in files if wanted & set(_named(file))]


def _named(file: Path) -> str:
    named = file.stem.rpartition("-")[2]
    return named if file.stem.count("-") == 2 and set(named) <= set(DIGITS) else DIGITS
