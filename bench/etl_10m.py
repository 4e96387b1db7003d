"""Ten million events from PostgreSQL to reports, beside a COPY of the same rows to nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import sqlalchemy
from sqlalchemy import Engine, text

from bench.figure import Conditions, Result, Size, rounded
from bench.import_1m import _database, _reset_peak
from bench.measure import cpu_seconds, database_cpu, memory
from dialer.clock import monotonic, utc_now
from dialer.settings import Settings
from dialer.storage import event_log
from etl import lanes, status
from etl.commands import report
from etl.night_commands import make_night

EVENTS = 10_000_000
LARGE = 100_000
"""Events of the one ticket that never ends."""
AIM_S = 45
AIM_MB = 1500
_LIFE = """
(0, 'ticket.created', '{"channel": "email", "group": "first", "priority": "normal"}'),
(1, 'ticket.queued', '{"group": "first"}'),
(60, 'ticket.assigned', '{"agent": "agent-%s", "group": "first"}'),
(70, 'ticket.work_started', '{"agent": "agent-%s"}'),
(120, 'ticket.message', '{"author": "agent", "visibility": "public", "agent": "agent-%s"}'),
(500, 'ticket.message', '{"author": "customer", "visibility": "public"}'),
(600, 'ticket.transferred', '{"agent": "agent-7", "group": "second"}'),
(900, 'ticket.work_ended', '{"agent": "agent-%s"}'),
(3000, 'ticket.solved', '{"agent": "agent-7"}'),
(7200, 'ticket.closed', '{}')
"""
_FILL = """
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload, source)
select md5(n || '-' || after_s)::uuid, 'bench', cast(:day as timestamptz) + make_interval(secs => n % 50000 + after_s),
       type, 'ticket', 'T-' || n, null, 1, cast(replace(payload, '%s', (n % 500)::text) as jsonb), 'desk'
from generate_series(1, :tickets) as n, (values {life}) as life (after_s, type, payload)
order by n % 50000 + after_s
"""
_FILL_LARGE = """
insert into event (event_id, tenant_id, occurred_at, type, subject_type, subject_id, seq, schema_v, payload, source)
select md5('large-' || n)::uuid, 'bench', cast(:day as timestamptz) + make_interval(secs => n * 0.5), 'ticket.message',
       'ticket', 'T-large', n, 1,
       cast('{"author": "' || (array['customer', 'agent'])[n % 2 + 1] || '", "visibility": "public"}' as jsonb), 'desk'
from generate_series(1, :events) as n
"""


REPORTS = ("ticket_cohort_daily", "agent_daily", "sla_daily")


class _Quiet:
    def say(self, tenant: str, what: str) -> None:
        pass

    def done(self, result: lanes.Result) -> None:
        assert not result.error, result.error


def etl_10m(folder: Path, size: Size) -> Result:
    """Ten million ticket events, one ticket with a hundred thousand of them, become facts and reports."""
    events = size.calls or EVENTS
    with _database() as (engine, postmaster), _settings(folder, engine) as settings:
        _fill(engine, events)
        copy_s = _copy(engine)
        sql_before, own_before, _ = database_cpu(postmaster), cpu_seconds(os.getpid()) or 0.0, _reset_peak()
        began = monotonic()
        night = make_night(settings, engine)
        (result,) = lanes.run_night(night, lanes.tenants(night), [], _Quiet())
        etl_s = monotonic() - began
        reports_s = {name: _report(settings, folder, name) for name in REPORTS}
        whole_s = monotonic() - began
        peak, sql_s = memory(os.getpid(), "VmHWM:") or 0, database_cpu(postmaster) - sql_before
        own_s = (cpu_seconds(os.getpid()) or 0.0) - own_before
        with engine.connect() as connection:
            stages = status.stages(connection, result.run)
    figures = [
        rounded(f"{events:,} events from PostgreSQL to reports", "s", whole_s, copy_s),
        rounded("events a second", "1/s", events / whole_s, events / copy_s),
        rounded("  to facts", "s", etl_s),
        *(rounded(f"  report {name}", "s", took_s) for name, took_s in reports_s.items()),
        rounded("  CPU of the process", "s", own_s),
        rounded("  CPU of PostgreSQL", "s", sql_s),
        rounded("  peak memory of the process", "MB", peak / 1e6),
        *(rounded(f"  {one['stage']}: {one['what']}", "s", one["took_s"]) for one in stages if one["took_s"] >= 0.5),
    ]
    conditions: Conditions = {"ceiling column": "COPY of the same rows to a reader that drops them", "aim s": AIM_S,
                              "aim MB": AIM_MB}  # fmt: skip
    return figures, conditions


@contextmanager
def _settings(folder: Path, engine: Engine) -> Iterator[Settings]:
    key = folder / "key"
    key.write_text("k" * 64, encoding="utf-8")
    yield Settings.model_validate(
        {
            "database": engine.url.render_as_string(hide_password=False).replace("+psycopg", ""),
            "state_dir": folder / "var",
            "mac_key_file": key,
            "nodes": [{"name": "node-1", "ami": {"secret_file": key}}],
            "trunks": [{"name": "carrier-a", "node": "node-1", "host": "127.0.0.1", "port": 5070}],
        }
    )


def _report(settings: Settings, folder: Path, name: str) -> float:
    file = folder / "dialer.yaml"
    file.write_text(settings.model_dump_json(exclude_unset=True), encoding="utf-8")
    day = str((utc_now() - timedelta(days=1)).date())
    arguments = [name, "--from", day, "--to", day, "--csv", str(folder / f"{name}.csv"), "--settings", str(file)]
    began = monotonic()
    report.main(arguments, standalone_mode=False)
    return monotonic() - began


def _fill(engine: Engine, events: int) -> None:
    """A day of tickets in the order in which their events occurred, as a log holds them."""
    day = utc_now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    large = min(LARGE, events // 100)
    with engine.begin() as connection:
        connection.execute(text(event_log.partitions([day.date(), (day + timedelta(days=1)).date()])))
        connection.execute(text("set local synchronous_commit = off"))
        statement = sqlalchemy.text(_FILL.format(life=_LIFE.replace(":", "\\:")))
        connection.execute(statement, {"day": day, "tickets": (events - large) // 10})
        connection.execute(text(_FILL_LARGE), {"day": day, "events": large})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze event"))


def _copy(engine: Engine) -> float:
    began = monotonic()
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with driver.cursor() as cursor, cursor.copy("copy (select * from event) to stdout") as copy:
            for _ in copy:
                pass
    return monotonic() - began
