"""In which encoding a text is, whatever the blocks in which its bytes come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialer.contacts.encoding import Survey

POLISH = "id;imię;miasto\r\n1;Łucja;Łódź\r\n2;Zażółć;Gęśla\r\n" * 5
FRENCH = "id;nom;ville\r\n1;Hélène;Orléans\r\n2;Françoise;Nîmes\r\n" * 5
ASCII = "id,mobile,name\n1,501100101,Jan\n" * 5
TABLE = [
    # text    written as     country  found
    (ASCII,   "ascii",       None,    "utf-8-sig"),
    (ASCII,   "utf-16",      None,    "utf-16"),
    (ASCII,   "utf-16-le",   None,    "utf-16-le"),
    (ASCII,   "utf-16-be",   None,    "utf-16-be"),
    (POLISH,  "utf-8",       None,    "utf-8-sig"),
    (POLISH,  "utf-8-sig",   "PL",    "utf-8-sig"),
    (POLISH,  "utf-16",      "PL",    "utf-16"),
    (POLISH,  "cp1250",      None,    "cp1250"),
    (POLISH,  "cp1250",      "PL",    "cp1250"),
    (FRENCH,  "cp1252",      None,    "cp1252"),
    (FRENCH,  "cp1252",      "FR",    "cp1252"),
    (FRENCH,  "utf-8",       "FR",    "utf-8-sig"),
    ("",      "ascii",       None,    "utf-8-sig"),
    (POLISH.replace("\r\n", "\r"), "cp1250", "PL", "cp1250"),
    (POLISH.replace("\r\n", "\r"), "utf-8",  "PL", "utf-8-sig"),
]  # fmt: skip


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(("text", "codec", "region", "found"), TABLE)
def test_encodings(text, codec, region, found, block):
    survey, raw = Survey(), text.encode(codec)
    for start in range(0, len(raw), block):
        survey.add(raw[start : start + block])
    assert survey.codec(region) == found


def test_a_few_bad_lines_do_not_change_what_the_others_are():
    survey = Survey()
    survey.add((POLISH + "x;y;z\r\n").encode() + "3;Łucja;x\r\n".encode("cp1250"))
    assert survey.codec("PL") == "utf-8-sig"
    assert (survey.utf8_lines > 5, survey.other_lines) == (True, 1)


def test_a_large_file_of_carriage_returns_alone_is_surveyed_from_its_beginning():
    survey, raw = Survey(), POLISH.replace("\r\n", "\r").encode("cp1250") + b"1;Jan;Radom\r" * 200_000
    for start in range(0, len(raw), 1 << 20):
        survey.add(raw[start : start + (1 << 20)])
    assert survey.codec("PL") == "cp1250"


@given(raw=st.binary(max_size=300), block=st.integers(1, 50))
def test_any_bytes_have_an_encoding_of_ours(raw, block):
    survey = Survey()
    for start in range(0, len(raw), block):
        survey.add(raw[start : start + block])
    raw.decode(survey.codec("PL"), "replace")
