"""The engine: rules, wires and the loop where they meet. It imports none of its sibling packages."""

__version__ = "0.1.0"
