"""Runs the migrations on the connection that storage.migrate hands over, in one transaction."""

from alembic import context

from dialer.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
