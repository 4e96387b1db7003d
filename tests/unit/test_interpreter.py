"""What a person does on the telephone, and what the dialogue makes of it: read the table."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from agi.interpreter import MAX_VISITS, Interpreter
from agi.ports import CallerHungUp, Pressed
from dialer.calls.results import FlowResult, Memory, Try, TryOutcome, Writes
from dialer.errors import DatabaseAway
from sounds.catalogue import APOLOGY, Spoken
from tests.support import dialogues
from tests.support.dialogues import Caller, Store, Talk, TestClock, Voice, dialogue, shown

FLOW = {
    "welcome": {"say": "Good morning {first_name}."},
    "fever": {"ask": "Fever?", "keys": {"1": "yes", "2": "no", "9": "never"}, "tries": 3,
              "on_silence": "Nothing heard.", "on_wrong": "That key means nothing.",
              "next": {"yes": "people", "no": "goodbye", "never": "stop"}},
    "people": {"ask": "How many?", "digits": "1-2", "range": "1-20", "tries": 2, "otherwise": "help",
               "next": "goodbye"},
    "help": {"menu": "Again or end?", "keys": {"1": "people", "*": "goodbye"}, "tries": 1},
    "goodbye": {"say": "Goodbye.", "complete": "yes"},
    "bye": {"hangup": "completed"},
    "stop": {"hangup": "refused"},
}  # fmt: skip

# What the caller does, one word each time we say (play) or ask; `on`: listens, `bye`: hangs up; keys as pressed,
# `…` when they stop without #. What comes of it: result @ last step, answers, tries as step:keys, refused ones !why.
DIALOGUES = """
on 2 on          | completed @ bye     | fever=no           | fever:2
on 1 4# on       | completed @ bye     | fever=yes people=4 | fever:1 people:4#
on 1 12 on       | completed @ bye     | fever=yes people=12 | fever:1 people:12
on 1 07… on      | completed @ bye     | fever=yes people=7 | fever:1 people:07
on 9             | refused @ stop      | fever=never        | fever:9
on 5 on 2 on     | completed @ bye     | fever=no           | fever:5!not_allowed fever:2
on … on * on 2 on | completed @ bye     | fever=no           | fever:!silence fever:*!not_allowed fever:2
on # on 2 on     | completed @ bye     | fever=no           | fever:#!not_allowed fever:2
on … on … on …   | no_input @ fever    |                    | fever:!silence fever:!silence fever:!silence
on 5 on … on 5   | no_input @ fever    |                    | fever:5!not_allowed fever:!silence fever:5!not_allowed
bye              | hung_up @ welcome   |                    |
on bye           | hung_up @ fever     |                    |
on 5 bye         | hung_up @ fever     |                    | fever:5!not_allowed
on 1 bye         | hung_up @ people    | fever=yes          | fever:1
on 2 bye         | completed @ goodbye | fever=no           | fever:2
on 1 21 … …      | partial @ help      | fever=yes        | fever:1 people:21!out_of_range people:!silence help:!silence
on 1 … *… * on   | completed @ bye     | fever=yes          | fever:1 people:!silence people:*!not_allowed help:*
on 1 … … 1 4# on | completed @ bye     | fever=yes people=4 | fever:1 people:!silence people:!silence help:1 people:4#
on 1 #late 4# on | completed @ bye     | fever=yes people=4 | fever:1 people:4#
on 1 # 4# on     | completed @ bye     | fever=yes people=4 | fever:1 people:#!too_short people:4#
"""


async def talk(script: str, flow: dict[str, object] = FLOW, **more: Any) -> Talk:
    return await dialogues.talk(script, flow, **more)


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in DIALOGUES.strip().splitlines()]


@pytest.mark.parametrize(("does", "result", "answers", "tries"), rows())
async def test_a_dialogue(does: str, result: str, answers: str, tries: str) -> None:
    run = await talk(does)
    saved = run.store.saved
    assert [shown(item) for item in saved.tries] == tries.split()
    assert [f"{a.step}={a.value}" for a in saved.answers] == answers.split()
    assert run.result == result
    assert [(end.result.value, end.answers) for end in saved.ends] == [(result.split()[0], len(saved.answers))]
    types = [event["type"] for event in saved.events]
    assert types == ["dialogue.started", *map(told_by, saved.tries), "dialogue.ended"]
    assert [event["seq"] for event in saved.events] == list(range(1, len(types) + 1))


def told_by(tried: Try) -> str:
    """The event that tells of a try: each has one."""
    is_answer = tried.outcome is TryOutcome.ACCEPTED and "menu" not in FLOW[tried.step]
    return "dialogue.answered" if is_answer else "dialogue.tried"


async def test_the_log_tells_of_every_try_that_is_no_answer() -> None:
    run = await talk("on 5 on 1 … … 1 4# on")
    told = [event["payload"] for event in run.store.saved.events if event["type"] == "dialogue.tried"]
    assert [(one["step"], one["visit"], one["try_no"], one["keys"], one["outcome"], one["value"]) for one in told] == [
        ("fever", 1, 1, "5", "not_allowed", None),
        ("people", 1, 1, "", "silence", None),
        ("people", 1, 2, "", "silence", None),
        ("help", 1, 1, "1", "accepted", "people"),
    ]


def path_of(saved: Writes) -> str:
    """`step@ms`, `#2` behind a second visit, and how long it lasted."""
    (end,) = [event["payload"] for event in saved.events if event["type"] == "dialogue.ended"]
    steps = [f"{step}@{ms}" + (f"#{visit}" if visit > 1 else "") for step, ms, visit, _ in end["path"]]
    return " ".join([*steps, f"= {end['lasted_ms']}"])


async def test_the_path_holds_every_step_and_when_it_was_entered() -> None:
    # Each question takes the caller 5 s.
    run = await talk("on 1 … … 1 4# on")
    assert path_of(run.store.saved) == (
        "welcome@0 fever@0 people@5000 help@15000 people@20000#2 goodbye@25000 bye@25000 = 25000"
    )
    path = run.store.saved.events[-1]["payload"]["path"]
    assert [word for *_, word in path] == ["say", "ask", "ask", "menu", "ask", "say", "hangup"]


async def test_the_path_of_a_dialogue_taken_over_has_the_moments_that_were_heard() -> None:
    # It began 100 s ago; `fever` was answered then, after 7 s; now `people` is asked, and answered in 5 s.
    answered = Try(attempt_id=UUID(int=7), step="fever", visit=1, try_no=1, keys="1", outcome=TryOutcome.ACCEPTED,
                   at=EARLIER + timedelta(seconds=7))  # fmt: skip
    run = await talk("4# on", memory=Memory(tries=(answered,), seq=2, started_at=EARLIER))
    assert path_of(run.store.saved) == "welcome@0 fever@0 people@100000 goodbye@105000 bye@105000 = 105000"


async def test_each_answer_is_committed_before_the_person_hears_anything_more() -> None:
    run = await talk("on 5 on 1 12 on")
    assert run.store.log == ["Good morning Anna.", "Fever?", "That key means nothing.", "Fever?", "saved fever",
                             "How many?", "saved people", "Goodbye.", "saved completed"]  # fmt: skip


async def test_refused_tries_are_committed_before_the_correction_is_said() -> None:
    store = Store()
    await talk("on 5 bye", store=store)
    assert [t.keys for t in store.saved.tries] == ["5"]


async def test_a_step_visited_again_counts_its_visits() -> None:
    run = await talk("on 1 … … 1 … … 1 4# on")
    assert [(t.step, t.visit, t.try_no) for t in run.store.saved.tries if t.step == "people"] == [
        ("people", 1, 1), ("people", 1, 2), ("people", 2, 1), ("people", 2, 2), ("people", 3, 1),
    ]  # fmt: skip
    assert [(a.step, a.visit) for a in run.store.saved.answers] == [("fever", 1), ("people", 3)]


async def test_a_flow_that_goes_round_and_round_ends_as_our_error_and_not_in_silence() -> None:
    circle: dict[str, object] = {"main": {"menu": "One?", "keys": {"1": "main"}, "tries": 1, "otherwise": "main"}}
    run = await talk("1 " * MAX_VISITS + "on", circle)
    assert run.result == "error @ main"
    assert run.phone.log[-2:] == [APOLOGY["en"], "saved error"]


async def test_a_missing_sound_is_made_again_once_then_the_person_hears_sorry() -> None:
    run = await talk("on on", missing=["Fever?"])
    assert run.result == "error @ fever"
    assert run.voice.forgotten == [Spoken(text="Fever?", language="en")]
    assert run.phone.log[-2:] == [APOLOGY["en"], "saved error"]
    assert "SoundMissing" in (run.store.saved.ends[0].detail or "")


async def test_an_answer_that_nothing_takes_ends_the_dialogue_with_an_apology() -> None:
    class NoAnswers(Store):
        async def save(self, writes: Writes) -> None:
            if writes.answers:
                raise DatabaseAway("neither PostgreSQL nor the disk takes it")
            await super().save(writes)

    run = await talk("on 1 on", store=NoAnswers())
    assert run.result == "error @ people"
    assert run.store.log == ["Good morning Anna.", "Fever?", APOLOGY["en"], "saved error"], "it was not confirmed"


async def test_when_nothing_takes_rows_at_all_who_runs_the_dialogue_is_told() -> None:
    store = Store(failures=1000)
    with pytest.raises(DatabaseAway):
        await talk("on 1 on", store=store)
    assert store.log == ["Good morning Anna.", "Fever?", APOLOGY["en"]]


async def test_a_worker_that_must_stop_says_so_in_the_result() -> None:
    store = Store()
    held = asyncio.Event()

    class Holding(Caller):
        async def play(self, sound: str) -> None:
            held.set()
            await asyncio.Event().wait()

    clock = TestClock()
    phone = Holding("", clock, store.log)
    task = asyncio.create_task(
        Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock).run()
    )
    await held.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(end.result, end.detail) for end in store.saved.ends] == [(FlowResult.ERROR, "stopped")]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("no space"), asyncio.CancelledError()])
async def test_an_apology_that_fails_in_any_way_costs_no_result(error: BaseException) -> None:
    store, clock = Store(), TestClock()

    class Speechless(Caller):
        async def play(self, sound: str) -> None:
            if sound == APOLOGY["en"]:
                raise error
            await super().play(sound)

    phone = Speechless("on", clock, store.log, missing=["Fever?"])
    interpreter = Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock)
    try:
        await interpreter.run()
    except asyncio.CancelledError:
        assert isinstance(error, asyncio.CancelledError)
    assert [end.result for end in store.saved.ends] == [FlowResult.ERROR]
    assert interpreter.speechless, "somebody else must say sorry"


async def test_the_call_is_limited_first_and_the_limit_shows_in_the_result() -> None:
    clock, store = TestClock(), Store()

    class Endless(Caller):
        async def play(self, sound: str) -> None:
            clock.seconds += 240
            raise CallerHungUp

    phone = Endless("", clock, store.log)
    end = await Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock).run()
    assert phone.limited_to == 240
    assert (end.result, end.detail) == (FlowResult.HUNG_UP, "longest_call")


@pytest.mark.parametrize(
    ("resumed", "types"), [(False, ["dialogue.ended"]), (True, ["dialogue.resumed", "dialogue.ended"])]
)
async def test_a_dialogue_without_any_prompt_was_not_started(resumed: bool, types: list[str]) -> None:
    clock, store = TestClock(), Store()

    class Gone(Caller):
        async def limit(self, seconds: int) -> None:
            raise CallerHungUp

    known = memory(seq=0) if resumed else None
    phone = Gone("", clock, store.log)
    end = await Interpreter(
        dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock, memory=known
    ).run()
    assert (end.result, end.audio_at) == (FlowResult.HUNG_UP, None)
    assert [(event["seq"], event["type"]) for event in store.saved.events] == list(enumerate(types, 1))


async def test_the_sounds_of_the_next_steps_are_prepared_while_this_one_is_heard() -> None:
    run = await talk("on bye")
    assert Spoken(text="Fever?", language="en") in run.voice.prepared
    assert Spoken(text="Goodbye.", language="en") in run.voice.prepared


# -- another worker takes over --


class WorkerDied(BaseException):
    """Nothing of the worker runs any more."""


@dataclass
class Fate:
    """Kills the worker at its nth contact with the world: before a prompt, or with rows just stored."""

    contacts_left: int

    def met(self) -> None:
        self.contacts_left -= 1
        if self.contacts_left == 0:
            raise WorkerDied


class Disk(Store):
    """What workers leave behind. All rows of a `save` stand, or none."""

    fate = Fate(0)

    def note(self, writes: Writes) -> None:
        self.saved.extend(writes)

    async def save(self, writes: Writes) -> None:
        self.saved.extend(writes)
        self.fate.met()

    def memory(self) -> Memory | None:
        events = self.saved.events
        if not events:
            return None
        return Memory(tries=tuple(self.saved.tries), seq=max(event["seq"] for event in events), started_at=EARLIER)


class Patient(Caller):
    """A caller who answers each question once it is asked, however often a worker dies before it hears the keys."""

    fate = Fate(0)

    async def play(self, sound: str) -> None:
        self.fate.met()
        self.log.append(sound)

    async def ask(self, sound: str, max_digits: int, timeout_s: float) -> Pressed:
        self.fate.met()
        return await super().ask(sound, max_digits, timeout_s)


EARLIER = TestClock().now() - timedelta(seconds=100)
KEYS = [does for does, *_ in rows() if "bye" not in does]


async def survive(does: str, contacts: int) -> tuple[Disk, str, int]:
    """A dialogue whose workers die after so many contacts each, but the third never does; how many there were."""
    disk, clock = Disk(), TestClock()
    phone = Patient(" ".join(word for word in does.split() if word != "on"), clock, disk.log)
    for worker in (1, 2, 3):
        disk.fate = phone.fate = Fate(contacts if worker < 3 else 0)
        interpreter = Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=disk, clock=clock,
                                  memory=disk.memory())  # fmt: skip
        try:
            end = await interpreter.run()
        except WorkerDied:
            if disk.saved.ends:
                return disk, f"{disk.saved.ends[0].result.value} @ {disk.saved.ends[0].step}", worker
        else:
            return disk, f"{end.result.value} @ {end.step}", worker
    raise AssertionError("the third worker lives")


@pytest.mark.parametrize("does", KEYS)
@pytest.mark.parametrize("contacts", range(1, 14))
async def test_workers_may_die_at_any_moment_and_nothing_is_lost_asked_twice_or_stored_twice(
    does: str, contacts: int
) -> None:
    whole = await talk(does)
    disk, result, _ = await survive(does, contacts)
    assert result == whole.result
    assert [shown(item) for item in disk.saved.tries] == [shown(item) for item in whole.store.saved.tries]
    assert [(a.step, a.visit, a.value) for a in disk.saved.answers] == [
        (a.step, a.visit, a.value) for a in whole.store.saved.answers
    ]
    assert [end.answers for end in disk.saved.ends] == [len(disk.saved.answers)]
    numbers = [event["seq"] for event in disk.saved.events]
    assert numbers == list(range(1, len(numbers) + 1))
    types = [event["type"] for event in disk.saved.events]
    assert types[0] == "dialogue.started"
    assert types.count("dialogue.started") == types.count("dialogue.ended") == 1
    questions = [heard for heard in disk.log if heard.endswith("?")]
    assert questions == [heard for heard in whole.store.log if heard.endswith("?")], "asked what was not yet answered"


async def test_workers_did_die_in_that_test() -> None:
    lived = [(await survive(does, contacts))[2] for does in KEYS for contacts in range(1, 14)]
    assert Counter(lived).keys() == {1, 2, 3}
    assert Counter(lived)[3] > 30


def memory(*tries: tuple[str, int, int, str, TryOutcome], seq: int = 2) -> Memory:
    return Memory(
        tries=tuple(
            Try(attempt_id=UUID(int=7), step=step, visit=visit, try_no=no, keys=keys, outcome=outcome, at=EARLIER)
            for step, visit, no, keys, outcome in tries
        ),
        seq=seq, started_at=EARLIER,
    )  # fmt: skip


OK, WRONG = TryOutcome.ACCEPTED, TryOutcome.NOT_ALLOWED
# What is stored as step:keys (`!` refused), what the caller then does, and all that is heard.
RESUMED = [
    ("nothing", memory(), "on 2", ["Good morning Anna.", "Fever?", "Goodbye."]),
    ("an answer", memory(("fever", 1, 1, "1", OK)), "4#", ["How many?", "Goodbye."]),
    ("a refused try", memory(("fever", 1, 1, "5", WRONG)), "on 2", ["That key means nothing.", "Fever?", "Goodbye."]),
    ("the last answer", memory(("fever", 1, 1, "2", OK)), "on", ["Goodbye."]),
    ("a late hash after an answer", memory(("fever", 1, 1, "1", OK)), "#late 4#",
     ["How many?", "How many?", "Goodbye."]),
    ("a path that this flow does not have", memory(("gone", 1, 1, "1", OK)), "2", ["Fever?", "Goodbye."]),
]  # fmt: skip


@pytest.mark.parametrize(("known", "does", "heard"), [row[1:] for row in RESUMED], ids=[row[0] for row in RESUMED])
async def test_a_dialogue_goes_on_behind_what_is_stored(known: Memory, does: str, heard: list[str]) -> None:
    clock, store = TestClock(), Store()
    phone = Caller(does, clock, store.log)
    await Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock, memory=known).run()
    assert [word for word in store.log if not word.startswith("saved")] == heard
    first = store.saved.events[0]
    assert (first["type"], first["seq"]) == ("dialogue.resumed", 3)
    assert phone.limited_to == 140, "100 s of 240 are used up"


@pytest.mark.parametrize(("used_s", "left_s"), [(0, 240), (239.9, 1), (3600, 1), (-3600, 240)])
async def test_a_call_taken_over_keeps_its_limit_whatever_the_clock_does(used_s: float, left_s: int) -> None:
    clock, store = TestClock(), Store()
    phone = Caller("on 2 on", clock, store.log)
    known = replace(memory(), started_at=clock.now() - timedelta(seconds=used_s))
    await Interpreter(dialogue=dialogue(FLOW), phone=phone, voice=Voice(), store=store, clock=clock, memory=known).run()
    assert phone.limited_to == left_s
