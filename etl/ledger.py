"""The ledger of the nightly runs: rows in, made, dropped and out of every stage; they add up, or the run fails."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Engine, text
from sqlalchemy.dialects.postgresql import insert

import dialer
from dialer.clock import monotonic
from dialer.errors import DialerError
from dialer.storage.session import plain_errors
from dialer.storage.tables import etl_run, etl_stage

_HERE = Path(__file__).parent
_DECIDING = (
    "sql/*.sql",
    "sql/*.py",
    "stages/*.py",
    "engines/*.py",
    "columns.py",
    "flatten.py",
    "opening.py",
    "tariffs.py",
    "event_types.py",
)
# Who waits for its next turn may have been taken for dead.
_ALIVE = text("update etl_run set state = 'running', ended_at = null where run = :run and state = 'killed'")
_KILLED = text("""
update etl_run set state = 'killed', ended_at = clock_timestamp()
where tenant_id = :tenant and state = 'running' and run <> :run returning run
""")
_HELD = text("select 1 from etl_run where run = :run and state = 'running' for no key update")
_ENDED = text("""
update etl_run set state = 'done', ended_at = clock_timestamp(), days = :days where run = :run and state = 'running'
""")
_FAILED = text("""
update etl_run set state = 'failed', ended_at = clock_timestamp(), error = :error where run = :run and state <> 'done'
""")
_LOST = "this run lost its turn, and another one has begun; this one's result is given up."


@cache
def code_version() -> str:
    """The release and a digest of what the lake's content depends on: transforms, columns, extract, stages."""
    found = hashlib.sha256()
    for path in sorted(path for pattern in _DECIDING for path in _HERE.glob(pattern)):
        found.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{dialer.__version__}+{found.hexdigest()[:12]}"


@dataclass(kw_only=True)
class Stage:
    """What one stage did with its rows. The counts come from different places, so that their sum says something."""

    stage: str
    what: str
    rows_in: int = 0
    made: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    rows_out: int = 0

    def require_sum(self) -> None:
        """Raises DialerError when rows were lost or came from nowhere."""
        came, went = self.rows_in + sum(self.made.values()), self.rows_out + sum(self.dropped.values())
        if came != went:
            raise DialerError(
                f"the ledger of {self.stage} ({self.what}) does not add up: {self.rows_in} rows in, "
                f"{self.made or 'none'} made, {self.dropped or 'none'} dropped, {self.rows_out} out: {went - came:+}. "
                "Nothing was published."
            )


class Ledger:
    """One run's page."""

    def __init__(self, database: Engine, tenant: str, engine: str) -> None:
        """A new run's; `engine` is the name of what computes."""
        self._database, self.tenant, self.run, self._place = database, tenant, uuid4(), 0
        self._open: dict[tuple[str, str], tuple[Stage, float]] = {}
        self._engine = engine

    def open(self) -> None:
        """Begins the run."""
        told = {"tenant_id": self.tenant, "engine": self._engine, "code": code_version()}
        with plain_errors(), self._database.begin() as connection:
            connection.execute(insert(etl_run).values(run=self.run, state="running", **told))

    def go_on(self) -> None:
        """Notes that it is this run's turn again: whoever had it meanwhile may have taken it for dead."""
        with plain_errors(), self._database.begin() as connection:
            connection.execute(_ALIVE, {"run": self.run})

    def killed(self) -> list[UUID]:
        """Notes that earlier runs of the tenant, whose turn it is now, died; returns them."""
        self.go_on()
        with plain_errors(), self._database.begin() as connection:
            return list(connection.execute(_KILLED, {"tenant": self.tenant, "run": self.run}).scalars())

    def know(self, **columns: Any) -> None:
        """Adds what became known of the run."""
        with plain_errors(), self._database.begin() as connection:
            connection.execute(etl_run.update().where(etl_run.c.run == self.run).values(**columns))

    @contextmanager
    def stage(self, name: str, what: str, *, more: bool = False) -> Iterator[Stage]:
        """A stage, which is checked and written down when it is done. Raises DialerError when it does not add up.

        `more`: this is a portion of it, and others follow, which get the same page to go on with.
        """
        began = monotonic()
        one, took_s = self._open.pop((name, what), (Stage(stage=name, what=what), 0.0))
        try:
            yield one
        except DialerError as error:
            raise type(error)(f"{name} ({what}): {error}") from error
        took_s += monotonic() - began
        if more:
            self._open[name, what] = one, took_s
            return
        one.require_sum()
        self._place += 1
        with plain_errors(), self._database.begin() as connection:
            connection.execute(insert(etl_stage).values(
                run=self.run, place=self._place, stage=one.stage, what=one.what, rows_in=one.rows_in, made=one.made,
                dropped=one.dropped, rows_out=one.rows_out, took_s=round(took_s, 3),
            ))  # fmt: skip

    def fail(self, error: str) -> bool:
        """Notes why the run ended without publishing anything more; False: it had published all."""
        with plain_errors(), self._database.begin() as connection:
            return connection.execute(_FAILED, {"run": self.run, "error": error}).rowcount == 1


def hold(connection: Connection, run: UUID) -> None:
    """Keeps others from taking a run for dead until the caller's transaction ends. Raises DialerError after that.

    A turn is lost with the connection that held it. Who has the next one removes the files of runs that seem dead, and
    what has no files any more must not be published.
    """
    if connection.execute(_HELD, {"run": run}).one_or_none() is None:
        raise DialerError(_LOST)


def end(connection: Connection, run: UUID, days: list[Any]) -> None:
    """Notes in the caller's transaction that a run has published all it had to. Raises DialerError as `hold` does."""
    if connection.execute(_ENDED, {"run": run, "days": days}).rowcount != 1:
        raise DialerError(_LOST)
