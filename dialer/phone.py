"""Telephone numbers: parsed to E.164 (ITU-T E.164) with phonenumbers, checked before they dial, masked for logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import phonenumbers
from phonenumbers import PhoneNumberType, timezone

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""What may stand in a dial string: a plus sign and 7 to 15 digits, nothing that Asterisk could read as more."""

UNKNOWN_ZONE = "Etc/Unknown"

# Calling these costs the operator money, or reaches a machine for payment; nobody runs a campaign at them.
_COSTLY = {
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.UAN,
    PhoneNumberType.PERSONAL_NUMBER,
    PhoneNumberType.PAGER,
}


class NumberReject(Enum):
    """Why a text is not a number that we dial."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    INVALID = "invalid_number"
    COSTLY = "costly_number"


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number that may be dialled, and the IANA time zones where it may ring (sorted)."""

    number: str
    zones: tuple[str, ...]


def parse(text: str, region: str | None) -> Number | NumberReject:
    """A number as people write it, to E.164. `region` (ISO 3166 alpha-2) reads numbers without a country code."""
    text = text.strip()
    if not text:
        return NumberReject.EMPTY
    # phonenumbers reads letters as keypad digits (1-800-FLOWERS); in a list of people they are a typing error.
    if re.search(r"[^\W\d_]", text):
        return NumberReject.NOT_A_NUMBER
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return NumberReject.NOT_A_NUMBER
    if number.extension:
        # E.164 has no place for it: the call would reach the switchboard instead of the person.
        return NumberReject.NOT_A_NUMBER
    if not phonenumbers.is_valid_number(number):
        return NumberReject.INVALID
    if phonenumbers.number_type(number) in _COSTLY:
        return NumberReject.COSTLY
    formatted = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    if not E164.fullmatch(formatted):
        return NumberReject.INVALID
    return Number(number=formatted, zones=tuple(sorted(timezone.time_zones_for_number(number))))


def is_region(code: str) -> bool:
    """Whether numbers of a country (ISO 3166 alpha-2) are known."""
    return code in phonenumbers.SUPPORTED_REGIONS


def mask(text: str) -> str:
    """A number for logs: the last three digits are hidden behind stars, the rest is enough to find a trunk's fault."""
    return text[:-3] + "***" if len(text) > 5 else "***"
