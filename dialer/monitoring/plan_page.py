"""`dialer plan`: what a changed file would do: keys changed, people who become due, leave or move, the end with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

from dialer.campaign.calendar import Interval
from dialer.campaign.changes import ABSENT, Change
from dialer.monitoring import outlook
from dialer.monitoring.next_call import call_at
from dialer.monitoring.outlook import Outlook
from dialer.storage.campaigns import StoredRevision
from dialer.storage.funnel import COMING, Bucket, Coming


class Move(Enum):
    """What a change does to somebody."""

    DUE_NOW = "due_now"
    """May be called at once, and could not be."""
    NOT_NOW = "not_now"
    """Could be called at once, and has to wait."""
    EARLIER = "earlier"
    LATER = "later"
    LEAVES = "leaves"
    """Is not called any more, as things are."""
    JOINS = "joins"
    """Was not to be called, and is."""
    STAYS = "stays"


WORDS: Mapping[Move, str] = {
    Move.DUE_NOW: "may be called at once, instead of later",
    Move.NOT_NOW: "have to wait, instead of now",
    Move.EARLIER: "are due earlier",
    Move.LATER: "are due later",
    Move.LEAVES: "leave: no hour or no trunk is left for them",
    Move.JOINS: "come in: they had no hour or no trunk",
    Move.STAYS: "stay as they are",
}
_NOTES = {
    "retry": "`retry`: the next verdicts follow it; due times that stand stay.",
    "flow": "`flow`: calls under way go on by their own; answers carry their revision.",
    "contacts": "`contacts`: `dialer apply` reads the people anew, which may change more than is shown here.",
    "calling.caps": "`caps`: whom they hold back is decided at each claim, and shown by `dialer explain` then.",
    "calling.gap": "`gap`: whom it holds back is decided at each claim, and shown by `dialer explain` then.",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What accepting a file would do."""

    name: str
    before: StoredRevision
    at: datetime
    file: str
    changes: tuple[Change, ...]
    moves: Mapping[Move, int]
    outlook_before: Outlook | None
    outlook_after: Outlook | None
    refusal: str = ""
    """Why `dialer apply` would refuse it now; empty: it would not."""

    @property
    def notes(self) -> list[str]:
        """What such changes do besides."""
        return [
            note for key, note in _NOTES.items() if any(_below(change.key, key) for change in self.changes)
        ]  # fmt: skip


def _below(key: str, of: str) -> bool:
    return key == of or key.startswith((f"{of}.", f"{of}[", f"{of} ("))


def moves(
    pairs: Iterable[tuple[Coming, Bucket]],
    before: Mapping[str, Sequence[Interval]],
    after: Mapping[str, Sequence[Interval]],
    now: datetime,
) -> dict[Move, int]:
    """How many people a change moves, by what it does to them; whoever is closed, held or in a call is not asked."""
    found: Counter[Move] = Counter()
    for was, becomes in pairs:
        due_at = max(was.due_at or now, now)
        old = call_at(before.get(was.key, ()), due_at, now) if was.bucket in COMING else None
        new = call_at(after.get(was.key, ()), due_at, now) if becomes in COMING else None
        if old is not None or new is not None:
            found[_move(old, new, now)] += was.people
    return {move: found[move] for move in Move if found[move]}


def _move(old: datetime | None, new: datetime | None, now: datetime) -> Move:
    if new is None:
        return Move.LEAVES
    if old is None:
        return Move.JOINS
    if (old <= now) != (new <= now):
        return Move.DUE_NOW if new <= now else Move.NOT_NOW
    if old == new:
        return Move.STAYS
    return Move.EARLIER if new < old else Move.LATER


def coming(pairs: Iterable[tuple[Coming, Bucket]], *, after: bool) -> Iterator[Coming]:
    """Who is to be called, by the first view or by the second."""
    for was, becomes in pairs:
        bucket = becomes if after else was.bucket
        if bucket in COMING:
            yield replace(was, bucket=bucket)


def lines(plan: Plan) -> list[str]:
    """The page."""
    before = plan.before
    by = f" by {before.accepted_by}" if before.accepted_by else ""
    head = (
        f"{plan.name}: from revision {before.number} (accepted {before.accepted_at:%Y-%m-%d %H:%MZ}{by}) to {plan.file}"
    )
    if not plan.changes:
        return [head, "nothing would change"]
    page = [head, "", "changed", *(f"  {change}" for change in plan.changes), "", "people"]
    page += [f"{people:>12,}  {WORDS[move]}" for move, people in plan.moves.items()] or ["  nobody is left to call"]
    page += ["", f"before  {outlook.in_words(plan.outlook_before, plan.at)}"]
    page += [f"after   {outlook.in_words(plan.outlook_after, plan.at)}"]
    page += [*([""] if plan.notes else []), *plan.notes]
    return [*page, *(["", f"! `dialer apply` refuses this now: {plan.refusal}"] if plan.refusal else [])]


def listed(found: Sequence[StoredRevision], current: StoredRevision) -> list[str]:
    """The revisions of a campaign, the newest first; a star marks the one in force."""
    return [
        f"{'*' if one.id == current.id else ' '} {one.number:>4}  {one.accepted_at:%Y-%m-%d %H:%MZ}  "
        f"{one.sha256[:12]}  {one.accepted_by or ''}" + (f"  {one.note}" if one.note else "")
        for one in found
    ]


def as_data(plan: Plan) -> dict[str, Any]:
    """The plan for programs; a side of a change that does not stand in its file is missing."""
    return {
        "campaign": plan.name,
        "revision": plan.before.number,
        "changes": [
            {"key": one.key} | {name: value for name, value in (("before", one.before), ("after", one.after))
                                if value is not ABSENT}
            for one in plan.changes
        ],
        "refusal": plan.refusal or None,
        "people": {move.value: people for move, people in plan.moves.items()},
        "forecast": {
            "before": outlook.as_data(plan.outlook_before, plan.at),
            "after": outlook.as_data(plan.outlook_after, plan.at),
        },
    }  # fmt: skip
