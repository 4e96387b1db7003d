"""How many statements and commits PostgreSQL saw, by its own count: its statistics, and a sample of its log.

A sample, because a log of every statement would be half of what is measured; pg_stat_statements is in another package.
"""

from __future__ import annotations

import re
from collections import Counter

from bench.sides import rows_of
from dialer.lab.up import Lab
from dialer.storage.session import sync_engine

SAMPLE = 0.05
_LINE = re.compile(r"duration: [\d.]+ ms +(?:statement|execute [^:]*): *(\w+)", re.IGNORECASE)
"""Only what is executed: a prepared statement is also parsed and bound, each with a line of its own."""
_COMMITS = "select xact_commit from pg_stat_database where datname = current_database()"


class Statements:
    """What happened between `begin` and `end`."""

    def __init__(self) -> None:
        self.commits = 0
        self.by_verb = Counter[str]()
        """Statements by their first word, estimated from the sample."""
        self._before, self._place = 0, 0

    @property
    def count(self) -> int:
        """All statements."""
        return self.by_verb.total()

    def begin(self, lab: Lab) -> None:
        """Makes the server log a sample."""
        engine = sync_engine(lab.settings)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("alter system set log_min_duration_sample = 0")
            connection.exec_driver_sql(f"alter system set log_statement_sample_rate = {SAMPLE}")
            connection.exec_driver_sql("select pg_reload_conf()")
        engine.dispose()
        self._place = (lab.places.postgres / "log").stat().st_size
        self._before = rows_of(lab, _COMMITS)[0][0]

    def end(self, lab: Lab) -> None:
        """Reads what was counted."""
        self.commits = rows_of(lab, _COMMITS)[0][0] - self._before
        with (lab.places.postgres / "log").open("rb") as log:
            log.seek(self._place)
            found = Counter(verb.lower() for verb in _LINE.findall(log.read().decode(errors="replace")))
        self.by_verb = Counter({verb: round(count / SAMPLE) for verb, count in found.items()})
