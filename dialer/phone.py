"""Telephone numbers: parsed to E.164 (ITU-T E.164) with phonenumbers, checked before they dial, masked for logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

import phonenumbers
from phonenumbers import PhoneNumberType, timezone

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
"""What may stand in a dial string: a plus sign and 7 to 15 digits, nothing that Asterisk could read as more."""

DIALLED = re.compile(r"\+?[0-9*#]{2,20}")
"""What may stand in a Channel or CallerID header once a trunk's format has written the number."""

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
_PLACEHOLDER = re.compile(r"\{(?:e164|digits|national)\}")

UNKNOWN_ZONE = "Etc/Unknown"


class NumberKind(Enum):
    """What a number is for, as the numbering plans say (libphonenumber's types)."""

    MOBILE = "mobile"
    FIXED = "fixed"
    FIXED_OR_MOBILE = "fixed_or_mobile"
    """The plan does not tell them apart, as in North America."""
    VOIP = "voip"
    TOLL_FREE = "toll_free"
    VOICEMAIL = "voicemail"
    PREMIUM = "premium"
    SHARED_COST = "shared_cost"
    UAN = "uan"
    """One number for all offices of a company (universal access number)."""
    PERSONAL = "personal"
    PAGER = "pager"
    SATELLITE = "satellite"
    """Satellites and the networks of no country (country codes 870, 881, 882 and 883)."""


KIND_OF_TYPE = {
    PhoneNumberType.MOBILE: NumberKind.MOBILE,
    PhoneNumberType.FIXED_LINE: NumberKind.FIXED,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberKind.FIXED_OR_MOBILE,
    PhoneNumberType.VOIP: NumberKind.VOIP,
    PhoneNumberType.TOLL_FREE: NumberKind.TOLL_FREE,
    PhoneNumberType.VOICEMAIL: NumberKind.VOICEMAIL,
    PhoneNumberType.PREMIUM_RATE: NumberKind.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberKind.SHARED_COST,
    PhoneNumberType.UAN: NumberKind.UAN,
    PhoneNumberType.PERSONAL_NUMBER: NumberKind.PERSONAL,
    PhoneNumberType.PAGER: NumberKind.PAGER,
}
COSTLY = frozenset(
    {
        NumberKind.PREMIUM,
        NumberKind.SHARED_COST,
        NumberKind.UAN,
        NumberKind.PERSONAL,
        NumberKind.PAGER,
        NumberKind.SATELLITE,
    }
)
"""Calling these costs the operator money, or reaches a machine for payment; a campaign calls them only by name."""
SATELLITE_CODES = frozenset({870, 881, 882, 883})


class NumberReject(Enum):
    """Why a text is not a number that we dial."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    INVALID = "invalid_number"
    COSTLY = "costly_number"


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number that can exist, and the IANA time zones where it may ring (sorted)."""

    number: str
    zones: tuple[str, ...]
    kind: NumberKind
    country: str
    """ISO 3166 alpha-2; `001` for what belongs to no country."""


@dataclass(frozen=True, kw_only=True)
class NumberRange:
    """Consecutive E.164 numbers of equal length, both ends included."""

    first: str
    last: str

    def __contains__(self, number: str) -> bool:
        # Texts of digits of equal length sort as their numbers do.
        return len(number) == len(self.first) and self.first <= number <= self.last


def read_range(text: str) -> NumberRange:
    """One number or a range of them, as `+48225550100` or `+48221230000-+48221239999`. Raises ValueError."""
    first, dash, last = text.partition("-")
    last = last if dash else first
    if not (E164.fullmatch(first) and E164.fullmatch(last)):
        raise ValueError(f"{text!r} is neither a number in E.164 form nor two of them with a hyphen between")
    if len(first) != len(last) or first > last:
        raise ValueError(f"{text!r} must go from a lower number to a higher one of equal length")
    return NumberRange(first=first, last=last)


def require_prefix(text: str) -> None:
    """Raises ValueError for what no E.164 number begins with."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(f"{text!r} is no beginning of E.164 numbers")


def require_format(text: str) -> None:
    """Raises ValueError for what is no format for `written`: the longest E.164 number must come out dialable."""
    longest = _filled(text, e164="+" + 15 * "9", national=14 * "9")
    if len(_PLACEHOLDER.findall(text)) != 1 or not DIALLED.fullmatch(longest):
        raise ValueError(f"{text!r} does not say how to write a number")


def written(number_format: str, number: str) -> str:
    """An E.164 number in a format: {e164} `+48501…`, {digits} `48501…` or {national} `501…`, and what stands beside."""
    if number_format == "{e164}":
        return number
    return _filled(number_format, e164=number, national=national(number) if "{national}" in number_format else "")


def _filled(number_format: str, *, e164: str, national: str) -> str:
    parts = {"{e164}": e164, "{digits}": e164.removeprefix("+"), "{national}": national}
    return _PLACEHOLDER.sub(lambda match: parts[match[0]], number_format)


def national(number: str) -> str:
    """The national significant number of an E.164 number: without the country code, an Italian zero kept."""
    return phonenumbers.national_significant_number(phonenumbers.parse(number))


def parse(text: str, region: str | None) -> Number | NumberReject:
    """A number that may be dialled, from what people write; costly ones are refused. Otherwise as `read`."""
    number = read(text, region)
    return NumberReject.COSTLY if isinstance(number, Number) and number.kind in COSTLY else number


def read(text: str, region: str | None) -> Number | NumberReject:
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
    kind = KIND_OF_TYPE.get(phonenumbers.number_type(number))
    formatted = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    # A number is valid when its plan gives it a type (phonenumbers.is_valid_number).
    if kind is None or not E164.fullmatch(formatted):
        return NumberReject.INVALID
    return Number(
        number=formatted,
        zones=tuple(sorted(timezone.time_zones_for_number(number))),
        kind=NumberKind.SATELLITE if number.country_code in SATELLITE_CODES else kind,
        country=phonenumbers.region_code_for_number(number) or "",
    )


def is_region(code: str) -> bool:
    """Whether numbers of a country (ISO 3166 alpha-2) are known."""
    return code in phonenumbers.SUPPORTED_REGIONS


def mask(text: str) -> str:
    """A number for logs: the last three digits are hidden behind stars, the rest is enough to find a trunk's fault."""
    return text[:-3] + "***" if len(text) > 5 else "***"
