"""Public holidays of countries and their subdivisions, as the `holidays` package knows them; not known means closed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache

from holidays import country_holidays

CALLEE = "callee"
"""Stands for wherever the callee is, as the number base says."""
PLACE = r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$"
"""ISO 3166: a country (`PL`), or one of its subdivisions (`PL-14`, `DE-BY`)."""

NOT_KNOWN = "holidays are not known"


def is_place(code: str) -> bool:
    """Whether the public holidays of a country or subdivision are known.

    Of a country that the package does not divide, each subdivision has the country's holidays.
    """
    return bool(re.fullmatch(PLACE, code)) and _division(code) is not None


def holiday(place: str, day: date) -> str | None:
    """The public holiday of a place on a day, by its name; None on an ordinary day.

    Where holidays are not known, for the place or so far ahead, every day counts as one (promise 6).
    """
    year = _year(place, day.year)
    return NOT_KNOWN if year is None else year.get(day)


@cache
def _division(place: str) -> tuple[str, str | None] | None:
    """The country and the part of it that the package tells apart; None when it knows no such place."""
    country, _, part = place.partition("-")
    try:
        divided = bool(country_holidays(country).subdivisions)
        if part and divided:
            country_holidays(country, subdiv=part)
    except NotImplementedError:
        return None
    return country, part if part and divided else None


@cache
def _year(place: str, year: int) -> Mapping[date, str] | None:
    division = _division(place) if re.fullmatch(PLACE, place) else None
    if division is None:
        return None
    country, part = division
    # The neighbours too: a holiday of January may be observed in December. In English whatever the environment's
    # locale is: the names stand in reports.
    found = country_holidays(country, subdiv=part, years=range(year - 1, year + 2), language="en_US")
    return found if found.start_year <= year <= found.end_year else None
