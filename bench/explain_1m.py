"""What it takes to say of a million contacts where each one stands, beside counting them."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, text

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.private import PrivateDatabase, private_database
from dialer.monitoring.explain_facts import subject
from dialer.storage import funnel
from dialer.storage.reading import reading
from dialer.storage.session import sync_engine

CONTACTS = 1_000_000
ROUNDS = 5
AIM_S = 3.0


def explain_1m(folder: Path, size: Size) -> Result:
    """`dialer explain CAMPAIGN` with a million contacts, a million attempts and a million numbers on a list."""
    contacts = size.calls or CONTACTS
    with private_database(folder) as database:
        engine = sync_engine(database.settings)
        try:
            return _measured(database, engine, contacts)
        finally:
            engine.dispose()


def _measured(database: PrivateDatabase, engine: Engine, contacts: int) -> Result:
    _fill(engine, contacts)

    def statement() -> None:
        with reading(engine) as connection:
            found = funnel.funnel(connection, subject(connection, database.settings, "bench").view)
        assert found.contacts == contacts + 1, "the buckets add up to the list"

    def command() -> None:
        words = ["explain", "bench", "--settings", str(database.settings_file)]
        subprocess.run(
            [sys.executable, "-c", "import cli; cli.main()", *words], check=True, stdout=subprocess.DEVNULL
        )  # fmt: skip

    def count() -> None:
        with engine.begin() as connection:
            connection.execute(text("select count(*) from contact where campaign_id = 1 and fields is not null"))

    ceiling, funnel_s, command_s = (_median(work) for work in (count, statement, command))
    conditions: Conditions = {
        "contacts": contacts, "rounds": ROUNDS, "aim in seconds": AIM_S,
        "ceiling column": "reading every contact and counting it",
    }  # fmt: skip
    return [
        rounded("where a million contacts stand", "s", funnel_s, ceiling),
        rounded("dialer explain CAMPAIGN, with the start of Python", "s", command_s, ceiling),
        Figure(name="within the aim", value=int(command_s <= AIM_S), unit="1: yes"),
    ], conditions


def _median(work: Callable[[], None]) -> float:
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _fill(engine: Engine, contacts: int) -> None:
    """People in every state, in two time zones, half of them called once, with a list of as many numbers."""
    statements = (
        "insert into person (tenant_id, person_key) select 'default', 'p' || n from generate_series(1, :contacts) n",
        "insert into contact (campaign_id, person_id, numbers, zones, fields, next_attempt_at, next_number, closed_as, "
        'waits_for, dials) select 1, id, array[number], zones, \'{"first_name": "Somebody"}\', '
        "case when closed is null then at end, case when closed is null then number end, closed, "
        "case when closed is null and id % 7 = 0 then 'gap' end, id % 3 from ("
        "select id, '+4850' || lpad((id % 10000000)::text, 7, '0') as number, "
        "case id % 2 when 0 then 'Europe/Warsaw' else 'Europe/Lisbon' end as zones, "
        "case id % 4 when 0 then 'completed' when 1 then case id % 8 when 1 then 'busy' end end as closed, "
        "now() + (id % 5000 - 3000) * interval '1 s' as at from person where person_key like 'p%') as people",
        "insert into attempt (id, campaign_id, revision_id, contact_id, person_id, number, wave, node, trunk, state, "
        "submitting_at, ended_at, slot_until, disposition, seq, counted) select gen_random_uuid(), 1, 1, id, "
        "person_id, numbers[1], 1, 'node-1', 'carrier-a', 'ended', now() - id % 80000 * interval '1 s', now(), now(), "
        "'busy', 3, true from contact",
        "insert into dnc (number, scope, source, added_by) select '+4850' || lpad((n * 9)::text, 7, '0'), 'site', "
        "'import', 'bench' from generate_series(1, :contacts) n on conflict do nothing",
    )
    with engine.begin() as connection:
        for statement in statements:
            values = {"contacts": contacts} if ":contacts" in statement else {}
            connection.execute(text(statement.replace("::", "\\:\\:")), values)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))
