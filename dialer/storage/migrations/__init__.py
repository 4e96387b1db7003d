"""Alembic migrations: expand first, contract in a later release, so that calls go on during an upgrade."""
