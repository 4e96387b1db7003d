"""The migrations build what the tables say, once and again."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects.postgresql.base import ischema_names

from dialer.storage import migrate
from dialer.storage.tables import Xid8, metadata


def test_migrations_build_what_the_tables_say(database, monkeypatch):
    monkeypatch.setitem(ischema_names, "xid8", Xid8)
    migrate.upgrade(database.engine)
    migrate.require_current(database.engine)
    with database.engine.connect() as connection:
        partitions = connection.exec_driver_sql("select inhrelid::regclass::text from pg_inherits").scalars().all()
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "compare_server_default": True,
                "include_object": lambda _o, name, kind, _r, _c: not (kind == "table" and name in partitions),
            },
        )
        assert compare_metadata(context, metadata) == []
