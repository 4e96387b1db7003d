"""Which nodes, carriers and trunks a lab has, and what they are called: by default one node and one carrier."""

from __future__ import annotations

from dataclasses import dataclass

from dialer.errors import InvalidInput

MOST = 4
"""Nodes of one lab: each is an Asterisk of its own on the same machine, and so is each carrier."""
TRUNKS_OF_A_NODE = 2

NODE_RTP = (10000, 19999)
CARRIER_RTP = (20000, 29999)
"""5,000 calls each, below what Linux gives to outgoing connections (32768 and up). Nodes, and carriers, have them on
loopback addresses of their own, so they never compete. Asterisk looks for a free pair itself, so labs may share."""


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One way out of a node, and the carrier at its other end."""

    name: str
    node: str
    carrier: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """The parts of a lab. Node n and carrier n have the address 127.0.0.n; carrier m serves the nodes m, m + M, …"""

    nodes: int = 1
    carriers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= MOST:
            raise InvalidInput(f"a lab cannot have {self.nodes} nodes: choose 1 to {MOST}.")
        if not 1 <= self.carriers <= self.nodes:
            raise InvalidInput(
                f"{self.carriers} carriers do not fit {self.nodes} node(s): every carrier serves at least one node. "
                f"Choose 1 to {self.nodes}."
            )

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(f"node-{number}" for number in range(1, self.nodes + 1))

    @property
    def carrier_names(self) -> tuple[str, ...]:
        return tuple(f"carrier-{number}" for number in range(1, self.carriers + 1))

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """carrier-a and carrier-b leave node-1, carrier-c and carrier-d node-2, …"""
        return tuple(
            Trunk(
                name=f"carrier-{chr(ord('a') + index * TRUNKS_OF_A_NODE + way)}",
                node=node,
                carrier=self.carrier_names[index % self.carriers],
            )
            for index, node in enumerate(self.node_names)
            for way in range(TRUNKS_OF_A_NODE)
        )

    def trunks_of_carrier(self, carrier: str) -> tuple[str, ...]:
        """The names of the trunks that end at a carrier."""
        return tuple(trunk.name for trunk in self.trunks if trunk.carrier == carrier)

    @property
    def port_uses(self) -> tuple[str, ...]:
        """What needs a port: the workers, each node's AMI and SIP, and each trunk at its carrier."""
        nodes = (use for node in self.node_names for use in (ami_use(node), sip_use(node)))
        return ("agi", *nodes, *(trunk.name for trunk in self.trunks))


def address(name: str) -> str:
    """The loopback address of a node or a carrier."""
    return f"127.0.0.{name.rpartition('-')[2]}"


def ami_use(node: str) -> str:
    """The use of a node's AMI port in a lab's plan of ports; the first node's is `ami`."""
    return "ami" if node == "node-1" else f"{node}-ami"


def sip_use(node: str) -> str:
    """The use of a node's SIP port; the first node's is `node-sip`."""
    return "node-sip" if node == "node-1" else f"{node}-sip"
