"""The engine's promises under whatever may happen: lost links, doubled messages, stores that fail, kills anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.model_engine import Killed, Model
from tests.support.model_world import Delivery, Ending, Fate

WORKS = ("launch", "store_changes", "recover", "sweep")
ENDS = (asyncio.CancelledError, Killed)


def calls(model: Model, fates: list[Fate], ticks: int, claim_s: float, order_s: float) -> None:
    """Calls are launched, slowly perhaps; then a little time passes."""
    model.store.slow_s, model.node.slow_s = claim_s, order_s
    model.node.fates.extend(fates)
    model.run(model.launch())
    model.node.fates.clear()
    model.store.slow_s = model.node.slow_s = 0.0
    time_passes(model, ticks)


def time_passes(model: Model, ticks: int) -> None:
    for _ in range(ticks):
        model.tick()


def minutes_pass(model: Model, minutes: int) -> None:
    """Until somebody is due again."""
    for _ in range(6 * minutes):
        model.tick(10.0)


def a_message_comes(model: Model, how: str) -> None:
    """One of the node's, twice or before its turn."""
    outbox = model.node.outbox
    if how == "swapped" and len(outbox) > 1:
        outbox[0], outbox[1] = outbox[1], outbox[0]
    model.deliver(times=1 + (how == "doubled"))


def the_link_is_lost(model: Model, after_s: float, seconds: float) -> None:
    model.world.later(after_s, model.node.lose_link)
    model.world.later(after_s + seconds, model.link_up)


def asterisk_is_killed(model: Model, after_s: float, seconds: float) -> None:
    model.world.later(after_s, model.node.crash)
    model.world.later(after_s + seconds, model.link_up)


def the_database_is_away(model: Model, after_s: float, seconds: float) -> None:
    model.world.later(after_s, model.database_gone)
    model.world.later(after_s + seconds, model.database_back)


def the_record_is_silent(model: Model, part: str, after_s: float, seconds: float) -> None:
    """It cannot be read, or the node makes no marks that prove it complete."""
    model.world.later(after_s, partial(setattr, model.node, part, False))
    model.world.later(after_s + seconds, partial(setattr, model.node, part, True))


def commits_fail(model: Model, faults: list[str]) -> None:
    model.store.faults.extend(faults)


def the_engine_ends(model: Model, work: str, moment: int, how: type[BaseException], fate: Fate) -> bool:
    """At the n-th wait of a piece of its work, if there are so many; the next one begins."""
    model.node.fates.append(fate)
    reached = model.kill(getattr(model, work)(), moment, how)
    model.node.fates.clear()
    model.tick()
    return reached


def happening(
    what: Callable[..., None], **how: st.SearchStrategy[object]
) -> st.SearchStrategy[Callable[[Model], None]]:
    return st.fixed_dictionaries(how).map(lambda drawn: partial(what, **drawn))


fates = st.tuples(st.just(Delivery.TAKEN) | st.sampled_from(Delivery), st.sampled_from(Ending))
soon = st.sampled_from([0.0, 0.2, 0.6, 1.1, 3.0, 5.0, 20.0])
outage = st.sampled_from([0.2, 1.0, 4.0, 20.0, 200.0])


def launches() -> st.SearchStrategy[Callable[[Model], None]]:
    return happening(
        calls, fates=st.lists(fates, min_size=1, max_size=2), ticks=st.integers(0, 8),
        claim_s=st.sampled_from([0, 0, 1, 3]), order_s=st.sampled_from([0, 0, 1, 4]),
    )  # fmt: skip


happenings = st.one_of(
    *(launches() for _ in range(5)),
    happening(time_passes, ticks=st.integers(1, 12)),
    happening(minutes_pass, minutes=st.integers(1, 6)),
    happening(a_message_comes, how=st.sampled_from(["in order", "doubled", "swapped"])),
    happening(the_link_is_lost, after_s=soon, seconds=outage),
    happening(asterisk_is_killed, after_s=soon, seconds=outage),
    happening(the_database_is_away, after_s=soon, seconds=outage),
    happening(
        the_record_is_silent, part=st.sampled_from(["cel_readable", "makes_marks"]), after_s=soon, seconds=outage
    ),
    happening(commits_fail, faults=st.lists(st.sampled_from(["before", "after"]), min_size=1, max_size=3)),
    happening(
        the_engine_ends, work=st.sampled_from(WORKS),
        moment=st.integers(1, 12), how=st.sampled_from(ENDS), fate=fates,
    ),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(happenings, min_size=12, max_size=30))
def test_whatever_happens_the_promises_hold_and_all_ends_well(night):
    model = Model()
    try:
        model.tick()
        for happens in night:
            happens(model)
            model.check()
        model.heal()
    finally:
        model.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(happenings, min_size=12, max_size=30))
def test_whatever_happens_no_rate_is_passed(night):
    """With limits that bind all the time: a campaign's and a trunk's."""
    model = Model(rate=0.3, rate_of_a=0.1)
    try:
        model.tick()
        for happens in night:
            happens(model)
            calls(model, [(Delivery.TAKEN, Ending.CONGESTED)], 2, 0, 0)
            model.check()
    finally:
        model.close()


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("work", WORKS)
def test_an_engine_that_ends_at_any_wait_leaves_nothing_behind(work, how, delivery):
    """A person answered, another's turn is next, and the process ends at its first wait, at its second, and so on."""
    moment, reached = 0, True
    while reached:
        moment += 1
        model = Model()
        try:
            model.tick()
            calls(model, [(Delivery.TAKEN, Ending.COMPLETED)], ticks=9, claim_s=0, order_s=0)
            if work in ("store_changes", "sweep"):
                model.world.go_on(30.0)
            if work == "store_changes":
                model.deliver_all()
            reached = the_engine_ends(model, work, moment, how, (delivery, Ending.BUSY))
            model.check()
            model.heal()
        finally:
            model.close()
    assert moment > 1, "it never waits"
