"""A night: every tenant's turn, in two lanes, so that small ones do not wait behind a large one; one may fail alone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from uuid import UUID

from sqlalchemy import text

from dialer.errors import DialerError
from dialer.storage.session import plain_errors
from etl import pipeline
from etl.ledger import Ledger
from etl.leftovers import clear_up
from etl.pipeline import Elsewhere, Lane, Night

log = logging.getLogger(__name__)

QUICK_ROWS = 200_000
"""Up to so many new rows a tenant takes the quick lane; a night of more takes the patient one, as long as it needs."""

# A skip scan: the primary key of each partition begins with the tenant.
_TENANTS = text("""
with recursive known as (
  (select min(tenant_id) as tenant_id from event)
  union all
  select (select min(tenant_id) from event where tenant_id > known.tenant_id) from known
  where known.tenant_id is not null
)
select tenant_id from known where tenant_id is not null
union select tenant_id from etl_tenant order by tenant_id
""")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one tenant's turn."""

    tenant: str
    run: UUID
    days: tuple[date, ...] = ()
    """Cohort days that changed."""
    error: str = ""
    elsewhere: bool = False
    """Another run was at it, and goes on."""


class Watch(Protocol):
    """Who is told how far a night is."""

    def say(self, tenant: str, what: str) -> None:
        """What is being done for a tenant."""
        ...

    def done(self, result: Result) -> None:
        """A tenant's turn is over."""
        ...


def tenants(night: Night) -> list[str]:
    """Everybody who has events, or had."""
    with plain_errors(), night.database.begin() as connection:
        return list(connection.execute(_TENANTS).scalars())


def run_night(night: Night, names: Sequence[str], again: Sequence[date], watch: Watch) -> list[Result]:
    """Gives every tenant its turn; `again` are cohort days to compute anew even without news."""
    results: list[Result] = []
    waiting: list[Future[Result]] = []
    lanes = {lane: ThreadPoolExecutor(1, thread_name_prefix=lane) for lane in ("quick", "patient")}
    try:
        for tenant in names:
            one = _Turn(night, tenant, again, watch)
            found = one.dump()
            if isinstance(found, Result):
                results.append(found)
            else:
                lane = _lane(night, found)
                waiting.append(lanes[lane].submit(one.take_in, lane))
        return results + [future.result() for future in waiting]
    finally:
        # Who was told to stop waits for nobody.
        for pool in lanes.values():
            pool.shutdown(wait=not isinstance(sys.exc_info()[1], KeyboardInterrupt), cancel_futures=True)


def _lane(night: Night, rows: int) -> Lane:
    """Of Spark there is one session in a process, and in that the names of two tenants would mix."""
    return "quick" if rows <= QUICK_ROWS and night.etl.engine == "duckdb" else "patient"


class _Turn:
    """One tenant's."""

    def __init__(self, night: Night, tenant: str, again: Sequence[date], watch: Watch) -> None:
        self._night, self._tenant, self._again, self._watch = night, tenant, again, watch
        self._page = Ledger(night.database, tenant, night.etl.engine)

    def dump(self) -> Result | int:
        """Extracts; returns how many rows wait to be taken in, or the result when that is all."""
        try:
            self._say("extract")
            self._page.open()
            with pipeline.turn(self._night, self._tenant):
                return pipeline.dump(self._night, self._page, self._seen)
        except Exception as error:
            return self._failed(error)

    def take_in(self, lane: Lane) -> Result:
        """Takes in what was dumped."""
        try:
            with pipeline.turn(self._night, self._tenant):
                self._page.go_on()
                days = pipeline.take_in(self._night, self._page, lane, self._again, self._say)
        except Exception as error:
            return self._failed(error)
        result = Result(tenant=self._tenant, run=self._page.run, days=tuple(days))
        self._watch.done(result)
        return result

    def _seen(self, events: int) -> None:
        self._say(f"extract: {events:,} events")

    def _say(self, what: str) -> None:
        self._watch.say(self._tenant, what)

    def _failed(self, error: Exception) -> Result:
        """The night goes on for the others, whatever it was."""
        message = str(error) if isinstance(error, DialerError) else f"{type(error).__name__}: {error}"
        if isinstance(error, OSError):
            message = f"below {self._night.settings.state_dir} something cannot be read or written: {error}"
        elif not isinstance(error, DialerError):
            log.exception("the run of %s failed", self._tenant, extra={"event": "etl.failed"})
        # A disk that is full must not stay so for what nobody will read.
        with suppress(DialerError):
            if self._page.fail(message):
                clear_up(self._night, self._tenant, [self._page.run])
        result = Result(
            tenant=self._tenant, run=self._page.run, error=message, elsewhere=isinstance(error, Elsewhere)
        )  # fmt: skip
        self._watch.done(result)
        return result
