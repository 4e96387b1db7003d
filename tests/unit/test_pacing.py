"""What binds: the least that any limit leaves, and nothing where anything forbids it."""

from __future__ import annotations

import pytest

from dialer.pacing.decide import Binding, decide


@pytest.mark.parametrize(
    ("room", "blocked", "launch", "binding"),
    [
        ({"ceiling": 10, "rate": 3}, None, 3, "rate"),
        ({"ceiling": 2, "rate": 5}, None, 2, "ceiling"),
        ({"ceiling": 0, "rate": 5}, None, 0, "ceiling"),
        ({"ceiling": 3, "rate": 3}, None, 3, "ceiling"),
        ({"ceiling": -4, "rate": 5}, None, 0, "ceiling"),
        ({"ceiling": 900, "rate": 500, "orders_waiting": 1}, None, 1, "orders_waiting"),
        ({"ceiling": 10, "rate": 5, "breaker_open": 0}, None, 0, "breaker_open"),
        ({"ceiling": 10, "rate": 5}, "node_away", 0, "node_away"),
        ({"ceiling": 10, "rate": 5}, "draining", 0, "draining"),
    ],
)
def test_decide(room, blocked, launch, binding):
    decision = decide({Binding(name): left for name, left in room.items()}, Binding(blocked) if blocked else None)
    assert (decision.launch, decision.binding.value) == (launch, binding)
