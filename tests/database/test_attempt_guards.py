"""Whatever the code does, PostgreSQL refuses an attempt that breaks a promise."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from dialer.calls.attempt import State
from dialer.calls.disposition import Disposition
from dialer.storage.guards import statements

FIRST, SECOND = "+48500000000", "+48500000001"


@pytest.fixture
def ledger(database):
    """Makes attempts in a campaign of two contacts, each with a number of its own."""
    database.run(
        "with made as (insert into campaign (tenant_id, name, created_at) values ('t', 'c', now()) returning id) "
        "insert into revision (campaign_id, number, sha256, document, base_dir, accepted_at) "
        "select id, 1, 'x', '{}', '/', now() from made"
    )
    for number in (FIRST, SECOND):
        database.run(
            "with made as (insert into person (tenant_id, person_key) values ('t', :number) returning id) "
            "insert into contact (campaign_id, person_id, numbers, zones, fields) "
            "select r.campaign_id, made.id, array[:number], 'Europe/Warsaw', '{}' from made, revision r",
            number=number,
        )

    def begin(state: str = "submitting", disposition: str | None = None, number: str = FIRST, person: str = FIRST):
        database.run(
            "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, "
            "state, submitting_at, ended_at, slot_until, disposition, seq) "
            "select gen_random_uuid(), r.campaign_id, r.id, c.id, c.person_id, :number, 1, 'node-1', 'a', :state, "
            "now(), case when :state = 'ended' then now() end, now(), :disposition, 1 "
            "from revision r, contact c join person p on p.id = c.person_id where p.person_key = :person",
            number=number, person=person, state=state, disposition=disposition,
        )  # fmt: skip

    return begin


REFUSED_ROWS = [
    ("state ended without a verdict", {"state": "ended"}, "attempt_verdict_check"),
    ("a verdict before the end", {"state": "ringing", "disposition": "busy"}, "attempt_verdict_check"),
    ("a state that there is not", {"state": "dialling"}, "attempt_state_check"),
    ("a verdict that there is not", {"state": "ended", "disposition": "lost"}, "attempt_disposition_check"),
]


@pytest.mark.parametrize(("row", "constraint"), [row[1:] for row in REFUSED_ROWS], ids=[row[0] for row in REFUSED_ROWS])
def test_no_such_row(ledger, row, constraint):
    with pytest.raises(IntegrityError, match=constraint):
        ledger(**row)


@pytest.mark.parametrize("state", [state.value for state in State if state is not State.ENDED])
def test_one_open_attempt_a_number_and_a_person_in_every_open_state(ledger, state):
    ledger(state)
    with pytest.raises(IntegrityError, match="attempt_open_number_idx"):
        ledger(person=SECOND)
    with pytest.raises(IntegrityError, match="attempt_open_person_idx"):
        ledger(number=SECOND)
    ledger(number=SECOND, person=SECOND)
    ledger("ended", "busy")


REFUSED_CHANGES = {
    "another verdict": "disposition = 'completed'",
    "opened again": "state = 'ringing', disposition = null, ended_at = null",
    "another moment of its answer": "answered_at = now()",
    "a number that was not called": "number = '+48500000009'",
}


@pytest.mark.parametrize("change", REFUSED_CHANGES.values(), ids=REFUSED_CHANGES)
def test_what_has_its_verdict_stays_as_it_is(database, ledger, change):
    ledger("ended", "busy")
    with pytest.raises(IntegrityError, match="has its verdict"):
        database.run(f"update attempt set {change}")
    database.run("update attempt set slot_until = now()")
    assert database.rows("select state, disposition, number from attempt") == [("ended", "busy", FIRST)]


@pytest.mark.parametrize("state", list(State), ids=[state.value for state in State])
def test_forward_over_any_distance_and_never_back(database, ledger, state):
    order = list(State)
    for other in order:
        database.run("truncate attempt cascade")
        ledger(state.value, "busy" if state is State.ENDED else None)
        verdict = "'busy'" if other is State.ENDED else "null"
        change = (
            f"update attempt set state = '{other.value}', disposition = {verdict}, "
            f"ended_at = case when {verdict} is null then null else coalesce(ended_at, now()) end"
        )
        if order.index(other) < order.index(state):
            with pytest.raises(IntegrityError, match=r"has its verdict|cannot become"):
                database.run(change)
        else:
            database.run(change)


def test_an_open_attempt_is_not_forgotten(database, ledger):
    ledger("closing")
    with pytest.raises(IntegrityError, match="is open"):
        database.run("delete from attempt")
    database.run("update attempt set state = 'ended', disposition = 'unknown', ended_at = now()")
    database.run("delete from attempt")


def test_the_database_holds_the_constraints_that_the_tables_say(database):
    """Alembic compares no check constraints; one that the migrations forgot would not be missed."""
    defined = dict(
        database.rows(
            "select conname, pg_get_constraintdef(oid) from pg_constraint "
            "where conrelid = 'attempt'::regclass and contype = 'c'"
        )
    )
    for name, values in (("attempt_state_check", State), ("attempt_disposition_check", Disposition)):
        found = [str(defined[name]).find(f"'{one.value}'") for one in values]
        assert found == sorted(found)
        assert -1 not in found
        assert str(defined[name]).count("'") == 2 * len(found)
    assert {"attempt_verdict_check", "attempt_ended_check", "attempt_slot_check"} <= defined.keys()


def test_the_migrations_installed_the_guards_of_this_release(database):
    """Whoever changes the guards writes a migration that runs their statements again."""
    (before,) = database.rows("select prosrc from pg_proc where proname = 'attempt_guard'")
    assert before[0] in statements()[0]
    triggers = (
        "select tgname, pg_get_triggerdef(oid) from pg_trigger "
        "where tgrelid = 'attempt'::regclass and not tgisinternal order by 1"
    )
    installed = database.rows(triggers)
    with database.engine.begin() as connection:
        for statement in statements():
            connection.exec_driver_sql(statement.replace("%", "%%"))
    assert database.rows(triggers) == installed
    assert {name for name, _ in installed} == {"attempt_guard", "attempt_keep"}
