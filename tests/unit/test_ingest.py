"""Rows of a contacts CSV: good ones come in, bad ones are told, whatever the bytes."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialer.campaign.number_base import Contacts
from dialer.contacts.ingest import Accepted, read_contacts
from dialer.contacts.rows import MAX_RECORD_CHARS, Rejected, csv_table
from dialer.errors import InvalidInput

CONTACTS = Contacts.model_validate(
    {
        "from": "people.csv", "person": "id", "numbers": ["mobile", "home"], "region": "PL", "language": "lang",
        "time_zone": "tz", "fields": ["name"],
    }
)  # fmt: skip
HEADER = "id,mobile,home,lang,tz,name\n"


def read(text: str, contacts: Contacts = CONTACTS, beside: str | None = None) -> list[Accepted | Rejected]:
    lines = io.StringIO(text, newline="")
    table = csv_table(lines, contacts.columns, "people.csv", contacts.delimiter, beside)
    return list(read_contacts(table, contacts))


def with_keys(**keys: object) -> Contacts:
    """The usual contacts with other keys."""
    return Contacts.model_validate({**CONTACTS.model_dump(by_alias=True, exclude_unset=True), **keys})


def told(rows: list[Accepted | Rejected]) -> list[tuple[int, str]]:
    """Line, and the person or the reason."""
    return [(row.line, row.person_key if isinstance(row, Accepted) else row.reason.value) for row in rows]


TABLE = [
    # rows below the header                        line and person, or reason
    ("1,501100101,,,,Jan\n",                       [(2, "1")]),
    ("\n  \n1,501100101,,,,Jan\n\n",               [(4, "1")]),
    ("1,501100101,,,,Jan",                         [(2, "1")]),
    ("1,501100101,,,,\"a\nb\"\n2,501100102,,,,x",  [(2, "1"), (4, "2")]),
    ("1,501100101,,,,\"a \"\"b\"\"\"\n",           [(2, "1")]),
    (" 1 ,501100101,,,,x\n",                       [(2, "1")]),
    (",501100101,,,,x\n",                          [(2, "no_person")]),
    ("x" * 201 + ",501100101,,,,x\n",              [(2, "person_too_long")]),
    ("1,,,,,x\n",                                  [(2, "no_number")]),
    ("1,12,,,,x\n",                                [(2, "invalid_number")]),
    ("1,,abc,,,x\n",                               [(2, "not_a_number")]),
    ("1,701100101,12,,,x\n",                       [(2, "costly_number")]),
    ("1,501100101,,,Mars/Olympus,x\n",             [(2, "unknown_time_zone")]),
    ("1,501100101,,,Etc/Unknown,x\n",              [(2, "unknown_time_zone")]),
    ("1,501100101,,,,x,more\n",                    [(2, "wrong_number_of_cells")]),
    ("1,501100101\n2,501100102,,,,x\n",            [(2, "wrong_number_of_cells"), (3, "2")]),
    ("1,501100101,,,,a\0b\n2,501100102,,,,x\n",    [(2, "nul_byte"), (3, "2")]),
    ("1,501100101,,,,\udcff\n2,501100102,,,,x\n",  [(2, "wrong_encoding"), (3, "2")]),
    ("1,501100101,,,,\"a\"b\n2,501100102,,,,x\n",  [(2, "malformed"), (3, "2")]),
    ("1,\"501100101,,,,x\n2,501100102,,,,x\n",     [(2, "malformed"), (3, "2")]),
    ("1,\"501100101,,,,x\n2,\"501100102\",,,,x\n", [(2, "malformed"), (3, "2")]),
    ("1,501100101,,,," + "x" * 10_001 + "\n",      [(2, "1")]),
    ("1,501100101,,,," + "x" * MAX_RECORD_CHARS + "\n2,501100102,,,,x\n", [(2, "too_long"), (3, "2")]),
]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize(("rows", "expected"), TABLE)
def test_rows(rows, expected, delimiter, end):
    text = "\ufeff" + (HEADER + rows).replace(",", delimiter).replace("\n", end)
    assert told(read(text)) == expected


def test_an_accepted_row_holds_what_a_call_needs():
    (row,) = read(HEADER + 'A1, 22 621 00 01 ,+12125550123, pl ,," Jan "\n')
    assert row == Accepted(
        line=2,
        person_key="A1",
        numbers=("+48226210001", "+12125550123"),
        zones="America/New_York,Europe/Warsaw",
        language="pl",
        fields={"name": " Jan "},
    )


def test_the_rows_own_time_zone_wins_over_the_number():
    (row,) = read(HEADER + "1,501100101,,,Europe/London,x\n")
    assert isinstance(row, Accepted)
    assert row.zones == "Europe/London"


def test_a_number_written_twice_is_one():
    (row,) = read(HEADER + "1,501 100 101,+48501100101,,,x\n")
    assert isinstance(row, Accepted)
    assert row.numbers == ("+48501100101",)


def test_one_bad_number_of_two_is_left_out_and_told():
    (row,) = read(HEADER + "1,call me maybe,501100101,,,x\n")
    assert isinstance(row, Accepted)
    assert row.numbers == ("+48501100101",)
    assert [(note.reason.value, note.detail, note.number) for note in row.left_out] == [
        ("number_left_out", "mobile: not_a_number", "call me ma***")
    ]


def test_without_a_person_column_the_number_says_who():
    contacts = Contacts.model_validate({"from": "x.csv", "numbers": ["mobile"]})
    (row,) = read("mobile\n+48 501 100 101\n", contacts)
    assert isinstance(row, Accepted)
    assert row.person_key == "+48501100101"


def test_numbers_of_rejected_rows_are_masked():
    (row,) = read(HEADER + "1,+48501100101999,,,,x\n")
    assert isinstance(row, Rejected)
    assert row.number == "+48501100101***"


KEYS = [
    # keys of `contacts:`                            row                                   person or reason
    ({"types": ["mobile"]},                          "1,501100101,,,,x",                   "1"),
    ({"types": ["mobile"]},                          "1,226210001,,,,x",                   "type_not_allowed"),
    ({"types": ["fixed"]},                           "1,+12125550123,,,,x",                "1"),
    ({"types": ["voip"]},                            "1,+12125550123,,,,x",                "type_not_allowed"),
    ({"types": ["mobile", "premium"]},               "1,701100101,,,,x",                   "1"),
    ({},                                             "1,+881612345678,,,,x",               "costly_number"),
    ({"types": ["satellite"]},                       "1,+881612345678,,,,x",               "1"),
    ({"types": ["satellite"], "countries": ["PL"]},  "1,+881612345678,,,,x",               "1"),
    ({"countries": ["PL"]},                          "1,501100101,,,,x",                   "1"),
    ({"countries": ["PL"]},                          "1,+447911123456,,,,x",               "country_not_allowed"),
    ({"consent": {"name": ["yes", "Tak"]}},          "1,501100101,,,, YES ",               "1"),
    ({"consent": {"name": "tak"}},                   "1,501100101,,,,yes",                 "no_consent"),
    ({"consent": {"name": "tak"}},                   "1,501100101,,,,",                    "no_consent"),
    ({"consent": {"name": 1}},                       "1,501100101,,,,1",                   "1"),
    ({"priority": "name"},                           "1,501100101,,,,10",                  "wrong_priority"),
    ({"priority": "name"},                           "1,501100101,,,,high",                "wrong_priority"),
    ({"subdivision": "name"},                        "1,501100101,,,,Mazowsze",            "unknown_subdivision"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "row", "expected"), KEYS)
def test_what_the_campaign_allows(keys, row, expected):
    assert told(read(HEADER + row + "\n", with_keys(**keys))) == [(2, expected)]


def only(text: str, contacts: Contacts) -> Accepted:
    (row,) = read(text, contacts)
    assert isinstance(row, Accepted)
    return row


@pytest.mark.parametrize(
    ("priority", "cell", "becomes"), [("name", "1", 1), ("name", " 9 ", 9), ("name", "", 5), (3, "x", 3)]
)
def test_priorities(priority, cell, becomes):
    assert only(HEADER + f"1,501100101,,,,{cell}\n", with_keys(priority=priority)).priority == becomes


def test_the_calendar_key_names_zones_and_subdivision():
    contacts = with_keys(subdivision="name")
    assert only(HEADER + "1,501100101,,,,pl-14\n", contacts).zones == "Europe/Warsaw@PL-14"
    assert only(HEADER + "1,501100101,,,,\n", contacts).zones == "Europe/Warsaw"
    assert only(HEADER + "1,501100101,,,Europe/London,PL-14\n", contacts).zones == "Europe/London@PL-14"


def test_fields_have_names_of_their_own_and_constants_are_everybodys():
    contacts = with_keys(fields={"first_name": "name"}, constants={"wave": 7, "title": "Health"})
    assert contacts.field_names == ("first_name", "wave", "title")
    row = only(HEADER + "1,501100101,,,,Jan\n", contacts)
    assert row.fields == {"first_name": "Jan", "wave": "7", "title": "Health"}


def test_defaults_are_for_empty_cells():
    contacts = with_keys(defaults={"lang": "pl", "name": "you"})
    row = only(HEADER + "1,501100101,, ,,\n", contacts)
    assert (row.language, row.fields) == ("pl", {"name": "you"})
    assert only(HEADER + "1,501100101,,en,,Jan\n", contacts).language == "en"


def test_a_declared_delimiter_is_not_guessed():
    header = "id;mobile,home;x\n"
    contacts = Contacts.model_validate({"from": "x", "numbers": ["mobile,home"], "region": "PL", "delimiter": ";"})
    assert only(header + "1;501100101;a,b\n", contacts).numbers == ("+48501100101",)


def test_a_row_of_utf8_in_a_file_that_is_not_is_told():
    broken = "Łucja".encode().decode("cp1250", "surrogateescape")
    rows = read(HEADER + f"1,501100101,,,,{broken}\n2,501100102,,,,Łucja\n", beside="cp1250")
    assert told(rows) == [(2, "wrong_encoding"), (3, "2")]


HEADERS = [
    # header                                 problems: column, code
    ("id,mobile,home,lang,tz\n",             [("name", "missing-column")]),
    ("Id,Mobile,home,lang,tz,name\n",        [("id", "missing-column"), ("mobile", "missing-column")]),
    ("id,mobile,mobile,home,lang,tz,name\n", [("mobile", "duplicate-column")]),
    ("\n",                                   [("", "empty")]),
    ("",                                     [("", "empty")]),
    ("i\0d\n",                               [("", "not-text")]),
]  # fmt: skip


@pytest.mark.parametrize(("header", "expected"), HEADERS)
def test_a_header_that_does_not_serve_is_refused_at_once(header, expected):
    with pytest.raises(InvalidInput) as caught:
        read(header)
    assert [(problem.key, problem.code) for problem in caught.value.problems] == expected


def test_names_of_columns_may_hold_delimiters_and_line_breaks():
    (row,) = read('id;mobile;"home";lang;tz;name;"many, many\nwords"\n1;501100101;;;;x;y\n')
    assert told([row]) == [(3, "1")]


def test_a_doubled_column_that_nobody_reads_does_no_harm():
    assert told(read("id,mobile,home,lang,tz,name,x,x\n1,501100101,,,,n,,\n")) == [(2, "1")]


CUT_OFF = [
    # the end of the file          line of the row that it cuts
    ("1,501100101\n2,5011",        3),
    ("1,501100101,,,,x\n2",        3),
    ("1,501100101,,,,x\n2,\"5011", 3),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "line"), CUT_OFF)
def test_a_file_that_ends_in_the_middle_of_a_row_is_refused_whole(rows, line):
    with pytest.raises(InvalidInput) as caught:
        read(HEADER + rows)
    assert [(problem.code, problem.line) for problem in caught.value.problems] == [("cut-off", line)]


def test_many_quotes_that_nobody_closed_take_no_endless_time():
    started = time.monotonic()
    rows = read(HEADER + '1,"501100101,,,,x\n' * 2_000)
    assert len(rows) == 2_000
    assert time.monotonic() - started < 5


def test_quotes_that_open_again_in_each_line_take_no_endless_time():
    """Each line is whole by itself and leaves a quote open inside another, so that each swallows what follows."""
    started = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        read(HEADER + 'a","b\n' * 200_000)
    assert [problem.code for problem in caught.value.problems] == ["malformed"]
    assert time.monotonic() - started < 20


def test_a_header_without_an_end_is_told():
    with pytest.raises(InvalidInput) as caught:
        read("x" * (MAX_RECORD_CHARS + 1))
    assert [problem.code for problem in caught.value.problems] == ["too-long"]


def test_lines_may_end_with_carriage_returns_alone():
    text = HEADER + '1,501100101,,,,"a\nb"\n2,501100102,,,,x\n3,12,,,,x\n'
    assert told(read(text.replace("\n", "\r"))) == [(2, "1"), (4, "2"), (5, "invalid_number")]


def test_a_header_does_not_steer_the_terminal():
    with pytest.raises(InvalidInput) as caught:
        read("\x1b[2Jid,mobile\n1,2\n")
    assert "?[2Jid, mobile" in caught.value.problems[0].message


REJECTED_PEOPLE = [
    # row                          whose it is
    ("1,12,,,,x",                  "1"),
    ("1,501100101,,,Nowhere,x",    "1"),
    (",501100101,,,,x",            None),
    ("1,501100101",                None),
    ("1\0,501100101,,,,x",         None),
]  # fmt: skip


@pytest.mark.parametrize(("row", "person"), REJECTED_PEOPLE)
def test_whose_row_is_rejected(row, person):
    (rejected,) = read(HEADER + row + "\n")
    assert isinstance(rejected, Rejected)
    assert rejected.person_key == person


def test_whose_row_is_rejected_without_a_person_column():
    contacts = Contacts.model_validate({"from": "x", "numbers": ["a", "b"], "region": "PL", "priority": "p"})
    rows = read("a,b,p\n12,501100101,x\n12,,1\n", contacts)
    assert [row.person_key for row in rows] == ["+48501100101", None]


CELL = st.text(max_size=12) | st.sampled_from(("+48501100101", "501100102", "", '"', "a\r\nb", "12", "Europe/Warsaw"))


@settings(deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=6, max_size=6), max_size=5), delimiter=st.sampled_from(",;\t"))
def test_what_a_csv_writer_wrote_is_read_back(rows, delimiter):
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER.strip().split(","))
    writer.writerows(rows)
    read_back = read(out.getvalue())
    written = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(read_back) == len(written)
    for row, cells in zip(read_back, written, strict=True):
        if isinstance(row, Accepted):
            assert row.fields == {"name": cells[5]}


@settings(deadline=None)
@given(raw=st.binary(max_size=300), header=st.booleans())
def test_any_bytes_give_rows_or_invalid_input(raw, header):
    text = (HEADER.encode() + raw if header else raw).decode("utf-8", "surrogateescape")
    rows, refused = [], None
    try:
        rows = read(text)
    except InvalidInput as error:
        refused = error.problems[0].code
    assert not header or refused in (None, "cut-off")
    assert all(isinstance(row, Accepted | Rejected) for row in rows)
