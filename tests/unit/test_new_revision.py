"""A campaign under way takes another revision at its next claim; calls under way keep the terms of their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from dialer.calls.events import HungUp, Refused
from dialer.campaign.capacity import Capacity
from dialer.campaign.running import Wanted
from dialer.engine.supervisor import Supervisor
from tests.support.engine_parts import CAMPAIGN, PLAN, T0, FakeClock, FakeStore, FakeTelephony, make_claim, make_parts


def revised(**capacity: object):
    """The campaign's second revision, with something changed in its `capacity`."""
    data = {"max_concurrent": 10, "calls_per_second": 100, "trunks": ["a"], "caller_id": "+48221234567", **capacity}
    made = Capacity.model_validate(data)
    terms = replace(CAMPAIGN.terms, longest_s=made.ring + made.longest_call)
    return replace(CAMPAIGN, revision_id=2, capacity=made, terms=terms)


class Rig:
    """A supervisor over fakes, with a paused campaign until the test lets it go."""

    def __init__(self, people: int) -> None:
        self.store = FakeStore(due=[make_claim(n) for n in range(1, people + 1)])
        self.telephony, self.orders = FakeTelephony(), []
        self.calendars: list[int] = []
        self.store.claim = self._claim
        parts = make_parts(self.store, self.telephony, FakeClock())
        self.supervisor = Supervisor(parts, PLAN, _workers, self._refresh)

    async def _refresh(self, revision_id: int) -> None:
        self.calendars.append(revision_id)

    async def _claim(self, order):
        assert self.calendars, "nobody is claimed before the days ahead are written"
        self.orders.append(order)
        return await FakeStore.claim(self.store, order)

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(asyncio.wait_for(self.supervisor.run([1]), 20))

    async def until(self, look) -> None:
        async with asyncio.timeout(20):
            while not look():
                await asyncio.sleep(0.01)


class _Well:
    first_prompt_s = lag_s = 0.0


async def _workers() -> _Well:
    return _Well()


async def test_the_next_claim_is_of_the_new_revision_and_nobody_is_cut_off():
    rig = Rig(1)
    running = rig.start()
    await rig.until(lambda: rig.telephony.orders)
    first = rig.telephony.orders[0]
    rig.store.campaign = revised(ring="40s", caller_id="+48221234599")
    rig.store.due = [make_claim(2)]
    await rig.until(lambda: len(rig.telephony.orders) == 2)
    assert {order.revision_id for order in rig.orders} == {1, 2}
    assert (first.ring_s, rig.telephony.orders[1].ring_s) == (30, 40)
    assert rig.orders[-1].identity("a", "+48501000002") == "+48221234599"
    assert first.attempt_id in {one.id for one in rig.supervisor.tracker.open_attempts}, "its call goes on"
    assert not rig.telephony.hung_up
    for order in rig.telephony.orders:
        rig.supervisor.tracker.apply(order.attempt_id, HungUp(at=T0, cause=17, tech_cause=486))
    await running
    assert rig.store.wanted is Wanted.IDLE
    assert rig.calendars == [1], "once: accepting a revision has written the other"


async def test_what_a_claim_brings_belongs_to_the_revision_that_it_was_made_by():
    """The new one arrives while the database works on the claim."""
    rig = Rig(1)
    claiming, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        claiming.set()
        await go_on.wait()

    adopted, adopt = [], rig.supervisor.tracker.adopt
    rig.supervisor.tracker.adopt = lambda claim, terms: adopted.append(terms) or adopt(claim, terms)
    rig.store.before_claim = slow
    running = rig.start()
    await claiming.wait()
    rig.store.before_claim = None
    rig.store.campaign = revised(ring="40s")
    await rig.until(lambda: rig.supervisor._runs[1].campaign.revision_id == 2)
    rig.telephony.answer = lambda order: Refused(at=T0, message="")
    go_on.set()
    await running
    assert adopted == [CAMPAIGN.terms]


async def test_a_revision_that_does_not_fit_the_node_drains_the_campaign_there():
    rig = Rig(1)
    running = rig.start()
    await rig.until(lambda: rig.telephony.orders)
    rig.store.campaign = revised(trunks=["b"])
    await rig.until(lambda: rig.store.wanted is Wanted.IDLE)
    assert "none of its trunks: b" in rig.store.paused_because
    rig.supervisor.tracker.apply(rig.telephony.orders[0].attempt_id, HungUp(at=T0, cause=17, tech_cause=486))
    await running
    assert {order.revision_id for order in rig.orders} == {1}
