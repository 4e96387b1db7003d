"""How many slots an amount of calls needs, and what a number of slots carries: Little's law and Erlang's formulas.

Erlang B holds for calls that are turned away when every slot is taken; it is what carriers size trunks by. Ours wait
for a slot instead, so that the slots must exceed the load at any rate, and Erlang C holds. Both are for calls that come
at random. Ours leave at an even pace, of which fewer meet by chance, so that the figures err on the side of too many
slots.
"""

from __future__ import annotations


def erlangs(per_second: float, slot_s: float) -> float:
    """Calls at once on average, by Little's law (1961): new ones a second times how long each keeps its slot."""
    return per_second * slot_s


def blocked(load: float, slots: int) -> float:
    """Erlang B: the share of `load` erlangs that is turned away by `slots`, from 0 to 1.

    The recurrence over the slots has no factorials and no powers, so nothing overflows at any size.
    """
    share = 1.0
    for taken in range(1, slots + 1):
        share = _one_more(load, taken, share)
    return share


def waiting(load: float, slots: int) -> float:
    """Erlang C: the share of `load` erlangs that waits for one of `slots`, from 0 to 1; all when it is larger."""
    return _waiting(load, slots, blocked(load, slots))


def slots_for(load: float, *, most_blocked: float) -> int:
    """The fewest slots that turn at most this share (above 0) of `load` erlangs away."""
    share, slots = 1.0, 0
    while share > most_blocked:
        slots += 1
        share = _one_more(load, slots, share)
    return slots


def slots_without_wait(load: float, *, most_waiting: float) -> int:
    """The fewest slots for which at most this share (above 0) of `load` erlangs waits."""
    share, slots = 1.0, 0
    while _waiting(load, slots, share) > most_waiting:
        slots += 1
        share = _one_more(load, slots, share)
    return slots


def load_for(slots: int, *, most_waiting: float) -> float:
    """The most erlangs of which at most the share `most_waiting` (above 0) waits for one of `slots`."""
    low, high = 0.0, float(slots)
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        if waiting(middle, slots) <= most_waiting:
            low = middle
        else:
            high = middle
    return low


def _one_more(load: float, slots: int, share: float) -> float:
    """What `slots` turn away, from what one slot less turns away."""
    return load * share / (slots + load * share)


def _waiting(load: float, slots: int, share_blocked: float) -> float:
    if load >= slots:
        return 1.0
    return share_blocked / (1.0 - load / slots * (1.0 - share_blocked))
