"""The people of a fault run: two campaigns with overlapping lists, and what each subscriber does at the carrier."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RING_S, LONGEST_S = 5, 20
"""Short, so that a perhaps-sent order is settled within a minute and a half (promise 1)."""
CEILING, RATE = 60, 8
"""Of each campaign."""
CONTACTS_A_SECOND = 12
"""More than both campaigns can call: a run ends by being drained, not by having called everybody."""
ATTEMPTS = 3
QUESTIONS = ("first", "second", "third")
KEYS = "123456789"


@dataclass(frozen=True, kw_only=True)
class Again:
    """A second call is allowed so long after the end of the one before, so often for this disposition."""

    after_s: int
    times: int


STOP = None
POLICY: dict[str, Again | None] = {
    "busy": Again(after_s=3, times=1),
    "no_answer": Again(after_s=4, times=1),
    "congestion": Again(after_s=3, times=1),
    "trunk_refused": Again(after_s=3, times=1),
    "not_placed": Again(after_s=2, times=3),
    "hung_up": Again(after_s=3, times=1),
    "rejected": STOP,
    "invalid_number": STOP,
    "unreachable": STOP,
    "out_of_order": STOP,
    "media_error": STOP,
    "rtp_lost": STOP,
    "partial": STOP,
    "no_input": STOP,
    "refused": STOP,
    "dialogue_error": STOP,
    "completed": STOP,
    "unknown": STOP,
}
"""What both campaign files say (`unknown` is held there, which is no second call either)."""

UNCOUNTED = frozenset({"trunk_refused", "congestion", "media_error", "not_placed", "returned"})
"""Dispositions that use up none of the person's attempts (docs/dispositions.md)."""

# What subscribers do, and how many of a hundred do it. "keys" stands for a different key for each question, so that
# every stored key can be traced to the moment at which it was pressed.
KINDS: tuple[tuple[int, str, str], ...] = (
    (44, "answers_and_presses", "keys"),
    (8, "presses_wrong_first", "* keys"),
    (6, "answers_late", "2 keys"),
    (4, "answers_late", f"{RING_S} keys"),
    (4, "presses_late", "keys"),
    (4, "says_nothing", ""),
    (5, "hangs_up_mid_prompt", "0.3"),
    (4, "hangs_up_at_once", ""),
    (6, "busy", ""),
    (4, "rings_out", ""),
    (3, "never_rings", ""),
    (3, "rejects", ""),
    (2, "unallocated", ""),
    (2, "congested", ""),
    (1, "trunk_refuses", ""),
)

_RETRY = "".join(
    f"  {name}: {'stop' if rule is None else f'{{after: {rule.after_s}s, times: {rule.times}}}'}\n"
    for name, rule in POLICY.items()
    if name not in ("completed", "unknown")
)
_CAMPAIGN = """\
campaign: {name}
contacts: {{from: people.csv, person: person, numbers: [mobile, second]}}
calling: {{window: any}}
capacity: {{max_concurrent: {ceiling}, calls_per_second: {rate}, trunks: [{trunk}], caller_id: "+48221234567",
  ring: {ring}s, longest_call: {longest}s}}
retry:
  attempts: {attempts}
  unknown: hold
{retry}flow:
{flow}  bye: {{say: "Bye.", complete: yes}}
"""
_QUESTION = '  {step}: {{ask: "{said}?", keys: {{{keys}}}, timeout: 3s, tries: 2}}\n'


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What was written: campaign files by name, and the carrier's table."""

    campaigns: dict[str, Path]
    numbers: Path
    people: dict[str, str]
    """Number to person."""


def write_workload(folder: Path, rng: random.Random, minutes: float) -> Workload:
    """Two campaigns; a twelfth of the people is in both lists, a twelfth has two numbers."""
    people = max(60, round(minutes * 60 * CONTACTS_A_SECOND))
    acts = [(behaviour, args) for share, behaviour, args in KINDS for _ in range(share)]
    rows: list[tuple[str, str, str]] = []
    table: list[tuple[str, str, str, str]] = []
    for index in range(people):
        numbers = [_number(index)] + ([_number(people + index)] if index % 12 == 3 else [])
        for number in numbers:
            behaviour, args = rng.choice(acts)
            keys = " ".join(rng.sample(KEYS, len(QUESTIONS)))
            table.append((number, "*", behaviour, args.replace("keys", keys)))
        rows.append((f"person-{index}", numbers[0], numbers[1] if len(numbers) > 1 else ""))
    lists = {
        "fault-a": [row for index, row in enumerate(rows) if index % 12 == 5 or index % 2 == 0],
        "fault-b": [row for index, row in enumerate(rows) if index % 12 == 5 or index % 2 == 1],
    }
    campaigns = {}
    for (name, listed), trunk in zip(lists.items(), ("carrier-a", "carrier-b"), strict=True):
        # The shared people stand at different places of the two lists, so that both campaigns want them at once only
        # some of the time.
        rng.shuffle(listed)
        (folder / name).mkdir()
        _write(folder / name / "people.csv", ("person", "mobile", "second"), listed)
        campaigns[name] = folder / name / "campaign.yaml"
        campaigns[name].write_text(_campaign(name, trunk), encoding="utf-8")
    numbers_file = folder / "numbers.csv"
    _write(numbers_file, ("number", "nth_invite", "behaviour", "args"), table)
    owners = {number: row[0] for row in rows for number in row[1:] if number}
    return Workload(campaigns=campaigns, numbers=numbers_file, people=owners)


def _number(index: int) -> str:
    return f"+48501{300_000 + index:06d}"


def _campaign(name: str, trunk: str) -> str:
    keys = ", ".join(f"{key}: k{key}" for key in KEYS)
    flow = "".join(_QUESTION.format(step=step, said=step.capitalize(), keys=keys) for step in QUESTIONS)
    return _CAMPAIGN.format(
        name=name, trunk=trunk, ceiling=CEILING, rate=RATE, ring=RING_S, longest=LONGEST_S, attempts=ATTEMPTS,
        retry=_RETRY, flow=flow,
    )  # fmt: skip


def _write(path: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
