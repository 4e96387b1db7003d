"""What an operator reads when PostgreSQL says no."""

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from dialer.errors import DatabaseAway, DialerError
from dialer.storage.session import explain


@pytest.mark.parametrize(
    ("kind", "error", "expected", "says"),
    [
        (OperationalError, psycopg.errors.DiskFull("could not extend file"), DialerError, "Free some space"),
        (ProgrammingError, psycopg.errors.UndefinedTable("no table"), DatabaseAway, "dialer db upgrade"),
        (OperationalError, psycopg.errors.InvalidPassword("failed"), DatabaseAway, "password file"),
        (OperationalError, psycopg.errors.DeadlockDetected("deadlock detected"), DatabaseAway, "waited for each other"),
        (OperationalError, psycopg.errors.SerializationFailure("update"), DatabaseAway, "run again"),
        (OperationalError, psycopg.OperationalError("connection refused\nmore"), DatabaseAway, "Start it"),
        (ProgrammingError, psycopg.errors.SyntaxError("near x"), DialerError, "near x"),
    ],
)
def test_one_sentence_with_the_fix(kind, error, expected, says):
    for raised in (kind("select 1", {}, error), error):
        explained = explain(raised)
        assert type(explained) is expected
        assert says in str(explained)
        assert "\n" not in str(explained)
