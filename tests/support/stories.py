"""Stories of tickets, queue entries and logins, a line an event, and the facts that an engine makes of events.

    10:05:00 assigned agent=ann group=support
    +1d 09:00:00.25 message customer late=7200

A line is a time of 2026-11-21 UTC or so many days later, the type without its family, and what it says; `late` is how
many seconds later than the others it came in.
"""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from dialer.settings import OpeningHours
from etl import opening
from etl.columns import DAY_US, HISTORY, KNOWN, Kind
from etl.engines.port import Engine
from etl.sql.order import BY_NAME, ORDER
from tests.support.reference_metrics import Event, Facts, cleaned

START_US = 20_778 * DAY_US
"""2026-11-21T00:00:00Z."""
PARAMETERS = {"late_after_us": 3_600_000_000}
FAMILY: dict[Kind, str] = {"ticket": "ticket", "queue_entry": "queue", "agent_session": "agent"}
_COLUMN = {"group": "group_name"}


def at(clock: str) -> int:
    """The instant of `10:05`, `10:05:00.25` or `+2d 10:05`, in microseconds."""
    days, _, time = clock.rpartition(" ")
    hours, minutes, seconds = (*time.split(":"), "0")[:3]
    whole, _, fraction = seconds.partition(".")
    in_day = (int(hours) * 60 + int(minutes)) * 60 + int(whole)
    return START_US + int(days.strip("+d") or 0) * DAY_US + in_day * 1_000_000 + int(fraction.ljust(6, "0"))


def told(kind: Kind, subject: str, story: str) -> list[Event]:
    """The events of one subject's story."""
    lines = [line.split() for line in story.strip().splitlines()]
    return [_event(kind, subject, number, words) for number, words in enumerate(lines, 1)]


def _event(kind: Kind, subject: str, number: int, words: list[str]) -> Event:
    clock = f"{words.pop(0)} {words.pop(0)}" if words[0].startswith("+") else words.pop(0)
    event_type, said = f"{FAMILY[kind]}.{words[0]}", words[1:]
    occurred_us = at(clock)
    event: Event = {
        "tenant": "acme",
        "event_id": hashlib.md5(f"{subject} {number}".encode(), usedforsecurity=False).hexdigest(),
        "occurred_us": occurred_us,
        "ingested_us": occurred_us + 1_000_000,
        "type": event_type,
        "subject": subject,
        "seq": None,
        "type_rank": KNOWN[event_type].rank,
    }
    if event_type == "ticket.message":
        event |= {"author": said.pop(0), "visibility": "public"}
    for word in said:
        name, _, value = word.partition("=")
        if name == "late":
            event["ingested_us"] += int(value) * 1_000_000
        else:
            event[_COLUMN.get(name, name)] = int(value) if name == "seq" else value
    return event


def placed(events: Iterable[Event]) -> Iterator[Event]:
    """Cleaned events with their place in the history of their subject, as the lake holds them."""
    places: dict[tuple[Any, str], int] = defaultdict(int)
    for event in cleaned(events):
        subject = event["tenant"], event["subject"]
        places[subject] += 1
        yield event | {"place": places[subject]}


def write_history(kind: Kind, events: Iterable[Event], file: Path) -> None:
    """A Parquet file of `history_KIND` with these rows, in the order given."""
    columns = HISTORY[kind]
    text = file.with_suffix(".csv")
    with text.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([event.get(name) for name in columns] for event in events)
    types = ", ".join(f"'{name}': '{'VARCHAR' if kind == 'STRING' else kind}'" for name, kind in columns.items())
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{text}', header = false, nullstr = '', columns = {{{types}}})) "
            f"TO '{file}' (FORMAT parquet)"
        )


def computed(
    engine: Engine, kind: Kind, files: Sequence[Path], folder: Path, hours: Sequence[OpeningHours] = ()
) -> tuple[Facts, dict[str, str]]:
    """What an engine makes of a history: the rows of each published dataset in the order of its key, and its digest."""
    facts: Facts = {}
    digests = digested(engine, kind, files, folder, hours)
    for name in digests:
        dataset = BY_NAME[name]
        order = ", ".join(f"{column} NULLS LAST" for column in dataset.key)
        query = f"SELECT {', '.join(dataset.columns)} FROM {name} ORDER BY {order}"
        facts[name] = list(engine.rows(query, {}))
    return facts, digests


def digested(
    engine: Engine, kind: Kind, files: Sequence[Path], folder: Path, hours: Sequence[OpeningHours] = ()
) -> dict[str, str]:
    """The same, but of the rows only their digests."""
    engine.register(f"history_{kind}", files, HISTORY[kind])
    # As a file: a view of so many days is read anew wherever a query names it, which takes seconds.
    when_open = opening.query(hours, "acme", START_US // DAY_US - 2, START_US // DAY_US + 1000)
    written = engine.write(when_open, {}, opening.COLUMNS, folder / f"opening-{kind}", digest_of=())
    engine.register("opening", written.files, opening.COLUMNS)
    digests = {}
    for dataset in ORDER:
        if dataset.kind != kind:
            continue
        columns = list(dataset.columns)
        written = engine.write(
            dataset.query, PARAMETERS, dataset.columns, folder / dataset.name,
            order_by=dataset.key if dataset.published else (), digest_of=columns if dataset.published else columns[:1],
        )  # fmt: skip
        engine.register(dataset.name, written.files, dataset.columns)
        if dataset.published:
            digests[dataset.name] = written.digest
    return digests
