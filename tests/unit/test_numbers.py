"""The fast way to read numbers says what phonenumbers says, for every country and every way of writing."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from dialer.contacts import numbers
from dialer.contacts.numbers import NumberReader
from dialer.phone import Number, read

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
TYPES = [value for value in PhoneNumberType.values() if value not in (PhoneNumberType.UNKNOWN,)]


def written_forms(number: phonenumbers.PhoneNumber) -> list[str]:
    forms = (PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL)
    significant = phonenumbers.national_significant_number(number)
    return [
        *(phonenumbers.format_number(number, form) for form in forms),
        f"{number.country_code}{significant}",
        f"00{number.country_code}{significant}",
        significant,
        f"0{significant}",
        f"+{number.country_code} (0) {significant}",
        f"+{number.country_code}0{significant}",
    ]


@pytest.mark.parametrize("region", REGIONS)
def test_examples_of_every_country_and_kind(region):
    reader = NumberReader(region)
    for number_type in TYPES:
        number = phonenumbers.example_number_for_type(region, number_type)
        for text in written_forms(number) if number is not None else ():
            assert reader.read(text) == read(text, region), text


def test_examples_of_no_country():
    for code in phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS:
        number = phonenumbers.example_number_for_non_geo_entity(code)
        for text in written_forms(number):
            assert NumberReader("PL").read(text) == read(text, "PL"), text


@settings(deadline=None, max_examples=2000)
@given(
    region=st.sampled_from(("PL", "GB", "DE", "US", "CA", "IT", "RU", "KZ", "FR", "BR", "AR", "MX", "GG", "VA", None)),
    code=st.sampled_from(("", "+", "00", "011", *(f"+{code}" for code in CODES), "48", "44", "1")),
    digits=st.from_regex(r"[0-9]{4,13}", fullmatch=True),
    separator=st.sampled_from(("", " ", "-", ".", ") ", " (")),
    at=st.integers(0, 6),
)
def test_any_digits(region, code, digits, separator, at):
    text = code + digits[:at] + separator + digits[at:]
    assert NumberReader(region).read(text) == read(text, region)


@settings(deadline=None)
@given(text=st.text() | st.from_regex(r"[+0-9 ()#*;,.x/-]{1,30}"), region=st.sampled_from((None, "PL", "US")))
def test_any_text(text, region):
    assert NumberReader(region).read(text) == read(text, region)


@pytest.mark.parametrize("text", ["+48501100101", "501 100 101", "(22) 621-00-01", "48501100101", "0048501100101"])
def test_plain_numbers_take_the_fast_way(text, monkeypatch):
    monkeypatch.setattr(numbers, "read", lambda text, region: pytest.fail("phonenumbers was asked"))
    assert isinstance(NumberReader("PL").read(text), Number)
