"""Seeded streams of events as bad as they come: skewed, shuffled, doubled, late, with ties, gaps and clocks astray."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from etl.columns import KNOWN, Kind
from tests.support.reference_metrics import Event
from tests.support.stories import FAMILY, START_US

SECOND_US = 1_000_000
STEPS_US = (0, 0, 0, 1, SECOND_US, 17 * SECOND_US, 300 * SECOND_US, 3 * 3600 * SECOND_US, 2 * 86400 * SECOND_US)
AGENTS = ("ann", "bob", "cid", "dora")
GROUPS = ("first_line", "second_line", "back_office")
CHANNELS = ("telephone", "whatsapp", "web_chat", "email")
QUEUES = ("sales", "tech")
REASONS = ("completed", "completed", "abandoned", "full", "joinempty", "leaveempty", "timeout", "exitwithkey")
Saying = Callable[[random.Random], dict[str, Any]]


def _maybe(dice: random.Random, choices: tuple[str, ...]) -> str | None:
    return dice.choice((None, *choices))


def _somewhere(dice: random.Random, first: str, second: str, firsts: tuple[str, ...], seconds: tuple[str, ...]):
    """One of two, or both: never neither."""
    said = {first: _maybe(dice, firsts), second: _maybe(dice, seconds)}
    return said if any(said.values()) else {first: dice.choice(firsts)}


def _by_agent(dice: random.Random) -> dict[str, Any]:
    return {"agent": dice.choice(AGENTS)}


def _message(dice: random.Random) -> dict[str, Any]:
    author = dice.choice(("customer", "customer", "agent", "agent", "bot", "system"))
    agent = dice.choice(AGENTS) if author == "agent" else None
    visibility = dice.choice(("public", "public", "public", "internal"))
    channel = dice.choice((*(None,) * 9, *CHANNELS))
    return {"author": author, "agent": agent, "visibility": visibility, "channel": channel}


SAYS: dict[str, Saying] = {
    "ticket.created": lambda dice: {
        "channel": dice.choice(CHANNELS), "group_name": _maybe(dice, GROUPS), "agent": _maybe(dice, AGENTS),
        "priority": _maybe(dice, ("low", "high")),
    },
    "ticket.updated": lambda dice: {
        "status": _maybe(dice, ("new", "open", "pending", "hold")), "priority": _maybe(dice, ("low", "high")),
    },
    "ticket.queued": lambda dice: {"group_name": dice.choice(GROUPS)},
    "ticket.assigned": lambda dice: {"agent": dice.choice(AGENTS), "group_name": _maybe(dice, GROUPS)},
    "ticket.transferred": lambda dice: _somewhere(dice, "agent", "group_name", AGENTS, GROUPS),
    "ticket.message": _message,
    "ticket.work_started": _by_agent,
    "ticket.work_ended": _by_agent,
    "ticket.solved": lambda dice: {"agent": _maybe(dice, AGENTS)},
    "queue.entered": lambda dice: {
        "queue": dice.choice(QUEUES), "channel": dice.choice(CHANNELS), "ticket": _maybe(dice, ("t-1", "t-2")),
    },
    "queue.offered": _by_agent,
    "queue.declined": lambda dice: _by_agent(dice) | {"reason": _maybe(dice, ("no_answer",))},
    "queue.answered": _by_agent,
    "queue.transferred": lambda dice: _somewhere(dice, "agent", "queue", AGENTS, QUEUES),
    "queue.wrapped": _by_agent,
    "queue.ended": lambda dice: {"reason": dice.choice(REASONS)},
    "agent.logged_in": _by_agent,
    "agent.paused": lambda dice: {"code": dice.choice(("lunch", "training"))},
}  # fmt: skip
OFTEN = {"ticket.message": 5, "ticket.work_started": 2, "ticket.work_ended": 2, "queue.ended": 0.05}
BEGINS: dict[Kind, str] = {
    "ticket": "ticket.created", "queue_entry": "queue.entered", "agent_session": "agent.logged_in",
}  # fmt: skip


def _subject(dice: random.Random, kind: Kind, subject: str, length: int) -> Iterator[Event]:
    types = [name for name in KNOWN if name.startswith(f"{FAMILY[kind]}.")]
    # Some events come often, others once in a while, another mix for each subject.
    weights = [dice.choice((1, 1, 2, 6)) * OFTEN.get(name, 1) for name in types]
    numbered = dice.random() < 0.3
    at_us = START_US + dice.randrange(86400) * SECOND_US
    for number in range(length):
        at_us += dice.choice(STEPS_US)
        name = BEGINS[kind] if number == 0 and dice.random() < 0.9 else dice.choices(types, weights)[0]
        astray_us = dice.choice((0,) * 9 + (-2 * SECOND_US,))
        occurred_us = at_us + astray_us
        yield {
            "tenant": "acme",
            "event_id": f"{dice.getrandbits(128):032x}",
            "occurred_us": occurred_us,
            "ingested_us": occurred_us + dice.choice((SECOND_US, SECOND_US, 30 * SECOND_US, 26 * 3600 * SECOND_US)),
            "type": name,
            "subject": subject,
            "seq": number // 2 if numbered and dice.random() < 0.9 else None,
            "type_rank": KNOWN[name].rank,
            **SAYS.get(name, lambda _: {})(dice),
        }


def stream(kind: Kind, seed: int, subjects: int, longest: int) -> list[Event]:
    """Events of so many subjects, most of them short and one `longest`, shuffled, every fiftieth twice."""
    dice = random.Random(f"{kind} {seed}")
    lengths = [longest, *(min(longest, int(dice.paretovariate(0.9) * 3)) for _ in range(subjects - 1))]
    events = [
        event for number, length in enumerate(lengths) for event in _subject(dice, kind, f"s-{number:06}", length)
    ]
    again = [event | {"ingested_us": event["ingested_us"] + SECOND_US} for event in events if dice.random() < 0.02]
    dice.shuffle(both := events + again)
    return both
