"""Which number is shown to a callee: one for all, several in turn, or one by where the callee's number belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle

from dialer.campaign.capacity import ByRegion, CallerId, Pool, TrunkUse

Choose = Callable[[str], str]
"""From a callee's E.164 number to the one shown."""


class Identities:
    """A campaign's numbers to show, as its file names them; a trunk's own win over the campaign's.

    A pool goes on where it stood, call by call: the campaign's over all trunks that have none of their own. Every
    engine, and every new start, begins at its first number.
    """

    def __init__(self, caller_id: CallerId, trunks: Iterable[TrunkUse]) -> None:
        everywhere = _chooser(caller_id)
        self._by_trunk = {use.name: everywhere if use.caller_id is None else _chooser(use.caller_id) for use in trunks}

    def choose(self, trunk: str, number: str) -> str:
        """The E.164 number to show to a callee (E.164) through one of the campaign's trunks.

        Raises KeyError for another trunk: nothing says what may be shown there.
        """
        return self._by_trunk[trunk](number)


def in_words(caller_id: CallerId) -> str:
    """What is shown, for an operator to read."""
    match caller_id:
        case str():
            return caller_id
        case Pool():
            return f"{', '.join(caller_id.pool)} in turn"
        case ByRegion():
            regions = ", ".join(f"{shown} to {prefix}…" for prefix, shown in caller_id.by_region.items())
            return f"{regions}, {caller_id.otherwise} to others"


def _chooser(caller_id: CallerId) -> Choose:
    match caller_id:
        case str():
            return lambda number: caller_id
        case Pool():
            turn = cycle(caller_id.pool)
            return lambda number: next(turn)
        case ByRegion():
            return lambda number: _by_region(caller_id, number)


def _by_region(regions: ByRegion, number: str) -> str:
    """By the longest beginning of the number that the file names."""
    beginnings = (number[:length] for length in range(len(number), 1, -1))
    found = next((prefix for prefix in beginnings if prefix in regions.by_region), None)
    return regions.otherwise if found is None else regions.by_region[found]
