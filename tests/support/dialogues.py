"""Dialogues without a telephone: a person who does what a script says, a store that remembers, sounds that exist."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from agi.interpreter import Interpreter
from agi.ports import CallerHungUp, Dialogue, EndedBy, Pressed, SoundMissing
from dialer.calls.results import Memory, Try, TryOutcome, Writes
from dialer.campaign.model import Campaign
from dialer.errors import DatabaseAway
from sounds.catalogue import Sound, Spoken


def campaign(flow: dict[str, object]) -> Campaign:
    """A campaign around a flow."""
    return Campaign.model_validate({
        "campaign": "test", "calling": {"window": "any"},
        "contacts": {"from": "base.csv", "numbers": ["mobile"], "fields": ["first_name"]},
        "capacity": {"max_concurrent": 1, "calls_per_second": 1, "trunks": ["a"], "caller_id": "+48221234567"},
        "flow": flow,
    })  # fmt: skip


def dialogue(flow: dict[str, object], **fields: str) -> Dialogue:
    """A dialogue with Anna in Warsaw."""
    return Dialogue(attempt_id=UUID(int=7), tenant_id="default", revision_id=3, campaign=campaign(flow),
                    base_dir=Path("/base"), language="en", codec="alaw", longest_call_s=240,
                    fields={"first_name": "Anna", **fields}, zones="Europe/Warsaw@PL-14")  # fmt: skip


@dataclass
class TestClock:
    """Time that only stands still, or is moved by hand."""

    __test__ = False
    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 5, 1, 12, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Store:
    """Keeps what is saved; fails as often as it is told."""

    failures: int = 0
    saved: Writes = field(default_factory=Writes)
    log: list[str] = field(default_factory=list)

    def note(self, writes: Writes) -> None:
        self.saved.extend(writes)

    async def save(self, writes: Writes) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise DatabaseAway("PostgreSQL does not answer")
        self.saved.extend(writes)
        self.log += [f"saved {answer.step}" for answer in writes.answers]
        self.log += [f"saved opt-out {one.scope.value}" for one in writes.opt_outs]
        self.log += [f"saved {end.result.value}" for end in writes.ends]


class Voice:
    """Every sound exists, under its own text."""

    def __init__(self, missing: Iterable[str] = ()) -> None:
        self.missing, self.prepared, self.forgotten = set(missing), [], []  # type: ignore[var-annotated]

    async def name(self, sound: Sound) -> str:
        assert isinstance(sound, Spoken)
        return sound.text

    def prepare(self, sound: Sound) -> None:
        self.prepared.append(sound)

    def forget(self, sound: Sound) -> None:
        self.forgotten.append(sound)


class Caller:
    """A phone with a person at it who does what the script says."""

    def __init__(self, script: str, clock: TestClock, log: list[str], missing: Iterable[str] = ()) -> None:
        self._script, self._clock, self._missing = iter(script.split()), clock, set(missing)
        self.log = log
        self.limited_to: int | None = None

    def _next(self, heard: str) -> str:
        if heard in self._missing:
            raise SoundMissing(heard)
        self.log.append(heard)
        act = next(self._script, "on")
        if act == "bye":
            raise CallerHungUp
        return act

    async def limit(self, seconds: int) -> None:
        self.limited_to = seconds

    async def play(self, sound: str) -> None:
        act = self._next(sound)
        assert act == "on", f"the caller pressed {act} while {sound!r} was said"

    async def ask(self, sound: str, max_digits: int, timeout_s: float) -> Pressed:
        act = self._next(sound)
        assert act != "on", f"the caller was asked {sound!r}"
        self._clock.seconds += 0.5 if act == "#late" else 5
        act = act.removesuffix("late")
        digits = act.rstrip("#…")[:max_digits]
        if len(digits) == max_digits:
            return Pressed(digits=digits, ended_by=EndedBy.FULL)
        return Pressed(digits=digits, ended_by=EndedBy.HASH if act.endswith("#") else EndedBy.TIMEOUT)


@dataclass
class Talk:
    """One dialogue, run to its end."""

    store: Store
    phone: Caller
    voice: Voice
    result: str


async def talk(
    script: str, flow: dict[str, object], *, store: Store | None = None, missing: Iterable[str] = (),
    memory: Memory | None = None, **fields: str,
) -> Talk:  # fmt: skip
    """Leads a dialogue of a flow with a caller who does what the script says."""
    clock, store = TestClock(), store or Store()
    phone, voice = Caller(script, clock, store.log, missing), Voice()
    end = await Interpreter(dialogue=dialogue(flow, **fields), phone=phone, voice=voice, store=store, clock=clock,
                            memory=memory).run()  # fmt: skip
    return Talk(store=store, phone=phone, voice=voice, result=f"{end.result.value} @ {end.step}")


def shown(item: Try) -> str:
    """A try as tables write it: `fever:2`, or why it was refused, `fever:5!not_allowed`."""
    why = "" if item.outcome is TryOutcome.ACCEPTED else f"!{item.outcome.value}"
    return f"{item.step}:{item.keys}{why}"
