"""opt_out, callback and complete: what the person does, what is stored of it and when; read the table."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from dialer.calls.results import FlowResult, Memory, Try, TryOutcome
from dialer.contacts.suppress import DncScope
from sounds.catalogue import Spoken
from tests.support.dialogues import TestClock, shown, talk

FLOW: dict[str, object] = {
    "welcome": {"menu": "What now?", "tries": 1, "otherwise": "later",
                "keys": {"1": "fine", "2": "later", "3": "when", "4": "tomorrow", "8": "done", "9": "never"}},
    "fine": {"ask": "Fine?", "keys": {"1": "yes", "9": "never"}, "next": {"yes": "thanks", "never": "never"}},
    "thanks": {"complete": "yes", "next": "more"},
    "more": {"menu": "More?", "keys": {"1": "bye", "2": "later", "9": "never"}, "tries": 1},
    "later": {"callback": "In two hours.", "after": "2h", "next": "again"},
    "again": {"menu": "Really?", "keys": {"1": "bye", "5": "end", "9": "no"}, "tries": 1, "otherwise": "bye"},
    "when": {"callback": "At what time?", "tries": 2, "on_wrong": "No such time.", "next": "bye"},
    "tomorrow": {"callback": "Tomorrow at what time?", "day": "tomorrow", "tries": 1, "otherwise": "later",
                 "next": "bye"},
    "no": {"hangup": "refused"},
    "end": {"hangup": "completed"},
    "never": {"opt_out": "Never again."},
    "done": {"complete": "yes"},
    "bye": {"say": "Goodbye.", "complete": "yes"},
}  # fmt: skip

# Two in the afternoon, in Warsaw. What the caller does, one word each time we say (play) or ask (ports of Caller);
# result @ last step; answers; when to call again, from now; whether they opted out.
DIALOGUES = """
1 1 1 on         | completed @ bye    | fine=yes       |         |
1 1 …            | completed @ more   | fine=yes       |         |
1 bye            | hung_up @ fine     |                |         |
8 on             | completed @ bye    |                |         |
8 bye            | completed @ bye    |                |         |
2 on 1 on        | partial @ bye      |                | 2:00    |
2 on 5           | partial @ end      |                | 2:00    |
2 bye            | hung_up @ later    |                | 2:00    |
2 on bye         | hung_up @ again    |                | 2:00    |
2 on 9           | refused @ no       |                |         |
… on … on        | no_input @ bye     |                | 2:00    |
1 1 2 on 1 on    | completed @ bye    | fine=yes       | 2:00    |
3 1730 on        | partial @ bye      | when=17:30     | 3:30    |
3 1730 bye       | hung_up @ bye      | when=17:30     | 3:30    |
3 930# on        | partial @ bye      | when=09:30     | 19:30   |
3 1359 on        | partial @ bye      | when=13:59     | 23:59   |
3 2461 on 1730 on | partial @ bye     | when=17:30     | 3:30    |
3 … …            | partial @ when     |                |         |
4 1730 on        | partial @ bye      | tomorrow=17:30 | 27:30   |
4 17# on 1 on    | partial @ bye      |                | 2:00    |
9 on             | refused @ never    |                |         | out
9 bye            | refused @ never    |                |         | out
1 9 on           | refused @ never    | fine=never     |         | out
1 1 9 on         | completed @ never  | fine=yes       |         | out
"""


def rows() -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in DIALOGUES.strip().splitlines()]


def hours(span: timedelta) -> str:
    minutes = span // timedelta(minutes=1)
    return f"{minutes // 60}:{minutes % 60:02}"


@pytest.mark.parametrize(("does", "result", "answers", "again", "out"), [(*row, "")[:5] for row in rows()])
async def test_a_dialogue(does: str, result: str, answers: str, again: str, out: str) -> None:
    run = await talk(does, FLOW)
    saved = run.store.saved
    assert run.result == result
    assert [f"{one.step}={one.value}" for one in saved.answers] == answers.split()
    (end,) = saved.ends
    assert (hours(end.callback_at - TestClock().now()) if end.callback_at else "") == again
    assert end.opted_out is (out == "out")
    assert [one.scope for one in saved.opt_outs] == [DncScope.TENANT] * (out == "out")
    payload = saved.events[-1]["payload"]
    assert payload["opted_out"] is end.opted_out
    assert payload["callback_at"] == (end.callback_at.isoformat() if end.callback_at else None)


async def test_who_opts_out_is_on_the_list_before_they_hear_so_with_what_they_pressed() -> None:
    run = await talk("1 9 on", FLOW)
    assert run.store.log == ["What now?", "Fine?", "saved fine", "saved opt-out tenant", "Never again.",
                             "saved refused"]  # fmt: skip


@pytest.mark.parametrize("scope", DncScope)
async def test_the_flow_says_who_does_not_call_any_more(scope: DncScope) -> None:
    run = await talk("on", {"never": {"opt_out": "Never again.", "scope": scope.value}})
    assert [(one.scope, one.attempt_id) for one in run.store.saved.opt_outs] == [(scope, UUID(int=7))]


async def test_an_opt_out_whose_confirmation_cannot_be_said_stands() -> None:
    run = await talk("9", FLOW, missing=["Never again."])
    (end,) = run.store.saved.ends
    assert (end.result, end.opted_out) == (FlowResult.REFUSED, True)
    assert "SoundMissing" in (end.detail or "")
    assert len(run.store.saved.opt_outs) == 1


async def test_a_wrong_time_is_asked_again_and_its_tries_are_stored() -> None:
    run = await talk("3 2461 on *123 …", FLOW)
    assert "No such time." in run.store.log
    assert [shown(one) for one in run.store.saved.tries] == [
        "welcome:3", "when:2461!out_of_range", "when:*123!not_allowed",
    ]  # fmt: skip


async def test_a_dialogue_taken_over_keeps_the_moment_by_the_time_when_it_was_typed() -> None:
    """Typed a minute before its time: by now the clock has passed it, and it must not become tomorrow's."""
    now = TestClock().now()
    tries = tuple(
        Try(attempt_id=UUID(int=7), step=step, visit=1, try_no=1, keys=keys, outcome=TryOutcome.ACCEPTED,
            at=now - timedelta(minutes=2))
        for step, keys in (("welcome", "3"), ("when", "1359"))
    )  # fmt: skip
    memory = Memory(tries=tries, seq=3, started_at=now - timedelta(minutes=3))
    run = await talk("on", FLOW, memory=memory)
    (end,) = run.store.saved.ends
    assert end.callback_at == now - timedelta(minutes=1)
    assert run.store.saved.answers == [], "it is stored already"


async def test_a_dialogue_taken_over_says_the_opt_out_again_and_lists_it_again() -> None:
    tried = Try(attempt_id=UUID(int=7), step="welcome", visit=1, try_no=1, keys="9", outcome=TryOutcome.ACCEPTED,
                at=TestClock().now())  # fmt: skip
    memory = Memory(tries=(tried,), seq=2, started_at=TestClock().now())
    run = await talk("on", FLOW, memory=memory)
    assert run.store.log == ["saved opt-out tenant", "Never again.", "saved refused"]


async def test_what_these_words_say_is_made_while_the_question_before_is_heard() -> None:
    run = await talk("9 on", FLOW)
    prepared = {sound.text for sound in run.voice.prepared if isinstance(sound, Spoken)}
    assert {"Never again.", "In two hours.", "At what time?"} <= prepared
