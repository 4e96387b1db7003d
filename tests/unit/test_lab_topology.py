"""Which trunk of a lab leaves which node and ends at which carrier."""

from __future__ import annotations

import pytest

from dialer.errors import InvalidInput
from dialer.lab.topology import CARRIER_RTP, NODE_RTP, Topology, address

# nodes, carriers | carrier: its trunks, by node
SHAPES = [
    (1, 1, "1: a b"),
    (2, 1, "1: a b c d"),
    (2, 2, "1: a b | 2: c d"),
    (3, 2, "1: a b e f | 2: c d"),
    (4, 4, "1: a b | 2: c d | 3: e f | 4: g h"),
]


@pytest.mark.parametrize(("nodes", "carriers", "expected"), SHAPES)
def test_who_serves_whom(nodes: int, carriers: int, expected: str) -> None:
    shape = Topology(nodes=nodes, carriers=carriers)
    served = {
        name.removeprefix("carrier-"): " ".join(
            trunk.removeprefix("carrier-") for trunk in shape.trunks_of_carrier(name)
        )
        for name in shape.carrier_names
    }
    assert " | ".join(f"{carrier}: {trunks}" for carrier, trunks in served.items()) == expected
    assert [trunk.node for trunk in shape.trunks] == [f"node-{1 + index // 2}" for index in range(2 * nodes)]
    assert len(set(shape.port_uses)) == len(shape.port_uses) == 1 + 4 * nodes


def test_the_first_nodes_ports_have_short_names() -> None:
    assert Topology().port_uses == ("agi", "ami", "node-sip", "carrier-a", "carrier-b")


@pytest.mark.parametrize(("nodes", "carriers"), [(0, 1), (5, 1), (1, 2), (2, 3), (2, 0)])
def test_shapes_that_no_lab_has(nodes: int, carriers: int) -> None:
    with pytest.raises(InvalidInput):
        Topology(nodes=nodes, carriers=carriers)


def test_audio_ports_suffice_and_stay_clear_of_outgoing_connections() -> None:
    first, last = NODE_RTP
    assert (last - first + 1) // 2 >= 2700
    assert CARRIER_RTP[1] - CARRIER_RTP[0] == last - first
    assert last < CARRIER_RTP[0]
    assert CARRIER_RTP[1] < 32768
    assert (address("node-2"), address("carrier-1")) == ("127.0.0.2", "127.0.0.1")
