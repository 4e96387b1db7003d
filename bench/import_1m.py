"""A number base of a million people: read, checked and merged, beside a raw COPY of the same file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Engine

from bench.figure import Conditions, Figure, Result, Size, rounded
from bench.measure import database_cpu, memory
from dialer.campaign.load import LoadedCampaign, load_campaign
from dialer.clock import monotonic, utc_now
from dialer.lab import postgres
from dialer.storage import event_log, migrate
from dialer.storage.prepare import ImportSummary, prepare

PEOPLE = 1_000_000
AIM_S = 60
AIM_MB = 400
_CAMPAIGN = dedent(
    """\
    campaign: import
    contacts: {from: people.csv, person: id, numbers: [mobile, home], region: PL, language: lang, fields: [name, city]}
    calling: {window: {mon-fri: "09:00-20:00"}}
    capacity: {max_concurrent: 10, calls_per_second: 5, trunks: [carrier-a], caller_id: "+48221234567"}
    flow: {hello: {say: "Hello {name}."}}
    """
)
_RAW = "create table raw (id text, mobile text, home text, lang text, name text, city text)"
_NAMES = ("Łucja", "Jan", "Zażółć", "Anna Maria", "Błażej", "Ewa", "Krzysztof")
_Done = TypeVar("_Done")
_CITIES = ("Łódź", "Warszawa", "Kraków", "Nowy Sącz", "Poznań")


def import_1m(folder: Path, size: Size) -> Result:
    """A base of a million people is imported, and the next day's, in which every hundredth row is another."""
    people = size.calls or PEOPLE
    _write(folder / "people.csv", people, changed=False)
    (folder / "campaign.yaml").write_text(_CAMPAIGN, encoding="utf-8")
    with _database() as (engine, postmaster):
        raw_s, _ = _timed(lambda: _raw_copy(engine, folder / "people.csv"))
        loaded = load_campaign(folder / "campaign.yaml")
        before, own_before, peak_before = database_cpu(postmaster), time.process_time(), _reset_peak()
        first_s, first = _timed(lambda: _import(engine, loaded))
        peak, sql_s = memory(os.getpid(), "VmHWM:") or 0, database_cpu(postmaster) - before
        own_s = time.process_time() - own_before
        _write(folder / "people.csv", people, changed=True)
        next_s, following = _timed(lambda: _import(engine, loaded))
    figures = [
        rounded(f"import of {people:,} people", "s", first_s, raw_s),
        rounded("rows a second", "1/s", people / first_s, people / raw_s),
        rounded("  CPU of PostgreSQL", "s", sql_s),
        rounded("  CPU of the importing process", "s", own_s),
        rounded("  peak memory of the importing process", "MB", peak / 1e6),
        rounded("  of it before the import", "MB", peak_before / 1e6),
        rounded("the next day's delivery, every hundredth changed", "s", next_s, raw_s),
        Figure(name="people who did not come in", value=people - first.counts.accepted, unit="people"),
        Figure(name="changes that were missed", value=-(-people // 100) - following.counts.changed, unit="people"),
    ]
    conditions: Conditions = {"ceiling column": "COPY of the same bytes into one table of texts", "aim s": AIM_S,
                              "aim MB": AIM_MB}  # fmt: skip
    return figures, conditions


@contextmanager
def _database() -> Iterator[tuple[Engine, int]]:
    """A migrated database in a private cluster, and the process of its postmaster."""
    directory = Path(tempfile.mkdtemp(prefix="dialer-bench-pg-"))
    directory.chmod(0o755)
    try:
        url = postgres.start_cluster(directory).replace("postgresql://", "postgresql+psycopg://")
        engine = sqlalchemy.create_engine(url)
        migrate.upgrade(engine)
        with engine.begin() as connection:
            event_log.ensure_partitions(connection, utc_now())
        yield engine, int((directory / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])
        engine.dispose()
    finally:
        postgres.stop_cluster(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _reset_peak() -> int:
    """Forgets what this process held before (proc(5): clear_refs); returns what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory(os.getpid(), "VmRSS:") or 0


def _write(path: Path, people: int, *, changed: bool) -> None:
    """Numbers as people write them: plain, spaced, international; every third person has two."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,mobile,home,lang,name,city\n")
        for n in range(people):
            digits = f"{n % 1_000_000:06}"
            mobile = (f"501{digits}", f"+48 {505 + n // 1_000_000} {digits[:3]} {digits[3:]}", f"+48602{digits}")[n % 3]
            home = f"22 {300 + n % 600} {n % 90 + 10} {n // 90 % 90 + 10}" if n % 3 == 0 else ""
            name = "Another" if changed and n % 100 == 0 else _NAMES[n % len(_NAMES)]
            file.write(f"HC-{n:07},{mobile},{home},pl,{name},{_CITIES[n % len(_CITIES)]}\n")


def _raw_copy(engine: Engine, path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(_RAW)
        driver = connection.connection.driver_connection
        assert driver is not None
        with (
            path.open("rb") as file,
            driver.cursor() as cursor,
            cursor.copy("copy raw from stdin (format csv, header)") as copy,
        ):
            while block := file.read(1 << 20):
                copy.write(block)


def _import(engine: Engine, loaded: LoadedCampaign) -> ImportSummary:
    summary = prepare(engine, loaded, utc_now()).import_summary
    assert summary is not None
    return summary


def _timed(work: Callable[[], _Done]) -> tuple[float, _Done]:
    began = monotonic()
    done = work()
    return monotonic() - began, done
