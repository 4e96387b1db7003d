"""The engine's parts over the model world, turned by hand as the supervisor turns them, and what must always hold."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from dialer.calls.attempt import Attempt, State
from dialer.calls.disposition import FLOW, Disposition
from dialer.campaign.capacity import TrunkUse
from dialer.campaign.retry import RETRYABLE, RetryPolicy
from dialer.contacts.contact import Terms
from dialer.engine.campaign_loop import CampaignLoop
from dialer.engine.capacity import Capacity
from dialer.engine.ports import Parts
from dialer.engine.recovery import Recovery
from dialer.engine.supervisor import SWEEP_EVERY_S
from dialer.engine.tracker import Tracker
from dialer.engine.witness import Witness
from dialer.errors import DialerError
from dialer.pacing.decide import Binding
from dialer.pacing.limits import window_s
from dialer.settings import TrunkSettings
from tests.support.engine_parts import CAMPAIGN, PLAN, FakeJournal
from tests.support.model_world import ModelNode, ModelStore, Person, World

CEILING = 2
TICK_S = 0.5
OLD_EVENT_S = 1.0
"""TCP keeps order and loses nothing, so disorder among messages is short."""
_AGAIN = {"after": "5s", "times": 50}
EAGER = Terms(
    retry=RetryPolicy.model_validate({"attempts": 50, **dict.fromkeys(set(RETRYABLE) - {"completed"}, _AGAIN)}),
    longest_s=120,
    trunks=("a", "b"),
)
"""Everybody is soon due again after anything but a whole dialogue, so that a night is full of calls."""
KEPT_S = EAGER.longest_s + 60
"""How long an order that was perhaps sent keeps its number and slot (promise 1)."""
LONGEST_S = EAGER.longest_s + 60 + 60
"""By when every attempt has ended, once all is well again (promise 4), with a minute for retries of the wires."""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


class Model:
    """One campaign of four people, two of them with one number, and the engine that calls them."""

    def __init__(self, rate: float = 5.0, rate_of_a: float = 2.0) -> None:
        """`rate`: the campaign's calls a second; `rate_of_a`: those of the first of its two trunks."""
        self.rate, self.rate_of_a = rate, rate_of_a
        self.lines = replace(
            PLAN,
            trunks=tuple(
                TrunkSettings(name=name, node="n", host="127.0.0.1", calls_per_second=limit)
                for name, limit in (("a", rate_of_a), ("b", None))
            ),
            prefixes={"a": (), "b": ()},
        )
        self.loop = asyncio.new_event_loop()
        self.world = World()
        numbers = ("+48501000001", "+48501000002", "+48501000003", "+48501000003")
        self.store = ModelStore(
            self.world, [Person(id=index, number=number) for index, number in enumerate(numbers, 1)], EAGER
        )
        self.node = ModelNode(self.world, self.store, CEILING)
        self.node.on_down = self._on_down
        self.begin()

    def begin(self) -> None:
        """A new process over the same store and node; the session of an earlier one is gone."""
        self.node.outbox.clear()
        self.node.up = True
        parts = Parts(store=self.store, telephony=self.node, journal=FakeJournal(), clock=self.world)  # type: ignore[arg-type]
        self.tracker = Tracker(parts.store, self.world, self.lines.prefixes)
        witness = Witness(parts.store, self.node.read_cel, self.world)
        self.recovery = Recovery(parts.store, parts.telephony, self.tracker, self.world, witness)
        trunks = {"trunks": tuple(TrunkUse(name=name) for name in ("a", "b"))}
        campaign = replace(
            CAMPAIGN, max_concurrent=CEILING, calls_per_second=self.rate, terms=EAGER,
            capacity=CAMPAIGN.capacity.model_copy(update=trunks),
        )  # fmt: skip
        self.capacity = Capacity(self.lines, self.world.monotonic)
        self.tracker.changed.append(self.capacity.note)
        self.campaign = CampaignLoop(campaign, parts, self.tracker, self.capacity, self._blocked, self._in_doubt)
        self.campaign.may_use(campaign.calls_per_second, 1e9)
        self.tracker.changed.append(self.campaign.note)
        sent = self.store.sent_lately(window_s(campaign.calls_per_second))
        self.capacity.assume(sent)
        self.campaign.assume(sum(sent.values()))
        self.recovered, self.doubt, self.compared = False, True, False
        self.swept_at = self.world.passed_s

    def _blocked(self) -> Binding | None:
        if not self.node.is_up:
            return Binding.NODE_AWAY
        if self.tracker.store_away:
            return Binding.DATABASE_AWAY
        return None if self.recovered else Binding.RECOVERING

    def _in_doubt(self) -> None:
        self.recovered, self.doubt = False, True

    def _on_down(self) -> None:
        self.recovered = self.compared = False
        self.tracker.look_away()

    # -- turning it --------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Runs a piece of the engine's work to its end, with what it set going; a store that is away is no error."""

        async def whole() -> None:
            with suppress(DialerError):
                await work
            await self._rest()

        self.loop.run_until_complete(whole())

    async def _rest(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)

    def kill(self, work: Coroutine[Any, Any, Any], moment: int, how: type[BaseException]) -> bool:
        """Ends the process at the n-th time that a piece of work waits; whether it came to that. A new one begins."""

        async def whole() -> bool:
            try:
                with suppress(DialerError):
                    await _until(work, moment, how)
                return False
            except how:
                return True
            finally:
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
                await self._rest()

        reached = self.loop.run_until_complete(whole())
        self.begin()
        return reached

    async def launch(self) -> None:
        """One turn of the campaign, with the orders that it sets going."""
        await self.campaign.turn()
        await asyncio.gather(*self.campaign._ordering)

    async def store_changes(self) -> None:
        """One turn of the tracker."""
        await self.tracker._turn()

    async def sweep(self) -> None:
        """One look for calls whose end was missed."""
        await self.recovery.sweep()

    async def recover(self) -> None:
        """One turn of the supervisor's recovery."""
        self.doubt = False
        try:
            await self.recovery.adopt()
            if self.node.is_up and await self.recovery.compare() and self.node.is_up and not self.doubt:
                self.recovered = self.compared = True
                return
        except DialerError:
            pass
        self.doubt = True

    def tick(self, seconds: float = TICK_S) -> None:
        """What the engine does by itself as time passes."""
        self.world.go_on(seconds)
        if self.doubt:
            self.run(self.recover())
        if self.node.outbox and self.node.outbox[0][0] < self.world.passed_s - OLD_EVENT_S:
            self.deliver_all()
        self.run(self.store_changes())
        if self.world.passed_s - self.swept_at >= SWEEP_EVERY_S:
            self.swept_at = self.world.passed_s
            self.run(self.sweep())

    def deliver_all(self) -> None:
        """Everything that the node has said so far, in order."""
        while self.node.outbox and self.compared:
            self.deliver()

    def deliver(self, times: int = 1) -> None:
        """The node's next message, once or more often; it waits while the node was not compared with what we hold."""
        if self.node.outbox and self.compared:
            _, attempt_id, event = self.node.outbox.popleft()
            for _ in range(times):
                self.tracker.apply(attempt_id, event)

    def link_up(self) -> None:
        """A new session with the node."""
        if not self.node.up:
            self.node.up = True
            self._in_doubt()

    def database_gone(self) -> None:
        """No transaction begins."""
        self.store.away = True

    def database_back(self) -> None:
        """Transactions work again."""
        self.store.away = False

    # -- the promises ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at every moment. (The node itself refuses calls beyond the ceiling, and a second to a number.)"""
        assert max(self.node.written.values(), default=0) <= 1, "an order was sent twice"
        for attempt_id, row in self.store.rows.items():
            if row.disposition in (Disposition.NOT_PLACED, Disposition.RETURNED):
                assert attempt_id not in self.node.invited, f"{row.disposition} of a call that was made"
            if row.disposition is Disposition.UNKNOWN and attempt_id not in self.node.invited:
                assert _age_s(row) >= KEPT_S or row.boot != self.node.boot, "given up while it might still have come"
        self._check_rates()
        for attempt_id in self.node.live:
            assert self.store.rows[attempt_id].state is not State.ENDED, "a verdict on a call that goes on"

    def _check_rates(self) -> None:
        for trunk, rate in (("a", self.rate_of_a), ("", self.rate)):
            times = [at for at, name in self.node.invited_at if trunk in ("", name)]
            for place, at in enumerate(times):
                most = sum(at - 10.0 < one <= at for one in times[: place + 1])
                assert most <= 10 * rate, f"{most} calls in ten seconds{' through ' + trunk if trunk else ''}"

    def heal(self) -> None:
        """Everything is well again: each attempt ends in time, as it went where anybody saw that."""
        self.database_back()
        self.store.faults.clear()
        self.node.cel_readable = self.node.makes_marks = True
        self.link_up()
        healed_at = self.world.passed_s
        while self.store.open_rows() or not self.tracker.is_settled():
            assert self.world.passed_s - healed_at < LONGEST_S, f"left open: {self.store.open_rows()}"
            self.tick(2.0)
            self.check()
        for row in self.store.rows.values():
            self._check_verdict(row)
        for person in self.store.people.values():
            assert person.due_at is not None or person.settled, "a person is lost: not due, closed or held"
        assert not self.node.live
        self._check_nothing_leaks()

    def _check_nothing_leaks(self) -> None:
        report = self.capacity.report(self.capacity.look(queue=None, lag_s=None, audio_s=None))
        assert (report["calls"], report["orders_waiting"]) == (0, 0)
        assert [trunk["calls"] for trunk in report["trunks"]] == [0, 0]
        assert not +self.tracker.calls
        now = self.world.passed_s
        self.world.go_on(1200)
        for name in ("a", "b"):
            allowed = self.capacity._trunks[name].breaker.allowance(self.world.monotonic())
            assert allowed is None or allowed > 0, f"the breaker of {name} stays open without a person"
        self.world.passed_s = now

    def _check_verdict(self, row: Attempt) -> None:
        heard = any(record.attempt_id == row.id and record.kind == "HANGUP" for record in self.store.cel.values())
        told = self.store.results.get(row.id)
        if row.disposition is Disposition.UNKNOWN:
            assert not heard or _age_s(row) >= KEPT_S, "unknown, where the record says how it ended"
        if told is not None and _age_s(row) < KEPT_S:
            assert row.disposition in (FLOW[told.result], Disposition.PARTIAL), (
                f"{row.disposition} of a dialogue {told}"
            )

    def close(self) -> None:
        """Frees the loop."""
        self.loop.close()


def _age_s(row: Attempt) -> float:
    """How old an attempt was when it got its verdict."""
    assert row.ended_at is not None
    return (row.ended_at - row.submitting_at).total_seconds()


@types.coroutine
def _until(work: Coroutine[Any, Any, Any], moment: int, how: type[BaseException]) -> Generator[Any, Any, Any]:
    """Awaits a coroutine step by step; at its n-th suspension throws into it what ends it."""
    value: Any = None
    thrown: BaseException | None = None
    waited = 0
    while True:
        try:
            waits_on = work.send(value) if thrown is None else work.throw(thrown)
        except StopIteration as done:
            return done.value
        waited += 1
        value, thrown = None, None
        if waited == moment:
            if waits_on is not None:
                waits_on._asyncio_future_blocking = False
                waits_on.cancel()
            thrown = how()
            continue
        try:
            value = yield waits_on
        except BaseException as error:
            thrown = error
