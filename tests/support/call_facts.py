"""Calls as short texts, as seeded random streams, and what the transforms make of either."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid5

from etl.columns import HISTORY, KNOWN, SEGMENT, STEP
from etl.engines.port import Engine
from etl.sql.order import ORDER
from etl.stages.enrich import EVER_US
from tests.support.facts import write_parquet
from tests.support.reference_calls import Event, Row

MIDNIGHT_US = 1_782_000_000_000_000
"""21 June 2026 in UTC; instants of texts are milliseconds after it."""


def event(subject: str, kind: str, at_us: int, **values: Any) -> Row:
    """A flat event of a call; its id is made of the rest, unless it is given."""
    row: Row = dict.fromkeys(SEGMENT)
    row |= {"tenant": "t", "occurred_us": at_us, "ingested_us": at_us, "type": kind, "kind": "call", "source": "",
            "subject": subject, "schema_v": 1, "type_rank": KNOWN[kind].rank, **values}  # fmt: skip
    if row["event_id"] is None:
        row["event_id"] = str(uuid5(UUID(int=6), f"{subject} {kind} {at_us} {sorted(values.items())}"))
    return row


def told(text: str, subject: str = "a", **everywhere: Any) -> list[Row]:
    """Events from a text such as `0 submitting | 250 accepted | 9000 ended busy cause=17 hung_up=8990`.

    Each is milliseconds, type (`attempt.` or `dialogue.` left out), for an end its verdict, and values; `hung_up` is in
    milliseconds, too. Submissions are on trunk `a` unless they say otherwise.
    """
    events = []
    for part in text.split(" | "):
        ms, kind, *rest = part.split()
        values: Row = {"campaign": 1, "contact": 7, **everywhere}
        full = f"attempt.{kind}" if f"attempt.{kind}" in KNOWN else f"dialogue.{kind}"
        if kind == "over":
            full = "dialogue.ended"
        if full == "attempt.submitting":
            values |= {"trunk": "a", "node": "node-1", "wave": 1, "dial": 1, "number_dial": 1, "revision": 3}
        for word in rest:
            name, is_value, value = word.partition("=")
            if not is_value:
                values["disposition"] = name
            elif name == "hung_up":
                values["hung_up_us"] = MIDNIGHT_US + int(value) * 1000
            else:
                values[name] = int(value) if SEGMENT[name] == "BIGINT" else value
        events.append(event(subject, full, MIDNIGHT_US + int(ms) * 1000, **values))
    return events


def facts(
    engine: Engine, subjects: Mapping[str, Sequence[Event]], tariff: str, folder: Path, as_of_us: int = 0
) -> dict[str, list[Row]]:
    """What the transforms make of cleaned histories: rows by dataset, in the order of their keys."""
    folder.mkdir(parents=True)
    history = folder / "history.parquet"
    write_parquet(HISTORY["call"], [one for own in subjects.values() for one in own], history)
    engine.register("history_call", [history], HISTORY["call"])
    engine.view("tariff", tariff)
    values = {
        "as_of_us": as_of_us, "day": 0, "tenant": "t", "from_us": -EVER_US, "to_us": EVER_US, "campaign": None,
    }  # fmt: skip
    found = {}
    for dataset in (one for one in ORDER if one.kind == "call"):
        written = engine.write(
            dataset.query, values, dataset.columns, folder / dataset.name, order_by=dataset.lies_by or dataset.key,
        )  # fmt: skip
        engine.register(dataset.name, written.files, dataset.columns)
        rows = engine.rows(
            f"SELECT * FROM {dataset.name} ORDER BY {', '.join(f'{one} NULLS LAST' for one in dataset.key)}", {}
        )
        found[dataset.name] = [dict(zip(dataset.columns, row, strict=True)) for row in rows]
    return found


Verdict = tuple[str, int | None, int | None]
"""Disposition, SIP status, Q.850 cause."""
VERDICTS: tuple[Verdict, ...] = (
    ("busy", 486, 17), ("no_answer", 480, 19), ("no_answer", 480, 18), ("unreachable", 408, 18), ("rejected", 603, 21),
    ("blocked", 608, 21), ("invalid_number", 404, 1), ("number_changed", 410, 22), ("out_of_order", 502, 27),
    ("congestion", 503, 34), ("trunk_refused", 403, 21), ("media_error", 488, 58), ("cancelled", None, 0),
    ("unknown", None, None), ("not_placed", None, None), ("returned", None, None),
)  # fmt: skip
ANSWERED = (
    ("completed", "completed"), ("partial", "partial"), ("refused", "refused"), ("no_input", "no_input"),
    ("hung_up", "hung_up"), ("dialogue_error", None), ("rtp_lost", "hung_up"),
)  # fmt: skip
FLOW = (("hello", "say"), ("fever", "ask"), ("days", "ask"), ("which", "menu"), ("when", "callback"),
        ("later", "after"), ("bye", "say"), ("end", "hangup"))  # fmt: skip
REFUSED = ("silence", "not_allowed", "out_of_range", "too_short")


class Stream:
    """A seeded stream of calls: every verdict, loops, ties, clocks that differ, lost and doubled events."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def events(self, calls: int) -> list[Row]:
        """The events of so many calls, shuffled; one in ten comes twice, some of them later."""
        made = [one for _ in range(calls) for one in self._call()]
        doubled = [
            one | {"ingested_us": one["ingested_us"] + self._random.randrange(10**6)}
            for one in made
            if self._random.random() < 0.1
        ]
        made += doubled
        self._random.shuffle(made)
        # The path of a dialogue counts in milliseconds.
        return [
            one | {name: one[name] // 1000 * 1000 for name in ("occurred_us", "hung_up_us") if one[name] is not None}
            for one in made
        ]

    def _call(self) -> list[Row]:
        random = self._random
        subject = str(UUID(int=random.getrandbits(128)))
        whose = {"campaign": random.randint(1, 3), "contact": random.randint(1, 500), "wave": random.randint(1, 3)}
        at = MIDNIGHT_US + random.randrange(36 * 3600) * 10**6 + random.choice((0, random.randrange(10**6)))
        own = [event(
            subject, "attempt.submitting", at, seq=1, **whose, revision=random.randint(1, 2), node="node-1",
            trunk=random.choice(("a", "b", "c")), dial=random.randint(1, 4), number_dial=random.randint(1, 4),
        )]  # fmt: skip
        for kind, chance in (("unclear", 0.05), ("accepted", 0.9), ("ringing", 0.7)):
            if random.random() < chance:
                at += random.choice((0, random.randrange(5 * 10**6)))
                own.append(event(subject, f"attempt.{kind}", at, seq=len(own) + 1, **whose))
        if random.random() < 0.6:
            at += self._rest(20)
            own.append(event(subject, "attempt.answered", at, seq=len(own) + 1, **whose))
            at, result = self._dialogue(subject, at, own)
            verdict: Verdict = (result, None, random.choice((0, 16, 44)))
        else:
            verdict = random.choice(VERDICTS)
        if random.random() < 0.95:
            self._end(own, subject, at, whose, verdict)
        kept = [one for one in own if one["type"] == STEP or random.random() < 0.97]
        # The path is part of the dialogue's end.
        has_path = any(one["type"] == "dialogue.ended" for one in kept)
        return [one for one in kept if has_path or one["type"] != STEP]

    def _end(self, own: list[Row], subject: str, at: int, whose: Row, verdict: Verdict) -> None:
        random, (disposition, sip, cause) = self._random, verdict
        hung_up = at + self._rest(90)
        if random.random() < 0.4:
            own.append(event(subject, "attempt.closing", hung_up, seq=len(own) + 1, **whose))
        ended = event(
            subject, "attempt.ended", hung_up + random.randrange(6 * 10**6), seq=len(own) + 1, **whose, cause=cause,
            disposition=disposition, sip_code=sip, reason="ring_limit" if random.random() < 0.1 else None,
            hung_up_us=None if random.random() < 0.1 else hung_up,
            refusal="no such endpoint" if disposition == "not_placed" else None,
        )  # fmt: skip
        own.append(ended)
        if random.random() < 0.05:
            # As after a restore: the journal tells of the end once more.
            again = str(uuid5(UUID(int=7), str(ended["event_id"])))
            own.append(ended | {"event_id": again, "seq": None, "cause": None})

    def _rest(self, seconds: int) -> int:
        """Microseconds; of one in twenty the clock was behind."""
        return -500 if self._random.random() < 0.05 else self._random.randrange(seconds * 10**6)

    def _dialogue(self, subject: str, at: int, own: list[Row]) -> tuple[int, str]:
        random = self._random
        disposition, result = random.choice(ANSWERED)
        began, seq = at + random.randrange(10**6), iter(range(1, 1000))
        revision, visits = random.randint(1, 2), dict.fromkeys((step for step, _ in FLOW), 0)
        own.append(event(subject, "dialogue.started", began, seq=next(seq), revision=revision,
                         language=random.choice(("en", "pl"))))  # fmt: skip
        now = began
        path: list[Row] = []
        for step, word in random.choices(FLOW, k=random.randint(0, 9)):
            visits[step] += 1
            path.append(
                {"step": step, "visit": visits[step], "code": word, "occurred_us": now, "try_no": len(path) + 1}
            )
            now = self._tries(own, subject, step, visits[step], word, now, seq)
        over = now + random.randrange(5 * 10**6)
        if result is None or random.random() < 0.05:
            return over, disposition
        end = event(subject, "dialogue.ended", over, seq=next(seq), result=result,
                    step=path[-1]["step"] if path else None, answers=0)  # fmt: skip
        own.append(end)
        own += [
            event(subject, "dialogue.step", entry["occurred_us"], ingested_us=over,
                  event_id=f"{end['event_id']}-{entry['try_no']}",
                  **{name: value for name, value in entry.items() if name != "occurred_us"})
            for entry in path
        ]  # fmt: skip
        return over, disposition

    def _tries(
        self, own: list[Row], subject: str, step: str, visit: int, word: str, now: int, seq: Any
    ) -> int:  # fmt: skip
        random = self._random
        if word not in ("ask", "menu", "callback"):
            return now + random.choice((0, random.randrange(8 * 10**6)))
        for try_no in range(1, random.randint(1, 4)):
            now += random.randrange(6 * 10**6)
            said = {"step": step, "visit": visit, "try_no": try_no, "seq": next(seq)}
            if random.random() < 0.6:
                keys = random.choice(("1", "2", "12#"))
                if word == "menu":
                    own.append(
                        event(subject, "dialogue.tried", now, **said, outcome="accepted", value="bye", keys=keys)
                    )
                else:
                    said.pop("try_no")
                    own.append(
                        event(subject, "dialogue.answered", now, **said, value=f"v{keys}", keys=keys, revision=1)
                    )
                break
            own.append(event(subject, "dialogue.tried", now, **said, outcome=random.choice(REFUSED), keys=""))
        return now
