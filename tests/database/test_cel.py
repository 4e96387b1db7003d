"""The node's own record in PostgreSQL: stored once, with the position behind it."""

from __future__ import annotations

from uuid import UUID

from dialer.ami import cel
from dialer.clock import SystemClock
from dialer.engine.witness import Witness
from dialer.storage.session import async_engine
from dialer.storage.store import PostgresStore
from tests.unit.test_cel import ID, line


async def test_the_record_is_shipped_once_and_found_by_attempt(database, tmp_path):
    path, engine = tmp_path / "cel.jsonl", async_engine(database.settings)
    store = PostgresStore(engine, "node-1", database.settings.spool_dir, database.settings.journal_dir)
    assert await store.hold_node()
    witness = Witness(store, lambda position: cel.read(path, position), SystemClock())
    await witness.begin()
    await witness.catch_up()  # nothing to read yet is no error
    path.write_bytes(line("CHAN_START") + line("DTMF", digit="5"))
    await witness.catch_up()
    await witness.catch_up()
    with path.open("ab") as file:
        file.write(line("HANGUP", hangupcause=16))
    await witness.catch_up()
    seen = (await store.cel_of([ID, UUID(int=6)]))[ID]
    assert [record.kind for record in seen] == ["CHAN_START", "DTMF", "HANGUP"]
    assert database.rows("select count(*) from cel_event") == [(3,)]
    reading = cel.read(path, None)
    await store.store_cel(reading.records, reading.position)
    assert database.rows("select count(*) from cel_event") == [(3,)]
    assert await store.cel_position() == reading.position
    await store.close()
