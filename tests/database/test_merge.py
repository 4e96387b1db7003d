"""What another file of the base does to the contacts that are there: new, changed, unchanged, withdrawn, returned."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from textwrap import dedent

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dialer.campaign.load import load_campaign
from dialer.errors import InvalidInput
from dialer.storage.contacts import ImportCounts
from dialer.storage.prepare import ImportSummary, prepare
from tests.support.claiming import make_campaign

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CAMPAIGN = dedent(
    """\
    campaign: health-check
    contacts: {from: people.csv, person: id, numbers: [mobile, home], region: PL, language: lang, fields: [name]}
    calling: {window: any}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello."}}
    """
)
HEADER = "id,mobile,home,lang,name\n"
JAN, EWA, OLA = "1,501100101,,pl,Jan\n", "2,501100102,,pl,Ewa\n", "3,501100103,,pl,Ola\n"


@pytest.fixture
def delivered(database, tmp_path):
    """Imports rows into the campaign, so many hours after the first, and returns the summary."""
    path = tmp_path / "campaign.yaml"

    def run(
        rows: str, hours: int = 0, *, keys: str = "", person: str = "person: id, ", now: datetime = NOW
    ) -> ImportSummary:
        text = CAMPAIGN.replace("region: PL", f"region: PL{keys}").replace("person: id, ", person)
        path.write_text(text, encoding="utf-8")
        (tmp_path / "people.csv").write_text(HEADER + rows, encoding="utf-8")
        loaded = load_campaign(path)
        summary = prepare(database.engine, loaded, now + timedelta(hours=hours)).import_summary
        assert summary is not None
        return summary

    return run


def report(summary: ImportSummary) -> list[list[str]]:
    assert summary.report_file is not None
    with summary.report_file.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def test_a_delivery_adds_changes_and_withdraws(database, delivered, tmp_path):
    delivered(JAN + EWA + OLA)
    summary = delivered("4,501100104,,,New\n1,501100999,,en,Jan\n" + EWA, 24)
    assert summary.counts == ImportCounts(accepted=1, changed=1, unchanged=1, withdrawn=1)
    assert str(summary) == (
        f"{tmp_path}/people.csv (utf-8): 1 new contacts, 1 changed, 1 unchanged, 1 withdrawn; "
        f"see {tmp_path}/people.csv.report.csv"
    )
    assert database.rows(
        "select person_key, numbers, next_number, next_attempt_at, closed_as, line from contact "
        "join person on person.id = person_id order by 1"
    ) == [
        ("1", ["+48501100999"], "+48501100999", NOW, None, 3),
        ("2", ["+48501100102"], "+48501100102", NOW, None, 3),
        ("3", ["+48501100103"], None, None, "withdrawn", 4),
        ("4", ["+48501100104"], "+48501100104", at(24), None, 2),
    ]
    assert report(summary) == [
        ["3", "1", "changed", "numbers, language", ""],
        ["", "3", "withdrawn", "not in this delivery", ""],
    ]
    assert database.rows(
        "select accepted, changed, unchanged, withdrawn, rejected from contact_import order by id"
    ) == [
        (3, 0, 0, 0, 0),
        (1, 1, 1, 1, 0),
    ]


def test_a_number_that_is_due_stays_due_while_the_base_has_it(database, delivered):
    delivered("1,501100101,22 621 00 01,pl,Jan\n")
    database.run("update contact set next_number = '+48226210001'")
    delivered("1,501100777,22 621 00 01,pl,Jan\n", 1)
    assert database.rows("select next_number from contact") == [("+48226210001",)]
    delivered("1,501100777,,pl,Jan\n", 2)
    assert database.rows("select next_number from contact") == [("+48501100777",)]


def test_who_is_missing_may_be_kept(database, delivered):
    delivered(JAN + EWA)
    assert delivered(JAN, 1, keys=", missing: keep").counts == ImportCounts(unchanged=1)
    assert database.rows("select count(*) from contact where closed_as is null") == [(2,)]


def test_whose_row_is_rejected_is_called_no_more_even_where_missing_people_are_kept(database, delivered):
    keep = ", missing: keep, consent: {lang: [pl]}"
    delivered(JAN + EWA + OLA, keys=keep)
    summary = delivered("1,501100101,,no,Jan\n2,12,,pl,Ewa\n9,501100109,,pl,New\n", 1, keys=keep)
    assert (summary.counts.withdrawn, summary.counts.rejected) == (2, 2)
    assert report(summary) == [
        ["2", "1", "no_consent", "lang: 'no' is no consent", "501100***"],
        ["3", "2", "invalid_number", "mobile: invalid_number, home: no_number", "***"],
        ["", "1", "withdrawn", "line 2 is rejected: no_consent", ""],
        ["", "2", "withdrawn", "line 3 is rejected: invalid_number", ""],
    ]
    assert database.rows("select numbers[1] from contact where closed_as is null order by 1") == [
        ("+48501100103",), ("+48501100109",),
    ]  # fmt: skip


def test_who_says_no_in_one_row_and_yes_in_another_has_not_agreed(database, delivered):
    rows = "1,501100101,,no,Jan\n2,501100102,,pl,Ewa\n" + JAN
    summary = delivered(rows, keys=", consent: {lang: [pl]}")
    assert [row[:4] for row in report(summary)] == [
        ["2", "1", "no_consent", "lang: 'no' is no consent"],
        ["4", "1", "no_consent", "no consent in line 2"],
    ]
    assert database.rows("select numbers[1] from contact") == [("+48501100102",)]


def test_without_a_person_column_the_number_says_who_has_not_agreed(database, delivered):
    keys = ", missing: keep, consent: {lang: [pl]}"
    for hours, language in enumerate(("pl", "no")):
        text = f"1,501100101,,{language},Jan\n" + EWA
        delivered(text, hours, keys=keys, person="")
    assert database.rows("select numbers[1] from contact where closed_as is null") == [("+48501100102",)]


def test_who_returns_is_called_no_earlier_than_before(database, delivered):
    delivered(JAN + EWA)
    database.run("update contact set next_attempt_at = next_attempt_at + interval '2 days', attempts = 1")
    delivered(JAN, 1)
    assert [row[1:4] for row in report(delivered(JAN + EWA + "\n", 2))] == [["2", "returned", ""]]
    assert database.rows("select next_attempt_at, next_number, attempts, closed_as from contact order by id") == [
        (at(48), "+48501100101", 1, None),
        (at(48), "+48501100102", 1, None),
    ]


def test_in_a_call_a_delivery_holds_from_the_verdict_on(database, delivered):
    delivered(JAN + EWA + OLA)
    database.run("update contact set next_attempt_at = null, next_number = null")
    counts = delivered("1,501100777,,pl,Jan\n", 1).counts
    assert (counts.changed, counts.withdrawn) == (1, 2)
    assert database.rows("select closed_as, next_attempt_at from contact") == [(None, None)] * 3
    due = "update contact set next_attempt_at = :at, next_number = numbers[1] where id = :id"
    ids = [row[0] for row in database.rows("select id from contact order by line")]
    database.run(due.replace("numbers[1]", "'+48501100101'"), at=at(2), id=ids[0])
    database.run(due, at=at(2), id=ids[1])
    database.run("update contact set closed_as = 'completed' where id = :id", id=ids[2])
    assert database.rows("select next_attempt_at, next_number, closed_as from contact order by id") == [
        (at(2), "+48501100777", None),
        (None, None, "withdrawn"),
        (None, None, "completed"),
    ]


def test_who_is_back_before_the_verdict_was_never_gone(database, delivered):
    delivered(JAN + EWA)
    database.run("update contact set next_attempt_at = null, next_number = null")
    delivered(JAN, 1)
    delivered(JAN + EWA + "\n", 2)
    database.run("update contact set next_attempt_at = :at, next_number = numbers[1]", at=at(3))
    assert database.rows("select closed_as, next_attempt_at from contact") == [(None, at(3))] * 2


def test_closed_contacts_are_history(database, delivered):
    delivered(JAN + EWA)
    database.run("update contact set closed_as = 'completed', next_attempt_at = null, next_number = null "
                 "where numbers[1] = '+48501100101'")  # fmt: skip
    assert delivered("1,501100777,,en,Jan\n" + EWA, 1).counts == ImportCounts(unchanged=2)
    assert delivered(EWA, 2).counts == ImportCounts(unchanged=1)
    assert database.rows("select numbers[1] from contact where closed_as = 'completed'") == [("+48501100101",)]


def test_half_a_base_is_refused_whole(database, delivered):
    everybody = [f"{n},5011001{n:02},,pl,Name\n" for n in range(60)]
    delivered("".join(everybody))
    with pytest.raises(InvalidInput) as caught:
        delivered("".join(everybody[:29]) + "99,501100199,,pl,New\n", 1)
    assert [(p.code, p.message) for p in caught.value.problems] == [("shrunk", "31 of 60 open contacts are not in it")]
    assert database.rows("select count(*) from contact where closed_as is null") == [(60,)]
    assert database.rows("select count(*) from contact_import") == [(1,)]
    assert delivered("".join(everybody[:30]), 1).counts.withdrawn == 30
    assert delivered(JAN, 2, keys=', withdraw_at_most: "100%"').counts.withdrawn == 29


def test_who_was_called_lately_in_another_campaign_is_left_out(database, delivered):
    other = make_campaign(database, "other", ["+48501100101", "+48501100109"])
    database.run(
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, ended_at, disposition, slot_until, seq, counted) select gen_random_uuid(), :c, "
        "(select revision_id from campaign where id = :c), id, person_id, numbers[1], 1, 'n', 't', 'ended', "
        "now() - interval '1 day', now(), 'no_answer', now(), 1, numbers[1] <> '+48501100109' from contact "
        "where campaign_id = :c", c=other,
    )  # fmt: skip
    now, lately = datetime.now(UTC), ", not_called_within: 7d"
    jan = "1,22 621 00 01,501100101,pl,Jan\n"
    never_rang = "3,501100109,,pl,Ola\n"
    summary = delivered(jan + EWA + never_rang, keys=lately, now=now)
    assert [row[:3] for row in report(summary)] == [["2", "1", "called_lately"]]
    assert summary.counts == ImportCounts(accepted=2, rejected=1)
    assert delivered(jan + EWA + never_rang, 7 * 24, keys=lately, now=now).unchanged, "the same file changes nothing"
    assert delivered(EWA + never_rang + jan, 7 * 24, keys=lately, now=now).counts.accepted == 1


def test_a_file_that_comes_back_is_the_base_again(database, delivered):
    for hours, row in enumerate((JAN, "1,501100102,,pl,Jan\n", JAN)):
        assert not delivered(row, hours).unchanged
    assert database.rows("select numbers[1] from contact") == [("+48501100101",)]
    assert database.rows("select count(*) from contact_import") == [(2,)]


E164 = {"501100101": "+48501100101", "501100102": "+48501100102", "22 621 00 01": "+48226210001"}
ROW = st.tuples(
    st.integers(0, 5), st.sampled_from((*E164, "12")), st.sampled_from(("", *E164)), st.sampled_from(("Jan", "Ewa"))
)  # fmt: skip


def good_ones(rows: list[tuple[int, str, str, str]]) -> dict[str, tuple[list[str], str]]:
    """The people of a delivery as plain Python sees them: the first good row of each, its numbers once."""
    found: dict[str, tuple[list[str], str]] = {}
    for key, *cells, name in rows:
        numbers = list(dict.fromkeys(E164[cell] for cell in cells if cell in E164))
        if numbers:
            found.setdefault(str(key), (numbers, name))
    return found


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deliveries=st.lists(st.lists(ROW, min_size=1, max_size=6), min_size=1, max_size=4))
def test_after_any_deliveries_the_contacts_are_those_of_the_last_good_one(database, delivered, deliveries):
    database.run("truncate campaign, person, contact, contact_import, revision, open_interval cascade")
    last: dict[str, tuple[list[str], str]] = {}
    for hours, rows in enumerate(deliveries):
        text = "".join(f"{key},{a},{b},pl,{name}\n" for key, a, b, name in rows)
        if good := good_ones(rows):
            last = good
            delivered(text, hours)
        else:
            with pytest.raises(InvalidInput, match="nobody"):
                delivered(text, hours)
    found = database.rows(
        "select person_key, numbers, fields->>'name', next_number from contact join person on person.id = person_id "
        "where closed_as is null and next_attempt_at is not null"
    )
    assert {key: (numbers, name) for key, numbers, name, _ in found} == last
    assert all(next_number in numbers for _, numbers, _, next_number in found)
